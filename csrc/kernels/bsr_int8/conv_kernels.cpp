#include "kernels/bsr_int8/conv_kernels.h"

#include <stdexcept>
#include <string>

#include "kernels/bsr_int8/panel_kernels.h"

namespace jouleprune::kernels::bsr_int8 {

const ConvKernels& conv_kernels(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAvx2: return avx2_conv_pairs;
    case Isa::kAvx512: return has_vnni() ? avx512_vnni_conv_quads : avx512_conv_pairs;
#endif
    case Isa::kPortable: return portable_conv_pairs;
    default: throw std::logic_error(std::string("no int8 convolution kernels for ") + isa_name(isa));
  }
}

}  // namespace jouleprune::kernels::bsr_int8
