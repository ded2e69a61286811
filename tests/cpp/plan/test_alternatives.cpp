// What could run a layer: predicted as cost entries price it, measured where the table of times knows all its calls.
#include "plan/alternatives.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "energy/price.h"
#include "energy/profile_data.h"
#include "kernels/amx.h"
#include "networks.h"
#include "plan/limits.h"

namespace jouleprune::plan::testing {
namespace {

Entry first_call() { return mlp_workload(64).entries.front(); }

Profile cpu() { return energy::load_profile("generic-cpu"); }

KeptEntries kept_of(const Entry& entry) {
  const int64_t tenth = entry.weight_elements / 10;
  return {"16x1", tenth, 2 * tenth, 3 * tenth};
}

std::vector<std::string> names(const std::vector<Alternative>& found) {
  std::vector<std::string> all;
  for (const auto& each : found) all.push_back(each.what);
  return all;
}

TEST(Alternatives, AreWhatTakesAllTheCalls) {
  const Entry call = first_call();
  const std::vector<Entry> calls = {call, call};
  EXPECT_EQ(names(alternatives(calls, kept_of(call), cpu(), nullptr, 1)),
            (std::vector<std::string>{"dense float32", "csr float32", "bsr float32 in blocks of 16x1", "bsr-int8 int8",
                                      "torch dense bfloat16", "torch dense int8"}));
  EXPECT_EQ(names(alternatives(calls, {"unstructured", 10}, cpu(), nullptr, 1)),
            (std::vector<std::string>{"dense float32", "csr float32", "torch dense bfloat16", "torch dense int8"}));
  Entry half = call;
  half.dtype = "bfloat16";
  const std::vector<Entry> halves = {half};
  EXPECT_EQ(names(alternatives(halves, {"unstructured", 10}, cpu(), nullptr, 1)),
            (std::vector<std::string>{"dense bfloat16", "csr bfloat16", "torch dense int8"}));
  EXPECT_THROW(alternatives({}, kept_of(call), cpu(), nullptr, 1), std::invalid_argument);
}

TEST(Alternatives, ArePredictedByTheirCostEntries) {
  const Entry call = first_call();
  const std::vector<Entry> calls = {call, call};
  const auto found = alternatives(calls, kept_of(call), cpu(), nullptr, 1);
  Entry csr = call;
  csr.kernel = csr.layout = "csr";
  csr.nnz = kept_of(call).weights;
  EXPECT_EQ(found[1].predicted_s, 2 * energy::price(csr, cpu(), 1).latency_s);
  Entry int8 = call;
  int8.dtype = "int8";
  EXPECT_EQ(found[5].predicted_s, 2 * energy::price(int8, cpu(), 1).latency_s);
  EXPECT_FALSE(found[1].measured_s.has_value());
}

TEST(Alternatives, AreMeasuredWhereTheTableHasEveryCall) {
  const Entry call = first_call();
  Entry other = call;
  other.n *= 2;
  TuningTable times("here");
  const auto put = [&](const Entry& entry, const std::string& kernel, double seconds) {
    TunedCall key = linear_call(entry, 1);
    key.density = 0.1;
    times.put(key, kernel, seconds);
  };
  put(call, "dense", 3e-4);
  put(call, "csr", 1e-4);
  put(call, "torch-int8", 2e-4);
  put(other, "csr", 2e-4);
  const std::vector<Entry> one = {call}, both = {call, other};
  const auto single = alternatives(one, kept_of(call), cpu(), &times, 1);
  EXPECT_EQ(single[0].measured_s, 3e-4);
  EXPECT_EQ(single[1].measured_s, 1e-4);
  EXPECT_FALSE(single[2].measured_s.has_value());  // blocks have no name in the table
  EXPECT_FALSE(single[4].measured_s.has_value());
  EXPECT_EQ(single[5].measured_s, 2e-4);
  const auto sum = alternatives(both, kept_of(call), cpu(), &times, 1);
  EXPECT_FALSE(sum[0].measured_s.has_value());
  EXPECT_DOUBLE_EQ(*sum[1].measured_s, 3e-4);
  EXPECT_FALSE(alternatives(one, kept_of(call), cpu(), &times, 2)[1].measured_s.has_value());  // other threads
}

TEST(Alternatives, ReadAsSentences) {
  EXPECT_EQ((Alternative{"csr float32", 12.34e-6, {}}).to_string(), "csr float32: 12.3 us predicted, not measured");
  EXPECT_EQ((Alternative{"dense int8", 1e-3, 2e-3}).to_string(), "dense int8: 1000.0 us predicted, 2000.0 us measured");
}

TEST(Alternatives, AreOfACpuOrGpu) {
  EXPECT_EQ(std::string(host_profile()), kernels::tiles_serve(kernels::Tiles::kInt8) ? "xeon-amx" : "generic-cpu");
  EXPECT_EQ(predicting_profile(std::nullopt).name(), host_profile());
  EXPECT_EQ(predicting_profile(energy::load_profile("eyeriss-65nm")).name(), host_profile());
  const auto gpu = energy::load_profile("generic-gpu-hbm");
  EXPECT_EQ(predicting_profile(gpu).name(), "generic-gpu-hbm");
}

}  // namespace
}  // namespace jouleprune::plan::testing
