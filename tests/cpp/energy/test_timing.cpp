// Time by families of calls: the fit on machines that are no roofline, what a profile holds of it, and what prices keep.
#include <gtest/gtest.h>
#include <jouleprune/energy.h>
#include <jouleprune/energy_terms.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>

#include "energy/calibrate_family.h"
#include "energy/cases.h"
#include "energy/kernel_cost.h"
#include "energy/price.h"
#include "energy/timed_families.h"
#include "energy/timing.h"

namespace jouleprune::test {
namespace {

using energy::FamilyFit;
using energy::TimedShape;
using nlohmann::json;

const std::vector<std::string> kColumns = {"call", "mac", "weight_byte"};

/// A machine whose multiply-adds slow down for few rows and few columns, which no sum of the columns says.
std::vector<TimedShape> sweep(size_t count, double noise, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> octaves(3, 11);
  std::vector<TimedShape> found;
  for (size_t i = 0; i < count; ++i) {
    const double rows = std::exp2(octaves(random)), n = std::exp2(octaves(random)), macs = rows * n * 256;
    const double efficiency = rows / (rows + 24) * n / (n + 12);
    const double seconds = 4e-6 + macs * 1.2e-11 / efficiency + rows * 1024 * 4e-11;
    found.push_back({{1, macs, rows * 1024}, {std::log2(rows), std::log2(n)}, seconds * (1 + noise * normal(random))});
  }
  return found;
}

double predicted(const std::vector<TimedShape>& calls, const FamilyFit& fit, const TimedShape& one) {
  double formula = 0;
  for (size_t j = 0; j < kColumns.size(); ++j) formula += fit.coefficients[j] * one.counts[j];
  std::vector<std::vector<double>> places;
  std::vector<double> logs;
  for (size_t i = 0; i < calls.size(); ++i) {
    places.push_back(calls[i].at);
    logs.push_back(std::log(fit.ratios[i]));
  }
  return formula * std::exp(energy::correction(places, logs, one.at, fit.reach, fit.pull));
}

TEST(Timing, AMachineThatIsNoRooflineIsFoundOnUnseenShapes) {
  const std::vector<TimedShape> calls = sweep(160, 0.03, 1), unseen = sweep(200, 0, 2);
  const FamilyFit fit = energy::fit_family(kColumns, calls);
  double formula_error = 0, error = 0;
  for (const TimedShape& one : unseen) {
    double formula = 0;
    for (size_t j = 0; j < kColumns.size(); ++j) formula += fit.coefficients[j] * one.counts[j];
    formula_error += std::abs(formula / one.seconds - 1) / static_cast<double>(unseen.size());
    error += std::abs(predicted(calls, fit, one) / one.seconds - 1) / static_cast<double>(unseen.size());
  }
  EXPECT_LT(error, 0.05);
  EXPECT_LT(error, 0.6 * formula_error);  // what the corrections are for
  EXPECT_NEAR(fit.mape, error, 0.04);     // what is told of shapes that were left out is true of unseen ones
  EXPECT_LT(std::abs(fit.bias), 0.03);
}

TEST(Timing, CoefficientsOfASumAreFoundWithinFivePercent) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    std::vector<TimedShape> calls = sweep(150, 0, seed);
    std::mt19937_64 random(seed);
    std::normal_distribution<double> normal;
    for (TimedShape& call : calls) {
      call.seconds = (5e-6 + 2e-11 * call.counts[1] + 3e-10 * call.counts[2]) * (1 + 0.03 * normal(random));
    }
    const FamilyFit fit = energy::fit_family(kColumns, calls);
    const double truth[] = {5e-6, 2e-11, 3e-10};
    for (size_t j = 0; j < kColumns.size(); ++j) EXPECT_NEAR(fit.coefficients[j] / truth[j], 1, 0.05) << kColumns[j] << seed;
  }
}

TEST(Timing, ColumnsThatCannotBeToldApartAreDroppedByName) {
  std::vector<TimedShape> calls = sweep(60, 0.01, 3);
  for (TimedShape& call : calls) {
    call.counts.push_back(3 * call.counts[1]);
    call.counts.push_back(0);
    call.counts.push_back(5000 * std::abs(std::sin(call.at[0] * 7)));  // one behind them that counts
    call.seconds += 1e-7 * call.counts.back();
  }
  const FamilyFit fit = energy::fit_family({"call", "mac", "weight_byte", "copy", "nothing", "late"}, calls);
  EXPECT_EQ(fit.dropped, (std::vector<std::string>{"copy", "nothing"}));
  EXPECT_EQ(fit.coefficients[3], 0);
  EXPECT_NEAR(fit.coefficients[5], 1e-7, 3e-8);
  EXPECT_LT(fit.mape, 0.1);
}

TEST(Timing, BadCallsAreNamed) {
  const auto message = [](std::vector<TimedShape> calls) -> std::string {
    try {
      energy::fit_family(kColumns, calls);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  const std::vector<TimedShape> good = sweep(8, 0, 4);
  EXPECT_NE(message({good[0], good[1]}).find("calls: expected at least 4, got 2"), std::string::npos);
  auto bad = good;
  bad[2].seconds = 0;
  EXPECT_NE(message(bad).find("seconds: expected more than 0"), std::string::npos);
  bad = good;
  bad[1].counts[1] = -1;
  EXPECT_NE(message(bad).find("count 'mac'"), std::string::npos);
  bad = good;
  bad[1].at.pop_back();
  EXPECT_NE(message(bad).find("at: expected 2 sizes, got 1"), std::string::npos);
  bad = good;
  for (TimedShape& call : bad) call.counts = {0, 0, 0};
  EXPECT_NE(message(bad).find("nothing determines the time"), std::string::npos);
}

TEST(Timing, FarFromAllMeasuredShapesTheFormulaStandsAlone) {
  const std::vector<std::vector<double>> places = {{3, 3}, {5, 5}};
  EXPECT_NEAR(energy::correction(places, {0.5, -0.5}, {3, 3}, 0.5, 1e-9), 0.5, 1e-6);
  EXPECT_NEAR(energy::correction(places, {0.5, -0.5}, {30, 3}, 0.5, 0.1), 0, 1e-12);
  EXPECT_NEAR(energy::correction(places, {0.5, -0.5}, {4, 4}, 0.5, 0.1), 0, 1e-12);
}

json number(double value) { return {{"value", value}, {"low", value / 2}, {"high", value * 2}}; }

/// generic-cpu with two families.
json profile_json() {
  json made = json::parse(energy::load_profile("generic-cpu").to_json());
  made["timing"]["linear float32"] = {
      {"seconds", {{"call", number(3e-6)}, {"mac", number(2e-11)}}},
      {"reach", number(1)},
      {"pull", number(0.5)},
      {"measured", {{{"at", {6, 6, 4, 0}}, {"ratio", number(1.5)}}, {{"at", {10, 10, 4, 0}}, {"ratio", number(0.8)}}}}};
  made["timing"]["csr linear float32"] = {{"seconds", {{"call", number(2e-6)}, {"mac", number(3e-11)}, {"stream_byte", number(1e-11)}}},
                                          {"reach", number(1)},
                                          {"pull", number(0.5)},
                                          {"measured", {{{"at", {8, 8, 5}}, {"ratio", number(2)}}}}};
  made["provenance"]["/timing"] = {{"kind", "measured"}, {"source", "a test"}};
  return made;
}

TEST(Timing, APriceTakesTheFamilysTimeAndKeepsItsCounts) {
  const Profile plain = energy::load_profile("generic-cpu"), timed = energy::parse_profile(profile_json().dump(), "test");
  EXPECT_EQ(energy::parse_profile(timed.to_json(), "again").hash(), timed.hash());
  EXPECT_NE(timed.hash(), plain.hash());
  const Entry entry = linear(64, 64, 16);
  const LayerEnergy with = energy::price(entry, timed, 1), without = energy::price(entry, plain, 1);
  const double launch_s = timed.data().launch_s.value;
  // At the measured shape itself: its ratio, pulled half a shape towards 1.
  EXPECT_NEAR(with.latency_s, launch_s + (3e-6 + 2e-11 * 65536) * std::exp(std::log(1.5) / 1.5), 1e-12);
  EXPECT_EQ(with.parts.memory_j, without.parts.memory_j);
  EXPECT_EQ(with.parts.compute_j, without.parts.compute_j);
  EXPECT_NEAR(with.parts.static_j, timed.data().static_w.value * with.latency_s, 1e-15);
  EXPECT_LT(with.low_j, with.energy_j);
  EXPECT_GT(with.high_j, with.energy_j);
  // Calls of no family: as without any.
  Entry other = linear(64, 64, 16);
  other.dtype = "bfloat16";
  EXPECT_EQ(energy::price(other, timed, 1).latency_s, energy::price(other, plain, 1).latency_s);
}

TEST(Timing, AnExplanationNamesTheFamilysNumbers) {
  const Profile timed = energy::parse_profile(profile_json().dump(), "test");
  const auto explained = energy::explain(linear(64, 64, 16), timed, 1);
  const auto names = [&](const std::string& pointer) {
    return std::any_of(explained.coefficients.begin(), explained.coefficients.end(),
                       [&](const auto& number) { return number.pointer == pointer; });
  };
  EXPECT_TRUE(names("/timing/linear float32/seconds/mac"));
  EXPECT_FALSE(names("/compute/float32/macs_s"));
}

TEST(Timing, TimeNeverFallsWhenKeptWeightsAreAdded) {
  const Profile timed = energy::parse_profile(profile_json().dump(), "test");
  std::mt19937_64 random(5);
  for (int trial = 0; trial < 200; ++trial) {
    const auto size = [&](int64_t most) { return std::uniform_int_distribution<int64_t>(1, most)(random); };
    Entry entry = with_kernel(linear(size(400), size(400), 9 + size(200)), "csr", 0);
    entry.pattern = "unstructured";
    double before = 0;
    for (int step = 0; step <= 10; ++step) {
      entry.nnz = entry.weight_elements * step / 10;
      const double now = energy::price(entry, timed, 1).energy_j;
      EXPECT_GE(now, before);
      before = now;
    }
  }
}

TEST(Timing, ConvolutionsGoToTheAlgorithmThatTorchChooses) {
  const Profile profile = energy::load_profile("generic-cpu");
  const auto family = [&](std::vector<int64_t> shape, std::vector<int64_t> image, int64_t batch, int64_t groups, int64_t inputs) {
    Entry entry = linear(shape[0] / groups, shape[1] * shape[2] * shape[3], batch * image[0] * image[1]);
    entry.op = "conv2d";
    entry.shape = shape;
    entry.groups = groups;
    entry.image = image;
    entry.stride = {1, 1};
    entry.input_elements = inputs;
    const auto done = energy::find_kernel("dense").count(entry, energy::DeviceKind::kCpu);
    const auto view = energy::time_view(entry, profile.data(), done);
    EXPECT_TRUE(view.has_value());
    return view ? view->family : "";
  };
  EXPECT_EQ(family({64, 64, 3, 3}, {56, 56}, 1, 1, 64 * 58 * 58), "convolution float32");
  EXPECT_EQ(family({64, 4, 3, 3}, {14, 14}, 1, 1, 4 * 16 * 16), "convolution small float32");
  EXPECT_EQ(family({64, 4, 7, 7}, {14, 14}, 1, 1, 4 * 16 * 16), "convolution float32");
  EXPECT_EQ(family({64, 64, 1, 1}, {56, 56}, 8, 1, 8 * 64 * 56 * 56), "pointwise small float32");
  EXPECT_EQ(family({64, 64, 1, 1}, {56, 56}, 16, 1, 16 * 64 * 56 * 56), "pointwise float32");
  EXPECT_EQ(family({64, 1, 3, 3}, {56, 56}, 1, 64, 64 * 58 * 58), "depthwise float32");
  EXPECT_EQ(family({64, 8, 3, 3}, {56, 56}, 1, 8, 64 * 58 * 58), "grouped float32");
  EXPECT_EQ(family({64, 64, 9, 1}, {400, 1}, 4, 1, 4 * 64 * 408), "convolution of a line float32");
}

std::string error_of(const json& profile) {
  try {
    energy::parse_profile(profile.dump(), "test");
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

TEST(Timing, MalformedTimingNamesThePlace) {
  const std::string place = "/timing/linear float32";
  json made = profile_json();
  made["timing"]["linear float32"]["seconds"]["week"] = number(1);
  EXPECT_NE(error_of(made).find(place + "/seconds/week: expected a count that calls are timed by (call, image,"), std::string::npos);
  made = profile_json();
  made["timing"]["linear float32"]["seconds"]["mac"]["low"] = -1;
  EXPECT_NE(error_of(made).find(place + "/seconds/mac/low"), std::string::npos);
  made = profile_json();
  made["timing"]["linear float32"]["measured"][1]["at"] = {1, 2};
  EXPECT_NE(error_of(made).find(place + "/measured/1/at: expected 4 sizes, as calls of 'linear float32' have, got"), std::string::npos);
  for (const std::string family : {"norm layer_norm", "depthwise float32"}) {
    made = profile_json();
    made["timing"][family] = made["timing"]["csr linear float32"];
    made["timing"][family]["measured"][0]["at"] = {8};
    EXPECT_NE(error_of(made).find("/timing/" + family + "/measured/0/at: expected " + (family[0] == 'n' ? "2 or 3" : "6") + " sizes"),
              std::string::npos);
  }
  made = profile_json();
  made["timing"]["norm layer_norm"] = made["timing"]["csr linear float32"];
  made["timing"]["norm layer_norm"]["measured"].push_back({{"at", {8, 8}}, {"ratio", number(2)}});
  EXPECT_NE(error_of(made).find("/timing/norm layer_norm/measured/1/at: expected 3 sizes, as the first shape has"), std::string::npos);
  made = profile_json();
  made["timing"]["linear float32"]["measured"][0]["ratio"] = number(0);
  EXPECT_NE(error_of(made).find(place + "/measured/0/ratio/low: expected a number above 0"), std::string::npos);
  made = profile_json();
  made["timing"]["linear float32"].erase("reach");
  EXPECT_NE(error_of(made).find(place), std::string::npos);
  made = profile_json();
  made["timing"]["linear float32"]["reach"] = number(1e-200);
  EXPECT_NE(error_of(made).find(place + "/reach/value: expected a number of octaves from 0.01 on"), std::string::npos);
  made = profile_json();
  made["provenance"].erase("/timing");
  EXPECT_NE(error_of(made).find("missing provenance"), std::string::npos);
  json asic = json::parse(energy::load_profile("eyeriss-65nm").to_json());
  asic["timing"] = json::object();
  EXPECT_NE(error_of(asic).find("/timing: only a profile of dataflow cache-tiled has this"), std::string::npos);
}

TEST(Timing, FamiliesOfNoCallAreRefused) {
  for (const std::string name : {"linear flaot32", "linear", "linaer float32", "", " ", "float32", "linear  float32", "linear float32 ",
                                 "grouped small float32", "csr float32", "csr  float32", "csr matmul float32", "cs linear float32",
                                 "dense linear float32", "csr linear", "elementwis relu", "elementwise ", "elementwise re lu", "norm a b"}) {
    json made = profile_json();
    made["timing"][name] = made["timing"]["csr linear float32"];
    EXPECT_NE(error_of(made).find("/timing/" + name + ": expected a family of calls"), std::string::npos) << '"' << name << '"';
  }
}

/// Whatever time_view() names is a family, with as many sizes as it tells.
TEST(Timing, EveryCallsFamilyIsKnownWithItsSizes) {
  const Profile profile = energy::load_profile("generic-cpu");
  std::set<std::string> seen;
  const auto check = [&](const Entry& entry) {
    const auto view = energy::time_view(entry, profile.data(), energy::find_kernel(entry.kernel).count(entry, energy::DeviceKind::kCpu));
    if (!view) return;
    seen.insert(view->family);
    for (const std::string& name : {view->family, view->general.empty() ? view->family : view->general}) {
      const auto sizes = energy::sizes_of_family(name);
      EXPECT_TRUE(std::find(sizes.begin(), sizes.end(), view->at.size()) != sizes.end()) << name << " " << view->at.size();
    }
  };
  for (const char* dtype : {"float32", "bfloat16", "int8", "float64", "float16"}) {
    for (const char* op : {"linear", "bilinear", "matmul", "attention", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "lstm", "gru",
                           "rnn", "conv1d", "conv2d", "conv3d"}) {
      const std::string name = op;
      const bool windows = name.starts_with("conv") && !name.starts_with("conv_");
      const size_t axes = name == "conv1d" ? 1 : name == "conv2d" ? 2 : 3;
      for (const int64_t n : {int64_t{1}, int64_t{64}}) {
        for (const int64_t groups : {1, 2, 32}) {
          for (const int64_t taps : {1, 3}) {
            Entry entry = linear(32 / groups, 32 / groups, n);
            entry.op = name;
            entry.dtype = dtype;
            if (windows) {
              entry.groups = groups;
              entry.shape = {32, 32 / groups};
              entry.shape.insert(entry.shape.end(), axes, taps);
              entry.image.assign(axes, 1);
              entry.image.back() = n;
              entry.stride.assign(axes, 1);
            }
            check(entry);
            for (const auto& kernel : energy::kernels()) {
              if (kernel.layout == "dense" || !kernel.supports(entry)) continue;
              Entry sparse = entry;
              sparse.kernel = kernel.name;
              sparse.layout = kernel.layout;
              check(sparse);
            }
          }
        }
      }
    }
  }
  for (const char* op : {"elementwise", "norm", "softmax", "pool", "reduce", "copy", "embedding"}) {
    for (const char* call : {"", "_some_call2d"}) {
      for (const std::vector<int64_t>& shape : {std::vector<int64_t>{}, {4, 8}}) {
        Entry entry = linear(4, 8, 1);
        entry.op = op;
        entry.call = call;
        entry.macs = 0;
        entry.shape = shape;
        check(entry);
      }
    }
  }
  for (const char* name : {"convolution small float32", "pointwise small float32", "convolution of a line bfloat16", "grouped float32",
                           "depthwise int8", "pointwise float16", "lstm float32", "bsr-int8 linear small int8", "csr pointwise float32",
                           "csr-vendor convolution float64", "elementwise", "norm _some_call2d", "conv_transpose2d float32"}) {
    EXPECT_TRUE(seen.contains(name)) << name;
  }
}

}  // namespace
}  // namespace jouleprune::test
