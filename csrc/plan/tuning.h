// Measured times of kernels on this machine, kept in a file between runs, so that a layer is timed once and not at every conversion.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace jouleprune::plan {

/// One call of a layer, as far as its time depends on it.
struct TunedCall {
  std::string op, dtype;             ///< "linear", "float32"
  int64_t rows = 0, cols = 0, n = 0; ///< of one group
  int64_t groups = 1;
  std::string geometry;              ///< of a convolution: kernel, stride, padding, dilation and the plane's sizes; else empty
  double density = 1;
  int threads = 1;

  /// The same for calls of about equal time: density counts to two significant digits.
  std::string key() const;
};

class TuningTable {
 public:
  /// `machine`: see this_machine(). Times of other machines, or of another version of the library, are not used.
  explicit TuningTable(std::string machine) : machine_(std::move(machine)) {}

  /// Adds what the file holds for this machine; a file that does not exist holds nothing. Throws std::invalid_argument, with the
  /// place, for a damaged one.
  void load(const std::string& path);
  /// Writes the table, merged with what the file holds by now (for this machine and others), beside `path` and renames. Throws
  /// std::system_error when it cannot.
  void save(const std::string& path) const;

  /// Seconds of `kernel` on the call.
  std::optional<double> find(const TunedCall& call, const std::string& kernel) const;
  /// Seconds by kernel of the call at every density that was measured; its own density does not count.
  std::map<double, std::map<std::string, double>> by_density(const TunedCall& call) const;
  /// Throws std::invalid_argument unless 0 < seconds < infinity.
  void put(const TunedCall& call, const std::string& kernel, double seconds);
  size_t size() const;
  /// Of the contents and the machine: 16 hexadecimal digits.
  std::string hash() const;

 private:
  using Times = std::map<std::string, std::map<std::string, double>>;  // call -> kernel -> seconds
  std::string machine_;
  Times times_;
};

/// Processor, instruction set and version of the library.
std::string this_machine();

/// JOULEPRUNE_TUNE when it names a file; else jouleprune/tuning.json in the user's cache folder. Empty with JOULEPRUNE_TUNE=off, or
/// where there is no such folder.
std::string tuning_path();

}  // namespace jouleprune::plan
