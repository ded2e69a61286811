// The tables of inner loops that exist in this build; see raster_kernels.h.
#pragma once
#include "kernels/csr/raster_kernels.h"

namespace jouleprune::kernels::csr {

struct RasterTables {
  RasterKernels<float> float32;
  RasterKernels<double> float64;
  RasterKernels<BFloat16> bfloat16;
  RasterKernels<Half> float16;
};

extern const RasterTables portable_raster_tables;
#if defined(__x86_64__)
extern const RasterTables avx2_raster_tables, avx512_raster_tables;
#endif

}  // namespace jouleprune::kernels::csr
