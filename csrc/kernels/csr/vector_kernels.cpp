#include "kernels/csr/vector_kernels.h"

#include <stdexcept>
#include <string>
#include <type_traits>

#include "kernels/csr/code_tiles.h"
#include "kernels/csr/vector_tables.h"

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
  if constexpr (std::is_same_v<T, float>) {
    return tile_tables(isa).float32;
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return tile_tables(isa).bfloat16;
  } else {
    return tile_tables(isa).float16;
  }
}

template const CodeTiles<float>& code_tiles(Isa);
template const CodeTiles<BFloat16>& code_tiles(Isa);
template const CodeTiles<Half>& code_tiles(Isa);

template const VectorKernels<float>& vector_kernels(Isa);
template const VectorKernels<double>& vector_kernels(Isa);
template const VectorKernels<BFloat16>& vector_kernels(Isa);
template const VectorKernels<Half>& vector_kernels(Isa);

}  // namespace jouleprune::kernels::csr
