#include "kernels/csr/code_tiles_body.h"

namespace jouleprune::kernels::csr {

const CodeTileTables avx2_code_tiles = {make_code_tiles<float>(), make_code_tiles<BFloat16>(), make_code_tiles<Half>()};

}  // namespace jouleprune::kernels::csr
