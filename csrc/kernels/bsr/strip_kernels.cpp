#include "kernels/bsr/strip_kernels.h"

#include <stdexcept>
#include <string>

#include "kernels/element_of.h"

namespace jouleprune::kernels::bsr {
namespace {

const StripTables& tables(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAvx2: return avx2_strips;
    case Isa::kAvx512: return avx512_strips;
#endif
    case Isa::kPortable: return portable_strips;
    default: throw std::logic_error(std::string("no strip kernels for ") + isa_name(isa));
  }
}

}  // namespace

template <class T>
const StripKernels<T>& strip_kernels(Isa isa) {
  return element_of<T>(tables(isa));
}

const StripKernels<BFloat16>& pair_strip_kernels() {
#if defined(__x86_64__)
  return avx512_bf16_strips;
#else
  throw std::logic_error("no products of bfloat16 pairs");
#endif
}

template const StripKernels<float>& strip_kernels(Isa);
template const StripKernels<double>& strip_kernels(Isa);
template const StripKernels<BFloat16>& strip_kernels(Isa);
template const StripKernels<Half>& strip_kernels(Isa);

}  // namespace jouleprune::kernels::bsr
