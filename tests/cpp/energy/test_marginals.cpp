// Marginals are differences; steps are where saving pays.
#include <gtest/gtest.h>
#include <jouleprune/marginals.h>

#include <cmath>
#include <map>
#include <stdexcept>

#include "energy/case_files.h"
#include "energy/cases.h"
#include "energy/kernel_cost.h"

namespace jouleprune::test {
namespace {

using energy::marginal;
using energy::Unit;
using energy::without;

double joules(const Entry& entry, const Profile& profile) { return energy::price(entry, profile, 1).energy_j; }

TEST(Marginals, AreExactDifferencesForEveryUnit) {
  std::mt19937 random(31);
  for (const std::string& name : Profile::names()) {
    const Profile profile = energy::load_profile(name);
    // A channel less may be cut up less well: test_nest_profile.cpp.
    if (profile.data().dataflow == "fixed-nest") continue;
    for (int i = 0; i < 20; ++i) {
      Entry entry = random_entry(random);
      if (profile.kind() != "asic" && i % 2 == 0) entry = with_kernel(entry, "csr", entry.weight_elements / 3);
      for (const Unit unit : {Unit::kWeight, Unit::kOutput, Unit::kInput}) {
        const auto found = marginal(entry, profile, unit);
        ASSERT_EQ(found.exact_j, joules(entry, profile) - joules(without(entry, unit, 1), profile));
        ASSERT_GE(found.exact_j, 0);
        ASSERT_EQ(found.step_j, joules(entry, profile) - joules(without(entry, unit, found.step), profile));
      }
    }
  }
}

TEST(Marginals, AShrunkLayerIsAFreshSmallerOne) {
  for (const std::string& name : Profile::names()) {
    const Profile profile = energy::load_profile(name);
    EXPECT_EQ(joules(without(linear(64, 48, 10), Unit::kOutput, 24), profile), joules(linear(40, 48, 10), profile));
    EXPECT_EQ(joules(without(linear(64, 48, 10), Unit::kInput, 16), profile), joules(linear(64, 32, 10), profile));
    EXPECT_EQ(joules(without(conv2d(32, 24, 3, 14, 2), Unit::kOutput, 8), profile),
              joules(conv2d(24, 24, 3, 14, 2), profile));
    EXPECT_EQ(joules(without(conv2d(32, 24, 3, 14, 2), Unit::kInput, 4), profile),
              joules(conv2d(32, 20, 3, 14, 2), profile));
    // One output of each of the 4 groups.
    EXPECT_EQ(joules(without(conv2d(32, 24, 3, 14, 2, 4), Unit::kOutput, 3), profile),
              joules(conv2d(20, 24, 3, 14, 2, 4), profile));
  }
}

TEST(Marginals, AMaskAloneSavesNothingOnCpuAndGpu) {
  for (const char* name : {"generic-cpu", "generic-gpu-hbm"}) {
    const Profile profile = energy::load_profile(name);
    const Entry masked = with_kernel(linear(64, 64, 8), "dense", 1000);
    EXPECT_EQ(marginal(masked, profile, Unit::kWeight).exact_j, 0);
    EXPECT_EQ(marginal(masked, profile, Unit::kWeight).relaxed_j, 0);
  }
  EXPECT_GT(marginal(linear(64, 64, 8), energy::load_profile("systolic-12x14"), Unit::kWeight).exact_j, 0);
}

TEST(Marginals, NextUsefulStepEmptiesAStripOfTheArray) {
  // Inputs pass the cache once per 14 outputs: with 30 of them, 2 empty a strip.
  const Profile array = energy::load_profile("systolic-12x14");
  const auto found = marginal(linear(30, 2000, 4), array, Unit::kOutput);
  EXPECT_EQ(found.step, 2);
  EXPECT_GT(found.step_j / 2, found.exact_j);
  EXPECT_EQ(marginal(linear(29, 2000, 4), array, Unit::kOutput).step, 1);
}

TEST(Marginals, EntriesWithoutWeightHaveNone) {
  Entry entry = linear(4, 5, 6);
  entry.weight_elements = entry.nnz = 0;
  const auto found = marginal(entry, energy::load_profile("generic-cpu"), Unit::kOutput);
  EXPECT_EQ(found.units, 0);
  EXPECT_EQ(found.exact_j, 0);
}

TEST(Marginals, RefusesMoreThanThereIs) {
  EXPECT_THROW(without(linear(4, 5, 6), Unit::kOutput, 5), std::invalid_argument);
  EXPECT_THROW(without(linear(4, 5, 6), Unit::kWeight, -1), std::invalid_argument);
  EXPECT_THROW(energy::unit_of("channel"), std::invalid_argument);
}

TEST(BreakEvens, AreTheLastDensityThatPays) {
  for (const char* name : {"generic-cpu", "generic-gpu-hbm"}) {
    const Profile profile = energy::load_profile(name);
    for (const Entry& entry : {linear(256, 512, 64), linear(4096, 4096, 1), conv2d(64, 64, 3, 28, 1)}) {
      const auto rows = energy::break_evens(entry, profile);
      ASSERT_FALSE(rows.empty());
      for (const auto& row : rows) {
        if (!row.density) continue;
        const auto last = static_cast<int64_t>(std::llround(*row.density * static_cast<double>(entry.weight_elements)));
        Entry pruned = entry;
        pruned.kernel = row.kernel;
        pruned.layout = row.layout;
        pruned.pattern = row.layout == "bsr" ? "16x16" : "unstructured";
        pruned.nnz = last;
        EXPECT_LE(joules(pruned, profile), joules(entry, profile)) << row.kernel;
        if (last == entry.weight_elements) continue;
        pruned.nnz = last + 1;
        EXPECT_GT(joules(pruned, profile), joules(entry, profile)) << row.kernel;
      }
    }
  }
  EXPECT_TRUE(energy::break_evens(linear(10, 10, 1), energy::load_profile("eyeriss-65nm")).empty());
}

/// generic-cpu with the sizes and speeds of EIE's CPU, a Core i7-5930K: six cores of 3.5 GHz with 16 multiply-adds a cycle, four channels
/// of DDR4-2133; its caches, as fast a core as those of the profile. From data sheets, from memory.
Profile core_i7() {
  Json json = Json::parse(energy::load_profile("generic-cpu").to_json());
  json["compute"]["float32"]["macs_s"] = number(336e9);
  json["levels"][0]["bytes_s"] = number(68e9);
  const double capacities[] = {0, 15 << 20, 256 << 10, 32 << 10};
  for (size_t i = 1; i < 4; ++i) {
    json["levels"][i]["capacity_bytes"] = number(capacities[i]);
    json["levels"][i]["bytes_s"] = number(3 * json["levels"][i]["bytes_s"]["value"].get<double>());  // six cores for two
  }
  return profile_of(json);
}

/// generic-gpu-hbm with those of EIE's GPU, a Titan X (Maxwell): 3072 multiply-adds a cycle of 1 GHz, 24 multiprocessors, GDDR5. Sparse
/// kernels have the peak of dense ones, so that nothing chosen after EIE's figures is left in it.
Profile titan_x() {
  Json json = Json::parse(energy::load_profile("generic-gpu-hbm").to_json());
  json["compute"]["float32"]["macs_s"] = number(3.07e12);
  const double capacities[] = {0, 3 << 20, 48 << 10}, bytes_s[] = {336e9, 786e9, 3.1e12};
  for (size_t i = 0; i < 3; ++i) {
    if (i > 0) json["levels"][i]["capacity_bytes"] = number(capacities[i]);
    json["levels"][i]["bytes_s"] = number(bytes_s[i]);
  }
  for (auto& [dtype, cost] : json["compute"].items()) cost.erase("sparse_macs_s");
  std::erase_if(json["provenance"].get_ref<Json::object_t&>(),
                [](const auto& place) { return place.first.ends_with("sparse_macs_s"); });
  return profile_of(json);
}

/// EIE (Han et al., ISCA 2016, Table IV): textbook CSR wins with a batch of 1 and loses with 64, on CPU and GPU, in time and in joules.
/// Densities 9, 9 and 25 % as recalled from Table III. Prints the ratios of the times beside the published ones.
TEST(BreakEvens, TextbookCsrWinsAtBatch1AndLosesAt64) {
  const Json table = Json::parse(case_files({"eie_alexnet_fc"}).at(0).text);
  const auto priced = [&](const Json& row, const Profile& profile, const char* kernel) {
    const std::string layer = row["layer"];
    const auto shape = table["workload"]["weight_shapes_out_in"][layer].get<std::vector<int64_t>>();
    const Entry dense = linear(shape[0], shape[1], row["batch"].get<int64_t>());
    const double percent = table["workload"]["density_percent"][layer].get<double>();
    const auto kept = static_cast<int64_t>(percent / 100 * static_cast<double>(dense.weight_elements));
    return energy::price(std::string(kernel) == "dense" ? dense : with_kernel(dense, kernel, kept), profile, 1);
  };
  const std::map<std::string, std::vector<Profile>> machines = {
      {"cpu", {energy::load_profile("generic-cpu"), core_i7()}},
      {"gpu", {energy::load_profile("generic-gpu-hbm"), titan_x()}}};
  int checked = 0;
  for (const Json& row : table["expected"]["directions"]) {
    if (row["device"] == "mgpu") continue;  // not in the claim: sparse wins one of its three layers at batch 64
    const std::string what = row["device"].get<std::string>() + " " + row["layer"].get<std::string>();
    std::printf("%s batch %2ld: published %.2f,", what.c_str(), row["batch"].get<long>(), row["csr_over_dense_time"].get<double>());
    for (const Profile& profile : machines.at(row["device"])) {
      const LayerEnergy sparse = priced(row, profile, "csr-vendor"), dense = priced(row, profile, "dense");
      std::printf(" %.2f in time, %.2f in joules;", sparse.latency_s / dense.latency_s, sparse.energy_j / dense.energy_j);
      EXPECT_EQ(sparse.latency_s < dense.latency_s, row["sparse_wins"].get<bool>()) << what;
      EXPECT_EQ(sparse.energy_j < dense.energy_j, row["sparse_wins"].get<bool>()) << what;
      ++checked;
    }
    std::printf("\n");
  }
  EXPECT_EQ(checked, 24);
}

}  // namespace
}  // namespace jouleprune::test
