#include "energy/nest/device.h"

#include <algorithm>
#include <cmath>

namespace jouleprune::energy::nest {
namespace {

constexpr double kMaxSmall = 1 << 16, kMaxSeed = 1e9;
constexpr double kMaxUnits = 1 << 20;

template <size_t Size>
size_t index_of(const Node& node, const std::array<const char*, Size>& names) {
  const std::string name = node.text(16);
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) node.fail("one of " + joined({names.begin(), names.end()}));
  return static_cast<size_t>(found - names.begin());
}

/// 16 and 16.0 are the same: the canonical form of a profile has the latter.
int64_t whole(const Node& node, double least, double most) {
  const double value = node.number();
  if (value < least || value > most || value != std::floor(value)) {
    node.fail("an integer from " + std::to_string(static_cast<int64_t>(least)) + " to " +
              std::to_string(static_cast<int64_t>(most)));
  }
  return static_cast<int64_t>(value);
}

int64_t small(const Node& node, const Check& check) {
  const int64_t value = whole(node, 1, kMaxSmall);
  check(node);
  return value;
}

std::vector<size_t> read_dims(const Node& node) {
  std::vector<size_t> dims;
  const size_t size = node.array_size(kDims);
  for (size_t i = 0; i < size; ++i) {
    const size_t dim = index_of(node.item(i), kDimNames);
    if (std::find(dims.begin(), dims.end(), dim) != dims.end()) node.item(i).fail("a dimension that is not there yet");
    dims.push_back(dim);
  }
  return dims;
}

FanOut read_fan_out(const Node& node, const Check& check) {
  node.expect_keys({"extent", "dims"});
  return {small(node.at("extent"), check), read_dims(node.at("dims"))};
}

Format format_of(const Node& node) {
  const std::string name = node.one_of({"bitmask", "coordinates", "run-lengths"});
  if (name == "bitmask") return Format::kBitmask;
  return name == "coordinates" ? Format::kCoordinates : Format::kRunLengths;
}

Optimization read_optimization(const Node& node) {
  node.expect_keys({"type", "target", "condition_on"});
  Optimization optimization;
  optimization.skips = node.at("type").one_of({"gating", "skipping"}) == "skipping";
  Condition condition;
  condition.target = index_of(node.at("target"), kTensorNames);
  const Node list = node.at("condition_on");
  const size_t size = list.array_size(2);
  if (size == 0) list.fail("at least one tensor");
  for (size_t i = 0; i < size; ++i) {
    condition.conditions.push_back(index_of(list.item(i), kTensorNames));
    if (condition.conditions.back() == condition.target || condition.conditions.back() == kOutputs)
      list.item(i).fail("weights or inputs, other than the target");
  }
  optimization.options.push_back(std::move(condition));
  return optimization;
}

std::vector<Step> read_steps(const Node& node, const Check& check) {
  std::vector<Step> steps;
  const size_t size = node.array_size(2 * kDims);
  for (size_t i = 0; i < size; ++i) {
    const Node step = node.item(i);
    if (step.array_size(2) != 2) step.fail("[dimension, bound]");
    steps.push_back({index_of(step.item(0), kDimNames), small(step.item(1), check)});
  }
  return steps;
}

Tiling read_tiling(const Node& node, const Device& device, const Check& check) {
  node.expect_keys({"levels"});
  const Node levels = node.at("levels");
  Tiling tiling;
  if (levels.array_size(device.levels.size()) != device.levels.size())
    levels.fail("an item for each of the " + std::to_string(device.levels.size()) + " levels, outermost first");
  for (size_t i = 0; i < device.levels.size(); ++i) {
    const Node level = levels.item(i);
    level.expect_keys({"loops", "x", "y"});
    Tiling::Cut cut;
    if (level.has("loops")) cut.loops = read_steps(level.at("loops"), check);
    for (const auto& [key, steps, room] : {std::tuple{"x", &cut.x, device.levels[i].x.extent},
                                           std::tuple{"y", &cut.y, device.levels[i].y.extent}}) {
      if (!level.has(key)) continue;
      *steps = read_steps(level.at(key), check);
      double used = 1;
      for (const Step& step : *steps) used *= static_cast<double>(step.bound);
      if (used > static_cast<double>(room))
        level.at(key).fail("bounds whose product is at most " + std::to_string(room));
    }
    tiling.levels.push_back(std::move(cut));
  }
  return tiling;
}

}  // namespace

bool operator==(const Tiling::Cut& a, const Tiling::Cut& b) {
  const auto same = [](const std::vector<Step>& left, const std::vector<Step>& right) {
    return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                      [](const Step& l, const Step& r) { return l.dim == r.dim && l.bound == r.bound; });
  };
  return same(a.loops, b.loops) && same(a.x, b.x) && same(a.y, b.y);
}

bool Device::uses_zeros() const {
  return gate_zero_operands || std::any_of(levels.begin(), levels.end(), [](const DeviceLevel& level) {
           return !level.optimizations.empty() ||
                  std::any_of(level.formats.begin(), level.formats.end(), [](const auto& f) { return f.has_value(); });
         });
}

DeviceLevel read_device_level(const Node& node, double capacity_bits, int widest_bits, const Check& check) {
  DeviceLevel level;
  level.capacity_bits = capacity_bits;
  const Node keeps = node.at("keeps");
  const size_t kept = keeps.array_size(kTensors);
  if (kept == 0) keeps.fail("at least one of weights, inputs, outputs");
  for (size_t i = 0; i < kept; ++i) level.keeps[index_of(keeps.item(i), kTensorNames)] = true;
  if (node.has("word_bits")) level.word_bits = small(node.at("word_bits"), check);
  if (node.has("block_words")) level.block_words = small(node.at("block_words"), check);
  if (node.has("metadata_bits")) level.metadata_bits = small(node.at("metadata_bits"), check);
  if (node.has("loops")) level.loops = read_dims(node.at("loops"));
  if (node.has("spatial")) {
    node.at("spatial").expect_keys({"x", "y"});
    if (node.at("spatial").has("x")) level.x = read_fan_out(node.at("spatial").at("x"), check);
    if (node.at("spatial").has("y")) level.y = read_fan_out(node.at("spatial").at("y"), check);
  }
  if (node.has("formats")) {
    const Node formats = node.at("formats");
    formats.expect_keys({"weights", "inputs"});
    for (const size_t tensor : {kWeights, kInputs}) {
      if (!formats.has(kTensorNames[tensor])) continue;
      if (!level.keeps[tensor]) formats.at(kTensorNames[tensor]).fail_plainly("this level does not keep it");
      level.formats[tensor] = format_of(formats.at(kTensorNames[tensor]));
    }
  }
  if (node.has("optimizations")) {
    const Node list = node.at("optimizations");
    const size_t size = list.array_size(8);
    for (size_t i = 0; i < size; ++i) {
      level.optimizations.push_back(read_optimization(list.item(i)));
      if (!level.keeps[level.optimizations.back().options[0].target])
        list.item(i).at("target").fail("a tensor that this level keeps");
    }
  }
  const auto word = static_cast<double>(level.word_bits > 0 ? level.word_bits : widest_bits);
  const double least = std::ceil(static_cast<double>(kept) * word / 8);
  if (capacity_bits < 8 * least) {
    node.at("capacity_bytes")
        .fail("room for a word of each tensor that it keeps: " + std::to_string(static_cast<int64_t>(least)) + " bytes");
  }
  return level;
}

void read_device(const Node& root, Device& device, const Check& check) {
  double units = 1;
  for (const DeviceLevel& level : device.levels)
    units *= static_cast<double>(level.x.extent) * static_cast<double>(level.y.extent);
  if (units > kMaxUnits) root.at("levels").fail_plainly("expected extents whose product is at most 2^20");
  for (size_t tensor = 0; tensor < kTensors; ++tensor) {
    if (!device.levels[0].keeps[tensor])
      root.at("levels").item(0).at("keeps").fail("all of weights, inputs, outputs: the outermost level");
    bool plain = false;  // outside the level looked at
    for (size_t i = 0; i < device.levels.size(); ++i) {
      if (!device.levels[i].keeps[tensor]) continue;
      if (device.levels[i].formats[tensor] && plain)
        root.at("levels")
            .item(i)
            .at("formats")
            .fail_plainly("a level outside stores " + std::string(kTensorNames[tensor]) + " plainly");
      plain = plain || !device.levels[i].formats[tensor];
    }
  }
  if (root.has("arithmetic")) {
    root.at("arithmetic").expect_keys({"gates_zero_operands"});
    if (root.at("arithmetic").has("gates_zero_operands"))
      device.gate_zero_operands = root.at("arithmetic").at("gates_zero_operands").boolean();
  }
  if (root.has("mapper")) {
    root.at("mapper").expect_keys({"seed"});
    device.seed = whole(root.at("mapper").at("seed"), 0, kMaxSeed);
  }
  if (!root.has("mappings")) return;
  const Node mappings = root.at("mappings");
  mappings.expect_object();
  if (mappings.json().size() > 32) mappings.fail_plainly("expected at most 32 ops");
  for (const auto& [op, value] : mappings.json().items()) {
    device.mappings.emplace(op, read_tiling(mappings.at(op), device, check));
  }
}

}  // namespace jouleprune::energy::nest
