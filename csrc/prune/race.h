// Dense against csr on this machine: who runs one layer faster on the shapes that the model really sees?
#pragma once
#include <ATen/core/Tensor.h>
#include <jouleprune/energy.h>
#include <jouleprune/prune.h>

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "plan/tuning.h"

namespace jouleprune::prune {

/// One call of a layer.
struct RaceCase {
  at::Tensor weight;
  std::optional<at::Tensor> mask;  // shape of the weight, non-zero = kept; without one the zeros of the weight
  at::Tensor bias;                 // or undefined
  std::string op;                  // "linear", "conv1d", "conv2d"
  std::vector<int64_t> input_sizes;
  std::array<int64_t, 2> stride = {1, 1}, padding = {0, 0}, dilation = {1, 1};
  int64_t groups = 1;
  // Of a linear or conv2d also "bsr-int8", and "torch-int8": torch's own int8 of the dense weight (dynamic; of a convolution, for which
  // there is no such thing, static between a quantisation and its inverse).
  std::string kernel = "csr";
  at::Tensor input_scale{};        // of bsr-int8; undefined: a scale per row, or image
};

/// A kernel replaces another when it is this much faster: below that the difference drowns in the noise of a shared machine.
inline constexpr double kMargin = 1.03;

/// Seconds per forward pass of one layer, all its calls.
struct Race {
  double dense_s = 0, sparse_s = 0;
  std::string label;  // kMeasured, kNoisy, "measured before" or "modelled, generic-cpu"
  static constexpr const char* kMeasured = "measured";
  static constexpr const char* kNoisy = "measured, noisy";  // other programs were in between; of several calls: at some call
  bool sparse_wins() const;  ///< by kMargin
  std::string sentence() const;
  Race& operator+=(const Race& other);
};

/// Seconds of some work: those that passed, and those during which it really ran.
struct Sample {
  double wall_s = 0, cpu_s = 0;
};
using Sampler = std::function<Sample(const std::function<void()>& work)>;

/// Two pieces of work, timed in turn.
Race race(const std::function<void()>& dense, const std::function<void()>& sparse, const Timer& timer, const Sampler& sampler = {});

/// Both timed in turn. Without a `timer`, the least times of rounds in which no other program had the core; what was measured before
/// on this machine is looked up in `tuning`, and what was not is added unless it is noisy. With one, the medians of what it says.
/// `sampler`: the system's clocks when empty. Throws c10::ValueError on an unknown op or sizes that do not fit.
Race race(const RaceCase& call, const Timer& timer, plan::TuningTable* tuning = nullptr, const Sampler& sampler = {});

/// This machine's measured times: the file of plan::tuning_path(). A damaged file holds nothing and is made anew.
class KeptTimes {
 public:
  KeptTimes();
  plan::TuningTable* table() { return path_.empty() ? nullptr : &table_; }
  /// Writes what was added; a folder that cannot be written to is no reason to fail (TORCH_WARN).
  void save();

 private:
  std::string path_;
  plan::TuningTable table_;
  size_t known_ = 0;
};

/// The same question answered by the cost entries of generic-cpu for one recorded call, without a clock.
Race race_by_cost(const Entry& dense, int64_t nnz);

/// The entry as csr would run it.
Entry as_csr(Entry entry, int64_t nnz);

}  // namespace jouleprune::prune
