// Energy of a forward pass on a device: profile (the device), workload (what runs), report (the joules).
// Torch-free but for `Forward`, which only holds a callable. The model: docs/energy_model.md.
#pragma once
#include <jouleprune/error.h>

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace jouleprune {

namespace energy {
struct ProfileData;  // csrc/energy/profile_data.h
}

/// Energy description of a device: pJ per operation and per bit moved, memory levels, static power, dataflow.
/// Every number carries value, low, high and provenance. Immutable; cheap to copy.
class Profile {
 public:
  /// A built-in name (see names()) or the path of a JSON file. Throws jouleprune::ProfileError (value_errors.h) with the JSON
  /// pointer of what is wrong. (The core throws core::ProfileError: energy::load_profile in csrc/energy/profile_data.h.)
  static Profile load(const std::string& name_or_path);
  /// `origin` is named in errors.
  static Profile parse(std::string_view json, const std::string& origin);
  static std::vector<std::string> names();

  const std::string& name() const;
  const std::string& kind() const;  ///< "asic", "cpu" or "gpu"
  std::string to_json() const;      ///< parse(to_json()) gives an equal profile
  std::string hash() const;         ///< 32 hex digits over the canonical JSON
  const energy::ProfileData& data() const { return *data_; }
  explicit Profile(std::shared_ptr<const energy::ProfileData> data) : data_(std::move(data)) {}

 private:
  std::shared_ptr<const energy::ProfileData> data_;
};

/// One op call of a forward pass. Weighted ops are seen as a product W[rows, cols] x X[cols, n], `groups` times.
struct Entry {
  std::string name;             ///< layer: the weight's name without ".weight", or "<op>_<k>" for ops without weight
  std::string op;               ///< "linear", "conv1d", "conv2d", "matmul", "attention", "lstm", "gru", "embedding", "elementwise", "norm", ...
  std::string dtype;            ///< "float32", "bfloat16", "float16", "float64", "int8"
  std::string weight;           ///< name of the weight parameter; empty when the op has none
  std::vector<int64_t> shape;   ///< as people print it: weight sizes, or output sizes for ops without weight
  int64_t rows = 0;             ///< output features of one group
  int64_t cols = 0;             ///< input features of one group: in_channels / groups x kernel taps for a convolution
  int64_t n = 0;                ///< times each weight is used: batch rows, or batch x output pixels; 0 = batch 0
  int64_t groups = 1;           ///< independent products (convolution groups, matmul batches)
  int64_t macs = 0;             ///< dense multiply-accumulates of the call
  int64_t ops = 0;              ///< elementwise operations that are no MACs
  int64_t weight_elements = 0;  ///< 0 for ops without weight
  int64_t nnz = 0;              ///< kept weights; equals weight_elements when dense
  int64_t input_elements = 0;   ///< activations read, each counted once
  int64_t output_elements = 0;  ///< activations written, each counted once
  double input_density = 1.0;   ///< share of non-zero input activations; 1 unless the user gave another
  std::string pattern = "dense";  ///< "dense", "unstructured", ...
  std::string layout = "dense";   ///< how kept values are stored: "dense", "csr", ...
  std::string kernel = "dense";   ///< cost entry that prices the call: kernels() in csrc/energy/kernel_cost.h
  std::vector<int64_t> image;     ///< of a convolution: sizes of one output image; empty where they are not told
  std::vector<int64_t> stride;    ///< as `image`, an entry per axis of it; empty = 1
  std::vector<int64_t> dilation;  ///< as `stride`
  int64_t steps = 1;              ///< of a recurrent layer: steps in time, `n / steps` columns each
  std::string call;               ///< of an op without MACs: as torch names it, "clamp", "max_pool2d"; empty where it is not told
};

/// The ops of one forward pass at given shapes, in call order; a weight used twice has two entries.
struct Workload {
  std::vector<Entry> entries;
  std::vector<std::string> unknown_ops;  ///< ops the recorder could not price, each named once
  int64_t batch = 1;
  int64_t count = 1;               ///< energy of the pass is divided by this; the batch size by default
  std::string per = "inference";   ///< what `count` counts: "inference", "token", "request"

  std::string to_json() const;
  /// Throws std::invalid_argument with the JSON pointer of what is wrong.
  static Workload parse(std::string_view json);
};

/// Joules by cause. Source of the split: docs/energy_model.md.
struct Parts {
  double compute_j = 0, memory_j = 0, metadata_j = 0, static_j = 0;
  double total_j() const { return compute_j + memory_j + metadata_j + static_j; }
  Parts& operator+=(const Parts& other);
};

/// One line of a report: all calls of one layer have a line each. Joules are per `count`.
struct LayerEnergy {
  std::string name, op, dtype, pattern, layout, kernel;
  std::vector<int64_t> shape;
  double density = 1;
  double macs_issued = 0, macs_effective = 0;  ///< per forward pass
  std::map<std::string, double> bytes;         ///< traffic per memory level, per forward pass
  double latency_s = 0;                        ///< modelled time per forward pass
  double energy_j = 0, low_j = 0, high_j = 0;
  Parts parts;
  double share = 0;  ///< of the total, 0..1
  std::string extrapolated_from;  ///< the profile's number type whose numbers were scaled to `dtype`; empty: it lists it
  std::string mapping;            ///< fixed-nest: "given", or "found (seed 1)" where a search chose it; empty elsewhere
};

struct EnergyReport {
  std::string profile, profile_hash, per = "inference", label = "modelled";
  int64_t batch = 1, count = 1;
  std::vector<LayerEnergy> layer_list;
  std::vector<std::string> unknown_ops;
  Parts parts;
  double energy_j = 0, low_j = 0, high_j = 0;
  double latency_s = 0;  ///< modelled time of the whole pass, seconds

  double total_j() const { return energy_j; }
  const std::vector<LayerEnergy>& layers() const { return layer_list; }
  std::string to_json() const;
};
std::ostream& operator<<(std::ostream& out, const EnergyReport& report);

/// Prices a workload; every entry by the cost entry named in `kernel`. Pure.
EnergyReport estimate(const Workload& workload, const Profile& profile);

/// A way to run a model once. The callable is yours: put the model in eval mode yourself.
struct Forward {
  std::function<void()> run;
  int64_t batch = 1;
  std::string per = "inference";
  int64_t count = 0;  ///< 0 = batch
};

/// Runs `forward` once under the recorder (without gradients) and prices what was seen.
EnergyReport estimate(const Forward& forward, const Profile& profile);

}  // namespace jouleprune
