#include "kernels/csr/raster_body.h"

namespace jouleprune::kernels::csr {

const RasterTables avx2_raster_tables = {make_raster_table<float>(), make_raster_table<double>(), make_raster_table<BFloat16>(),
                                         make_raster_table<Half>()};

}  // namespace jouleprune::kernels::csr
