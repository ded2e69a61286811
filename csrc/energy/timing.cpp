#include "energy/timing.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "energy/json_reader.h"
#include "energy/timed_families.h"

namespace jouleprune::energy {
namespace {

constexpr size_t kMostShapes = 1024, kMostAxes = 8;
constexpr double kLeastReach = 0.01;  // its square still is a number
// glibc maps blocks from 32 MiB on anew at every allocation (DEFAULT_MMAP_THRESHOLD_MAX), so that each page is touched for the first
// time; and it gives up what is free beyond twice that size, which a few results of half of it make together.
constexpr double kMapped = 32.0 * 1024 * 1024;
// Convolutions: vectors of output channels that a kernel works on side by side, pixels times vectors whose sums are under way at a time
// (registers that are left, and what hides the latency of a multiply-add).
constexpr double kVectorLanes = 16, kMostVectors = 4, kMostSums = 16;
// Rows of outputs that a product works on side by side.
constexpr double kMostRows = 64;

double count_of(int64_t value) { return static_cast<double>(value); }
double octaves(double size) { return std::log2(std::max(size, 1.0)); }

/// Counts of one call, by name.
struct Counter {
  TimedCounts counts{};
  double& operator[](Timed timed) { return counts[static_cast<size_t>(timed)]; }
};

/// Sizes of a convolution; `told` where the entry has them all.
struct Windows {
  double in = 0, out = 0, taps = 1, width = 1, height = 1, batch = 1, stride = 1;
  bool told = false, all_wide = true;  ///< all_wide: no axis of the kernel has 3 taps or fewer
};

Windows windows_of(const Entry& entry) {
  Windows found;
  if (entry.shape.size() < 3 || entry.image.empty() || entry.n <= 0) return found;
  found.out = count_of(entry.shape[0]);
  found.in = count_of(entry.shape[1]) * count_of(entry.groups);
  for (size_t i = 2; i < entry.shape.size(); ++i) {
    found.taps *= count_of(entry.shape[i]);
    found.all_wide = found.all_wide && entry.shape[i] > 3;
  }
  double pixels = 1;
  for (const int64_t size : entry.image) pixels *= count_of(size);
  for (const int64_t step : entry.stride) found.stride *= count_of(step);
  found.width = count_of(entry.image.back());
  found.batch = std::max(1.0, std::floor(count_of(entry.n) / pixels));
  found.height = count_of(entry.n) / found.width / found.batch;
  found.told = true;
  return found;
}

/// torch runs small float32 convolutions as products of unfolded images instead of oneDNN's: single images of up to 20480 values, and
/// (one thread) 1x1 windows in batches below 16 (ConvParams::use_mkldnn, aten/src/ATen/native/Convolution.cpp).
bool is_small(const Entry& entry, const Windows& windows) {
  if (entry.dtype != "float32" || entry.groups > 1) return false;
  if (windows.batch == 1 && entry.input_elements <= 20480 && !windows.all_wide) return true;
  return windows.taps == 1 && windows.stride == 1 && windows.batch < 16;
}

double fresh(double bytes) { return bytes >= kMapped ? bytes : 0; }
double large(double bytes) { return bytes >= kMapped / 2 ? bytes : 0; }

/// Bytes of the operands where they do not fit in the second innermost cache.
double far(double bytes, const ProfileData& profile) {
  const size_t levels = profile.levels.size();
  const double bits = levels >= 2 ? profile.levels[levels - 2].capacity_bits : 0;
  return bytes * 8 > bits ? bytes : 0;
}

bool is_convolution(const Entry& entry) { return entry.op == "conv1d" || entry.op == "conv2d" || entry.op == "conv3d"; }
bool is_recurrent(const Entry& entry) { return entry.op == "lstm" || entry.op == "gru" || entry.op == "rnn"; }

void count_operands(const Entry& entry, const ProfileData& profile, Counter& counter) {
  const double width = dtype_bits(entry.dtype) / 8.0;
  const double inputs = count_of(entry.input_elements) * width, outputs = count_of(entry.output_elements) * width;
  counter[Timed::kCall] = 1;
  counter[Timed::kInput] = inputs;
  counter[Timed::kOutput] = outputs;
  counter[Timed::kFar] = far(inputs + outputs, profile);
  counter[Timed::kLarge] = large(outputs);
  counter[Timed::kFresh] = fresh(outputs);
}

TimeView product(const Entry& entry, const ProfileData& profile) {
  Counter counter;
  count_operands(entry, profile, counter);
  const double macs = count_of(entry.macs);
  counter[Timed::kMac] = macs;
  counter[Timed::kNarrowMac] = macs / std::clamp(count_of(entry.n), 1.0, kMostSums);
  counter[Timed::kLoneMac] = macs / std::clamp(count_of(entry.rows), 1.0, kMostRows);
  counter[Timed::kWeight] = count_of(entry.weight_elements) * dtype_bits(entry.dtype) / 8;
  return {entry.op + " " + entry.dtype,
          "",
          counter.counts,
          {octaves(count_of(entry.rows)), octaves(count_of(entry.cols)), octaves(count_of(entry.n)),
           octaves(count_of(entry.groups))}};
}

std::string kind_of(const Windows& windows, double groups) {
  if (groups > 1) return groups == windows.in && groups == windows.out ? "depthwise" : "grouped";
  if (windows.taps == 1) return "pointwise";
  return windows.width == 1 || windows.height == 1 ? "convolution of a line" : "convolution";
}

std::optional<TimeView> convolution(const Entry& entry, const ProfileData& profile) {
  const Windows windows = windows_of(entry);
  if (!windows.told) return std::nullopt;
  TimeView view = product(entry, profile);
  Counter counter{view.counts};
  const bool small = is_small(entry, windows);
  const double groups = count_of(entry.groups), macs = count_of(entry.macs), n = windows.width * windows.height;
  counter[Timed::kImage] = windows.batch;
  const std::string kind = small && windows.taps > 1 ? "convolution" : kind_of(windows, groups);
  if (small) {
    counter[Timed::kNarrowMac] = macs / std::clamp(n, 1.0, kMostSums);
    if (windows.taps > 1) {
      counter[Timed::kUnfolded] = count_of(entry.cols) * count_of(entry.n);
      counter[Timed::kUnfoldedRow] = counter[Timed::kUnfolded] / windows.width;
    }
    view.at = {octaves(count_of(entry.rows)), octaves(count_of(entry.cols)), octaves(n), octaves(windows.batch),
               octaves(windows.width)};
  } else {
    const double vectors = std::min(std::ceil(windows.out / kVectorLanes), kMostVectors);
    counter[Timed::kNarrowMac] = macs / std::min(windows.width, kMostSums);
    counter[Timed::kLoneMac] = macs / std::min(windows.width * vectors, kMostSums);
    counter[Timed::kFresh] += fresh(counter[Timed::kInput]) + fresh(counter[Timed::kWeight]);  // oneDNN's own order of both
    view.at = {octaves(windows.out),    octaves(windows.taps),       octaves(windows.width),
               octaves(windows.height), 2 * octaves(windows.stride), octaves(windows.batch)};
    if (kind != "depthwise") view.at.push_back(octaves(windows.in / groups));
    if (kind == "grouped") view.at.push_back(octaves(groups));
  }
  view.counts = counter.counts;
  view.family = kind + (small ? " small " : " ") + entry.dtype;
  return view;
}

/// A weight of a recurrent layer: the inputs' product runs over all steps at once, the other one and the gates step by step.
TimeView recurrent(const Entry& entry, const ProfileData& profile) {
  const double steps = count_of(std::max<int64_t>(entry.steps, 1)), n = count_of(entry.n) / steps;
  const double weights = count_of(entry.weight_elements) * dtype_bits(entry.dtype) / 8;
  Counter counter;
  counter[Timed::kWeight] = weights;
  if (entry.ops == 0) {
    counter[Timed::kMac] = count_of(entry.macs);
  } else {
    counter[Timed::kCall] = 1;
    counter[Timed::kStep] = steps;
    counter[Timed::kStepMac] = count_of(entry.macs);
    counter[Timed::kStepWeight] = weights * steps;
    counter[Timed::kFar] = far(weights, profile) * steps;
    counter[Timed::kOperation] = count_of(entry.ops);
  }
  return {entry.op + " " + entry.dtype, "", counter.counts, {octaves(count_of(entry.rows)), octaves(n), octaves(steps)}};
}

/// The kernel's own counts, which never fall when kept weights are added.
TimeView sparse(const Entry& entry, const KernelCounts& done) {
  Counter counter;
  const double weights = (done.weight_value_bits + done.weight_index_bits + done.code_bits) / 8;
  counter[Timed::kCall] = 1;
  counter[Timed::kMac] = done.macs_issued / done.peak_share;
  counter[Timed::kWeight] = weights;
  counter[Timed::kStream] = weights * done.weight_passes;
  counter[Timed::kLoad] = done.activation_loads;
  counter[Timed::kOutput] = done.output_updates;
  counter[Timed::kInput] = done.extra_bits / 8;
  std::string kind = entry.op;
  if (is_convolution(entry)) {
    const Windows windows = windows_of(entry);
    counter[Timed::kImage] = windows.batch;
    kind = windows.told && windows.taps == 1 ? "pointwise" : "convolution";
  } else if (entry.op == "linear" && entry.n <= kSmallBatch) {
    kind = "linear small";
  }
  return {entry.kernel + " " + kind + " " + entry.dtype,
          "",
          counter.counts,
          {octaves(count_of(entry.rows)), octaves(count_of(entry.cols)), octaves(count_of(entry.n))}};
}

TimeView traffic(const Entry& entry, const ProfileData& profile) {
  Counter counter;
  count_operands(entry, profile, counter);
  counter[Timed::kOperation] = count_of(entry.ops);
  const double outputs = count_of(entry.output_elements);
  std::vector<double> at = {octaves(count_of(entry.input_elements)), octaves(outputs)};
  if (entry.op != "elementwise" && !entry.shape.empty()) {  // the others run along the last axis
    const double row = std::max(count_of(entry.shape.back()), 1.0);
    counter[Timed::kRow] = outputs / row;
    at.push_back(octaves(row));
  }
  const std::string family = entry.call.empty() ? entry.op : entry.op + " " + entry.call;
  return {family, entry.op, counter.counts, std::move(at)};
}

const TimeFamily* family_of(const ProfileData& profile, const TimeView& view) {
  for (const std::string* name : {&view.family, &view.general}) {
    const auto found = profile.timing.find(*name);
    if (found != profile.timing.end()) return &found->second;
  }
  return nullptr;
}

}  // namespace

std::optional<TimeView> time_view(const Entry& entry, const ProfileData& profile, const KernelCounts& done) {
  if (entry.kernel != "dense") return is_recurrent(entry) ? std::nullopt : std::optional(sparse(entry, done));
  if (is_recurrent(entry)) return recurrent(entry, profile);
  if (entry.macs == 0) return traffic(entry, profile);
  if (is_convolution(entry)) return convolution(entry, profile);
  return product(entry, profile);
}

double correction(const std::vector<std::vector<double>>& places, const std::vector<double>& logs, const std::vector<double>& at,
                  double reach, double pull) {
  double weights = pull, sum = 0;
  for (size_t i = 0; i < places.size(); ++i) {
    double squares = 0;
    for (size_t axis = 0; axis < at.size(); ++axis) squares += (places[i][axis] - at[axis]) * (places[i][axis] - at[axis]);
    const double weight = std::exp(-squares / (2 * reach * reach));
    weights += weight;
    sum += weight * logs[i];
  }
  return sum / weights;
}

std::optional<double> family_seconds(const Entry& entry, const ProfileData& profile, const KernelCounts& done, Corner corner) {
  if (profile.timing.empty()) return std::nullopt;
  const std::optional<TimeView> view = time_view(entry, profile, done);
  const TimeFamily* family = view ? family_of(profile, *view) : nullptr;
  if (family == nullptr) return std::nullopt;
  double seconds = 0;
  for (size_t i = 0; i < kTimedNames.size(); ++i) seconds += view->counts[i] * family->seconds[i].at(corner);
  const bool placed = !family->places.empty() && family->places.front().size() == view->at.size();
  return placed ? seconds * std::exp(correction(family->places, family->logs, view->at, family->reach, family->pull)) : seconds;
}

std::string timed_as(const Entry& entry, const ProfileData& profile) {
  if (profile.timing.empty()) return "";
  const DeviceKind device = profile.kind == "gpu" ? DeviceKind::kGpu : DeviceKind::kCpu;
  const std::optional<TimeView> view = time_view(entry, profile, find_kernel(entry.kernel).count(entry, device));
  if (!view) return "";
  return profile.timing.contains(view->family) ? view->family : profile.timing.contains(view->general) ? view->general : "";
}

TimeFamily read_family(const Node& node, const std::string& name, const std::function<Quantity(const Node&)>& quantity) {
  const std::vector<size_t> sizes = sizes_of_family(name);
  if (sizes.empty()) {
    node.fail_plainly(
        "expected a family of calls (an op or a kind of convolution with its dtype as in 'linear float32', a sparse kernel before them as "
        "in 'csr linear float32', or an op without MACs as in 'elementwise relu')");
  }
  node.expect_keys({"seconds", "reach", "pull", "measured"});
  TimeFamily family;
  family.seconds.resize(kTimedNames.size());
  const Node seconds = node.at("seconds");
  seconds.expect_object();
  for (const auto& [count, value] : seconds.json().items()) {
    const auto known = std::find(kTimedNames.begin(), kTimedNames.end(), count);
    if (known == kTimedNames.end()) {
      seconds.at(count).fail_plainly("expected a count that calls are timed by (" +
                                     joined({kTimedNames.begin(), kTimedNames.end()}) + ")");
    }
    family.seconds[static_cast<size_t>(known - kTimedNames.begin())] = quantity(seconds.at(count));
  }
  const auto positive = [&](const Node& number) {
    const Quantity read = quantity(number);
    if (read.low <= 0) number.at("low").fail("a number above 0");
    return read.value;
  };
  if (!node.has("measured")) return family;
  family.reach = positive(node.at("reach"));
  if (family.reach < kLeastReach) node.at("reach").at("value").fail("a number of octaves from 0.01 on");
  family.pull = positive(node.at("pull"));
  const Node measured = node.at("measured");
  const size_t shapes = measured.array_size(kMostShapes);
  for (size_t i = 0; i < shapes; ++i) {
    const Node shape = measured.item(i);
    shape.expect_keys({"at", "ratio"});
    std::vector<double> place(shape.at("at").array_size(kMostAxes));
    if (std::find(sizes.begin(), sizes.end(), place.size()) == sizes.end()) {
      shape.at("at").fail((sizes.size() > 1 ? std::to_string(sizes.front()) + " or " : "") + std::to_string(sizes.back()) +
                          " sizes, as calls of '" + name + "' have");
    }
    for (size_t axis = 0; axis < place.size(); ++axis) place[axis] = shape.at("at").item(axis).number();
    if (i > 0 && place.size() != family.places.front().size()) {
      shape.at("at").fail(std::to_string(family.places.front().size()) + " sizes, as the first shape has");
    }
    family.places.push_back(std::move(place));
    family.logs.push_back(std::log(positive(shape.at("ratio"))));
  }
  return family;
}

}  // namespace jouleprune::energy
