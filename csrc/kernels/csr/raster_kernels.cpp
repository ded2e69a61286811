#include "kernels/csr/raster_kernels.h"

#include <stdexcept>
#include <string>
#include <type_traits>

#include "kernels/csr/raster_tables.h"

namespace jouleprune::kernels::csr {
namespace {

const RasterTables& tables(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAvx2: return avx2_raster_tables;
    case Isa::kAvx512: return avx512_raster_tables;
#endif
    case Isa::kPortable: return portable_raster_tables;
    default: throw std::logic_error(std::string("no raster kernels for ") + isa_name(isa));
  }
}

}  // namespace

template <class T>
const RasterKernels<T>& raster_kernels(Isa isa) {
  if constexpr (std::is_same_v<T, float>) {
    return tables(isa).float32;
  } else if constexpr (std::is_same_v<T, double>) {
    return tables(isa).float64;
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return tables(isa).bfloat16;
  } else {
    return tables(isa).float16;
  }
}

template const RasterKernels<float>& raster_kernels(Isa);
template const RasterKernels<double>& raster_kernels(Isa);
template const RasterKernels<BFloat16>& raster_kernels(Isa);
template const RasterKernels<Half>& raster_kernels(Isa);

}  // namespace jouleprune::kernels::csr
