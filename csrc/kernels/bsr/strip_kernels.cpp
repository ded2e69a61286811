#include "kernels/bsr/strip_kernels.h"

#include <stdexcept>
#include <string>
#include <type_traits>

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
  if constexpr (std::is_same_v<T, float>) {
    return tables(isa).float32;
  } else if constexpr (std::is_same_v<T, double>) {
    return tables(isa).float64;
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return tables(isa).bfloat16;
  } else {
    return tables(isa).float16;
  }
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
