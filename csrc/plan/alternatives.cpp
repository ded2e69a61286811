#include "plan/alternatives.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <stdexcept>
#include <string_view>

#include "energy/price.h"
#include "energy/profile_data.h"
#include "kernels/amx.h"
#include "plan/limits.h"
#include "plan/pricer.h"

namespace jouleprune::plan {
namespace {

struct Way {
  std::string kernel, dtype;
  int64_t stored = 0;  // entries
};

/// Sparse kernels that take all the calls in a number type.
std::vector<std::string> sparse_kernels(std::span<const Entry> calls, const std::string& dtype, const Profile& profile,
                                        std::string_view pattern) {
  const auto of = [&](Entry entry) {
    entry.dtype = dtype;
    return energy::candidates(entry, profile, pattern);
  };
  std::vector<std::string> shared = of(calls.front());
  for (const Entry& call : calls) {
    const auto others = of(call);
    std::erase_if(shared, [&](const std::string& kernel) {
      return kernel == "dense" || std::find(others.begin(), others.end(), kernel) == others.end();
    });
  }
  return shared;
}

bool holds(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::vector<Way> ways_of(std::span<const Entry> calls, const KeptEntries& kept, const Profile& profile) {
  const std::string& own = calls.front().dtype;
  const int64_t all = calls.front().weight_elements;
  std::vector<Way> ways = {{"dense", own, all}};
  for (const auto& kernel : sparse_kernels(calls, own, profile, "unstructured")) ways.push_back({kernel, own, kept.weights});
  if (kept.in_blocks.has_value() && holds(sparse_kernels(calls, own, profile, "block"), "bsr")) {
    ways.push_back({"bsr", own, *kept.in_blocks});
  }
  if (kept.in_quads.has_value() && holds(sparse_kernels(calls, "int8", profile, "block"), kInt8Kernel)) {
    ways.push_back({kInt8Kernel, "int8", *kept.in_quads});
  }
  for (const char* dtype : {"bfloat16", "int8"}) {
    if (dtype != own) ways.push_back({"dense", dtype, all});
  }
  return ways;
}

std::string name_of(const Way& way, const std::string& own, const std::string& pattern) {
  if (way.kernel == "dense" && way.dtype != own) return "torch dense " + way.dtype;
  return way.kernel + " " + way.dtype + (way.kernel == "bsr" ? " in blocks of " + pattern : "");
}

/// The kernel's name in the table of times; empty for what it does not time. Our int8 kernel takes the layer's own activations.
std::string timed_name(const Way& way, const std::string& own) {
  if (way.dtype == own) return way.kernel == "dense" || way.kernel == "csr" ? way.kernel : "";
  if (way.dtype != "int8") return "";
  return way.kernel == "dense" ? "torch-int8" : way.kernel == kInt8Kernel ? way.kernel : "";
}

/// Of all calls, where the table has each.
std::optional<double> measured(std::span<const Entry> calls, double density, const std::string& kernel, const TuningTable* times,
                               int threads) {
  const bool linear = std::all_of(calls.begin(), calls.end(), [](const Entry& call) { return call.op == "linear"; });
  if (times == nullptr || kernel.empty() || !linear) return std::nullopt;
  double sum = 0;
  for (const Entry& entry : calls) {
    TunedCall call = linear_call(entry, threads);
    call.density = density;
    const auto seconds = times->find(call, kernel);
    if (!seconds.has_value()) return std::nullopt;
    sum += *seconds;
  }
  return sum;
}

double predicted(std::span<const Entry> calls, const Way& way, const std::string& pattern, const Profile& profile) {
  double sum = 0;
  for (Entry entry : calls) {
    entry.kernel = way.kernel;
    entry.layout = way.kernel.substr(0, way.kernel.find('-'));
    entry.dtype = way.dtype;
    entry.nnz = way.stored;
    entry.pattern = pattern;
    sum += energy::price(entry, profile, 1).latency_s;
  }
  return sum;
}

std::string microseconds(double seconds) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.1f us", seconds * 1e6);
  return text.data();
}

}  // namespace

std::string Alternative::to_string() const {
  return what + ": " + microseconds(predicted_s) + " predicted, " +
         (measured_s.has_value() ? microseconds(*measured_s) + " measured" : "not measured");
}

std::vector<Alternative> alternatives(std::span<const Entry> calls, const KeptEntries& kept, const Profile& profile,
                                      const TuningTable* times, int threads) {
  if (calls.empty()) throw std::invalid_argument("alternatives: calls: expected at least one recorded call of the weight, got none");
  const std::string& own = calls.front().dtype;
  const int64_t all = calls.front().weight_elements;
  const double density = all > 0 ? static_cast<double>(kept.weights) / static_cast<double>(all) : 1.0;
  std::vector<Alternative> found;
  for (const Way& way : ways_of(calls, kept, profile)) {
    found.push_back({name_of(way, own, kept.pattern), predicted(calls, way, kept.pattern, profile),
                     measured(calls, density, timed_name(way, own), times, threads)});
  }
  return found;
}

const char* host_profile() {
  using kernels::Tiles;
  return kernels::tiles_serve(Tiles::kBFloat16) && kernels::tiles_serve(Tiles::kInt8) ? "xeon-amx" : "generic-cpu";
}

Profile predicting_profile(const std::optional<Profile>& device) {
  return device.has_value() && device->kind() != "asic" ? *device : energy::load_profile(host_profile());
}

}  // namespace jouleprune::plan
