// The tables of inner loops that exist in this build; see vector_kernels.h.
#pragma once
#include "kernels/csr/vector_kernels.h"

namespace jouleprune::kernels::csr {

struct VectorTables {
  VectorKernels<float> float32;
  VectorKernels<double> float64;
  VectorKernels<BFloat16> bfloat16;
  VectorKernels<Half> float16;
};

extern const VectorTables portable_tables;
#if defined(__x86_64__)
extern const VectorTables avx2_tables, avx512_tables;
#endif

}  // namespace jouleprune::kernels::csr
