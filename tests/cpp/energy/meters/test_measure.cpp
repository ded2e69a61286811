// Measurements and checks against a machine whose energy is known. No real time passes.
#include <gtest/gtest.h>

#include "energy/meters/simulated.h"

namespace jouleprune::test {
namespace {

TEST(Statistics, StudentsT) {  // printed tables
  EXPECT_NEAR(student_t(0.975, 1), 12.7062, 1e-4);
  EXPECT_NEAR(student_t(0.975, 2), 4.302653, 1e-6);
  EXPECT_NEAR(student_t(0.975, 8), 2.306004, 1e-6);
  EXPECT_NEAR(student_t(0.995, 5), 4.032143, 1e-6);
  EXPECT_NEAR(student_t(0.975, 30), 2.042272, 1e-6);
  EXPECT_NEAR(student_t(0.025, 9), -student_t(0.975, 9), 1e-9);
  EXPECT_THROW(student_t(1, 3), std::invalid_argument);
  EXPECT_THROW(student_t(0.5, 0), std::invalid_argument);
}

TEST(Statistics, ADriftMovesTheMeanAndNotTheSpread) {
  const Estimate flat = mean_with_drift({0, 1, 2, 3, 4, 5}, {10, 11, 10, 11, 10, 11});
  std::vector<double> rising;
  for (int i = 0; i < 6; ++i) rising.push_back(10 + i % 2 + 100.0 * i);
  const Estimate drift = mean_with_drift({0, 1, 2, 3, 4, 5}, rising);
  EXPECT_NEAR(flat.value, 10.5, 1e-12);
  EXPECT_NEAR(drift.value, 260.5, 1e-9);
  EXPECT_NEAR(drift.high - drift.low, flat.high - flat.low, 1e-9);
  EXPECT_THROW(mean_with_drift({0, 1, 2}, {1, 2, 3}), std::invalid_argument);
}

struct Known {
  Measurement measurement;
  double truth_j;
};

/// Measures work that takes `run_s`, and tells the true joules per run of the windows.
Known measured(double run_s, uint64_t seed, const Folder& folder) {
  FakeTime unused;
  SimulatedMachine machine(run_s, Vices{}, seed);
  Meters meters(options_of(machine, folder, unused));
  machine.poll = [&meters] { meters.poll(); };
  std::vector<std::pair<int64_t, double>> calls;
  const auto work = [&](int64_t runs) { calls.emplace_back(runs, machine.work(runs)); };
  MeasureOptions options;
  options.seed = seed;
  options.max_s = 150;
  Known known{measure(work, meters, options), 0};
  // Each window is the call after a shorter one that fills what a reading averages over.
  const size_t windows = static_cast<size_t>(known.measurement.windows);
  for (size_t i = 0; i < windows; ++i) {
    const auto& [runs, joules] = calls[calls.size() - 1 - 2 * i];
    EXPECT_GE(runs, known.measurement.runs_per_window);
    known.truth_j += joules / static_cast<double>(runs) / static_cast<double>(windows);
  }
  machine.poll = nullptr;
  return known;
}

TEST(Measure, TheIntervalCoversTheTruthInNineteenOfTwenty) {
  constexpr int kRuns = 1000;
  const Folder folder;
  std::mt19937_64 random(2026);
  int covered = 0;
  double width = 0, bias = 0;
  for (int i = 0; i < kRuns; ++i) {
    const double run_s = std::uniform_real_distribution<double>(0.003, 0.09)(random);
    const Known known = measured(run_s, random(), folder);
    const Estimate& energy = known.measurement.totals.at("package");
    covered += energy.low <= known.truth_j && known.truth_j <= energy.high ? 1 : 0;
    width += energy.relative() / kRuns;
    bias += (energy.value / known.truth_j - 1) / kRuns;
    ASSERT_NEAR(known.measurement.time_s.value, run_s, 1e-9);
  }
  std::printf("covered %d of %d, half width %.2f %%, bias %.3f %%\n", covered, kRuns, 100 * width, 100 * bias);
  EXPECT_GE(covered, 930);
  EXPECT_LE(covered, 970);
  EXPECT_LT(width, 0.05);
  EXPECT_LT(std::abs(bias), 0.002);
}

TEST(Measure, WorkInStepWithTheSensor) {  // the sensor sees one phase in a window, another in the next
  const Folder folder;
  int covered = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const Known known = measured(0.05, seed, folder);
    const Estimate& energy = known.measurement.totals.at("package");
    covered += energy.low <= known.truth_j && known.truth_j <= energy.high ? 1 : 0;
  }
  EXPECT_GE(covered, 180);
}

TEST(Measure, IdlePowerStandsApart) {
  const Folder folder;
  FakeTime unused;
  SimulatedMachine machine(0.01, Vices{}, 3);
  Meters meters(options_of(machine, folder, unused));
  machine.poll = [&meters] { meters.poll(); };
  const auto work = [&](int64_t runs) { machine.work(runs); };
  MeasureOptions options;
  const double with = measure(work, meters, options).totals.at("package").value;
  options.idle_s = 10;
  const Measurement measurement = measure(work, meters, options);
  EXPECT_NEAR(*measurement.domains[0].idle_w, 60, 2);
  EXPECT_NEAR(measurement.totals.at("package").value, with, 0.05 * with);  // nothing was subtracted
  EXPECT_GT(measurement.totals.at("package").value, 0.01 * 200);
}

TEST(Measure, WithoutAMeterThereIsTime) {
  const Folder folder;
  FakeTime time;
  time.step = 1;
  Meters meters(only(folder, time));
  const Measurement measurement =
      measure([&](int64_t runs) { time.advance(0.25 * static_cast<double>(runs)); }, meters);
  EXPECT_NEAR(measurement.time_s.value, 0.25, 1e-9);
  EXPECT_TRUE(measurement.totals.empty());
  EXPECT_TRUE(measurement.reached);
}

TEST(Measure, BadArgumentsAreNamed) {
  const Folder folder;
  FakeTime time;
  Meters meters(only(folder, time));
  const auto work = [&](int64_t) { time.advance(0.1); };
  const auto message = [&](const MeasureOptions& options) -> std::string {
    try {
      measure(work, meters, options);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  MeasureOptions options;
  options.target = 0;
  EXPECT_NE(message(options).find("target: expected a share"), std::string::npos);
  options = {};
  options.min_windows = 3;
  EXPECT_NE(message(options).find("min_windows"), std::string::npos);
  options = {};
  options.max_s = std::nan("");
  EXPECT_NE(message(options).find("max_s"), std::string::npos);
  EXPECT_THROW(measure({}, meters), std::invalid_argument);
  EXPECT_THROW(measure([](int64_t) {}, meters), std::invalid_argument);  // no time passes
}

MeterCheck checked(const Vices& vices, uint64_t seed, const Folder& folder,
                   const std::function<double(int)>& slower = {}) {
  FakeTime unused;
  SimulatedMachine machine(0.013, vices, seed);
  Meters meters(options_of(machine, folder, unused));
  machine.poll = [&meters] { meters.poll(); };
  int call = 0;
  CheckOptions options;
  options.seed = seed;
  const auto work = [&](int64_t runs) {
    const double factor = slower ? slower(call) : 1;
    ++call;
    machine.work(static_cast<int64_t>(factor * static_cast<double>(runs)));
  };
  MeterCheck check = check_meters(work, meters, options);
  machine.poll = nullptr;
  return check;
}

const CheckItem& item(const MeterCheck& check, const std::string& name) {
  for (const CheckItem& one : check.items) {
    if (one.name == name) return one;
  }
  throw std::runtime_error("no item " + name);
}

TEST(Check, AnHonestMeterPasses) {
  const Folder folder;
  int passed = 0;
  std::string failures;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const MeterCheck check = checked(Vices{}, seed, folder);
    passed += check.passed ? 1 : 0;
    if (!check.passed) failures += item(check, "linear").detail + "; " + item(check, "A/A").detail + "\n";
  }
  EXPECT_GE(passed, 47) << failures;  // 1 in 100 fails A/A by chance
}

TEST(Check, AMeterWithAFixedSurplusIsNotLinear) {
  const Folder folder;
  Vices vices;
  vices.offset_j = 100;  // beside about 350 J in the shortest window
  const MeterCheck check = checked(vices, 1, folder);
  EXPECT_EQ(item(check, "linear").state, CheckItem::State::kFailed) << item(check, "linear").detail;
  EXPECT_FALSE(check.passed);
}

TEST(Check, WorkThatDiffersFromItselfIsSeen) {
  const Folder folder;
  // Calls come in pairs (filling, window); of the quads' windows the second and third do a tenth more.
  int first_quad = -1;
  const MeterCheck check = checked(Vices{}, 2, folder, [&](int call) {
    static constexpr int kLines = 12;
    if (call == 0) first_quad = -1;
    const int doublings = 8;  // 1, then 1, 2, ... 64 runs until half a second has passed
    const int window = call - doublings;
    if (window < 0 || window % 2 == 0) return 1.0;
    const int place = window / 2 - kLines;
    if (place < 0) return 1.0;
    return place % 4 == 1 || place % 4 == 2 ? 1.1 : 1.0;
  });
  EXPECT_EQ(item(check, "linear").state, CheckItem::State::kPassed) << item(check, "linear").detail;
  EXPECT_EQ(item(check, "A/A").state, CheckItem::State::kFailed) << item(check, "A/A").detail;
}

TEST(Check, WithoutAMeterNothingPasses) {
  const Folder folder;
  FakeTime time;
  Meters meters(only(folder, time));
  const MeterCheck check = check_meters([&](int64_t) { time.advance(0.1); }, meters);
  EXPECT_FALSE(check.passed);
  EXPECT_NE(check.items[0].detail.find("powercap"), std::string::npos);
}

}  // namespace
}  // namespace jouleprune::test
