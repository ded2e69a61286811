// Random damage never does more than raise the named error.
#include <gtest/gtest.h>

#include <cstdlib>

#include "effort.h"
#include "energy/cases.h"

namespace jouleprune::test {
namespace {

int mutations() {
  const char* given = std::getenv("JOULEPRUNE_FUZZ");
  return given ? std::atoi(given) : jouleprune::test::random_cases(20000);
}

std::string mutated(std::string text, std::mt19937& random) {
  const int edits = 1 + static_cast<int>(random() % 3);
  for (int i = 0; i < edits && !text.empty(); ++i) {
    const size_t at = random() % text.size();
    static constexpr std::string_view kSpecial = "{}[]\",:-0123456789.eE+ntf\\\0\xff";
    switch (random() % 5) {
      case 0: text[at] = static_cast<char>(random()); break;
      case 1: text[at] = kSpecial[random() % kSpecial.size()]; break;
      case 2: text.erase(at, 1 + random() % 8); break;
      case 3: text.insert(at, 1, kSpecial[random() % kSpecial.size()]); break;
      case 4: text.insert(at, text.substr(random() % text.size(), random() % 64)); break;
    }
  }
  return text;
}

TEST(Hostile, MutatedProfiles) {
  std::mt19937 random(21);
  std::vector<std::string> originals;
  for (const std::string& name : Profile::names()) originals.push_back(energy::load_profile(name).to_json());
  int refused = 0, accepted = 0;
  const int count = mutations();
  for (int i = 0; i < count; ++i) {
    try {
      const Profile profile = energy::parse_profile(mutated(originals[i % originals.size()], random), "mutated");
      // A search for a mapping takes a thousand times as long as parsing.
      if (profile.data().dataflow == "fixed-nest" && ++accepted % 50 != 0) continue;
      const LayerEnergy priced = energy::price(linear(10, 10, 2), profile, 1);
      ASSERT_TRUE(std::isfinite(priced.energy_j)) << profile.to_json();
    } catch (const core::ProfileError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, count / 2);
}

TEST(Hostile, MutatedWorkloads) {
  std::mt19937 random(22);
  Workload workload;
  workload.entries = {linear(30, 20, 4), with_kernel(conv2d(16, 8, 3, 10, 2, 2), "csr", 70)};
  workload.unknown_ops = {"aten::strange"};
  const std::string original = workload.to_json();
  const Profile profiles[] = {energy::load_profile("generic-cpu"), energy::load_profile("eyeriss-65nm")};
  int refused = 0;
  const int count = mutations();
  for (int i = 0; i < count; ++i) {
    try {
      const Workload read = Workload::parse(mutated(original, random));
      ASSERT_TRUE(std::isfinite(estimate(read, profiles[i % 2]).total_j()));
    } catch (const std::invalid_argument&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, count / 2);
}

}  // namespace
}  // namespace jouleprune::test
