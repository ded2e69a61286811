#include "kernels/bsr_int8/conv_pairs_body.h"

namespace jouleprune::kernels::bsr_int8 {

const ConvKernels portable_conv_pairs = make_conv_pairs_table();

}  // namespace jouleprune::kernels::bsr_int8
