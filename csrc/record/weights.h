// Which tensors of a forward pass are weights: by identity, through views, masks and casts.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace jouleprune::record {

/// A weight of the model.
struct Weight {
  std::string name;   ///< as people know it: "fc.weight"; empty when nobody named it
  std::string layer;  ///< "fc"; empty for a weight at the root
  std::vector<int64_t> sizes;
  int64_t numel = 0;
  const void* base = nullptr;  ///< its memory
};

class WeightTable {
 public:
  explicit WeightTable(const std::vector<std::pair<std::string, at::Tensor>>& named);

  /// A parameter that nobody has named.
  void add_unnamed(const at::Tensor& weight);
  /// Null when the tensor is no weight. Pointers stay valid as long as the table.
  const Weight* find(const at::Tensor& tensor) const;
  /// A view of some of a weight's elements. (A copy of another size is the weight itself, parametrised.)
  bool is_part(const at::Tensor& tensor) const;
  /// From now on `derived` (a masked, cast or transposed copy) is that weight. It is kept alive: no other tensor may
  /// take its place in memory.
  void alias(const at::Tensor& derived, const Weight* weight);
  /// Whatever lies in this tensor's memory is an activation from now on: something was written into a buffer.
  void forget(const at::Tensor& tensor);
  /// Elements that are not zero, counted once per tensor. Tensors without data count as dense.
  int64_t kept(const at::Tensor& tensor);

 private:
  struct Place {
    const void* base = nullptr;  ///< memory, or the storage or tensor object of a tensor without memory
    int64_t offset = 0, numel = 0;
    bool operator==(const Place&) const = default;
  };
  struct PlaceHash {
    size_t operator()(const Place& place) const;
  };
  static Place place_of(const at::Tensor& tensor);

  std::deque<Weight> weights_;  ///< `known_` points into it
  std::unordered_map<Place, const Weight*, PlaceHash> known_;
  std::unordered_map<Place, int64_t, PlaceHash> kept_;
  std::vector<at::Tensor> alive_;
};

}  // namespace jouleprune::record
