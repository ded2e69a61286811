#include "kernels/csr/small/kernels.h"

#include <stdexcept>
#include <string>

#include "kernels/element_of.h"

namespace jouleprune::kernels::csr::small {
namespace {

const SmallTables& tables(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAvx2: return avx2_tables;
    case Isa::kAvx512: return avx512_tables;
#endif
    case Isa::kPortable: return portable_tables;
    default: throw std::logic_error(std::string("no kernels for small batches for ") + isa_name(isa));
  }
}

}  // namespace

template <class T>
const SmallKernels<T>& small_kernels(Isa isa) {
  return element_of<T>(tables(isa));
}

template const SmallKernels<float>& small_kernels(Isa);
template const SmallKernels<double>& small_kernels(Isa);
template const SmallKernels<BFloat16>& small_kernels(Isa);
template const SmallKernels<Half>& small_kernels(Isa);

}  // namespace jouleprune::kernels::csr::small
