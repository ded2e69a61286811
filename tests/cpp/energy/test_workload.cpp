#include <gtest/gtest.h>

#include "energy/cases.h"

namespace jouleprune::test {
namespace {

Workload example() {
  Workload workload;
  workload.entries = {linear(30, 20, 4), conv2d(16, 8, 3, 10, 2, 2, "bfloat16")};
  workload.entries[1].nnz = 100;
  workload.entries[1].pattern = "unstructured";
  workload.entries[1].layout = workload.entries[1].kernel = "csr";
  workload.entries[1].input_density = 0.1;  // no exact double
  workload.entries[1].ops = 9;
  workload.unknown_ops = {"aten::strange"};
  workload.batch = 4;
  workload.count = 8;
  workload.per = "token";
  return workload;
}

TEST(Workload, RoundTrip) {
  const std::string text = example().to_json();
  const Workload read = Workload::parse(text);
  EXPECT_EQ(read.to_json(), text);
  EXPECT_EQ(read.entries[1].input_density, 0.1);
  EXPECT_EQ(read.entries[1].groups, 2);
  EXPECT_EQ(read.count, 8);
  for (const char* profile : {"eyeriss-65nm", "generic-cpu"}) {
    EXPECT_EQ(estimate(read, energy::load_profile(profile)).total_j(),
              estimate(example(), energy::load_profile(profile)).total_j());
  }
}

TEST(Workload, DefaultsOfMissingFields) {
  const Workload read =
      Workload::parse(R"({"schema": 1, "batch": 3, "entries": [{"name": "a", "op": "linear", "dtype": "int8",
    "rows": 1, "cols": 2, "n": 3, "macs": 6, "weight_elements": 2, "input_elements": 6, "output_elements": 3}]})");
  EXPECT_EQ(read.count, 3);
  EXPECT_EQ(read.per, "inference");
  EXPECT_EQ(read.entries[0].nnz, 2);
  EXPECT_EQ(read.entries[0].kernel, "dense");
  EXPECT_EQ(Workload::parse(R"({"schema": 1, "batch": 0, "entries": []})").count, 1);
}

TEST(Workload, RefusesWithThePlace) {
  const auto refused = [](const std::string& pointer, auto change) {
    Json json = Json::parse(example().to_json());
    change(json);
    try {
      Workload::parse(json.dump());
      ADD_FAILURE() << "accepted a wrong " << pointer;
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find(pointer + ":"), std::string::npos) << error.what();
    }
  };
  refused("/schema", [](Json& j) { j["schema"] = 2; });
  refused("/schema", [](Json& j) { j.erase("schema"); });
  refused("/surplus", [](Json& j) { j["surplus"] = 1; });
  refused("/batch", [](Json& j) { j["batch"] = -1; });
  refused("/count", [](Json& j) { j["count"] = 0; });
  refused("/per", [](Json& j) { j["per"] = "year"; });
  refused("/entries", [](Json& j) { j["entries"] = "none"; });
  refused("/entries/0/name", [](Json& j) { j["entries"][0].erase("name"); });
  refused("/entries/0/rows", [](Json& j) { j["entries"][0]["rows"] = 1.5; });
  refused("/entries/0/cols", [](Json& j) { j["entries"][0]["cols"] = 1e300; });
  refused("/entries/0/macs", [](Json& j) { j["entries"][0]["macs"] = UINT64_MAX; });
  refused("/entries/0/groups", [](Json& j) { j["entries"][0]["groups"] = 0; });
  refused("/entries/0/nnz", [](Json& j) { j["entries"][0]["nnz"] = 601; });
  refused("/entries/1/input_density", [](Json& j) { j["entries"][1]["input_density"] = 1.01; });
  refused("/entries/1/shape/2", [](Json& j) { j["entries"][1]["shape"][2] = -3; });
  refused("/entries/1/Kernel", [](Json& j) { j["entries"][1]["Kernel"] = "csr"; });
  refused("/unknown_ops/0", [](Json& j) { j["unknown_ops"][0] = 5; });
}

TEST(Workload, RefusesUnknownKernelWhenPriced) {
  Workload workload = example();
  workload.entries[1].kernel = "csc";
  EXPECT_THROW(estimate(workload, energy::load_profile("generic-cpu")), std::invalid_argument);
}

}  // namespace
}  // namespace jouleprune::test
