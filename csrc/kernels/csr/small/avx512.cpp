#include "kernels/csr/small/bitmap_avx512.h"
#include "kernels/csr/small/jagged_avx512.h"
#include "kernels/csr/small/rows_body.h"

namespace jouleprune::kernels::csr::small {
namespace {

template <class T>
constexpr SmallKernels<T> make_table() {
  return {rows<T, uint16_t>, rows<T, int32_t>, bitmap<T>, jagged<T>};
}
template <>
constexpr SmallKernels<double> make_table<double>() {
  return {rows<double, uint16_t>, rows<double, int32_t>, nullptr, nullptr};
}

}  // namespace

const SmallTables avx512_tables = {make_table<float>(), make_table<double>(), make_table<BFloat16>(), make_table<Half>()};

}  // namespace jouleprune::kernels::csr::small
