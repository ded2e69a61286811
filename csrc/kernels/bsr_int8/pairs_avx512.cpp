#include "kernels/bsr_int8/pairs_body.h"

namespace jouleprune::kernels::bsr_int8 {

const PanelKernels avx512_pairs = make_pairs_table();

}  // namespace jouleprune::kernels::bsr_int8
