#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>

#include "energy/cases.h"

namespace jouleprune::test {
namespace {

TEST(Profiles, BuiltIns) {
  EXPECT_EQ(Profile::names(),
            (std::vector<std::string>{"eyeriss-65nm", "eyeriss-normalised", "horowitz-45nm", "systolic-12x14", "tpu-like",
                                      "eyeriss-nest", "fpga-like", "generic-cpu", "xeon-amx", "generic-gpu-hbm"}));
  for (const std::string& name : Profile::names()) {
    const Profile profile = energy::load_profile(name);
    EXPECT_EQ(profile.name(), name);
    EXPECT_EQ(profile.hash().size(), 32u);
  }
  EXPECT_EQ(energy::load_profile("eyeriss-65nm").kind(), "asic");
  EXPECT_EQ(energy::load_profile("generic-cpu").kind(), "cpu");
  EXPECT_EQ(energy::load_profile("xeon-amx").kind(), "cpu");
  EXPECT_EQ(energy::load_profile("generic-gpu-hbm").kind(), "gpu");
}

TEST(Profiles, RoundTrip) {
  for (const std::string& name : Profile::names()) {
    const Profile profile = energy::load_profile(name);
    const Profile again = energy::parse_profile(profile.to_json(), "again");
    EXPECT_EQ(again.to_json(), profile.to_json());
    EXPECT_EQ(again.hash(), profile.hash());
    const Entry entry = linear(100, 200, 5);
    EXPECT_EQ(energy::price(entry, again, 1).energy_j, energy::price(entry, profile, 1).energy_j);
  }
}

TEST(Profiles, HashDependsOnTheNumbersNotOnTheirSpelling) {
  Json json = example_profile();
  const Profile profile = profile_of(json);
  EXPECT_EQ(energy::parse_profile(json.dump(3), "indented").hash(), profile.hash());
  json["compute"]["int8"]["mac_pj"] = {{"value", 1}, {"low", 1}, {"high", 1}};
  EXPECT_EQ(profile_of(json).hash(), profile.hash());
  json["compute"]["int8"]["mac_pj"]["high"] = 1.5;
  EXPECT_NE(profile_of(json).hash(), profile.hash());
}

TEST(Profiles, FromAFile) {
  const auto path = std::filesystem::temp_directory_path() / "jouleprune_test_profile.json";
  std::ofstream(path) << example_profile().dump();
  EXPECT_EQ(energy::load_profile(path.string()).name(), "example");
  std::ofstream(path) << std::string((1 << 20) + 1, ' ');
  EXPECT_THROW(energy::load_profile(path.string()), core::ProfileError);
  std::filesystem::remove(path);
  EXPECT_THROW(energy::load_profile(path.string()), core::ProfileError);
  EXPECT_THROW(energy::load_profile(std::filesystem::temp_directory_path().string()), core::ProfileError);
  EXPECT_THROW(energy::load_profile("/dev/zero"), core::ProfileError);
  EXPECT_THROW(energy::load_profile(std::string("generic-cpu\0x", 13)), core::ProfileError);
  EXPECT_THROW(energy::load_profile(""), core::ProfileError);
}

/// A profile with everything that an accelerator's may hold.
Json full() {
  Json json = example_profile();
  json["description"] = "all fields";
  json["runs_as"] = "int16";
  json["fused_ops"] = {"elementwise"};
  json["static_w"] = number(1);
  json["launch_j"] = number(1);
  json["launch_s"] = number(1);
  json["compute"]["int8"]["macs_s"] = number(1e9);
  json["levels"][0]["bytes_s"] = number(1e9);
  json["levels"].push_back(json["levels"][0]);
  json["levels"][1]["name"] = "buffer";
  json["levels"][1]["capacity_bytes"] = number(1000);
  json["levels"][1]["per_mac"] = {{"input_reads", number(2)}};
  json["zeros"] = {{"gated_share", number(0.5)}, {"run_bits", number(5)}, {"skips_cycles", true}};
  return json;
}

struct Malformed {
  const char* pointer;
  void (*change)(Json&);
};

const Malformed kMalformed[] = {
    {"/surplus", [](Json& j) { j["surplus"] = 1; }},
    {"/schema", [](Json& j) { j.erase("schema"); }},
    {"/schema", [](Json& j) { j["schema"] = "1"; }},
    {"/name", [](Json& j) { j["name"] = ""; }},
    {"/name", [](Json& j) { j["name"] = std::string(5000, 'x'); }},
    {"/kind", [](Json& j) { j["kind"] = "tpu"; }},
    {"/dataflow", [](Json& j) { j["dataflow"] = "magic"; }},
    {"/dataflow", [](Json& j) { j["dataflow"] = "cache-tiled"; }},
    {"/runs_as", [](Json& j) { j["runs_as"] = "float32"; }},
    {"/fused_ops/0", [](Json& j) { j["fused_ops"][0] = 7; }},
    {"/compute", [](Json& j) { j["compute"] = Json::object(); }},
    {"/compute/int8/mac_pj", [](Json& j) { j["compute"]["int8"].erase("mac_pj"); }},
    {"/compute/int8/mac_pj", [](Json& j) { j["compute"]["int8"]["mac_pj"] = 5; }},
    {"/compute/int8/mac_pj/value", [](Json& j) { j["compute"]["int8"]["mac_pj"]["value"] = -1; }},
    {"/compute/int8/mac_pj/low", [](Json& j) { j["compute"]["int8"]["mac_pj"]["low"] = 2; }},
    {"/compute/int8/mac_pj/high", [](Json& j) { j["compute"]["int8"]["mac_pj"]["high"] = 0.5; }},
    {"/compute/int8/mac_pj/high", [](Json& j) { j["compute"]["int8"]["mac_pj"]["high"] = nullptr; }},
    {"/compute/int8/mac_pj/high", [](Json& j) { j["compute"]["int8"]["mac_pj"]["high"] = 1e31; }},
    {"/compute/int8/mac_pj/middle", [](Json& j) { j["compute"]["int8"]["mac_pj"]["middle"] = 1; }},
    {"/compute/int8/macs_s/low", [](Json& j) { j["compute"]["int8"]["macs_s"]["low"] = 0; }},
    {"/compute/int16/mac", [](Json& j) { j["compute"]["int16"]["mac"] = number(1); }},
    {"/levels", [](Json& j) { j["levels"] = Json::array(); }},
    {"/levels", [](Json& j) { j["levels"] = Json(100000, 1); }},
    {"/levels/0", [](Json& j) { j["levels"][0] = 1; }},
    {"/levels/1/name", [](Json& j) { j["levels"][1]["name"] = "memory"; }},
    {"/levels/1/capacity_bytes", [](Json& j) { j["levels"][0]["capacity_bytes"] = number(1000); }},
    {"/levels/1/capacity_bytes/low", [](Json& j) { j["levels"][1]["capacity_bytes"] = number(0); }},
    {"/levels/1/read_pj_per_bit", [](Json& j) { j["levels"][1].erase("read_pj_per_bit"); }},
    {"/levels/0/compressed", [](Json& j) { j["levels"][0]["compressed"] = 1; }},
    {"/levels/0/compressed", [](Json& j) { j["levels"][0]["compressed"] = true, j.erase("zeros"); }},
    {"/levels/0/holds_activations", [](Json& j) { j["levels"][0]["holds_activations"] = true; }},
    {"/levels/1/per_mac/reads", [](Json& j) { j["levels"][1]["per_mac"]["reads"] = number(1); }},
    {"/zeros/gated_share/high", [](Json& j) { j["zeros"]["gated_share"]["high"] = 1.5; }},
    {"/zeros/run_bits/value", [](Json& j) { j["zeros"]["run_bits"] = number(4.5); }},
    {"/zeros/skips_cycles", [](Json& j) { j["zeros"].erase("skips_cycles"); }},
    {"/static_w/value", [](Json& j) { j["static_w"]["value"] = "warm"; }},
    {"/provenance", [](Json& j) { j.erase("provenance"); }},
    {"/provenance//source", [](Json& j) { j["provenance"][""].erase("source"); }},
    {"/provenance//kind", [](Json& j) { j["provenance"][""]["kind"] = "guessed"; }},
    {"/provenance/~1nowhere", [](Json& j) { j["provenance"]["/nowhere"] = j["provenance"][""]; }},
    {"/compute/int16/mac_pj",
     [](Json& j) { j["provenance"] = {{"/compute/int8", {{"source", "s"}, {"kind", "memory"}}}}; }},
};

TEST(Profiles, RefusesMalformedOnesWithThePlace) {
  ASSERT_NO_THROW(profile_of(full()));
  for (const Malformed& malformed : kMalformed) {
    Json json = full();
    malformed.change(json);
    try {
      profile_of(json);
      ADD_FAILURE() << "accepted a wrong " << malformed.pointer;
    } catch (const core::ProfileError& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find("'test': " + std::string(malformed.pointer) + ":"), std::string::npos) << message;
      EXPECT_LT(message.size(), 600u) << message;
    }
  }
}

/// What JSON text can get wrong below the level of values.
TEST(Profiles, RefusesBrokenTextWithThePlace) {
  const auto refused = [](const std::string& text, const std::string& pointer) {
    try {
      energy::parse_profile(text, "text");
      ADD_FAILURE() << "accepted " << text.substr(0, 80);
    } catch (const core::ProfileError& error) {
      EXPECT_NE(std::string(error.what()).find(": " + pointer + ":"), std::string::npos) << error.what();
    }
  };
  refused("", "/");
  refused("[]", "/");
  refused("7", "/");
  refused(R"({"levels": [{"name": "a"}, {"name": )", "/levels/1/name");
  refused(full().dump() + "x", "/");
  refused(R"({"schema": 1, "schema": 1})", "/schema");
  refused(R"({"static_w": {"value": NaN}})", "/static_w/value");
  refused(R"({"static_w": {"value": Infinity}})", "/static_w/value");
  refused(R"({"static_w": {"value": 1e999}})", "/static_w/value");
  refused(std::string(100000, '['), std::string("/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0"));
  refused("{\"name\": \"\xff\"}", "/name");
  refused(std::string(2 << 20, ' '), "/");
}

TEST(Profiles, CpuProfilesHaveNoFieldsOfAccelerators) {
  const Json cpu = Json::parse(energy::load_profile("generic-cpu").to_json());
  for (const char* key : {"runs_as", "fused_ops", "zeros"}) {
    Json json = cpu;
    json[key] = full()[key];
    EXPECT_THROW(profile_of(json), core::ProfileError) << key;
  }
  Json json = cpu;
  json["levels"][1].erase("capacity_bytes");
  EXPECT_THROW(profile_of(json), core::ProfileError);
}

}  // namespace
}  // namespace jouleprune::test
