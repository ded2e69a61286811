#include "kernels/csr/vector_kernels.h"

#include <stdexcept>
#include <string>

#include "kernels/csr/code_tiles.h"
#include "kernels/csr/vector_tables.h"
#include "kernels/element_of.h"

namespace jouleprune::kernels::csr {
namespace {

const VectorTables& tables(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAvx2: return avx2_tables;
    case Isa::kAvx512: return avx512_tables;
#endif
    case Isa::kPortable: return portable_tables;
    default: throw std::logic_error(std::string("no vector kernels for ") + isa_name(isa));
  }
}

}  // namespace

template <class T>
const VectorKernels<T>& vector_kernels(Isa isa) {
  return element_of<T>(tables(isa));
}

namespace {

const CodeTileTables& tile_tables(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAvx2: return avx2_code_tiles;
    case Isa::kAvx512: return avx512_code_tiles;
#endif
    default: throw std::logic_error(std::string("no generated code for ") + isa_name(isa));
  }
}

}  // namespace

template <class T>
const CodeTiles<T>& code_tiles(Isa isa) {
  return element_of<T>(tile_tables(isa));
}

template const CodeTiles<float>& code_tiles(Isa);
template const CodeTiles<BFloat16>& code_tiles(Isa);
template const CodeTiles<Half>& code_tiles(Isa);

template const VectorKernels<float>& vector_kernels(Isa);
template const VectorKernels<double>& vector_kernels(Isa);
template const VectorKernels<BFloat16>& vector_kernels(Isa);
template const VectorKernels<Half>& vector_kernels(Isa);

}  // namespace jouleprune::kernels::csr
