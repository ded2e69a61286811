#include "ops/nm_structure.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <list>
#include <mutex>

#include "formats/csr.h"
#include "ops/contents.h"
#include "ops/csr_checks.h"
#include "ops/limits.h"
#include "ops/packed_forms.h"

namespace jouleprune::ops {
namespace {

constexpr size_t kMostKept = 1024;  // structures; beyond, those that were not used for longest go

at::Tensor key_tensor(const std::array<int64_t, 2>& key) { return at::tensor({key[0], key[1]}, at::kLong); }

std::array<int64_t, 2> words_of(const at::Tensor& key) {
  const auto host = key.cpu().contiguous();
  return {host.const_data_ptr<int64_t>()[0], host.const_data_ptr<int64_t>()[1]};
}

/// Checked indices, and what was derived of them.
struct KnownIndices {
  Place place;
  Sample sample;
  uint64_t hash;  // of inference tensors, whose changes torch does not count
  formats::NmShape shape;
  std::array<int64_t, 2> key;
  CsrStructure csr;

  bool is_of(const at::Tensor& indices, const formats::NmShape& other) const {
    const bool alike = shape.rows == other.rows && shape.cols == other.cols && shape.n == other.n && shape.m == other.m;
    return alike && place.holds(indices) && sample.matches(indices) && (!indices.is_inference() || hash == content_hash(indices));
  }
};

/// Copied out under the lock: another thread may forget the structure meanwhile.
class Store {
 public:
  std::optional<std::pair<CsrStructure, std::array<int64_t, 2>>> find(const at::Tensor& indices, const formats::NmShape& shape) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = std::find_if(known_.begin(), known_.end(), [&](const KnownIndices& known) { return known.is_of(indices, shape); });
    if (found == known_.end()) return std::nullopt;
    known_.splice(known_.begin(), known_, found);
    return std::pair(found->csr, found->key);
  }

  void put(KnownIndices known) {
    const std::lock_guard<std::mutex> lock(mutex_);
    known_.remove_if([](const KnownIndices& old) { return old.place.expired(); });
    if (known_.size() >= kMostKept) known_.pop_back();
    known_.push_front(std::move(known));
  }

 private:
  std::mutex mutex_;
  std::list<KnownIndices> known_;  // the last used first
};

Store& store() {
  static Store* const store = new Store;  // never destroyed: threads may run at exit
  return *store;
}

CsrStructure derive(const formats::NmShape& shape, const uint8_t* indices) {
  CsrStructure csr;
  csr.col_indices = at::empty({shape.nnz()}, at::kInt);
  formats::nm_columns(shape, indices, csr.col_indices.mutable_data_ptr<int32_t>());
  csr.row_offsets = at::arange(shape.rows + 1, at::kLong).mul(shape.kept()).to(at::kInt);
  csr.key = key_tensor(formats::csr_key({shape.rows, shape.cols, shape.nnz(), csr.col_indices.const_data_ptr<int32_t>(),
                                         csr.row_offsets.const_data_ptr<int32_t>()}));
  return csr;
}

void check_tensor(const char* op, const char* name, const at::Tensor& tensor, const formats::NmShape& shape, const at::Tensor& like,
                  const char* like_name) {
  check_strided(op, name, tensor);
  TORCH_CHECK_VALUE(tensor.dim() == 2 && tensor.size(0) == shape.rows && tensor.size(1) == shape.kept(), op, ": ", name, ": expected [",
                    shape.rows, ", ", shape.kept(), "] for ", shape.n, ":", shape.m, " of ", shape.cols, " inputs, got ",
                    tensor.sizes());
  check_device(op, name, tensor, like, like_name);
}

}  // namespace

formats::NmShape check_nm_shape(const char* op, int64_t rows, int64_t cols, int64_t n, int64_t m) {
  const auto defect = formats::nm_pattern_defect(n, m);
  TORCH_CHECK_VALUE(defect.empty(), op, ": n, m: ", defect);
  for (const auto& [name, size] : {std::pair{"rows", rows}, std::pair{"in_features", cols}}) {
    TORCH_CHECK_VALUE(size >= 0 && size <= kLimit, op, ": ", name, ": expected 0 to ", kLimit, ", got ", size);
  }
  const formats::NmShape shape{rows, cols, n, m};
  TORCH_CHECK_VALUE(shape.kept() == 0 || rows <= kLimit / shape.kept(), op, ": expected at most ", kLimit, " kept entries, got ", rows,
                    " x ", shape.kept());
  return shape;
}

CsrStructure check_nm_weight(const char* op, const at::Tensor& values, const at::Tensor& indices, const at::Tensor* key,
                             const formats::NmShape& shape, const at::Tensor& like, const char* like_name) {
  TORCH_CHECK_TYPE(indices.scalar_type() == at::kByte, op, ": indices: expected uint8, got ", indices.scalar_type());
  check_tensor(op, "indices", indices, shape, like, like_name);
  if (values.defined()) {
    check_element_type(op, "values", values);
    check_tensor(op, "values", values, shape, like, like_name);
  }
  if (key != nullptr) {
    check_strided(op, "key", *key);
    TORCH_CHECK_TYPE(key->scalar_type() == at::kLong, op, ": key: expected int64, got ", key->scalar_type());
    TORCH_CHECK_VALUE(key->dim() == 1 && key->numel() == 2, op, ": key: expected [2], got ", key->sizes());
  }
  const auto contiguous = indices.contiguous();
  auto known = key == nullptr ? std::nullopt : store().find(contiguous, shape);
  if (!known.has_value()) {
    const uint8_t* const data = contiguous.const_data_ptr<uint8_t>();
    const auto defect = formats::nm_defect(shape, data);
    TORCH_CHECK_VALUE(defect.empty(), op, ": unsound structure: ", defect);
    known = std::pair(derive(shape, data), formats::nm_key(shape, data));
    if (key != nullptr && words_of(*key) == known->second) {
      store().put({Place(contiguous), Sample(contiguous), contiguous.is_inference() ? content_hash(contiguous) : 0, shape, known->second,
                   known->first});
    }
  }
  TORCH_CHECK_VALUE(key == nullptr || words_of(*key) == known->second, op, ": key: expected the key of this structure, as pack_nm makes it; got ",
                    "another: the tensors belong to a weight of another size or pattern, or are damaged");
  return known->first;
}

}  // namespace jouleprune::ops
