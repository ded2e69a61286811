#include "kernels/peak/peak.h"
#include "kernels/peak/peak_body.h"

namespace jouleprune::kernels::peak {

double loop_avx2(int64_t turns) { return multiply_adds<32>(turns); }

}  // namespace jouleprune::kernels::peak
