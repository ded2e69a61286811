// EnergyReport for programs (JSON) and for people (a table).
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <ostream>
#include <set>
#include <utility>
#include <vector>

#include <jouleprune/energy.h>

#include "energy/json_reader.h"

namespace jouleprune {
namespace {

using energy::Json;

Json json_of(const Parts& parts) {
  return {{"compute", parts.compute_j},
          {"memory", parts.memory_j},
          {"metadata", parts.metadata_j},
          {"static", parts.static_j}};
}

Json json_of(const LayerEnergy& layer) {
  return {{"name", layer.name},
          {"op", layer.op},
          {"shape", layer.shape},
          {"dtype", layer.dtype},
          {"pattern", layer.pattern},
          {"layout", layer.layout},
          {"kernel", layer.kernel},
          {"density", layer.density},
          {"macs_issued", layer.macs_issued},
          {"macs_effective", layer.macs_effective},
          {"bytes", layer.bytes},
          {"latency_s", layer.latency_s},
          {"energy_j", layer.energy_j},
          {"low_j", layer.low_j},
          {"high_j", layer.high_j},
          {"parts", json_of(layer.parts)},
          {"share", layer.share},
          {"extrapolated_from", layer.extrapolated_from},
          {"mapping", layer.mapping}};
}

/// Three significant digits with an SI prefix: "1.23 uJ".
std::string si(double value, const char* unit) {
  static constexpr std::array<std::pair<double, const char*>, 9> kPrefixes = {
      {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}, {1, ""}, {1e-3, "m"}, {1e-6, "u"}, {1e-9, "n"}, {1e-12, "p"}}};
  const auto* chosen = value == 0 ? &kPrefixes[4] : &kPrefixes.back();
  for (const auto& prefix : kPrefixes) {
    if (value != 0 && std::abs(value) >= prefix.first * 0.9995) {
      chosen = &prefix;
      break;
    }
  }
  char text[48];
  std::snprintf(text, sizeof(text), "%.3g %s%s", value / chosen->first, chosen->second, unit);
  std::string trimmed = text;
  while (trimmed.ends_with(' ')) trimmed.pop_back();
  return trimmed;
}

std::string fixed(double value, const char* format) {
  char text[48];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape) text.append(text.empty() ? "" : "x").append(std::to_string(size));
  return text;
}

constexpr size_t kLeftColumns = 4;  // name, op, shape, kernel

void print(std::ostream& out, const std::vector<std::vector<std::string>>& lines) {
  std::vector<size_t> widths(lines.front().size());
  for (const auto& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  for (const auto& line : lines) {
    std::string text;
    for (size_t i = 0; i < line.size(); ++i) {
      const std::string space(widths[i] - line[i].size(), ' ');
      text += (i > 0 ? "  " : "") + (i < kLeftColumns ? line[i] + space : space + line[i]);
    }
    out << text.substr(0, text.find_last_not_of(' ') + 1) << '\n';
  }
}

/// What a reader must know of numbers that were not simply looked up.
void print_notes(std::ostream& out, const EnergyReport& report) {
  std::map<std::string, int64_t> mappings;
  std::set<std::pair<std::string, std::string>> scaled;
  for (const LayerEnergy& layer : report.layer_list) {
    if (!layer.mapping.empty()) ++mappings[layer.mapping];
    if (!layer.extrapolated_from.empty()) scaled.emplace(layer.dtype, layer.extrapolated_from);
  }
  for (const auto& [mapping, layers] : mappings) out << "mapping " << mapping << ": " << layers << " calls\n";
  for (const auto& [dtype, from] : scaled) {
    out << "extrapolated: the profile lists no " << dtype << "; its numbers are scaled from " << from
        << ", with an interval three times wider on both sides\n";
  }
}

}  // namespace

std::string EnergyReport::to_json() const {
  Json json = {{"schema", 1},
               {"total_j", energy_j},
               {"low_j", low_j},
               {"high_j", high_j},
               {"latency_s", latency_s},
               {"label", label},
               {"per", per},
               {"count", count},
               {"batch", batch},
               {"profile", profile},
               {"profile_hash", profile_hash},
               {"parts", json_of(parts)},
               {"unknown_ops", unknown_ops}};
  json["layers"] = Json::array();
  for (const LayerEnergy& layer : layer_list) json["layers"].push_back(json_of(layer));
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::ostream& operator<<(std::ostream& out, const EnergyReport& report) {
  out << si(report.energy_j, "J") << " per " << report.per << " on " << report.profile << ", " << report.label
      << " (interval " << si(report.low_j, "J") << " to " << si(report.high_j, "J") << "); batch " << report.batch;
  if (report.latency_s > 0) out << ", " << si(report.latency_s, "s") << " per pass";
  out << '\n';
  std::vector<std::vector<std::string>> lines = {{"layer", "op", "shape", "kernel", "density", "MACs/pass", "energy",
                                                  "compute", "memory", "metadata", "static", "share"}};
  for (const LayerEnergy& layer : report.layer_list) {
    lines.push_back({layer.name, layer.op, shape_text(layer.shape), layer.kernel, fixed(layer.density, "%.3f"),
                     si(layer.macs_issued, ""), si(layer.energy_j, "J"), si(layer.parts.compute_j, "J"),
                     si(layer.parts.memory_j, "J"), si(layer.parts.metadata_j, "J"), si(layer.parts.static_j, "J"),
                     fixed(100 * layer.share, "%.1f %%")});
  }
  lines.push_back({"total", "", "", "", "", "", si(report.energy_j, "J"), si(report.parts.compute_j, "J"),
                   si(report.parts.memory_j, "J"), si(report.parts.metadata_j, "J"), si(report.parts.static_j, "J"),
                   ""});
  print(out, lines);
  print_notes(out, report);
  if (!report.unknown_ops.empty()) out << "not priced: " << energy::joined(report.unknown_ops) << '\n';
  return out;
}

}  // namespace jouleprune
