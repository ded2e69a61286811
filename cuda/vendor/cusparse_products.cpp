#include "vendor/cusparse_products.h"

namespace jouleprune::cuda::vendor {
namespace {

int data_type(ElementType type) {
  switch (type) {
    case ElementType::kFloat64: return kFloat64;
    case ElementType::kFloat16: return kFloat16;
    case ElementType::kBFloat16: return kBFloat16;
    case ElementType::kFloat32: break;
  }
  return kFloat32;
}

/// Sums are float32 for the narrower types.
int compute_type(ElementType type) { return type == ElementType::kFloat64 ? kFloat64 : kFloat32; }

/// 1 and 0 in the compute type.
struct Factors {
  float one = 1, zero = 0;
  double wide_one = 1, wide_zero = 0;
  const void* alpha(ElementType type) const { return type == ElementType::kFloat64 ? static_cast<const void*>(&wide_one) : &one; }
  const void* beta(ElementType type) const { return type == ElementType::kFloat64 ? static_cast<const void*>(&wide_zero) : &zero; }
};

/// Calls in order until one fails; destroys what was made.
class Calls {
 public:
  explicit Calls(const CusparseApi& api) : api_(api) {}
  ~Calls() {
    for (void* matrix : {dense_[0], dense_[1]}) {
      if (matrix != nullptr) api_.destroy_dense(matrix);
    }
    if (sparse_ != nullptr) api_.destroy_sparse(sparse_);
  }
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  bool ok(const char* call, int status) {
    if (status != kCusparseSuccess && error_.empty()) {
      const char* const text = api_.error_text(status);
      error_ = std::string(call) + ": " + (text != nullptr ? text : "status " + std::to_string(status));
    }
    return status == kCusparseSuccess;
  }
  const std::string& error() const { return error_; }

  bool make_weight(const SparseWeight& w, const void* values) {
    const int type = data_type(w.type);
    if (w.r == 1 && w.c == 1) {
      return ok("cusparseCreateCsr",
                api_.create_csr(&sparse_, w.rows, w.cols, w.entries, w.offsets, w.columns, values, kIndex32, kIndex32, kBaseZero, type));
    }
    return ok("cusparseCreateBsr",
              api_.create_bsr(&sparse_, w.rows / w.r, w.cols / w.c, w.entries, w.r, w.c, w.offsets, w.columns, values, kIndex32, kIndex32,
                              kBaseZero, type, kRowMajor));
  }
  /// Rows [n, features] of `stride`, as `order` sees them.
  bool make_rows(int which, ElementType type, const void* data, int64_t n, int64_t features, int64_t stride, int order) {
    const bool turned = order == kColumnMajor;
    return ok("cusparseCreateDnMat",
              api_.create_dense(&dense_[which], turned ? features : n, turned ? n : features, stride, data, data_type(type), order));
  }
  void* sparse() const { return sparse_; }
  void* dense(int which) const { return dense_[which]; }

 private:
  const CusparseApi& api_;
  void *sparse_ = nullptr, *dense_[2] = {nullptr, nullptr};
  std::string error_;
};

}  // namespace

std::string run(const CusparseApi& api, void* handle, const SparseProduct& p, const Workspace& workspace) {
  const SparseWeight& w = p.weight;
  if (w.rows == 0 || p.n == 0) return {};
  Calls calls(api);
  const Factors factors;
  const int algorithm = w.r == 1 && w.c == 1 ? kSpmmCsrAlg3 : kSpmmBsrAlg1, compute = compute_type(w.type);
  const void *const alpha = factors.alpha(w.type), *const beta = factors.beta(w.type);
  size_t bytes = 0;
  if (calls.make_weight(w, w.values) && calls.make_rows(0, w.type, p.input, p.n, w.cols, p.input_stride, kColumnMajor) &&
      calls.make_rows(1, w.type, p.output, p.n, w.rows, w.rows, kColumnMajor) &&
      calls.ok("cusparseSpMM_bufferSize", api.spmm_bytes(handle, kNonTranspose, kNonTranspose, alpha, calls.sparse(), calls.dense(0), beta,
                                                         calls.dense(1), compute, algorithm, &bytes))) {
    calls.ok("cusparseSpMM", api.spmm(handle, kNonTranspose, kNonTranspose, alpha, calls.sparse(), calls.dense(0), beta, calls.dense(1),
                                      compute, algorithm, workspace(bytes)));
  }
  return calls.error();
}

std::string run(const CusparseApi& api, void* handle, const SampledProduct& p, const Workspace& workspace) {
  const SparseWeight& w = p.weight;
  if (w.entries == 0) return {};
  Calls calls(api);
  const Factors factors;
  const int compute = compute_type(w.type);
  const void *const alpha = factors.alpha(w.type), *const beta = factors.beta(w.type);
  size_t bytes = 0;
  // grad_output^T [rows, n] is column-major as it lies; input [n, cols] is row-major.
  if (calls.make_weight(w, p.gradient) && calls.make_rows(0, w.type, p.grad_output, p.n, w.rows, p.grad_output_stride, kColumnMajor) &&
      calls.make_rows(1, w.type, p.input, p.n, w.cols, p.input_stride, kRowMajor) &&
      calls.ok("cusparseSDDMM_bufferSize", api.sddmm_bytes(handle, kNonTranspose, kNonTranspose, alpha, calls.dense(0), calls.dense(1), beta,
                                                           calls.sparse(), compute, kSddmmDefault, &bytes))) {
    calls.ok("cusparseSDDMM", api.sddmm(handle, kNonTranspose, kNonTranspose, alpha, calls.dense(0), calls.dense(1), beta, calls.sparse(),
                                        compute, kSddmmDefault, workspace(bytes)));
  }
  return calls.error();
}

}  // namespace jouleprune::cuda::vendor
