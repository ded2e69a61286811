#include "plan/tuning.h"

#include <jouleprune/version.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "energy/json_reader.h"
#include "kernels/amx.h"
#include "kernels/isa.h"

namespace jouleprune::plan {
namespace {

namespace fs = std::filesystem;
using energy::Document;
using energy::Json;
using energy::Node;

constexpr int64_t kSchema = 1;

std::optional<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

/// machine -> call -> kernel -> seconds, checked.
Json parse(const std::string& path, const std::string& text) {
  const Document document{"tuning file '" + path + "'", energy::throw_invalid_argument};
  Json json = energy::parse_json(text, document);
  const Node root(json, document);
  root.expect_keys({"schema", "machines"});
  if (root.at("schema").count() != kSchema) {
    document.fail(document.origin + ": /schema: expected " + std::to_string(kSchema) + ", got " + root.at("schema").json().dump());
  }
  root.at("machines").expect_object();
  for (const auto& [machine, calls] : json["machines"].items()) {
    root.at("machines").at(machine).expect_object();
    for (const auto& [call, kernels] : calls.items()) {
      root.at("machines").at(machine).at(call).expect_object();
      for (const auto& [kernel, seconds] : kernels.items()) {
        if (!seconds.is_number() || !(seconds.get<double>() > 0) || !std::isfinite(seconds.get<double>())) {
          document.fail(document.origin + ": /machines/" + machine + "/" + call + "/" + kernel + ": expected seconds above 0, got " +
               seconds.dump());
        }
      }
    }
  }
  return json;
}

/// Two significant digits: 0.3 and 0.304 are the same density.
std::string rounded(double density) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1e", density);
  return text;
}

std::string processor() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) {
      const size_t colon = line.find(": ");
      return colon == std::string::npos ? line : line.substr(colon + 2);
    }
  }
  return "unknown processor";
}

}  // namespace

namespace {
/// The key's parts around the density.
std::string before_density(const TunedCall& call) {
  return call.op + " " + call.dtype + " " + std::to_string(call.rows) + "x" + std::to_string(call.cols) +
         " n=" + std::to_string(call.n) + (call.groups == 1 ? "" : " groups=" + std::to_string(call.groups)) +
         (call.geometry.empty() ? "" : " " + call.geometry) + " density=";
}
std::string after_density(const TunedCall& call) { return " threads=" + std::to_string(call.threads); }
}  // namespace

std::string TunedCall::key() const { return before_density(*this) + rounded(density) + after_density(*this); }

void TuningTable::load(const std::string& path) {
  const auto text = read_file(path);
  if (!text.has_value()) return;
  const Json json = parse(path, *text);
  const auto machine = json["machines"].find(machine_);
  if (machine == json["machines"].end()) return;
  for (const auto& [call, kernels] : machine->items()) {
    for (const auto& [kernel, seconds] : kernels.items()) {
      times_[call].emplace(kernel, seconds.get<double>());  // what was measured since counts more
    }
  }
}

void TuningTable::save(const std::string& path) const {
  Json json = {{"schema", kSchema}, {"machines", Json::object()}};
  try {
    if (const auto text = read_file(path)) json = parse(path, *text);
  } catch (const std::invalid_argument&) {  // a damaged file is replaced: it holds nothing that cannot be measured again
  }
  for (const auto& [call, kernels] : times_) {
    for (const auto& [kernel, seconds] : kernels) json["machines"][machine_][call][kernel] = seconds;
  }
  const fs::path target(path), beside(path + "." + std::to_string(getpid()));
  if (target.has_parent_path()) fs::create_directories(target.parent_path());
  {
    std::ofstream file(beside, std::ios::binary | std::ios::trunc);
    file << json.dump(1) << '\n';
    if (!file.flush()) {
      const int error = errno;
      file.close();
      fs::remove(beside);
      throw std::system_error(error, std::generic_category(), "tuning file: cannot write " + beside.string());
    }
  }
  fs::rename(beside, target);
}

std::optional<double> TuningTable::find(const TunedCall& call, const std::string& kernel) const {
  const auto kernels = times_.find(call.key());
  if (kernels == times_.end()) return std::nullopt;
  const auto seconds = kernels->second.find(kernel);
  return seconds == kernels->second.end() ? std::nullopt : std::make_optional(seconds->second);
}

std::map<double, std::map<std::string, double>> TuningTable::by_density(const TunedCall& call) const {
  const std::string before = before_density(call), after = after_density(call);
  std::map<double, std::map<std::string, double>> found;
  for (auto at = times_.lower_bound(before); at != times_.end() && at->first.starts_with(before); ++at) {
    if (!at->first.ends_with(after)) continue;
    const std::string text = at->first.substr(before.size(), at->first.size() - before.size() - after.size());
    double density = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), density);
    if (error == std::errc() && end == text.data() + text.size()) found[density] = at->second;
  }
  return found;
}

void TuningTable::put(const TunedCall& call, const std::string& kernel, double seconds) {
  if (!(seconds > 0) || !std::isfinite(seconds)) {
    throw std::invalid_argument("tuning: seconds: expected a finite number above 0, got " + std::to_string(seconds));
  }
  times_[call.key()][kernel] = seconds;
}

size_t TuningTable::size() const {
  size_t count = 0;
  for (const auto& [call, kernels] : times_) count += kernels.size();
  return count;
}

std::string TuningTable::hash() const {
  uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  for (const char c : machine_ + Json(times_).dump()) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  }
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

std::string this_machine() {
  const bool tiles = kernels::tiles_serve(kernels::Tiles::kBFloat16) || kernels::tiles_serve(kernels::Tiles::kInt8);
  return processor() + ", " + kernels::isa_name(kernels::active_isa()) + (tiles ? " with matrix tiles" : "") + ", jouleprune " +
         std::string(version());
}

std::string tuning_path() {
  const char* chosen = std::getenv("JOULEPRUNE_TUNE");
  if (chosen != nullptr && *chosen != '\0') {
    return std::string(chosen) == "off" ? "" : chosen;
  }
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0') {
    return std::string(cache) + "/jouleprune/tuning.json";
  }
  const char* home = std::getenv("HOME");
  return home == nullptr || *home == '\0' ? "" : std::string(home) + "/.cache/jouleprune/tuning.json";
}

}  // namespace jouleprune::plan
