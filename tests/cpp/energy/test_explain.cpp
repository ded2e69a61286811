// Explanations: the terms are the very addends of the price, and every coefficient has its source.
#include <gtest/gtest.h>
#include <jouleprune/energy_terms.h>

#include <map>
#include <random>
#include <set>

#include "effort.h"
#include "energy/cases.h"

namespace jouleprune::test {
namespace {

Parts sums(const energy::LayerExplanation& found) {
  std::map<std::string, double> part;
  for (const auto& term : found.terms) part[term.part] += term.energy_j;
  return {part["compute"], part["memory"], part["metadata"], part["static"]};
}

void expect_exact(const energy::LayerExplanation& found) {
  const Parts parts = sums(found);
  EXPECT_EQ(parts.compute_j, found.layer.parts.compute_j);
  EXPECT_EQ(parts.memory_j, found.layer.parts.memory_j);
  EXPECT_EQ(parts.metadata_j, found.layer.parts.metadata_j);
  EXPECT_EQ(parts.static_j, found.layer.parts.static_j);
  EXPECT_EQ(parts.total_j(), found.layer.energy_j);
}

TEST(Explain, TermsAddUpExactlyOnEveryProfile) {
  std::mt19937 random(5);
  for (const std::string& name : Profile::names()) {
    const Profile profile = energy::load_profile(name);
    for (int draw = 0; draw < jouleprune::test::random_cases(50); ++draw) {
      Entry entry = random_entry(random, draw % 5 == 0 ? "int8" : "float32");
      entry.nnz = std::uniform_int_distribution<int64_t>(0, entry.weight_elements)(random);
      entry.ops = draw;
      if (profile.data().dataflow == "cache-tiled" && draw % 2 == 0 && entry.dtype == "float32") {
        entry = with_kernel(entry, "csr", entry.nnz);
      }
      const int64_t count = 1 + draw % 7;
      const auto found = energy::explain(entry, profile, count);
      EXPECT_EQ(found.layer.energy_j, energy::price(entry, profile, count).energy_j) << name;
      expect_exact(found);
      for (const auto& term : found.terms) {
        EXPECT_NEAR(term.energy_j, term.count * term.coefficient * (term.coefficient_unit == "pJ" ? 1e-12 : 1) / count,
                    1e-12 * term.energy_j);
        EXPECT_LE(term.low, term.coefficient);
        EXPECT_GE(term.high, term.coefficient);
      }
    }
  }
}

TEST(Explain, EveryNumberHasASource) {
  for (const std::string& name : Profile::names()) {
    const Profile profile = energy::load_profile(name);
    const auto found = energy::explain(conv2d(16, 8, 3, 10, 2), profile, 2);
    const Json json = Json::parse(profile.to_json());
    std::set<std::string> told;
    for (const auto& number : found.coefficients) {
      EXPECT_TRUE(told.insert(number.pointer).second) << "twice: " << number.pointer;
      EXPECT_EQ(number.value, json.at(Json::json_pointer(number.pointer)).at("value").get<double>());
      EXPECT_FALSE(number.source.empty()) << name << number.pointer;
      EXPECT_FALSE(number.kind.empty());
    }
    for (const auto& term : found.terms) {
      EXPECT_TRUE(told.contains(term.pointer)) << name << term.pointer;
      for (const std::string& pointer : term.behind) EXPECT_TRUE(told.contains(pointer)) << name << pointer;
    }
  }
}

TEST(Explain, TheWorkedExample) {
  // 10 MACs of 2 pJ and 16 bits of each of 6 weights read at 1/8 pJ.
  Entry entry = linear(2, 3, 1, "int16");
  entry.macs = 10;
  const auto found = energy::explain(entry, profile_of(example_profile()), 1);
  ASSERT_EQ(found.terms.size(), 2u);
  EXPECT_EQ(found.terms[0].what, "multiply-accumulates");
  EXPECT_EQ(found.terms[0].count, 10);
  EXPECT_EQ(found.terms[0].pointer, "/compute/int16/mac_pj");
  EXPECT_DOUBLE_EQ(found.terms[0].energy_j, 20e-12);
  EXPECT_EQ(found.terms[1].what, "reads of memory");
  EXPECT_EQ(found.terms[1].count, 96);
  EXPECT_EQ(found.terms[1].pointer, "/levels/0/read_pj_per_bit");
  EXPECT_DOUBLE_EQ(found.terms[1].energy_j, 12e-12);
  EXPECT_EQ(found.terms[1].behind, std::vector<std::string>{"/levels/0/per_element/weight_reads"});
  EXPECT_EQ(found.coefficients[0].source, "worked example");
}

TEST(Explain, ExtrapolatedTypesAreFlagged) {
  const auto found = energy::explain(linear(4, 4, 1, "float64"), profile_of(example_profile()), 1);
  EXPECT_EQ(found.terms[0].pointer, "/compute/int16/mac_pj");
  EXPECT_EQ(found.terms[0].coefficient, 32);  // 2 pJ x (64 / 16)^2
  EXPECT_EQ(found.coefficients[0].value, 2);
  EXPECT_NE(found.coefficients[0].note.find("float64 is not listed"), std::string::npos);
  EXPECT_TRUE(energy::explain(linear(4, 4, 1, "int8"), profile_of(example_profile()), 1).coefficients[0].note.empty());
}

TEST(Explain, TheLongestPointerIsTheSource) {
  Json profile = example_profile();
  profile["provenance"]["/levels/0"] = {{"source", "levels"}, {"kind", "measured"}, {"date", "2020"}};
  const auto found = energy::explain(linear(4, 4, 1, "int8"), profile_of(profile), 1);
  EXPECT_EQ(found.coefficients[0].source, "worked example");
  EXPECT_EQ(found.coefficients[1].source, "levels");
  EXPECT_EQ(found.coefficients[1].kind, "measured");
  EXPECT_EQ(found.coefficients[1].date, "2020");
}

TEST(Explain, MalformedEntriesAreRefusedAsByThePrice) {
  Entry entry = linear(4, 4, 1);
  entry.nnz = 17;
  EXPECT_THROW(energy::explain(entry, energy::load_profile("generic-cpu"), 1), std::invalid_argument);
  EXPECT_THROW(energy::explain(linear(4, 4, 1), energy::load_profile("generic-cpu"), 0), std::invalid_argument);
}

}  // namespace
}  // namespace jouleprune::test
