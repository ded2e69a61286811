// From an entry's joules back to counts, coefficients and their sources.
#include <jouleprune/energy_terms.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "energy/price.h"
#include "energy/profile_data.h"
#include "energy/terms.h"
#include "energy/timing.h"

namespace jouleprune::energy {
namespace {

using Json = nlohmann::json;

std::string level_pointer(size_t level) { return "/levels/" + std::to_string(level); }

/// Pointers of every number below `pointer`: objects with a "value".
void add_numbers(const Json& profile, const std::string& pointer, std::vector<std::string>& found) {
  const Json::json_pointer place(pointer);
  if (!profile.contains(place)) return;
  const Json& node = profile.at(place);
  if (!node.is_object()) return;
  if (node.contains("value")) {
    found.push_back(pointer);
    return;
  }
  for (const auto& [key, child] : node.items()) add_numbers(profile, pointer + "/" + key, found);
}

/// Names the terms of one entry on one profile.
class Namer {
 public:
  Namer(const Entry& entry, const ProfileData& profile)
      : profile_(profile),
        json_(Json::parse(profile.canonical)),
        dtype_("/compute/" + listed_for(profile, entry.dtype).name) {
    if (profile.dataflow == "cache-tiled") family_ = timed_as(entry, profile);
    const DtypeCost used = cost_of(profile, entry.dtype);
    peak_ = dtype_ + (without_matrix_units(entry, profile, used) ? "/sparse_macs_s" : "/macs_s");
    if (used.name == listed_for(profile, entry.dtype).name) return;
    note_ = used.name + " is not listed: extrapolated by its width (MACs quadratic, operations and speed linear; " +
            "interval three times wider on both sides)";
  }

  EnergyTerm named(const Term& term) const {
    EnergyTerm named;
    switch (term.counted) {
      case Counted::kMacs:
        name(named, "compute", "multiply-accumulates", "MACs", dtype_ + "/mac_pj", {"/zeros", "/array"});
        break;
      case Counted::kOps:
        name(named, "compute", "other operations", "operations", dtype_ + "/op_pj", {});
        break;
      case Counted::kIndices:
        name(named, "metadata", "decoded indices", "indices", "/index_decode_pj", {});
        break;
      case Counted::kReads:
        name_bits(named, "memory", "reads of ", term.level, "/read_pj_per_bit");
        break;
      case Counted::kWrites:
        name_bits(named, "memory", "writes of ", term.level, "/write_pj_per_bit");
        break;
      case Counted::kMetadata:
        name_bits(named, "metadata", "metadata from ", term.level, "/read_pj_per_bit");
        break;
      case Counted::kSeconds:
        name(named, "static", "static power over the call's time", "s", "/static_w", time_roots());
        break;
      case Counted::kLaunchSeconds:
        name(named, "static", "static power over the launch", "s", "/static_w", {"/launch_s"});
        break;
      case Counted::kLaunches:
        name(named, "static", "launch", "launches", "/launch_j", {});
        break;
    }
    named.count = term.count;
    named.coefficient_unit = term.scale == 1 ? (named.unit == "s" ? "W" : "J") : "pJ";
    return named;
  }

  Coefficient coefficient(const std::string& pointer) const {
    const Json& number = json_.at(Json::json_pointer(pointer));
    Coefficient found{pointer, number.at("value"), number.at("low"), number.at("high"), {}, {}, {}, {}};
    const std::pair<const std::string, Provenance>* best = nullptr;
    for (const auto& source : profile_.provenance) {
      const std::string& covered = source.first;
      if (!pointer.starts_with(covered)) continue;
      const bool whole = pointer.size() == covered.size() || pointer[covered.size()] == '/';
      if (whole && (best == nullptr || covered.size() > best->first.size())) best = &source;
    }
    if (best != nullptr) {
      found.kind = best->second.kind;
      found.source = best->second.source;
      found.date = best->second.date;
    }
    if (pointer.starts_with(dtype_ + "/")) found.note = note_;
    return found;
  }

 private:
  void name(EnergyTerm& term, const char* part, std::string what, const char* unit, std::string pointer,
            const std::vector<std::string>& roots) const {
    term.part = part;
    term.what = std::move(what);
    term.unit = unit;
    term.pointer = std::move(pointer);
    for (const std::string& root : roots) add_numbers(json_, root, term.behind);
  }

  void name_bits(EnergyTerm& term, const char* part, const char* what, size_t level, const char* coefficient) const {
    const std::string place = level_pointer(level);
    std::vector<std::string> roots = {place + "/per_element", place + "/per_mac", "/zeros", "/array"};
    // Which level holds what decides who is read how often.
    for (size_t i = 0; i < profile_.levels.size(); ++i) {
      if (profile_.dataflow == "cache-tiled" || profile_.levels[i].holds_activations) {
        roots.push_back(level_pointer(i) + "/capacity_bytes");
      }
    }
    name(term, part, what + profile_.levels[level].name, "bits", place + coefficient, roots);
  }

  std::vector<std::string> time_roots() const {
    if (!family_.empty()) return {"/timing/" + family_ + "/seconds"};
    std::vector<std::string> roots = {peak_};
    for (size_t i = 0; i < profile_.levels.size(); ++i) roots.push_back(level_pointer(i) + "/bytes_s");
    return roots;
  }

  const ProfileData& profile_;
  Json json_;
  std::string dtype_, peak_, note_;
  std::string family_;  ///< of the profile's timing; empty where a roofline tells the time
};

std::vector<Term> terms_at(const Entry& entry, const ProfileData& profile, const DtypeCost& cost, Corner corner) {
  std::vector<Term> terms;
  each_term(engine_of(profile)(entry, profile, cost, corner), profile, cost, corner,
            [&](const Term& term) { terms.push_back(term); });
  return terms;
}

Json json_of(const EnergyTerm& term) {
  return {{"part", term.part},       {"what", term.what}, {"count", term.count},
          {"unit", term.unit},       {"pointer", term.pointer}, {"coefficient", term.coefficient},
          {"low", term.low},         {"high", term.high}, {"coefficient_unit", term.coefficient_unit},
          {"energy_j", term.energy_j}, {"low_j", term.low_j}, {"high_j", term.high_j},
          {"behind", term.behind}};
}

Json json_of(const Coefficient& number) {
  return {{"pointer", number.pointer}, {"value", number.value},   {"low", number.low},   {"high", number.high},
          {"kind", number.kind},       {"source", number.source}, {"date", number.date}, {"note", number.note}};
}

}  // namespace

LayerExplanation explain(const Entry& entry, const Profile& profile, int64_t count) {
  LayerExplanation found;
  found.layer = price(entry, profile, count);
  const ProfileData& data = profile.data();
  const DtypeCost cost = cost_of(data, entry.dtype);
  const double per = static_cast<double>(count);
  const auto value = terms_at(entry, data, cost, Corner::kValue), low = terms_at(entry, data, cost, Corner::kLow),
             high = terms_at(entry, data, cost, Corner::kHigh);
  const Namer namer(entry, data);
  const auto mention = [&](const std::string& pointer) {
    const auto same = [&](const Coefficient& known) { return known.pointer == pointer; };
    if (std::none_of(found.coefficients.begin(), found.coefficients.end(), same)) {
      found.coefficients.push_back(namer.coefficient(pointer));
    }
  };
  for (size_t i = 0; i < value.size(); ++i) {
    if (value[i].counted == Counted::kSeconds) found.seconds = value[i].count;
    if (value[i].joules(per) == 0 && high[i].joules(per) == 0) continue;
    EnergyTerm term = namer.named(value[i]);
    term.coefficient = value[i].coefficient;
    term.low = low[i].coefficient;
    term.high = high[i].coefficient;
    term.energy_j = value[i].joules(per);
    term.low_j = low[i].joules(per);
    term.high_j = high[i].joules(per);
    mention(term.pointer);
    for (const std::string& pointer : term.behind) mention(pointer);
    found.terms.push_back(std::move(term));
  }
  return found;
}

std::string to_json(const LayerExplanation& explanation) {
  Json json = {{"seconds", explanation.seconds}, {"terms", Json::array()}, {"coefficients", Json::array()}};
  EnergyReport report;
  report.layer_list = {explanation.layer};
  json["layer"] = Json::parse(report.to_json()).at("layers").at(0);
  for (const EnergyTerm& term : explanation.terms) json["terms"].push_back(json_of(term));
  for (const Coefficient& number : explanation.coefficients) json["coefficients"].push_back(json_of(number));
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace jouleprune::energy
