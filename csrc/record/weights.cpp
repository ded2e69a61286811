#include "record/weights.h"

#include <c10/util/hash.h>

#include <set>

#include "record/weight_names.h"
#include "record/zeros.h"

namespace jouleprune::record {

size_t WeightTable::PlaceHash::operator()(const Place& place) const {
  return c10::get_hash(place.base, place.offset, place.numel);
}

WeightTable::Place WeightTable::place_of(const at::Tensor& tensor) {
  c10::TensorImpl* impl = tensor.unsafeGetTensorImpl();
  if (!impl->has_storage()) return {impl, -1, -1};
  c10::StorageImpl* storage = impl->unsafe_storage().unsafeGetStorageImpl();
  // Fake and meta tensors have no memory; their views still share the storage object.
  const void* memory = storage->_mutable_data_ptr_no_checks().get();
  return {memory ? memory : storage, impl->storage_offset(), impl->numel()};
}

WeightTable::WeightTable(const std::vector<std::pair<std::string, at::Tensor>>& named) {
  std::set<std::string> all;
  for (const auto& [name, tensor] : named) all.insert(name);
  for (const auto& [name, tensor] : named) {
    if (!tensor.defined()) continue;
    const std::string weight = weight_name(name, all);
    weights_.push_back({weight, layer_name(weight), tensor.sizes().vec(), tensor.numel(), place_of(tensor).base});
    known_.try_emplace(place_of(tensor), &weights_.back());  // a tied weight keeps its first name
    alive_.push_back(tensor);
  }
}

void WeightTable::add_unnamed(const at::Tensor& weight) {
  weights_.push_back({"", "", weight.sizes().vec(), weight.numel(), place_of(weight).base});
  alias(weight, &weights_.back());
}

const Weight* WeightTable::find(const at::Tensor& tensor) const {
  if (!tensor.defined()) return nullptr;
  const auto found = known_.find(place_of(tensor));
  return found == known_.end() ? nullptr : found->second;
}

bool WeightTable::is_part(const at::Tensor& tensor) const {
  const Weight* weight = find(tensor);
  return weight && weight->base == place_of(tensor).base && weight->numel != tensor.numel();
}

void WeightTable::alias(const at::Tensor& derived, const Weight* weight) {
  if (derived.defined() && known_.try_emplace(place_of(derived), weight).second) alive_.push_back(derived);
}

void WeightTable::forget(const at::Tensor& tensor) {
  const void* base = place_of(tensor).base;
  std::erase_if(known_, [&](const auto& item) { return item.first.base == base; });
}

int64_t WeightTable::kept(const at::Tensor& tensor) {
  if (!has_data(tensor)) return tensor.numel();
  if (!find(tensor)) return count_nonzero(tensor);  // not kept alive, so its place may be another tensor's later
  const auto [item, fresh] = kept_.try_emplace(place_of(tensor), 0);
  if (fresh) item->second = count_nonzero(tensor);
  return item->second;
}

}  // namespace jouleprune::record
