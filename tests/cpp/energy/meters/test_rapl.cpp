// RAPL over powercap: names, trees, wraps, permissions.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <random>
#include <thread>

#include "energy/meters/files.h"
#include "energy/meters/fixtures.h"

namespace jouleprune::test {
namespace {

TEST(Rapl, TwoPackagesWithDramAndPsys) {
  Folder folder;
  FakeTime time;
  Powercap powercap(folder, time);
  powercap.add("intel-rapl:0", "package-0", 50);
  powercap.add("intel-rapl:0:0", "core", 30);
  powercap.add("intel-rapl:0:1", "dram", 7);
  powercap.add("intel-rapl:1", "package-1", 40);
  powercap.add("intel-rapl:1:0", "dram", 5);
  powercap.add("intel-rapl:2", "psys", 130);
  Meters meters(only(folder, time));
  EXPECT_TRUE(meters.any());
  EXPECT_EQ(meters.why_none(), "");
  ASSERT_EQ(meters.domains().size(), 6u);
  EXPECT_EQ(find(meters, "core-0")->inside, "package-0");
  EXPECT_EQ(find(meters, "dram-1")->inside, "");
  EXPECT_NEAR(find(meters, "package-0")->refresh_s, 1e-3, 2e-4);

  EnergyWindow window(meters);
  time.advance(2);
  const WindowEnergy energy = window.end();
  EXPECT_DOUBLE_EQ(energy.time_s, 2);
  EXPECT_NEAR(*of(energy, "core-0").energy_j, 60, 1e-2);
  EXPECT_NEAR(*of(energy, "psys").energy_j, 260, 1e-2);
  EXPECT_NEAR(*energy.total_j(Scope::kPackage), 2 * (50 + 7 + 40 + 5),
              1e-2);  // neither core, a part, nor psys, the whole
  EXPECT_FALSE(energy.total_j(Scope::kBoard));
}

TEST(Rapl, WrapInTheWindow) {
  Folder folder;
  FakeTime time;
  Powercap powercap(folder, time);
  powercap.add("intel-rapl:0", "package-0", 100, 262143.3 - 30);
  Meters meters(only(folder, time));
  EnergyWindow window(meters);
  time.advance(1);
  EXPECT_NEAR(*window.end().total_j(Scope::kPackage), 100, 1e-2);
}

TEST(Rapl, AnUnwatchedWrapIsNotCounted) {
  Folder folder;
  FakeTime time;
  Powercap powercap(folder, time);
  powercap.add("intel-rapl:0", "package-0", 100, 0, 2000);  // 1000 W at most: watched every second, or it is not known
  Meters meters(only(folder, time));
  time.step = 0.5;
  {
    EnergyWindow window(meters);
    for (int i = 0; i < 100; ++i) {  // 5 wraps
      time.advance(1);
      meters.poll();
    }
    EXPECT_NEAR(*window.end().total_j(Scope::kPackage), 10000, 1);
  }
  EnergyWindow window(meters);
  time.advance(30);
  const WindowEnergy energy = window.end();
  EXPECT_FALSE(energy.total_j(Scope::kPackage));
  EXPECT_NE(of(energy, "package-0").status.find("wrapped more than once"), std::string::npos)
      << of(energy, "package-0").status;
}

TEST(Rapl, PermissionDeniedTellsTheRemedy) {
  Folder folder;
  FakeTime time;
  Powercap powercap(folder, time);
  powercap.add("intel-rapl:0", "package-0", 100);
  time.tick = nullptr;
  std::filesystem::permissions(folder.path() + "/class/powercap/intel-rapl:0/energy_uj", std::filesystem::perms(0400));
  const bool root = ::geteuid() == 0;
  if (root) {
    ASSERT_EQ(::seteuid(65534), 0);
  }
  Meters meters(only(folder, time));
  if (root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  EXPECT_FALSE(meters.any());
  const std::string why = meters.why_none();
  EXPECT_NE(why.find("chmod a+r"), std::string::npos) << why;
  EXPECT_NE(why.find("CAP_PERFMON"), std::string::npos);
}

TEST(Rapl, ACounterThatStandsStillIsUnavailable) {
  Folder folder;
  FakeTime time;
  Powercap powercap(folder, time);
  powercap.add("intel-rapl:0", "package-0", 0, 17);
  Meters meters(only(folder, time));
  EXPECT_FALSE(meters.any());
  EXPECT_NE(meters.why_none().find("present but not counting"), std::string::npos) << meters.why_none();
  EnergyWindow window(meters);
  time.advance(1);
  const WindowEnergy energy = window.end();
  EXPECT_FALSE(of(energy, "package-0").energy_j);  // not 0
  EXPECT_FALSE(energy.total_j(Scope::kPackage));
}

TEST(Rapl, ACounterThatStopsIsNotZero) {
  Folder folder;
  FakeTime time;
  Powercap powercap(folder, time);
  powercap.add("intel-rapl:0", "package-0", 10);
  Meters meters(only(folder, time));
  time.tick = nullptr;
  EnergyWindow window(meters);
  time.advance(1);
  const WindowEnergy energy = window.end();
  EXPECT_FALSE(of(energy, "package-0").energy_j);
  EXPECT_NE(of(energy, "package-0").status.find("did not move"), std::string::npos);
}

TEST(Rapl, TheSameCounterUnderTwoNamesCountsOnce) {
  Folder folder;
  FakeTime time;
  Powercap powercap(folder, time);
  powercap.add("intel-rapl-mmio:0", "package-0", 50);
  powercap.add("intel-rapl:0", "package-0", 50);
  powercap.add("intel-rapl:0:0", "dram", 5);
  Meters meters(only(folder, time));
  EXPECT_EQ(meters.domains().size(), 2u);
  EnergyWindow window(meters);
  time.advance(1);
  EXPECT_NEAR(*window.end().total_j(Scope::kPackage), 55, 1e-2);
}

TEST(Rapl, PackagesOfSeveralDies) {
  Folder folder;
  FakeTime time;
  Powercap powercap(folder, time);
  powercap.add("intel-rapl:0", "package-0-die-0", 50);
  powercap.add("intel-rapl:1", "package-0-die-1", 60);
  powercap.add("intel-rapl:1:0", "dram", 4);
  Meters meters(only(folder, time));
  ASSERT_NE(find(meters, "dram-0-die-1"), nullptr);
  EnergyWindow window(meters);
  time.advance(1);
  EXPECT_NEAR(*window.end().total_j(Scope::kPackage), 114, 1e-2);
}

TEST(Rapl, ACounterThatVanishesHasNoJoules) {
  Folder folder;
  FakeTime time;
  Powercap powercap(folder, time);
  powercap.add("intel-rapl:0", "package-0", 50);
  powercap.add("intel-rapl:1", "package-1", 50);
  Meters meters(only(folder, time));
  EnergyWindow window(meters);
  time.advance(1);
  powercap.vanish("intel-rapl:1");
  time.advance(1);
  const WindowEnergy energy = window.end();
  EXPECT_NEAR(*of(energy, "package-0").energy_j, 100, 1e-2);
  EXPECT_FALSE(of(energy, "package-1").energy_j);
  EXPECT_NE(of(energy, "package-1").status.find("No such file"), std::string::npos) << of(energy, "package-1").status;
  EXPECT_FALSE(energy.total_j(Scope::kPackage));  // a sum without one of its parts would be too low
}

TEST(Rapl, AMaskedFolderAndNoFolderSayWhy) {
  Folder folder;
  FakeTime time;
  EXPECT_NE(Meters(only(folder, time)).why_none().find("driver is not loaded"), std::string::npos);
  folder.write("class/powercap/.keep", "");
  EXPECT_NE(Meters(only(folder, time)).why_none().find("containers hide it"), std::string::npos);
}

TEST(Rapl, WindowsNestAndOverlap) {
  Folder folder;
  FakeTime time;
  Powercap powercap(folder, time);
  powercap.add("intel-rapl:0", "package-0", 10);
  Meters meters(only(folder, time));
  WindowEnergy by_scope;
  int synchronised = 0;
  EnergyWindow first(meters, [&] { ++synchronised; });
  time.advance(1);
  EnergyWindow second(meters);
  {
    const EnergyWindow inner(meters, &by_scope);
    time.advance(0.5);
  }
  EXPECT_NEAR(*first.end().total_j(Scope::kPackage), 15, 1e-2);
  time.advance(2);
  EXPECT_NEAR(*second.end().total_j(Scope::kPackage), 25, 1e-2);
  EXPECT_NEAR(*by_scope.total_j(Scope::kPackage), 5, 1e-2);
  EXPECT_EQ(synchronised, 2);
  EXPECT_THROW(first.end(), std::logic_error);
}

/// Watts times the time that really passes.
class RealTime : public EnergySource {
 public:
  explicit RealTime(bool integrated) : begin_(clock_.now()) {
    domain.name = integrated ? "power" : "counter";
    domain.integrated = integrated;
  }
  Reading read() override { return {static_cast<uint64_t>(kWatts * 1e6 * (clock_.now() - begin_)), kWatts, ""}; }
  static constexpr double kWatts = 20;

 private:
  MeterClock clock_ = MeterClock::system();
  double begin_;
};

TEST(Meters, ManyThreadsShareThemInRealTime) {
  Folder folder;
  FakeTime unused;
  MeterOptions options = only(folder, unused);
  options.clock = MeterClock::system();
  options.sources = {std::make_shared<RealTime>(false), std::make_shared<RealTime>(true)};
  Meters meters(options);
  std::vector<std::thread> threads;
  std::vector<WindowEnergy> windows(12);
  for (size_t i = 0; i < windows.size(); ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 5; ++round) {
        const EnergyWindow window(meters, &windows[i]);
        meters.clock().sleep(0.005 * static_cast<double>(i + 1));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const WindowEnergy& window : windows) {  // readings lie outside the two moments: never too few joules
    for (const DomainEnergy& domain : window.domains) {
      ASSERT_TRUE(domain.energy_j) << domain.status;
      EXPECT_GT(*domain.energy_j, RealTime::kWatts * window.time_s * 0.9);
    }
  }
}

TEST(Rapl, DamagedFilesDoNoMoreThanFail) {
  std::mt19937 random(5);
  constexpr std::string_view kLetters =
      "0123456789-+.e \n\0x,:\xff"
      "pack";
  for (int i = 0; i < 100000; ++i) {
    std::string text(random() % 24, ' ');
    for (char& letter : text) letter = kLetters[random() % kLetters.size()];
    const auto number = energy::meters::number_of(text);
    EXPECT_TRUE(!number || text.find_first_not_of("0123456789") == std::string::npos) << text;
    const auto decimal = energy::meters::decimal_of(text);
    EXPECT_TRUE(!decimal || (std::isfinite(*decimal) && *decimal >= 0)) << text;
    if (i % 500 != 0) continue;
    Folder folder;
    FakeTime time;
    folder.write("class/powercap/intel-rapl:0/name", i % 1000 == 0 ? "package-0" : text);
    folder.write("class/powercap/intel-rapl:0/energy_uj", text);
    folder.write("class/powercap/intel-rapl:0/max_energy_range_uj", text);
    EXPECT_FALSE(Meters(only(folder, time)).any());
  }
}

}  // namespace
}  // namespace jouleprune::test
