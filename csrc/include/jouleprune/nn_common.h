// What the modules of nn.h, nn_sequence.h and nn_attention.h share: how weights are packed, and why a layer is what it is.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace jouleprune {

/// What convert() did with one layer, and why. Seconds per forward pass on this machine; empty where nothing was timed.
struct Decision {
  std::string name;    ///< layer
  std::string weight;  ///< parameter, as it was called while dense
  std::string layout = "dense", kernel = "dense";
  double density = 1;
  std::string reason;  ///< one sentence
  std::optional<double> dense_s, sparse_s;
  /// A line for each way to run the layer, with its predicted and measured time; empty where convert() was forced.
  std::string candidates{};
};

namespace nn {

/// Decisions of the convert() that made or switched a layer: explain() finds them there. Copies share them.
struct Explained {
  std::shared_ptr<const std::vector<Decision>> decisions;
};

/// Rows and columns of the blocks of layout bsr.
using BlockSize = std::array<int64_t, 2>;

/// How from_dense() packs the weight of a Linear or Conv2d: the arguments of Python's from_dense.
struct PackOptions {
  /// "csr", which "" stands for too; of a Linear "bsr" and "vector" keep whole blocks. With dtype "int8": "bsr" or "".
  std::string layout{};
  /// Of the weight's shape: non-zero = kept. Without one the zeros of the weight are the mask.
  std::optional<at::Tensor> mask{};
  /// Of layout "bsr": a block is kept when any of its entries is; without one the largest of the known sizes that stores no pruned
  /// entry. Of layout "vector": {r, 1}, by default {16, 1}.
  std::optional<BlockSize> block_size{};
  /// "" keeps the dtype of the weight. "int8" quantises it in blocks of 1 x 4 (of a convolution four channels at one tap), one scale per
  /// output: for inference.
  std::string dtype{};
};

}  // namespace nn
}  // namespace jouleprune
