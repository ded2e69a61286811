// A device of dataflow fixed-nest: its storage levels, what each keeps, which loops it may run and side by side.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "energy/json_reader.h"
#include "energy/nest/loop_nest.h"
#include "energy/nest/sparse.h"

namespace jouleprune::energy::nest {

/// Dimensions of a layer: groups, output and input channels of a group, filter rows and columns, images, output rows
/// and columns. A matrix product W[M, C] X[C, N] has R = S = P = Q = 1.
enum Dim : size_t { kG, kM, kC, kR, kS, kN, kP, kQ, kDims };
inline constexpr std::array<const char*, kDims> kDimNames = {"G", "M", "C", "R", "S", "N", "P", "Q"};
using Sizes = std::array<int64_t, kDims>;

enum TensorIndex : size_t { kWeights, kInputs, kOutputs, kTensors };
inline constexpr std::array<const char*, kTensors> kTensorNames = {"weights", "inputs", "outputs"};

/// Copies of everything inside a level, along one axis of the array.
struct FanOut {
  int64_t extent = 1;
  std::vector<size_t> dims;  ///< that may be spread over it, in this order
};

struct DeviceLevel {
  std::array<bool, kTensors> keeps{};
  int64_t word_bits = 0;    ///< of an element; 0: the width of its number type
  int64_t block_words = 1;  ///< an access moves whole blocks
  double capacity_bits = 0;
  /// The only dimensions it iterates over, outer to inner; none: all, in any order.
  std::optional<std::vector<size_t>> loops;
  FanOut x, y;
  std::array<std::optional<Format>, kTensors> formats;  ///< how zeros are left out; none: they are stored
  int64_t metadata_bits = 4;                            ///< of a run length or a coordinate
  std::vector<Optimization> optimizations;
};

/// A loop of a given mapping: at most so many iterations.
struct Step {
  size_t dim = 0;
  int64_t bound = 1;
};

/// How a layer is cut up, whatever its sizes: [levels] outer to inner. Loops shrink to what a layer has; what is left
/// over is iterated over at the outermost level.
struct Tiling {
  struct Cut {
    std::vector<Step> loops, x, y;  ///< outer to inner
    friend bool operator==(const Cut& a, const Cut& b);
  };
  std::vector<Cut> levels;
};

struct Device {
  std::vector<DeviceLevel> levels;        ///< outermost first
  std::map<std::string, Tiling> mappings; ///< by op, "" for all others
  int64_t seed = 1;                       ///< of the search for ops without a mapping
  bool gate_zero_operands = false;        ///< arithmetic does nothing when an operand is zero

  bool uses_zeros() const;
};

/// Asked of every number that is read: its provenance must be there.
using Check = std::function<void(const Node&)>;

/// The fields of a level that only fixed-nest has. `capacity_bits`: infinite where the file gives none; `widest_bits`:
/// of a number type. Fails on the node where the level cannot hold a word of each tensor that it keeps.
DeviceLevel read_device_level(const Node& node, double capacity_bits, int widest_bits, const Check& check);
/// "mappings", "mapper" and "arithmetic" of the profile, and what holds for all levels together.
void read_device(const Node& root, Device& device, const Check& check);

}  // namespace jouleprune::energy::nest
