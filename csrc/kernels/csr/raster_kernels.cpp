#include "kernels/csr/raster_kernels.h"

#include <stdexcept>
#include <string>

#include "kernels/csr/raster_tables.h"
#include "kernels/element_of.h"

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
  return element_of<T>(tables(isa));
}

template const RasterKernels<float>& raster_kernels(Isa);
template const RasterKernels<double>& raster_kernels(Isa);
template const RasterKernels<BFloat16>& raster_kernels(Isa);
template const RasterKernels<Half>& raster_kernels(Isa);

}  // namespace jouleprune::kernels::csr
