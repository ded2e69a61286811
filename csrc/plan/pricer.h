// What the planner asks of an energy model. One implementation for profiles; tests bring curves of their own.
#pragma once
#include <jouleprune/energy.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "select/pattern.h"

namespace jouleprune::plan {

/// The kernel that quantises by itself: it may run a layer whose activations are float32.
inline constexpr const char* kInt8Kernel = "bsr-int8";

class Pricer {
 public:
  virtual ~Pricer() = default;
  /// Joules per `count` of one entry run by entry.kernel with entry.nnz weights; non-decreasing in nnz.
  virtual double joules(const Entry& entry, int64_t count) const = 0;
  /// Kernels that can run a prunable entry in this pattern, the dense one first; where zeros save by themselves, those that
  /// the device has.
  virtual std::vector<std::string> candidates(const Entry& entry, const select::Pattern& pattern) const = 0;
  /// Whether the device skips zeros itself, so that joules depend on the zeros only.
  virtual bool zeros_save() const = 0;
  /// How a kernel lays out the weights that are kept.
  virtual std::string layout(const std::string& kernel) const = 0;
  virtual std::string device() const = 0;
  virtual std::string device_hash() const = 0;
};

/// The energy model of csrc/energy on a profile.
std::shared_ptr<const Pricer> profile_pricer(Profile profile);

}  // namespace jouleprune::plan
