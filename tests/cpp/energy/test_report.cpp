#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "energy/cases.h"

namespace jouleprune::test {
namespace {

EnergyReport report_of(const char* profile) {
  Workload workload;
  workload.entries = {linear(30, 20, 4), conv2d(16, 8, 3, 10, 2)};
  workload.entries[0].name = "fc";
  workload.entries[1].name = "features.0";
  workload.batch = workload.count = 4;
  workload.unknown_ops = {"aten::strange"};
  return estimate(workload, energy::load_profile(profile));
}

std::set<std::string> keys(const Json& json) {
  std::set<std::string> names;
  for (const auto& [key, value] : json.items()) names.insert(key);
  return names;
}

TEST(Report, JsonHasTheFields) {
  const EnergyReport report = report_of("generic-cpu");
  const Json json = Json::parse(report.to_json());
  EXPECT_EQ(keys(json),
            (std::set<std::string>{"schema", "total_j", "low_j", "high_j", "latency_s", "label", "per", "count",
                                   "batch", "profile", "profile_hash", "parts", "layers", "unknown_ops"}));
  EXPECT_EQ(keys(json["parts"]), (std::set<std::string>{"compute", "memory", "metadata", "static"}));
  EXPECT_EQ(
      keys(json["layers"][0]),
      (std::set<std::string>{"name", "op", "shape", "dtype", "pattern", "layout", "kernel", "density", "macs_issued",
                             "macs_effective", "bytes", "latency_s", "energy_j", "low_j", "high_j", "parts", "share",
                             "extrapolated_from", "mapping"}));
  EXPECT_EQ(keys(json["layers"][0]["bytes"]), (std::set<std::string>{"DRAM", "L3", "L2", "L1"}));
  EXPECT_EQ(json["schema"], 1);
  EXPECT_EQ(json["label"], "modelled");
  EXPECT_EQ(json["total_j"].get<double>(), report.total_j());
  EXPECT_EQ(json["unknown_ops"][0], "aten::strange");
}

TEST(Report, TotalIsThePlainSumInCallOrder) {
  for (const std::string& name : Profile::names()) {
    const EnergyReport report = report_of(name.c_str());
    double energy_j = 0, share = 0;
    for (const LayerEnergy& layer : report.layers()) {
      energy_j += layer.energy_j;
      share += layer.share;
    }
    EXPECT_EQ(report.total_j(), energy_j);
    EXPECT_NEAR(share, 1, 1e-12);
    EXPECT_NEAR(report.parts.total_j(), energy_j, 1e-12 * energy_j);
    EXPECT_LE(report.low_j, energy_j);
    EXPECT_GE(report.high_j, energy_j);
  }
}

TEST(Report, TableNamesLayersUnitsAndLabel) {
  std::ostringstream out;
  out << report_of("generic-cpu");
  for (const char* part :
       {"features.0", "30x20", "MACs/pass", "modelled", "uJ", "per inference on generic-cpu", "total", "aten::strange"}) {
    EXPECT_NE(out.str().find(part), std::string::npos) << part << "\n" << out.str();
  }
}

TEST(Report, EmptyWorkload) {
  const EnergyReport report = estimate(Workload{}, energy::load_profile("eyeriss-65nm"));
  EXPECT_EQ(report.total_j(), 0);
  std::ostringstream out;
  out << report;
  EXPECT_NE(out.str().find("0 J per inference"), std::string::npos);
}

}  // namespace
}  // namespace jouleprune::test
