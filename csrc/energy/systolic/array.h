// A systolic array with an input cache and a weight cache: the energy of a layer in accesses.
// Model: Yang, Zhu, Liu, "Energy-Constrained Compression for Deep Neural Networks via Weighted Sparse Projection and
// Layer Input Masking", ICLR 2019; here with batches, groups, dilation, rectangular kernels, bit widths and metadata as
// well.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace jouleprune::energy::systolic {

/// Energies in any unit, per word of `word_bits`.
struct Array {
  int64_t rows = 12;                  ///< m: output pixels computed at a time
  int64_t cols = 14;                  ///< n: output channels computed at a time
  int64_t input_cache_words = 51200;  ///< s1
  int64_t weight_cache_words = 4096;  ///< s2
  double e_mac = 3, e_mem = 200, e_cache = 6, e_rf = 1;
  int64_t word_bits = 16;
};

/// A convolution, or a fully connected layer: `fully_connected`, then only the channels and the batch count.
struct Layer {
  bool fully_connected = false;
  int64_t out_channels = 1, in_channels = 1, groups = 1, batch = 1;
  int64_t in_h = 1, in_w = 1, kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1, padding_h = 0, padding_w = 0, dilation_h = 1, dilation_w = 1;
  int64_t weight_bits = 16, input_bits = 16;
  int64_t metadata_bits = 0;  ///< per kept weight

  int64_t out_h() const;
  int64_t out_w() const;
  int64_t pixels() const;  ///< outputs per channel, whole batch
  int64_t taps() const { return fully_connected ? 1 : kernel_h * kernel_w; }
  int64_t weights() const { return out_channels * (in_channels / groups) * taps(); }
  int64_t fan_in() const { return in_channels / groups * taps(); }
};

/// Throws std::invalid_argument naming the field.
void check(const Array& array);
void check(const Layer& layer);

struct LayerEnergy {
  double inputs = 0, weights = 0, macs = 0;  ///< X (with outputs), W, C
  double total() const { return inputs + weights + macs; }
};

/// Energy of one more weight.
struct Marginals {
  double in_cache = 0;      ///< while the layer's kept weights fit in the weight cache
  double out_of_cache = 0;  ///< beyond
};

/// Kept weights at each tap of the kernel, over all channels: [kernel_h x kernel_w]. All weights of a dense layer.
std::vector<int64_t> dense_taps(const Layer& layer);

/// Multiply-accumulates with weight and input there: at the rim, taps that fall on padding do not count.
int64_t valid_macs(const Layer& layer, const std::vector<int64_t>& kept_per_tap);

/// Throws std::invalid_argument when the input cache cannot hold the rows that a kernel covers.
LayerEnergy exact_energy(const Layer& layer, const Array& array, const std::vector<int64_t>& kept_per_tap);

/// As above with MACs on padding counted: linear in `kept` on both sides of the cache's capacity, so that marginals add
/// up.
LayerEnergy relaxed_energy(const Layer& layer, const Array& array, int64_t kept);

Marginals marginals(const Layer& layer, const Array& array);

/// Kept weights that fit in the weight cache.
int64_t cached_weights(const Layer& layer, const Array& array);

/// A layer and its weights, for the projection: [weights], read only.
struct Weighted {
  Layer layer;
  const float* weights = nullptr;
};

/// Which weights to keep within `budget`, in the order of w^2 over marginal energy: [layers][weights]. The largest
/// weights of a layer are those that are in its cache. Throws std::invalid_argument when not even inputs and outputs
/// fit. `spare`: items of the prefix that fits which are left out all the same (the published program leaves one out).
std::vector<std::vector<bool>> project(const std::vector<Weighted>& layers, const Array& array, double budget,
                                       size_t spare = 0);

}  // namespace jouleprune::energy::systolic
