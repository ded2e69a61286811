// The input projection of attention by thirds: queries, keys and values from one weight [3 embed_dim, embed_dim].
#pragma once
#include <jouleprune/nn.h>

#include <memory>
#include <mutex>

namespace jouleprune::nn {

/// Products with some of the thirds of a weight. The structures of the thirds of a sparse one are derived from that of the whole at
/// first use, and anew when the whole has another. Several threads may call it.
class ProjectionParts {
 public:
  /// Outputs of thirds `first` to `last` (not included) of `projection`: input [..., embed_dim] -> [..., (last - first) embed_dim].
  at::Tensor multiply(LinearImpl& projection, const at::Tensor& input, int64_t first, int64_t last);

 private:
  struct Structures;
  std::shared_ptr<const Structures> of(const SparseLinearImpl& whole);

  std::mutex mutex_;
  std::shared_ptr<const Structures> structures_;
};

}  // namespace jouleprune::nn
