// The functions of cuSPARSE that are used, as a table: found at run time, or brought by a test. Signatures and numbers as cusparse.h of
// CUDA 12 and 13 has them (cusparse_header.cpp compares them where the header is at hand). Knows neither torch nor CUDA.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace jouleprune::cuda::vendor {

inline constexpr int kCusparseSuccess = 0;
inline constexpr int kNonTranspose = 0, kTranspose = 1;           // cusparseOperation_t
inline constexpr int kIndex32 = 2, kBaseZero = 0;                 // cusparseIndexType_t, cusparseIndexBase_t
inline constexpr int kColumnMajor = 1, kRowMajor = 2;             // cusparseOrder_t
inline constexpr int kFloat32 = 0, kFloat64 = 1, kFloat16 = 2, kBFloat16 = 14;  // cudaDataType
// Those that give the same bits in every run (documentation of cusparseSpMM, cusparseSDDMM).
inline constexpr int kSpmmCsrAlg3 = 12, kSpmmBsrAlg1 = 14, kSddmmDefault = 0;

struct CusparseApi {
  int (*create)(void** handle) = nullptr;
  int (*destroy)(void* handle) = nullptr;
  int (*set_stream)(void* handle, void* stream) = nullptr;
  int (*version)(void* handle, int* version) = nullptr;
  const char* (*error_text)(int status) = nullptr;
  int (*create_csr)(void** matrix, int64_t rows, int64_t cols, int64_t nnz, const void* offsets, const void* columns, const void* values,
                    int offsets_type, int columns_type, int base, int type) = nullptr;
  int (*create_bsr)(void** matrix, int64_t block_rows, int64_t block_cols, int64_t blocks, int64_t r, int64_t c, const void* offsets,
                    const void* columns, const void* values, int offsets_type, int columns_type, int base, int type, int order) = nullptr;
  int (*destroy_sparse)(void* matrix) = nullptr;
  int (*create_dense)(void** matrix, int64_t rows, int64_t cols, int64_t leading, const void* values, int type, int order) = nullptr;
  int (*destroy_dense)(void* matrix) = nullptr;
  int (*spmm_bytes)(void* handle, int op_a, int op_b, const void* alpha, void* a, void* b, const void* beta, void* c, int compute, int algorithm,
                    size_t* bytes) = nullptr;
  int (*spmm)(void* handle, int op_a, int op_b, const void* alpha, void* a, void* b, const void* beta, void* c, int compute, int algorithm,
              void* buffer) = nullptr;
  int (*sddmm_bytes)(void* handle, int op_a, int op_b, const void* alpha, void* a, void* b, const void* beta, void* c, int compute, int algorithm,
                     size_t* bytes) = nullptr;
  int (*sddmm)(void* handle, int op_a, int op_b, const void* alpha, void* a, void* b, const void* beta, void* c, int compute, int algorithm,
               void* buffer) = nullptr;
  std::shared_ptr<void> library;  ///< keeps the code loaded
};

/// Loads `library` (a file or a name that the dynamic linker knows); on failure a null pointer, and why.
std::shared_ptr<const CusparseApi> load_cusparse(const std::string& library, std::string& why_not);

/// What JOULEPRUNE_CUSPARSE says: a file, "off" (null, with that as the reason), or unset: libcusparse.so.12, which torch brings and CUDA 12
/// and 13 share. Looked for at each call.
std::shared_ptr<const CusparseApi> find_cusparse(std::string& why_not);

}  // namespace jouleprune::cuda::vendor
