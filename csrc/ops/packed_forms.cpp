#include "ops/packed_forms.h"

#include <c10/util/Exception.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <list>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ops/contents.h"

namespace jouleprune::ops {
namespace {

using kernels::FormName;
using kernels::PackedForm;

/// What a form's values were. Those of an inference tensor, whose changes torch does not count, are compared as a whole.
class Values {
 public:
  explicit Values(const at::Tensor& values) : place_(values), sample_(values), hash_(hash_of(values)) {}
  bool expired() const { return place_.expired(); }
  bool hold(const at::Tensor& values) const {
    return place_.holds(values) && sample_.matches(values) && hash_ == hash_of(values);
  }

 private:
  static uint64_t hash_of(const at::Tensor& values) { return values.is_inference() ? content_hash(values) : 0; }

  Place place_;
  Sample sample_;
  uint64_t hash_;
};

struct Kept {
  Place col_indices, row_offsets;
  std::array<int64_t, 2> key;  // other indices in the same place have another one
  Values values;
  FormName name;
  std::shared_ptr<const PackedForm> form;
  int64_t bytes;
  std::atomic<uint64_t> last_used;

  bool dead() const { return col_indices.expired() || row_offsets.expired() || (name.of_values && values.expired()); }
};

int64_t byte_limit() {
  const char* const megabytes = std::getenv("JOULEPRUNE_FORMS_MB");
  if (megabytes == nullptr || *megabytes == '\0') {
    return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE) / 4;
  }
  constexpr int64_t kMost = int64_t{1} << 40;  // bytes shift out of 64 bits beyond
  int64_t number = 0;
  const char* const end = megabytes + std::strlen(megabytes);
  const auto [stopped, error] = std::from_chars(megabytes, end, number);
  TORCH_CHECK_VALUE(error == std::errc() && stopped == end && number >= 0 && number <= kMost,
                    "JOULEPRUNE_FORMS_MB: expected a whole number of megabytes, got '", megabytes, "'");
  return number << 20;
}

/// All kept forms, found by the hash of addresses and name.
class FormStore {
 public:
  std::shared_ptr<const PackedForm> find(size_t hash, const FormName& name, const std::array<int64_t, 2>& key,
                                         const at::Tensor& values, const at::Tensor& col_indices,
                                         const at::Tensor& row_offsets) {
    const std::shared_lock lock(mutex_);
    const auto found = entries_.find(hash);
    if (found == entries_.end()) {
      return nullptr;
    }
    Kept& kept = *found->second;
    if (kept.name != name || kept.key != key || !kept.col_indices.holds(col_indices) || !kept.row_offsets.holds(row_offsets) ||
        (name.of_values && !kept.values.hold(values))) {
      return nullptr;
    }
    kept.last_used.store(clock_.fetch_add(1, std::memory_order_relaxed), std::memory_order_relaxed);
    return kept.form;
  }

  void add(size_t hash, std::unique_ptr<Kept> kept) {
    std::vector<std::unique_ptr<Kept>> dropped;  // freed after the lock: unmapping code takes a while
    const std::unique_lock lock(mutex_);
    made_.fetch_add(1, std::memory_order_relaxed);
    for (auto entry = entries_.begin(); entry != entries_.end();) {
      entry = entry->second->dead() || entry->first == hash ? drop(entry, dropped) : std::next(entry);
    }
    static const int64_t limit = byte_limit();
    while (!entries_.empty() && bytes_ + kept->bytes > limit) {
      drop(std::min_element(entries_.begin(), entries_.end(),
                            [](const auto& a, const auto& b) { return a.second->last_used < b.second->last_used; }),
           dropped);
    }
    bytes_ += kept->bytes;
    kept->last_used = clock_.fetch_add(1, std::memory_order_relaxed);
    entries_[hash] = std::move(kept);
  }

  int64_t bytes() const {
    const std::shared_lock lock(mutex_);
    return bytes_;
  }
  uint64_t made() const { return made_.load(std::memory_order_relaxed); }

 private:
  using Entries = std::unordered_map<size_t, std::unique_ptr<Kept>>;

  Entries::iterator drop(Entries::iterator entry, std::vector<std::unique_ptr<Kept>>& dropped) {
    bytes_ -= entry->second->bytes;
    dropped.push_back(std::move(entry->second));
    return entries_.erase(entry);
  }

  mutable std::shared_mutex mutex_;
  Entries entries_;
  int64_t bytes_ = 0;
  std::atomic<uint64_t> clock_ = 0, made_ = 0;
};

FormStore& form_store() {
  static auto* const store = new FormStore;  // never destroyed: ops may run while the process exits
  return *store;
}

size_t hash_of(const FormName& name, const at::Tensor& values, const at::Tensor& col_indices, const at::Tensor& row_offsets) {
  size_t hash = std::hash<std::string_view>{}(name.kernel);
  const auto mix = [&](uint64_t word) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 32;
  };
  for (const int64_t detail : name.details) {
    mix(static_cast<uint64_t>(detail));
  }
  for (const auto* tensor : {&col_indices, &row_offsets, &values}) {
    if (tensor != &values || name.of_values) {
      mix(reinterpret_cast<uintptr_t>(tensor->storage().unsafeGetStorageImpl()));
      mix(reinterpret_cast<uintptr_t>(tensor->const_data_ptr()));
    }
  }
  return hash;
}

}  // namespace

Place::Place(const at::Tensor& tensor)
    : storage_(tensor.storage().getWeakStorageImpl()), data_(tensor.const_data_ptr()), size_(tensor.numel()),
      version_(version_of(tensor)) {}

bool Place::holds(const at::Tensor& tensor) const {
  return storage_._unsafe_get_target() == tensor.storage().unsafeGetStorageImpl() && data_ == tensor.const_data_ptr() &&
         size_ == tensor.numel() && version_ == version_of(tensor);
}

int64_t Place::version_of(const at::Tensor& tensor) {
  return tensor.is_inference() ? -1 : static_cast<int64_t>(tensor._version());
}

namespace {
thread_local int fresh_values = 0;
}  // namespace

FreshValues::FreshValues() { ++fresh_values; }
FreshValues::~FreshValues() { --fresh_values; }
bool wants_fresh_values() { return fresh_values > 0; }

std::shared_ptr<const PackedForm> WeightForms::make_form(const Make& make) {
  if (!compared_.load(std::memory_order_relaxed)) {
    expect_unchanged(structure_, col_indices_, row_offsets_);
    compared_.store(true, std::memory_order_relaxed);
  }
  return make();
}

std::shared_ptr<const PackedForm> WeightForms::get(const FormName& name, const Make& make) {
  if (name.of_values && fresh_values > 0) {
    return make_form(make);
  }
  const size_t hash = hash_of(name, values_, col_indices_, row_offsets_);
  if (auto kept = form_store().find(hash, name, structure_.key, values_, col_indices_, row_offsets_)) {
    return kept;
  }
  Values values_before(values_);  // should another thread change them now, the form does not pass as one of the new ones
  auto form = make_form(make);
  form_store().add(hash, std::unique_ptr<Kept>(new Kept{Place(col_indices_), Place(row_offsets_), structure_.key,
                                                        std::move(values_before), name, form, form->bytes(), 0}));
  return form;
}

int64_t kept_form_bytes() { return form_store().bytes(); }
uint64_t forms_made() { return form_store().made(); }

}  // namespace jouleprune::ops
