// NVIDIA GPUs, by a table of functions that stand for the library.
#include <gtest/gtest.h>

#include <cstring>

#include "energy/meters/fixtures.h"
#include "energy/meters/nvml.h"

namespace jouleprune::test {
namespace {

using namespace energy::meters;  // NOLINT: the table's names

/// What the fake library knows; NVML's functions have no context argument.
struct Gpu {
  double watts = 200;
  bool counter = true, instant = true, mig = false;
  int value_type = 1;
  std::string name = "NVIDIA H100 80GB HBM3";
  double base_mj = 0, since = 0;
};
std::vector<Gpu> gpus;
FakeTime* now = nullptr;
int running = 0;

Gpu& gpu_of(NvmlDevice device) { return gpus[reinterpret_cast<uintptr_t>(device) - 1]; }

int total_energy(NvmlDevice device, unsigned long long* millijoules) {
  const Gpu& gpu = gpu_of(device);
  if (!gpu.counter) return kNvmlNotSupported;
  const double refreshed = std::floor(now->now * 10) / 10;  // every 100 ms
  *millijoules = static_cast<unsigned long long>(gpu.base_mj + 1e3 * gpu.watts * (refreshed - gpu.since));
  return kNvmlSuccess;
}

int fields(NvmlDevice device, int, NvmlField* field) {
  const Gpu& gpu = gpu_of(device);
  field->result = gpu.instant ? kNvmlSuccess : kNvmlNotSupported;
  field->value_type = gpu.value_type;
  const double milliwatts = 1e3 * gpu.watts;
  field->value.ull = ~0ULL;  // what the other members would read
  switch (gpu.value_type) {
    case 0: field->value.d = milliwatts; break;
    case 1: field->value.u = static_cast<unsigned>(milliwatts); break;
    case 2: field->value.ul = static_cast<unsigned long>(milliwatts); break;
    case 3: field->value.ull = static_cast<unsigned long long>(milliwatts); break;
    default: field->value.ll = static_cast<long long>(milliwatts); break;
  }
  return kNvmlSuccess;
}

std::shared_ptr<const NvmlTable> table() {
  auto made = std::make_shared<NvmlTable>();
  made->init = [] { return ++running, kNvmlSuccess; };
  made->shutdown = [] { return --running, kNvmlSuccess; };
  made->count = [](unsigned* count) { return *count = static_cast<unsigned>(gpus.size()), kNvmlSuccess; };
  made->handle = [](unsigned index, NvmlDevice* device) {
    return *device = reinterpret_cast<NvmlDevice>(static_cast<uintptr_t>(index + 1)), kNvmlSuccess;
  };
  made->name = [](NvmlDevice device, char* text, unsigned size) {
    return std::strncpy(text, gpu_of(device).name.c_str(), size - 1), kNvmlSuccess;
  };
  made->total_energy_mj = total_energy;
  made->power_mw = [](NvmlDevice device, unsigned* milliwatts) {
    return *milliwatts = static_cast<unsigned>(1e3 * gpu_of(device).watts), kNvmlSuccess;
  };
  made->fields = fields;
  made->mig_mode = [](NvmlDevice device, unsigned* current, unsigned* pending) {
    return *current = *pending = gpu_of(device).mig ? 1 : 0, kNvmlSuccess;
  };
  made->power_limit_mw = [](NvmlDevice, unsigned* limit) { return *limit = 700000, kNvmlSuccess; };
  made->error_text = [](int) { return "Not Supported"; };
  return made;
}

class Nvml : public ::testing::Test {
 protected:
  void SetUp() override {
    gpus = {Gpu{}};
    now = &time;
    running = 0;
  }
  MeterOptions options(bool cross_check = false, std::vector<int> wanted = {}) {
    MeterOptions made = only(folder, time);
    made.cross_check = cross_check;
    made.gpus = std::move(wanted);
    Found found;
    find_nvml_with(made, table(), found);
    made.sources = found.sources;
    made.gpus.clear();
    return made;
  }
  /// Joules of 5 s, polled as the background does.
  WindowEnergy five_seconds(Meters& meters) {
    EnergyWindow window(meters);
    for (int i = 0; i < 250; ++i) {
      time.advance(0.02);
      meters.poll();
    }
    return window.end();
  }
  Folder folder;
  FakeTime time;
};

TEST_F(Nvml, TheCounterAndItsRefresh) {
  {
    Meters meters(options());
    EXPECT_NEAR(meters.refresh_s(), 0.1, 2e-3);
    EXPECT_DOUBLE_EQ(meters.averaging_s(), 1);
    EXPECT_NEAR(*five_seconds(meters).total_j(Scope::kBoard), 1000, 21);  // two ends, known to a refresh each
    EXPECT_EQ(meters.conditions().at("gpu-0 power limit, mW"), "700000");
  }
  EXPECT_EQ(running, 0);  // shut down with the last source
}

TEST_F(Nvml, WithoutACounterPowerIsIntegrated) {
  gpus[0].counter = false;
  for (const int type : {0, 1, 2, 3, 4}) {  // drivers differ
    gpus[0].value_type = type;
    Meters meters(options());
    ASSERT_TRUE(meters.domains()[0].integrated);
    EXPECT_NEAR(*five_seconds(meters).total_j(Scope::kBoard), 1000, 1e-6) << "value type " << type;
  }
  gpus[0].instant = false;
  Meters meters(options());
  EXPECT_NEAR(*five_seconds(meters).total_j(Scope::kBoard), 1000, 1e-6);
}

TEST_F(Nvml, CrossCheckStandsBesideAndDoesNotAdd) {
  Meters meters(options(true));
  ASSERT_EQ(meters.domains().size(), 2u);
  EXPECT_EQ(find(meters, "gpu-0:power")->inside, "gpu-0");
  EXPECT_NEAR(*five_seconds(meters).total_j(Scope::kBoard), 1000, 21);
}

TEST_F(Nvml, ACounterThatIsResetHasNoJoules) {
  gpus[0].base_mj = 1e9;
  Meters meters(options());
  EnergyWindow window(meters);
  time.advance(1);
  gpus[0].base_mj = 0;
  gpus[0].since = time.now;
  time.advance(1);
  const WindowEnergy energy = window.end();
  EXPECT_FALSE(energy.total_j(Scope::kBoard));
  EXPECT_NE(of(energy, "gpu-0").status.find("reset"), std::string::npos) << of(energy, "gpu-0").status;
}

TEST_F(Nvml, MigIsTheWholeBoardAndSaysSo) {
  gpus[0].mig = true;
  Meters meters(options());
  EXPECT_TRUE(meters.domains()[0].available);
  EXPECT_NE(meters.domains()[0].status.find("MIG"), std::string::npos) << meters.domains()[0].status;
}

TEST_F(Nvml, AModuleIsAScopeOfItsOwn) {
  gpus = {Gpu{}, Gpu{}};
  gpus[1].name = "NVIDIA GH200 480GB";
  Meters meters(options());
  const WindowEnergy energy = five_seconds(meters);
  EXPECT_NEAR(*energy.total_j(Scope::kBoard), 1000, 21);
  EXPECT_NEAR(*energy.total_j(Scope::kModule), 1000, 21);
}

TEST_F(Nvml, OnlyTheGpusAskedFor) {
  gpus = {Gpu{}, Gpu{}, Gpu{}};
  Meters meters(options(false, {1}));
  ASSERT_EQ(meters.domains().size(), 1u);
  EXPECT_EQ(meters.domains()[0].name, "gpu-1");
  EXPECT_THROW(options(false, {3}), core::MeterError);
}

TEST_F(Nvml, NoLibraryIsANote) {
  MeterOptions made = only(folder, time);
  made.nvml_library = folder.path() + "/libnvidia-ml.so.1";
  EXPECT_NE(Meters(made).why_none().find("libnvidia-ml.so.1"), std::string::npos);
}

}  // namespace
}  // namespace jouleprune::test
