// Profiles of dataflow fixed-nest: entries priced as the published cases say, zeros, and what engines promise.
#include <gtest/gtest.h>
#include <jouleprune/marginals.h>

#include "effort.h"
#include "energy/nest_profiles.h"
#include "energy/price.h"

namespace jouleprune::test {
namespace {

double storage_pj(const Json& expected) {
  double pj = 0;
  for (const auto& [name, level] : expected.at("levels").items()) {
    for (const auto& [tensor, counts] : level.at("tensors").items()) pj += counts.at("energy_pj_total").get<double>();
  }
  return pj;
}

const char* const kConvolutions[] = {"tl06_convlayer_eyeriss", "design_eyeriss_like", "design_output_stationary",
                                     "design_weight_stationary"};

TEST(NestProfile, GivenMappingsEqualTheCases) {
  for (const char* name : kConvolutions) {
    const Json given = case_named(name, "energy/more");
    const LayerEnergy layer = energy::price(entry_of_case(given), profile_of(profile_of_case(given, true)), 1);
    const double compute_pj = given.at("expected").at("compute").at("energy_pj_total");
    const double memory_pj = storage_pj(given.at("expected"));
    EXPECT_NEAR(layer.parts.compute_j, compute_pj * 1e-12, 1e-5 * compute_pj * 1e-12) << name;
    EXPECT_NEAR(layer.parts.memory_j, memory_pj * 1e-12, 1e-5 * memory_pj * 1e-12) << name;
    EXPECT_EQ(layer.mapping, "given") << name;
  }
}

TEST(NestProfile, FoundMappingsAreNoWorseThanThePublishedSearch) {
  // Timeloop's own mapper chose the mappings of these cases, by energy and delay.
  for (const char* name : kConvolutions) {
    const Json given = case_named(name, "energy/more");
    const LayerEnergy layer = energy::price(entry_of_case(given), profile_of(profile_of_case(given, false)), 1);
    EXPECT_LT(layer.parts.memory_j, 1.1 * storage_pj(given.at("expected")) * 1e-12) << name;
    EXPECT_EQ(layer.mapping, "found (seed 1)");
  }
}

/// eyeriss-nest as published: inputs alone are compressed and gate the weights.
Json published_eyeriss(const Json& given) {
  Json json = Json::parse(energy::load_profile("eyeriss-nest").to_json());
  json["mappings"] = {{"conv2d", tiling_of(given.at("mapping"))}};
  json["provenance"]["/mappings"] = {{"source", "the case"}, {"kind", "published"}};
  json["levels"][0]["formats"].erase("weights");
  json["levels"][4].erase("optimizations");
  json.erase("arithmetic");
  return json;
}

TEST(NestProfile, GatingEqualsTheCases) {
  const std::pair<const char*, const char*> cases[] = {{"sl_0421", "energy"}, {"sl_0422", "energy/more"}};
  const std::pair<const char*, const char*> levels[] = {
      {"ifmap_spad", "INPUT-RF"}, {"weights_spad", "WEIGHT-RF"}, {"psum_spad", "SUM-RF"}};
  for (const auto& [name, folder] : cases) {
    const Json given = case_named(name, folder);
    Entry entry = entry_of_case(given);
    entry.input_density = given.at("workload").at("densities").at("Inputs").at("density");
    const LayerEnergy layer = energy::price(entry, profile_of(published_eyeriss(given)), 1);
    EXPECT_EQ(layer.mapping, "given");
    for (const auto& [theirs, ours] : levels) {
      const Json& tensor = *given.at("expected").at("levels").at(theirs).at("tensors").begin();
      double words = 0;
      for (const char* kind : {"reads", "fills", "updates"}) words += tensor.at(kind).get<double>();
      const double used =
          tensor.at("energy_pj_total").get<double>() / tensor.at("energy_pj_per_instance").get<double>();
      const double width = std::string(theirs) == "ifmap_spad" ? 17 : 16;
      EXPECT_NEAR(layer.bytes.at(ours), words * used * width / 8, 1e-6 * layer.bytes.at(ours)) << name << " " << ours;
    }
    EXPECT_NEAR(layer.parts.compute_j, given.at("expected").at("compute").at("energy_pj_total").get<double>() * 1e-12,
                1e-6 * layer.parts.compute_j);
  }
}

TEST(NestProfile, PartsSumToTheTotalAndTheIntervalHoldsIt) {
  std::mt19937 random(31);
  for (const char* name : {"eyeriss-nest", "fpga-like"}) {
    const Profile profile = energy::load_profile(name);
    for (int i = 0; i < 6; ++i) {
      const LayerEnergy layer = energy::price(random_entry(random), profile, 1);
      EXPECT_EQ(layer.energy_j, layer.parts.total_j());
      EXPECT_GT(layer.energy_j, 0);
      EXPECT_LE(layer.low_j, layer.energy_j);
      EXPECT_GE(layer.high_j, layer.energy_j);
    }
  }
}

testing::AssertionResult not_less(const LayerEnergy& now, const LayerEnergy& before) {
  if (now.energy_j >= before.energy_j && now.low_j >= before.low_j && now.high_j >= before.high_j)
    return testing::AssertionSuccess();
  return testing::AssertionFailure() << now.low_j << " " << now.energy_j << " " << now.high_j << " after "
                                     << before.low_j << " " << before.energy_j << " " << before.high_j << " J ";
}

TEST(NestProfile, NeverCheaperWithMoreKeptWeights) {
  std::mt19937 random(32);
  for (const char* name : {"eyeriss-nest", "fpga-like"}) {
    const Profile profile = energy::load_profile(name);
    for (int i = 0; i < 6; ++i) {
      Entry entry = random_entry(random);
      if (i % 2 == 1) entry.image = {1, entry.n};
      LayerEnergy before;
      for (int step = 0; step <= 40; ++step) {
        entry.nnz = entry.weight_elements * step / 40;
        const LayerEnergy now = energy::price(entry, profile, 1);
        EXPECT_TRUE(not_less(now, before)) << name << " " << entry.rows << "x" << entry.cols << "x" << entry.n << " " << step;
        before = now;
      }
    }
  }
}

TEST(NestProfile, NeverCheaperWithALargerBatch) {
  std::mt19937 random(33);
  for (const char* name : {"eyeriss-nest", "fpga-like"}) {
    const Profile profile = energy::load_profile(name);
    for (const double kept : {1.0, 0.3}) {
      for (const int64_t size : {3, 10, 130, 600}) {
        LayerEnergy before;
        for (int64_t batch = 1; batch < 700; batch += 1 + batch / 9) {
          Entry entry = linear(size, 2 * size + 1, batch);
          entry.nnz = static_cast<int64_t>(kept * static_cast<double>(entry.weight_elements));
          const LayerEnergy now = energy::price(entry, profile, 1);
          EXPECT_TRUE(not_less(now, before)) << name << " linear " << size << " batch " << batch;
          before = now;
        }
      }
      LayerEnergy before;
      for (int64_t batch = 1; batch < 20; ++batch) {
        Entry entry = conv2d(12, 7, 3, 13, batch);
        entry.image = {13, 13};
        entry.nnz = static_cast<int64_t>(kept * static_cast<double>(entry.weight_elements));
        const LayerEnergy now = energy::price(entry, profile, 1);
        EXPECT_TRUE(not_less(now, before)) << name << " batch " << batch;
        before = now;
      }
    }
  }
}

TEST(NestProfile, NeverCheaperWithWiderTypes) {
  // The same numbers for every type, so that only the width differs.
  Json json = Json::parse(energy::load_profile("fpga-like").to_json());
  json["compute"]["int8"] = json["compute"]["float32"] = json["compute"]["int16"];
  json["provenance"] = {{"", {{"source", "test"}, {"kind", "assumed"}}}};
  const Profile profile = profile_of(json);
  std::mt19937 random(34);
  for (int i = 0; i < jouleprune::test::random_cases(8); ++i) {
    Entry entry = random_entry(random);
    LayerEnergy before;
    for (const char* dtype : {"int8", "int16", "float32"}) {
      entry.dtype = dtype;
      const LayerEnergy now = energy::price(entry, profile, 1);
      EXPECT_TRUE(not_less(now, before)) << dtype << " " << entry.rows << "x" << entry.cols << "x" << entry.n;
      before = now;
    }
  }
}

/// eyeriss-nest gates: zeros save joules and no time. The same device with skipping instead saves both.
TEST(NestProfile, GatingKeepsTheCycleAndSkippingSavesIt) {
  Json json = Json::parse(energy::load_profile("eyeriss-nest").to_json());
  const Profile gating = profile_of(json);
  json["levels"][3]["optimizations"][0]["type"] = "skipping";
  const Profile skipping = profile_of(json);
  Entry dense = conv2d(64, 32, 3, 14, 2);
  dense.image = {14, 14};
  Entry pruned = dense, sparse_inputs = dense;
  pruned.nnz = dense.nnz / 10;
  sparse_inputs.input_density = 0.25;
  const LayerEnergy before = energy::price(dense, gating, 1);
  for (const Entry& entry : {pruned, sparse_inputs}) {
    const LayerEnergy after = energy::price(entry, gating, 1);
    EXPECT_EQ(after.latency_s, before.latency_s);
    EXPECT_EQ(after.macs_issued, static_cast<double>(dense.macs));
    EXPECT_LT(after.energy_j, 0.8 * before.energy_j);
  }
  EXPECT_NEAR(energy::price(sparse_inputs, skipping, 1).latency_s, 0.25 * energy::price(dense, skipping, 1).latency_s,
              1e-3 * before.latency_s);
}

TEST(NestProfile, NoWeightsNoWeightEnergy) {
  for (const char* name : {"eyeriss-nest", "fpga-like"}) {
    const Profile profile = energy::load_profile(name);
    Entry entry = linear(64, 100, 8);
    entry.nnz = 0;
    const LayerEnergy none = energy::price(entry, profile, 1);
    EXPECT_EQ(none.parts.compute_j, 0) << name;
    entry.weight_elements = entry.rows * entry.cols;
    entry.nnz = 1;
    EXPECT_GT(energy::price(entry, profile, 1).energy_j, none.energy_j) << name;
    if (std::string(name) == "eyeriss-nest") {
      EXPECT_EQ(none.bytes.at("WEIGHT-RF"), 0);
    }
  }
}

TEST(NestProfile, AMarginalIsTheDifference) {
  const Profile profile = energy::load_profile("eyeriss-nest");
  Entry entry = linear(48, 60, 4);
  const double all = energy::price(entry, profile, 1).energy_j;
  EXPECT_EQ(energy::marginal(entry, profile, energy::Unit::kWeight).exact_j,
            all - energy::price(energy::without(entry, energy::Unit::kWeight, 1), profile, 1).energy_j);
  EXPECT_EQ(energy::marginal(entry, profile, energy::Unit::kOutput).exact_j,
            all - energy::price(linear(47, 60, 4), profile, 1).energy_j);
}

TEST(NestProfile, WindowsCostLessThanUnfoldedOnes) {
  const Profile profile = energy::load_profile("eyeriss-nest");
  Entry entry = conv2d(64, 32, 3, 28, 1);
  const double unfolded = energy::price(entry, profile, 1).energy_j;
  entry.image = {28, 28};
  EXPECT_LT(energy::price(entry, profile, 1).energy_j, unfolded);
}

TEST(NestProfile, GroupsAreLayersOfTheirOwn) {
  // No word is shared between groups: four of them cost what four layers cost, but for whole blocks and time.
  const Profile profile = energy::load_profile("eyeriss-nest");
  Entry grouped = conv2d(32, 32, 3, 14, 1, 4), one = conv2d(8, 8, 3, 14, 1, 1);
  grouped.image = one.image = {14, 14};
  EXPECT_NEAR(energy::price(grouped, profile, 1).energy_j, 4 * energy::price(one, profile, 1).energy_j,
              0.15 * energy::price(grouped, profile, 1).energy_j);
}

TEST(NestProfile, AMappingThatDoesNotFitIsReplaced) {
  const Json given = case_named("tl06_convlayer_eyeriss", "energy/more");
  Json json = profile_of_case(given, true);
  json["mappings"]["conv2d"]["levels"][4]["loops"][0][1] = 64;  // sums of a unit: room for 16
  EXPECT_EQ(energy::price(entry_of_case(given), profile_of(json), 1).mapping, "found (seed 1)");
  json["mapper"] = {{"seed", 7}};
  EXPECT_EQ(energy::price(linear(30, 20, 2), profile_of(json), 1).mapping, "found (seed 7)");
}

TEST(NestProfile, SameSeedSameJoules) {
  // Another name is another profile, so nothing is taken from memory.
  Json json = Json::parse(energy::load_profile("eyeriss-nest").to_json());
  const Entry entry = linear(300, 500, 3);
  const double first = energy::price(entry, profile_of(json), 1).energy_j;
  json["name"] = "again";
  EXPECT_EQ(energy::price(entry, profile_of(json), 1).energy_j, first);
}

TEST(NestProfile, ExtrapolatedTypesAreTold) {
  const Profile fpga = energy::load_profile("fpga-like");
  EXPECT_EQ(energy::price(linear(8, 8, 1, "float32"), fpga, 1).extrapolated_from, "");
  EXPECT_EQ(energy::price(linear(8, 8, 1, "float64"), fpga, 1).extrapolated_from, "float32");
  EXPECT_EQ(energy::price(linear(8, 8, 1, "bfloat16"), fpga, 1).extrapolated_from, "int16");
  EXPECT_EQ(energy::price(linear(8, 8, 1, "float64"), energy::load_profile("eyeriss-nest"), 1).extrapolated_from, "");
}

TEST(NestProfile, RefusesWhatItCannotRun) {
  const Json json = Json::parse(energy::load_profile("eyeriss-nest").to_json());
  const auto refusal = [&](const std::string& pointer, const Json& value) {
    Json changed = json;
    changed[Json::json_pointer(pointer)] = value;
    try {
      energy::parse_profile(changed.dump(), "p");
    } catch (const core::ProfileError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  const auto expect = [&](const std::string& pointer, const Json& value, const std::string& words) {
    EXPECT_NE(refusal(pointer, value).find(words), std::string::npos) << refusal(pointer, value);
  };
  expect("/levels/0/keeps", Json::array({"weights"}), "/levels/0/formats/inputs: this level does not keep it");
  expect("/levels/1/spatial/x/dims", Json::array({"X"}), "/levels/1/spatial/x/dims/0: expected one of G, M");
  expect("/levels/1/spatial/x/extent", 0, "/levels/1/spatial/x/extent: expected an integer from 1");
  expect("/levels/4/capacity_bytes", number(1), "/levels/4/capacity_bytes: expected room");
  expect("/levels/3/optimizations/0/target", "outputs", "a tensor that this level keeps");
  expect("/levels/1/formats", {{"inputs", "bitmask"}}, "accepted");
  expect("/levels/2/formats", {{"inputs", "bitmask"}}, "/levels/2/formats: a level outside");
  expect("/mappings", {{"conv2d", {{"levels", Json::array()}}}}, "an item for each of the 5 levels");
  expect("/zeros", Json::object(), "/zeros: a profile of dataflow fixed-nest has none");
  expect("/dataflow", "op-count", "/mapper: only a profile of dataflow fixed-nest");
}

}  // namespace
}  // namespace jouleprune::test
