// Compares the numbers and the signatures of cusparse_api.h with the library's own header, where there is one: it comes with the CUDA toolkit and with the
// wheel nvidia-cusparse, and nothing else here needs it.
#include "vendor/cusparse_api.h"

#if __has_include(<cusparse.h>)
#include <cusparse.h>

namespace jouleprune::cuda::vendor {

static_assert(kCusparseSuccess == CUSPARSE_STATUS_SUCCESS);
static_assert(kNonTranspose == CUSPARSE_OPERATION_NON_TRANSPOSE && kTranspose == CUSPARSE_OPERATION_TRANSPOSE);
static_assert(kIndex32 == CUSPARSE_INDEX_32I && kBaseZero == CUSPARSE_INDEX_BASE_ZERO);
static_assert(kColumnMajor == CUSPARSE_ORDER_COL && kRowMajor == CUSPARSE_ORDER_ROW);
static_assert(kFloat32 == CUDA_R_32F && kFloat64 == CUDA_R_64F && kFloat16 == CUDA_R_16F && kBFloat16 == CUDA_R_16BF);
static_assert(kSpmmCsrAlg3 == CUSPARSE_SPMM_CSR_ALG3 && kSpmmBsrAlg1 == CUSPARSE_SPMM_BSR_ALG1);
static_assert(kSddmmDefault == CUSPARSE_SDDMM_ALG_DEFAULT);
static_assert(sizeof(cusparseStatus_t) == sizeof(int) && sizeof(cudaDataType) == sizeof(int));

/// As many parameters, of the same sizes: handles and enumerations have names of their own there.
template <class Ours, class Theirs>
inline constexpr bool kAlike = false;
template <class R, class... Ours, class S, class... Theirs>
  requires(sizeof...(Ours) == sizeof...(Theirs))
inline constexpr bool kAlike<R (*)(Ours...), S (*)(Theirs...)> = ((sizeof(Ours) == sizeof(Theirs)) && ...);

static_assert(kAlike<decltype(CusparseApi::create), decltype(&cusparseCreate)>);
static_assert(kAlike<decltype(CusparseApi::destroy), decltype(&cusparseDestroy)>);
static_assert(kAlike<decltype(CusparseApi::set_stream), decltype(&cusparseSetStream)>);
static_assert(kAlike<decltype(CusparseApi::version), decltype(&cusparseGetVersion)>);
static_assert(kAlike<decltype(CusparseApi::error_text), decltype(&cusparseGetErrorString)>);
static_assert(kAlike<decltype(CusparseApi::create_csr), decltype(&cusparseCreateCsr)>);
static_assert(kAlike<decltype(CusparseApi::create_bsr), decltype(&cusparseCreateBsr)>);
static_assert(kAlike<decltype(CusparseApi::destroy_sparse), decltype(&cusparseDestroySpMat)>);
static_assert(kAlike<decltype(CusparseApi::create_dense), decltype(&cusparseCreateDnMat)>);
static_assert(kAlike<decltype(CusparseApi::destroy_dense), decltype(&cusparseDestroyDnMat)>);
static_assert(kAlike<decltype(CusparseApi::spmm_bytes), decltype(&cusparseSpMM_bufferSize)>);
static_assert(kAlike<decltype(CusparseApi::spmm), decltype(&cusparseSpMM)>);
static_assert(kAlike<decltype(CusparseApi::sddmm_bytes), decltype(&cusparseSDDMM_bufferSize)>);
static_assert(kAlike<decltype(CusparseApi::sddmm), decltype(&cusparseSDDMM)>);

}  // namespace jouleprune::cuda::vendor
#endif
