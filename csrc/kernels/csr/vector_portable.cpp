#include "kernels/csr/vector_body.h"
#include "kernels/csr/vector_tables.h"

namespace jouleprune::kernels::csr {

const VectorTables portable_tables = {make_table<float>(), make_table<double>(), make_table<BFloat16>(), make_table<Half>()};

}  // namespace jouleprune::kernels::csr
