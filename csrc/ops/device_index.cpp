#include "ops/device_index.h"

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <array>
#include <list>
#include <mutex>
#include <utility>
#include <vector>

#include "bsr/index.h"
#include "ops/cuda_adapters.h"
#include "ops/packed_forms.h"

namespace jouleprune::ops {
namespace {

struct Kept {
  Place columns, offsets;
  std::array<int64_t, 4> sizes;
  std::shared_ptr<const DeviceIndex> index;

  bool is_of(const BsrWeight& w) const {
    return sizes == sizes_of(w) && columns.holds(w.block_columns) && offsets.holds(w.block_row_offsets);
  }
  static std::array<int64_t, 4> sizes_of(const BsrWeight& w) { return {w.bsr.rows, w.bsr.cols, w.bsr.r, w.bsr.c}; }
};

/// Those used last stand first.
class Store {
 public:
  std::shared_ptr<const DeviceIndex> find(const BsrWeight& weight) {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(kept_.begin(), kept_.end(), [&](const Kept& kept) { return kept.is_of(weight); });
    if (found == kept_.end()) {
      return nullptr;
    }
    kept_.splice(kept_.begin(), kept_, found);
    return found->index;
  }
  void add(const BsrWeight& weight, std::shared_ptr<const DeviceIndex> index) {
    const std::lock_guard lock(mutex_);
    kept_.remove_if([](const Kept& kept) { return kept.columns.expired() || kept.offsets.expired(); });
    kept_.push_front({Place(weight.block_columns), Place(weight.block_row_offsets), Kept::sizes_of(weight), std::move(index)});
    if (kept_.size() > kMaxKnownStructures) {
      kept_.pop_back();
    }
  }

 private:
  std::mutex mutex_;
  std::list<Kept> kept_;
};

Store& store() {
  static auto* const all = new Store;  // never destroyed: its tensors would outlive their device's runtime
  return *all;
}

at::Tensor on_device(const std::vector<int32_t>& numbers, const at::Tensor& like) {
  return at::tensor(numbers, at::TensorOptions().dtype(at::kInt)).to(like.device());
}

}  // namespace

cuda::bsr::Transposed DeviceIndex::view() const {
  return {offsets.numel() - 1, places.numel(), offsets.const_data_ptr<int32_t>(), places.const_data_ptr<int32_t>(),
          sources.const_data_ptr<int32_t>()};
}

std::shared_ptr<const DeviceIndex> device_index(const BsrWeight& weight) {
  const bool counted = !weight.block_columns.is_inference() && !weight.block_row_offsets.is_inference();
  if (auto known = counted ? store().find(weight) : nullptr) {
    return known;
  }
  const auto columns = weight.block_columns.cpu(), offsets = weight.block_row_offsets.cpu();
  const auto& bsr = weight.bsr;
  const cuda::bsr::HostStructure structure{bsr.rows, bsr.cols, bsr.r, bsr.c, columns.const_data_ptr<int32_t>(),
                                           offsets.const_data_ptr<int32_t>()};
  const auto made = bsr.c == 1 ? cuda::bsr::transposed_vectors(structure) : cuda::bsr::transposed_blocks(structure);
  auto index = std::make_shared<DeviceIndex>(DeviceIndex{on_device(made.offsets, weight.block_columns),
                                                         on_device(made.places, weight.block_columns),
                                                         on_device(made.sources, weight.block_columns),
                                                         cuda::bsr::longest(structure.block_row_offsets, bsr.down())});
  if (counted) {
    store().add(weight, index);
  }
  return index;
}

cuda::bsr::Weight launch_weight(const BsrWeight& weight, const DeviceIndex& index, const at::Tensor& like) {
  const auto& bsr = weight.bsr;
  return {cuda_element_type(like.scalar_type()),
          bsr.rows,
          bsr.cols,
          static_cast<int32_t>(bsr.r),
          static_cast<int32_t>(bsr.c),
          bsr.blocks,
          index.longest,
          pointer_or_null(weight.blocks),
          bsr.block_columns,
          bsr.block_row_offsets};
}

}  // namespace jouleprune::ops
