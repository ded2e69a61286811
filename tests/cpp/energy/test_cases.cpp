// Published cases: computed without their expectations, held to them; damaged ones refused with the place.
#include <gtest/gtest.h>
#include <jouleprune/count.h>
#include <jouleprune/error.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <random>

#include "energy/case_files.h"

namespace jouleprune::test {
namespace {

using Json = nlohmann::json;
using energy::count_case;

TEST(Cases, AllHold) {
  const auto files = all_cases();
  EXPECT_EQ(files.size(), 16u);
  for (const CaseFile& file : files) {
    const auto counts = count_case(file.text, file.name);
    for (const std::string& line : counts.deviations) ADD_FAILURE() << file.name << ": " << line;
  }
}

/// Further outputs of Timeloop and Sparseloop: mappers' results, whole accelerators, spatial and compressed designs.
TEST(Cases, MoreOutputsHold) {
  const auto files = case_files({""}, "energy/more");
  EXPECT_EQ(files.size(), 17u);
  for (const CaseFile& file : files) {
    for (const std::string& line : count_case(file.text, file.name).deviations) {
      ADD_FAILURE() << file.name << ": " << line;
    }
  }
}

/// Layers that no publication has, computed apart from the library: by walking, by numpy, by hand.
TEST(Cases, OwnHold) {
  const auto files = case_files({""}, "energy/own");
  EXPECT_EQ(files.size(), 5u);
  for (const CaseFile& file : files) {
    for (const std::string& line : count_case(file.text, file.name).deviations) ADD_FAILURE() << file.name << ": " << line;
  }
}

TEST(Cases, HaveTheKeysOfWhatIsExpected) {
  for (const CaseFile& file : all_cases()) {
    const Json given = Json::parse(file.text), computed = Json::parse(count_case(file.text, file.name).json);
    const Json flat_expected = given.at("expected").flatten(), flat = computed.flatten();
    std::vector<std::string> expected_keys, keys;
    for (const auto& [key, value] : flat_expected.items()) expected_keys.push_back(key);
    for (const auto& [key, value] : flat.items()) keys.push_back(key);
    EXPECT_EQ(expected_keys, keys) << file.name;
  }
}

TEST(Cases, ExpectationsAreNotRead) {
  for (const CaseFile& file : all_cases()) {
    Json without = Json::parse(file.text);
    without.erase("expected");
    without.erase("tolerance");
    without.erase("verification");
    const auto counts = count_case(without.dump(), file.name);
    EXPECT_EQ(counts.json, count_case(file.text, file.name).json);
    EXPECT_TRUE(counts.deviations.empty());
  }
}

/// Every number of `/expected`, one at a time, off by more than any tolerance.
TEST(Cases, EveryPerturbedExpectationIsCaught) {
  std::vector<CaseFile> files = case_files({"tl", "sl_", "hyang_lenet5"});
  for (CaseFile& file : case_files({""}, "energy/own")) files.push_back(std::move(file));
  for (const CaseFile& file : files) {
    const Json given = Json::parse(file.text);
    const Json expected = given.at("expected").flatten();
    for (const auto& [pointer, value] : expected.items()) {
      if (!value.is_number()) continue;
      Json perturbed = given;
      Json& place = perturbed.at("expected").at(Json::json_pointer(pointer));
      if (value.is_number_integer()) place = value.get<int64_t>() + 3;
      if (value.is_number_float()) place = value.get<double>() * 1.01 + 0.1;
      const auto counts = count_case(perturbed.dump(), file.name);
      ASSERT_EQ(counts.deviations.size(), 1u) << file.name << " " << pointer;
      EXPECT_TRUE(counts.deviations[0].starts_with("/expected" + pointer + ":")) << counts.deviations[0];
    }
  }
}

TEST(Cases, ExpectationsThatAreNotComputedDeviate) {
  Json given = Json::parse(all_cases().back().text);
  given["expected"]["strange"] = 1;
  const auto counts = count_case(given.dump(), "case");
  ASSERT_EQ(counts.deviations.size(), 1u);
  EXPECT_NE(counts.deviations[0].find("/expected/strange"), std::string::npos);
}

std::string refusal(const Json& given) {
  try {
    count_case(given.dump(), "case.json");
  } catch (const core::ProfileError& error) {
    return error.what();
  }
  return "accepted";
}

Json case_named(const std::string& name) { return Json::parse(case_files({name}).at(0).text); }

TEST(Cases, DamageNamesItsPlace) {
  const auto damaged = [](const std::string& name, const std::string& pointer, const Json& value) {
    Json given = case_named(name);
    given[Json::json_pointer(pointer)] = value;
    return refusal(given);
  };
  const auto expect = [](const std::string& message, const std::string& part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  expect(damaged("tl00", "/kind", "loops"), "/kind: expected one of loop-nest");
  expect(damaged("tl00", "/schema", 2), "/schema: expected 1, got 2");
  expect(damaged("tl00", "/workload/dimensions/R", 0), "/workload/dimensions/R: expected an integer from 1");
  expect(damaged("tl00", "/workload/dimensions/R", 4),
         "/mapping/levels: loops over R: expected bounds whose product is 4, got 3");
  expect(damaged("tl00", "/mapping/levels/0/loops/1/dim", "Z"), "/mapping/levels/0/loops/1/dim: expected a dimension");
  expect(damaged("tl00", "/mapping/levels/0/keeps/Inputs", 17), "/mapping/levels/0/keeps/Inputs: expected 18 words");
  expect(damaged("tl00", "/mapping/levels/0/loops/1/bund", 3), "/mapping/levels/0/loops/1/bund: unknown key");
  expect(damaged("tl00", "/architecture/levels/0/capacity_words", 36),
         "/architecture/levels/0/capacity_words: expected room for the 37");
  expect(damaged("tl00", "/architecture/levels/0/ert_pj_per_block/read", -1),
         "/architecture/levels/0/ert_pj_per_block/read: expected a number from 0");
  expect(damaged("tl04", "/architecture/levels/0/instances", 8),
         "/architecture/levels/0/instances: expected at least the 16");
  expect(damaged("sl_0122", "/workload/densities/A/density", 1.5), "/workload/densities/A/density: expected a share");
  expect(
      damaged("sl_0123",
              "/architecture/levels/0/sparse_optimizations/representation_format/data_spaces/0/ranks/0/format", "COO"),
      "/ranks/0/format: expected one of B, CP");
  expect(damaged("hyang_lenet5", "/workload/layers/0/out_hw/0", 27), "/workload/layers/0/out_hw: expected [28, 28]");
  expect(damaged("hyang_lenet5", "/workload/layers/1/weights", 1), "/workload/layers/1/weights: expected 2400");
  expect(damaged("hyang_lenet5", "/architecture/input_cache_words_s1", 40), "/workload/layers/0: input_cache_words");
  expect(damaged("hyang_projection", "/budget", 1), "/weights: budget: expected at least");
  Json missing = case_named("tl00");
  missing["architecture"]["levels"][0].erase("ert_pj_per_block");
  expect(refusal(missing), "/architecture/levels/0/ert_pj_per_block: missing");
}

/// Values that a file does not give are told, and no longer once it gives them.
TEST(Cases, AssumptionsAreTold) {
  for (const CaseFile& file : case_files({"tl", "hyang_lenet5"})) {
    EXPECT_TRUE(count_case(file.text, file.name).assumptions.empty()) << file.name;
  }
  Json given = case_named("sl_0421");
  const auto told = [&] { return count_case(given.dump(), "case").assumptions; };
  EXPECT_EQ(told().size(), 6u);  // five levels without bandwidth, one with run lengths of no width
  EXPECT_EQ(told().at(0),
            "/architecture/levels/4/metadata_word_bits: not given; assumed 4 bits per run length, coordinate or offset without a width "
            "of its own");
  EXPECT_TRUE(told().at(1).starts_with("/architecture/levels/0/read_bandwidth, write_bandwidth, shared_bandwidth: not given; assumed"));
  given["architecture"]["levels"][4]["metadata_word_bits"] = 5;
  for (Json& level : given["architecture"]["levels"]) level["read_bandwidth"] = 16;
  EXPECT_TRUE(told().empty());
}

TEST(Cases, StatedBandwidthSetsTheCycles) {
  // Sparseloop's output for this design: 16 words a cycle at the buffer, 2 at the scratchpads.
  Json given = case_named("sl_0421");
  given["architecture"]["levels"][1]["read_bandwidth"] = 2;
  given["architecture"]["levels"][2]["read_bandwidth"] = 2;
  given["architecture"]["levels"][3]["read_bandwidth"] = 16;
  given["architecture"]["levels"][3]["write_bandwidth"] = 16;
  EXPECT_TRUE(count_case(given.dump(), "case").deviations.empty());
  given["architecture"]["levels"][3]["write_bandwidth"] = 4;  // 16,613,376 updates and 1,382,400 fills
  EXPECT_EQ(Json::parse(count_case(given.dump(), "case").json)["summary"]["cycles"], 4498944);
}

// --- damage at random -----------------------------------------------------------------------------------------------

int mutations() {
  const char* given = std::getenv("JOULEPRUNE_FUZZ");
  return given ? std::atoi(given) : 3000;
}

/// Changes one value somewhere: the structure stays, so that more than the parser is met.
void disturb(Json& json, std::mt19937& random) {
  Json* place = &json;
  while (place->is_structured() && !place->empty() && random() % 8 != 0) {
    auto child = place->begin();
    std::advance(child, static_cast<long>(random() % place->size()));
    place = &*child;
  }
  switch (random() % 9) {
    case 0:
      *place = nullptr;
      break;
    case 1:
      *place = static_cast<int64_t>(random() % 5);
      break;
    case 2:
      *place = static_cast<int64_t>(random() >> 1) * static_cast<int64_t>(random() >> 1);
      break;
    case 3:
      *place = -1;
      break;
    case 4:
      *place = 0.5;
      break;
    case 5:
      *place = "X";
      break;
    case 6:
      *place = Json::array({*place, *place});
      break;
    case 7:
      *place = Json::object();
      break;
    case 8:
      if (place->is_structured() && !place->empty()) place->erase(place->begin());
      break;
  }
}

TEST(Cases, DamagedAtRandomAreRefusedOrCounted) {
  std::mt19937 random(23);
  // AlexNet hashes 61 million weights: the masked small network stands for it.
  std::vector<Json> originals;
  for (const CaseFile& file : case_files({"tl", "sl_", "hyang_lenet5", "hyang_projection"}))
    originals.push_back(Json::parse(file.text));
  Json masked = case_named("hyang_lenet5");
  masked["weights_mask"] = {{"density", 0.3}, {"base_seed", 1}};
  originals.push_back(masked);
  Json actual = case_named("sl_0123");
  actual["workload"]["densities"]["A"] = {{"distribution", "actual_data"}, {"nonzero", "0100010001000100"}};
  originals.push_back(actual);
  int refused = 0, text_refused = 0;
  const int count = mutations();
  for (int i = 0; i < count; ++i) {
    Json given = originals[static_cast<size_t>(i) % originals.size()];
    given.erase("verification");
    given.erase("source");
    for (unsigned edits = 1 + random() % 2; edits > 0; --edits) disturb(given, random);
    std::string text = given.dump();
    const bool broken = random() % 4 == 0;
    if (broken) text[random() % text.size()] = static_cast<char>(random());
    try {
      count_case(text, "damaged");
    } catch (const core::ProfileError& error) {
      ++(broken ? text_refused : refused);
      ASSERT_NE(std::string(error.what()).find("case 'damaged': /"), std::string::npos) << error.what();
    }
  }
  EXPECT_GT(refused, count / 4);
  EXPECT_GT(text_refused, count / 10);
}

}  // namespace
}  // namespace jouleprune::test
