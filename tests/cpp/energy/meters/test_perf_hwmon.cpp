// perf events, Jetson's power monitors, and zeusd.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <random>
#include <thread>

#include "energy/meters/fixtures.h"
#include "energy/meters/perf_api.h"

namespace jouleprune::test {
namespace {

using energy::meters::find_perf_with;
using energy::meters::Found;
using energy::meters::PerfApi;

constexpr double kScale = 2.3283064365386962890625e-10;

void write_event(const Folder& folder, const std::string& name, const std::string& config) {
  folder.write("bus/event_source/devices/power/events/" + name, "event=" + config);
  folder.write("bus/event_source/devices/power/events/" + name + ".scale", "2.3283064365386962890625e-10");
  folder.write("bus/event_source/devices/power/events/" + name + ".unit", "Joules");
}

/// Counters by config x 100 + cpu, rising with the time.
struct FakePerf {
  FakeTime& time;
  std::map<uint64_t, double> watts;  // by config
  int error = 0;

  PerfApi api() {
    PerfApi api;
    api.open = [this](uint32_t type, uint64_t config, int cpu) {
      EXPECT_EQ(type, 9u);
      return error != 0 ? -error : static_cast<int>(config * 100) + cpu;
    };
    api.read = [this](int file, uint64_t* ticks) {
      *ticks = static_cast<uint64_t>(watts[static_cast<uint64_t>(file) / 100] * time.now / kScale);
      return 0;
    };
    api.close = [](int) {};
    return api;
  }
};

MeterOptions with(const Folder& folder, FakeTime& time, const PerfApi& api) {
  MeterOptions options = only(folder, time);
  Found found;
  find_perf_with(options, api, found);
  options.sources = found.sources;
  return options;
}

TEST(Perf, PackagesAndDramByPlace) {
  Folder folder;
  FakeTime time;
  folder.write("bus/event_source/devices/power/type", "9");
  folder.write("bus/event_source/devices/power/cpumask", "0,18");
  write_event(folder, "energy-pkg", "0x02");
  write_event(folder, "energy-ram", "0x03");
  write_event(folder, "energy-cores", "0x01");
  folder.write("devices/system/cpu/cpu0/topology/physical_package_id", "0");
  folder.write("devices/system/cpu/cpu18/topology/physical_package_id", "1");
  FakePerf perf{time, {{1, 20}, {2, 30}, {3, 4}}};
  Meters meters(with(folder, time, perf.api()));
  ASSERT_EQ(meters.domains().size(), 6u);
  EXPECT_EQ(find(meters, "core-1")->inside, "package-1");
  EnergyWindow window(meters);
  time.advance(3);
  EXPECT_NEAR(*window.end().total_j(Scope::kPackage), 3 * 2 * (30 + 4), 1e-6);
}

TEST(Perf, OnlyPsysThatStandsStill) {
  Folder folder;
  FakeTime time;
  folder.write("bus/event_source/devices/power/type", "9");
  folder.write("bus/event_source/devices/power/cpumask", "0");
  write_event(folder, "energy-psys", "0x05");
  FakePerf perf{time, {{5, 0}}};
  Meters still(with(folder, time, perf.api()));
  EXPECT_FALSE(still.any());
  EXPECT_NE(still.why_none().find("psys (perf): present but not counting"), std::string::npos) << still.why_none();

  perf.watts[5] = 80;
  Meters meters(with(folder, time, perf.api()));
  EnergyWindow window(meters);
  time.advance(1);
  const WindowEnergy energy = window.end();
  EXPECT_NEAR(*of(energy, "psys").energy_j, 80, 1e-6);
  EXPECT_FALSE(energy.total_j(Scope::kBoard));  // above everything else: told, never added
}

TEST(Perf, PerfComesBeforeTheSameDomainOfPowercap) {
  Folder folder;
  FakeTime time;
  Powercap powercap(folder, time);
  powercap.add("intel-rapl:0", "package-0", 50);
  folder.write("bus/event_source/devices/power/type", "9");
  folder.write("bus/event_source/devices/power/cpumask", "0");
  write_event(folder, "energy-pkg", "0x02");
  FakePerf perf{time, {{2, 50}}};
  Meters meters(with(folder, time, perf.api()));
  ASSERT_EQ(meters.domains().size(), 1u);
  EXPECT_EQ(meters.domains()[0].meter, "perf");

  perf.error = EACCES;
  Meters refused(with(folder, time, perf.api()));
  ASSERT_EQ(refused.domains().size(), 1u);
  EXPECT_EQ(refused.domains()[0].meter, "rapl");
  powercap.vanish("intel-rapl:0");
  folder.write("sys/kernel/perf_event_paranoid", "2");
  EXPECT_NE(Meters(with(folder, time, perf.api())).why_none().find("perf_event_paranoid is 2"), std::string::npos);
}

TEST(Perf, DamagedFilesDoNoMoreThanFail) {
  std::mt19937 random(6);
  const auto damaged = [&](std::string text) {
    constexpr std::string_view kLetters = "0123456789abcxe=,-+.\0 \xff";
    for (int edits = static_cast<int>(random() % 3); edits > 0 && !text.empty(); --edits) {
      text[random() % text.size()] = kLetters[random() % kLetters.size()];
    }
    return random() % 16 == 0 ? text + text : text;
  };
  int counting = 0;
  for (int i = 0; i < 300; ++i) {
    Folder folder;
    FakeTime time;
    const std::string device = "bus/event_source/devices/power/";
    folder.write(device + "type", "9");
    folder.write(device + "cpumask", damaged("0-1,18"));
    folder.write(device + "events/energy-pkg", damaged("event=0x02"));
    folder.write(device + "events/energy-pkg.scale", damaged("2.3283064365386962890625e-10"));
    FakePerf perf{time, {{2, 30}}};
    Meters meters(with(folder, time, perf.api()));
    EnergyWindow window(meters);
    time.advance(0.1);
    for (const DomainEnergy& domain : window.end().domains) {
      ASSERT_TRUE(!domain.energy_j || std::isfinite(*domain.energy_j));
    }
    counting += meters.any() ? 1 : 0;
  }
  EXPECT_GT(counting, 30);
  EXPECT_LT(counting, 270);
}

TEST(Jetson, RailsAreToldAndOnlyTheInputAdds) {
  Folder folder;
  FakeTime time;
  const std::string device = "class/hwmon/hwmon3/";
  folder.write(device + "name", "ina3221");
  const char* labels[] = {"VDD_IN", "VDD_GPU_SOC", "VDD_CPU_CV"};
  const char* milliamperes[] = {"3000", "1000", "500"};
  for (int i = 0; i < 3; ++i) {
    folder.write(device + "in" + std::to_string(i + 1) + "_label", labels[i]);
    folder.write(device + "in" + std::to_string(i + 1) + "_input", "5000");
    folder.write(device + "curr" + std::to_string(i + 1) + "_input", milliamperes[i]);
  }
  folder.write("class/hwmon/hwmon4/name", "ina238");
  folder.write("class/hwmon/hwmon4/power1_input", "12500000");
  folder.write("class/hwmon/hwmon5/name", "coretemp");
  Meters meters(only(folder, time));
  ASSERT_EQ(meters.domains().size(), 4u);
  EXPECT_EQ(find(meters, "vdd_gpu_soc")->inside, "vdd_in");
  EnergyWindow window(meters);
  for (int i = 0; i < 100; ++i) {
    if (i == 50) folder.write(device + "curr1_input", "6000");
    time.advance(0.02);
    meters.poll();
  }
  const WindowEnergy energy = window.end();
  EXPECT_NEAR(*energy.total_j(Scope::kBoard), 15 * 1 + 30 * 1, 0.2);
  EXPECT_NEAR(*of(energy, "vdd_gpu_soc").energy_j, 10, 1e-6);
  EXPECT_NEAR(*of(energy, "ina238").energy_j, 25, 1e-6);
  EXPECT_FALSE(energy.total_j(Scope::kChip));
}

TEST(Jetson, TheVendorsOlderDriver) {
  Folder folder;
  FakeTime time;
  const std::string device = "bus/i2c/drivers/ina3221x/1-0040/iio:device0/";
  folder.write(device + "rail_name_0", "POM_5V_IN");
  folder.write(device + "in_power0_input", "4200");
  Meters meters(only(folder, time));
  EnergyWindow window(meters);
  time.advance(1);
  EXPECT_NEAR(*window.end().total_j(Scope::kBoard), 4.2, 1e-9);
}

/// Answers every request with the same text.
class Server {
 public:
  Server(const std::string& path, std::function<std::string()> answer) : answer_(std::move(answer)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    file_ = ::socket(AF_UNIX, SOCK_STREAM, 0);
    if (::bind(file_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(file_, 8) != 0) {
      throw std::runtime_error("no socket");
    }
    thread_ = std::thread([this] { serve(); });
  }
  ~Server() {
    ::shutdown(file_, SHUT_RDWR);
    thread_.join();
    ::close(file_);
  }

 private:
  void serve() {
    for (int client; (client = ::accept(file_, nullptr, nullptr)) >= 0; ::close(client)) {
      char request[1024];
      if (::recv(client, request, sizeof request, 0) <= 0) continue;
      const std::string body = answer_();
      const std::string text = "HTTP/1.1 200 OK\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
      [[maybe_unused]] const auto sent = ::send(client, text.data(), text.size(), MSG_NOSIGNAL);
    }
  }
  std::function<std::string()> answer_;
  int file_ = -1;
  std::thread thread_;
};

TEST(Zeusd, PackagesThroughTheDaemon) {
  Folder folder;
  FakeTime time;
  std::atomic<uint64_t> microjoules{0};
  time.tick = [&](double from, double to) { microjoules += static_cast<uint64_t>(std::llround(40e6 * (to - from))); };
  time.step = 0.01;
  const std::string path = folder.path() + "/zeusd.sock";
  const Server server(path, [&] {
    return R"({"0": {"cpu_energy_uj": )" + std::to_string(microjoules.load()) + R"(, "dram_energy_uj": null}})";
  });
  MeterOptions options = only(folder, time);
  options.zeusd_socket = path;
  Meters meters(options);
  ASSERT_EQ(meters.domains().size(), 1u) << meters.why_none();
  EnergyWindow window(meters);
  time.advance(2);
  EXPECT_NEAR(*window.end().total_j(Scope::kPackage), 80, 1e-2);
}

TEST(Zeusd, NonsenseIsANote) {
  Folder folder;
  FakeTime time;
  const std::string path = folder.path() + "/zeusd.sock";
  const Server server(path, [] { return std::string("{\"0\": [1, "); });
  MeterOptions options = only(folder, time);
  options.zeusd_socket = path;
  EXPECT_NE(Meters(options).why_none().find("expected the joules of each package as JSON"), std::string::npos);
}

}  // namespace
}  // namespace jouleprune::test
