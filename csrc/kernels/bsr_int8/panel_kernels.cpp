#include "kernels/bsr_int8/panel_kernels.h"

#include <stdexcept>
#include <string>

namespace jouleprune::kernels::bsr_int8 {

bool has_vnni() {
#if defined(__x86_64__)
  static const bool has = isa_supported(Isa::kAvx512) && __builtin_cpu_supports("avx512vnni");
  return has;
#else
  return false;
#endif
}

const PanelKernels& panel_kernels(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAvx2: return avx2_pairs;
    case Isa::kAvx512: return has_vnni() ? avx512_vnni_quads : avx512_pairs;
#endif
    case Isa::kPortable: return portable_pairs;
    default: throw std::logic_error(std::string("no int8 panel kernels for ") + isa_name(isa));
  }
}

}  // namespace jouleprune::kernels::bsr_int8
