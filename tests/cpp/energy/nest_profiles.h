// Profiles of dataflow fixed-nest made from the published cases of dense convolutions.
#pragma once
#include <string>
#include <utility>

#include "energy/case_files.h"
#include "energy/cases.h"

namespace jouleprune::test {

inline std::string lower(const std::string& tensor) {
  return tensor == "Weights" ? "weights" : tensor == "Inputs" ? "inputs" : "outputs";
}

/// The mapping of a case as a profile's: spatial levels belong to the level outside.
inline Json tiling_of(const Json& mapping) {
  Json levels = Json::array();
  for (const Json& level : mapping.at("levels")) {
    Json loops = Json::array();
    for (const Json& loop : level.at("loops")) {
      const Json step = {loop.at("dim"), loop.at("bound")};
      if (!loop.contains("spatial") || loop.at("spatial").is_null()) {
        loops.push_back(step);
      } else {
        levels.back()[loop.at("spatial") == "X" ? "x" : "y"].push_back(step);
      }
    }
    if (!level.at("keeps").empty()) levels.push_back({{"loops", std::move(loops)}});
  }
  return {{"levels", std::move(levels)}};
}

/// Architecture and, where `mapped`, mapping of a case. Arithmetic of 16 bits; no leakage.
inline Json profile_of_case(const Json& given, bool mapped) {
  Json levels = Json::array();
  const Json& mapping = given.at("mapping").at("levels");
  for (const Json& mapped_level : mapping) {
    if (mapped_level.at("keeps").empty()) {
      for (const Json& loop : mapped_level.at("loops")) {
        Json& fan_out = levels.back()["spatial"][loop.at("spatial") == "X" ? "x" : "y"];
        if (fan_out.is_null()) fan_out = {{"extent", 1}, {"dims", Json::array()}};
        fan_out["extent"] = fan_out["extent"].get<int64_t>() * loop.at("bound").get<int64_t>();
        fan_out["dims"].push_back(loop.at("dim"));
      }
      continue;
    }
    for (const Json& level : given.at("architecture").at("levels")) {
      if (level.at("name") != mapped_level.at("level")) continue;
      const double bits = level.at("word_bits").get<double>() * level.at("block_words").get<double>();
      Json made = {{"name", level.at("name")},
                   {"word_bits", level.at("word_bits")},
                   {"block_words", level.at("block_words")},
                   {"read_pj_per_bit", number(level.at("ert_pj_per_block").at("read").get<double>() / bits)},
                   {"write_pj_per_bit", number(level.at("ert_pj_per_block").at("write").get<double>() / bits)},
                   {"keeps", Json::array()}};
      for (const auto& [tensor, words] : mapped_level.at("keeps").items()) made["keeps"].push_back(lower(tensor));
      if (!level.at("capacity_words").is_null()) {
        made["capacity_bytes"] =
            number(level.at("capacity_words").get<double>() * level.at("word_bits").get<double>() / 8);
      }
      levels.push_back(std::move(made));
    }
  }
  const double mac_pj = given.at("architecture").at("compute").at("ert_pj").at("compute");
  Json profile = {{"schema", 1},
                  {"name", given.at("id")},
                  {"kind", "asic"},
                  {"dataflow", "fixed-nest"},
                  {"runs_as", "int16"},
                  {"compute", {{"int16", {{"mac_pj", number(mac_pj)}, {"op_pj", number(0)}}}}},
                  {"levels", std::move(levels)},
                  {"provenance", {{"", {{"source", "the case"}, {"kind", "published"}}}}}};
  if (mapped) profile["mappings"] = {{"conv2d", tiling_of(given.at("mapping"))}};
  return profile;
}

/// The layer of a case, as the recorder would tell it.
inline Entry entry_of_case(const Json& given) {
  const Json& dims = given.at("workload").at("dimensions");
  const auto size = [&](const char* dim) { return dims.at(dim).get<int64_t>(); };
  Entry entry;
  entry.name = "layer";
  entry.op = "conv2d";
  entry.dtype = "int16";
  entry.weight = "layer.weight";
  entry.shape = {size("M"), size("C"), size("R"), size("S")};
  entry.rows = size("M");
  entry.cols = size("C") * size("R") * size("S");
  entry.n = size("N") * size("P") * size("Q");
  entry.macs = entry.rows * entry.cols * entry.n;
  entry.weight_elements = entry.nnz = entry.rows * entry.cols;
  entry.image = {size("P"), size("Q")};
  for (const Json& axis : given.at("workload").at("tensors").at("Inputs").at("projection_terms_dim_coefficient")) {
    for (const Json& term : axis) {
      if (axis.size() == 2 && (term[0] == "P" || term[0] == "Q")) entry.stride.push_back(term[1].get<int64_t>());
    }
  }
  entry.input_elements = size("N") * size("C") * size("P") * size("Q") * entry.stride[0] * entry.stride[1];
  entry.output_elements = entry.rows * entry.n;
  return entry;
}

inline Json case_named(const std::string& name, const std::string& folder) {
  return Json::parse(case_files({name}, folder).at(0).text);
}

}  // namespace jouleprune::test
