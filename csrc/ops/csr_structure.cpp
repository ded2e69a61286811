#include "ops/csr_structure.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <unordered_map>
#include <utility>

#include "formats/csr.h"
#include "ops/contents.h"
#include "ops/packed_forms.h"

namespace jouleprune::ops {
namespace {

using Key = std::array<int64_t, 2>;
using Extents = std::array<int64_t, 4>;

uint64_t hash_of_both(const at::Tensor& indices, const at::Tensor& offsets) {
  return content_hash(indices) * 3 + content_hash(offsets);
}

/// A structure with where its tensors lie and what they hold; made before they are checked, so that it never holds more than that.
class Known {
 public:
  Known(const at::Tensor& indices, const at::Tensor& offsets, const Extents& sizes) : indices_(indices), offsets_(offsets) {
    structure.sizes = sizes;
    if (indices.is_cpu()) {
      samples_.emplace(Samples{Sample(indices), Sample(offsets)});
      structure.contents = hash_of_both(indices, offsets);
    }
  }

  bool holds(const at::Tensor& indices, const at::Tensor& offsets, const Extents& sizes) const {
    return structure.sizes == sizes && indices_.holds(indices) && offsets_.holds(offsets);
  }
  bool holds_contents(const at::Tensor& indices, const at::Tensor& offsets, Compare compare) const {
    if (!samples_.has_value()) {
      return true;
    }
    return compare == Compare::kSample ? samples_->indices.matches(indices) && samples_->offsets.matches(offsets)
                                       : structure.contents == hash_of_both(indices, offsets);
  }

  CheckedStructure structure;

 private:
  struct Samples {
    Sample indices, offsets;
  };
  Place indices_, offsets_;
  std::optional<Samples> samples_;  // none off the CPU
};

/// Thread-safe. Entries are found by the addresses of the two storages and the data within.
class KnownStructures {
 public:
  std::optional<CheckedStructure> find(const at::Tensor& indices, const at::Tensor& offsets, const Extents& sizes,
                                       Compare compare) const {
    const std::shared_lock lock(mutex_);
    const auto found = entries_.find(hash(indices, offsets, sizes));
    if (found == entries_.end() || !found->second.holds(indices, offsets, sizes) ||
        !found->second.holds_contents(indices, offsets, compare)) {
      return std::nullopt;
    }
    auto structure = found->second.structure;
    structure.compared = compare == Compare::kWhole;
    return structure;
  }

  void add(const at::Tensor& indices, const at::Tensor& offsets, Known known) {
    const std::unique_lock lock(mutex_);
    const size_t where = hash(indices, offsets, known.structure.sizes);
    if (entries_.insert_or_assign(where, std::move(known)).second) {
      order_.push_back(where);
    }
    if (order_.size() > kMaxKnownStructures) {
      entries_.erase(order_.front());
      order_.pop_front();
    }
  }

  /// The structure is checked again when it is seen again.
  void forget(const at::Tensor& indices, const at::Tensor& offsets, const Extents& sizes) {
    const std::unique_lock lock(mutex_);
    const size_t where = hash(indices, offsets, sizes);
    if (entries_.erase(where) > 0) {
      order_.erase(std::find(order_.begin(), order_.end(), where));
    }
  }

 private:
  static size_t hash(const at::Tensor& indices, const at::Tensor& offsets, const Extents& sizes) {
    size_t seed = 0;
    const auto mix = [&](size_t word) {
      seed = (seed ^ word) * 0x9e3779b97f4a7c15u;
      seed ^= seed >> 32;
    };
    for (const int64_t size : sizes) {
      mix(std::hash<int64_t>{}(size));
    }
    for (const void* pointer : {static_cast<const void*>(indices.storage().unsafeGetStorageImpl()),
                                static_cast<const void*>(offsets.storage().unsafeGetStorageImpl()),
                                indices.const_data_ptr(), offsets.const_data_ptr()}) {
      mix(std::hash<const void*>{}(pointer));
    }
    return seed;
  }

  mutable std::shared_mutex mutex_;
  std::unordered_map<size_t, Known> entries_;
  std::deque<size_t> order_;
};

KnownStructures& known_structures() {
  static KnownStructures* const known = new KnownStructures;  // never destroyed: ops may run while the process exits
  return *known;
}

std::atomic<uint64_t> checks_done = 0;

Key read_key(const at::Tensor& key) {
  const auto host = key.is_cpu() ? key.contiguous() : key.cpu().contiguous();  // cpu() takes its time even for a CPU tensor
  const int64_t* data = host.const_data_ptr<int64_t>();
  return {data[0], data[1]};
}

Key checked_key(const char* op, const at::Tensor& indices, const at::Tensor& offsets, const StructureKind& kind) {
  const auto host_indices = indices.cpu(), host_offsets = offsets.cpu();
  checks_done.fetch_add(1, std::memory_order_relaxed);
  Key key{};
  const auto defect = kind.examine(host_indices.const_data_ptr<int32_t>(), host_offsets.const_data_ptr<int32_t>(), key);
  TORCH_CHECK_VALUE(defect.empty(), op, ": unsound structure: ", defect);
  return key;
}

}  // namespace

uint64_t structure_checks() { return checks_done.load(std::memory_order_relaxed); }

CheckedStructure check_structure(const char* op, const at::Tensor& indices, const at::Tensor& offsets, const at::Tensor& key,
                                 const StructureKind& kind, Compare compare) {
  const bool counted = !indices.is_inference() && !offsets.is_inference();  // are changes in place, by torch
  const bool knowable = counted || indices.is_cpu();
  compare = counted ? compare : Compare::kWhole;
  auto structure = knowable ? known_structures().find(indices, offsets, kind.sizes, compare) : std::nullopt;
  if (structure.has_value() && !key.is_cpu()) {
    return *structure;  // reading a key from a device would stall it on every call
  }
  std::optional<Known> checked;
  if (!structure.has_value()) {
    checked.emplace(indices, offsets, kind.sizes);
    checked->structure.key = checked_key(op, indices, offsets, kind);
    checked->structure.compared = true;
    structure = checked->structure;
  }
  const Key given = read_key(key), &expected = structure->key;
  TORCH_CHECK_VALUE(given == expected, op, ": key: expected the key of this structure, [", expected[0], ", ", expected[1],
                    "], got [", given[0], ", ", given[1], "]; ", kind.pack_op, " makes it");
  if (checked.has_value() && knowable) {
    known_structures().add(indices, offsets, std::move(*checked));
  }
  return *structure;
}

CheckedStructure check_structure(const char* op, const at::Tensor& col_indices, const at::Tensor& row_offsets,
                                 const at::Tensor& key, int64_t cols, Compare compare) {
  return check_structure(op, col_indices, row_offsets, key,
                         {"pack_csr", {cols, 0, 0, 0}, [&](const int32_t* indices, const int32_t* offsets, Key& content) {
                            const formats::CsrView view{row_offsets.numel() - 1, cols, col_indices.numel(), indices, offsets};
                            auto defect = formats::csr_defect(view);
                            if (defect.empty()) {
                              content = formats::csr_key(view);
                            }
                            return defect;
                          }},
                         compare);
}

void expect_unchanged(const CheckedStructure& structure, const at::Tensor& indices, const at::Tensor& offsets) {
  if (structure.contents == hash_of_both(indices, offsets)) {
    return;
  }
  known_structures().forget(indices, offsets, structure.sizes);
  TORCH_CHECK_VALUE(false, "unsound structure: indices or offsets were changed without torch's knowledge (through .data or a raw "
                           "pointer) after they had been checked; change them under torch.no_grad() instead");
}

}  // namespace jouleprune::ops
