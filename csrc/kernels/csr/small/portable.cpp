#include "kernels/csr/small/rows_body.h"

namespace jouleprune::kernels::csr::small {
namespace {

template <class T>
constexpr SmallKernels<T> make_table() {
  return {rows<T, uint16_t>, rows<T, int32_t>, nullptr, nullptr};
}

}  // namespace

const SmallTables portable_tables = {make_table<float>(), make_table<double>(), make_table<BFloat16>(), make_table<Half>()};

}  // namespace jouleprune::kernels::csr::small
