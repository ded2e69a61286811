// Profile: names, files, number types.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "energy/builtin_profiles.h"
#include "energy/json_reader.h"
#include "energy/profile_data.h"

namespace jouleprune {

std::vector<std::string> Profile::names() {
  std::vector<std::string> names;
  for (const auto& profile : energy::builtin_profiles()) names.emplace_back(profile.name);
  return names;
}

const std::string& Profile::name() const { return data_->name; }
const std::string& Profile::kind() const { return data_->kind; }
std::string Profile::to_json() const { return data_->canonical; }
std::string Profile::hash() const { return data_->hash; }

namespace energy {
namespace {

constexpr std::uintmax_t kMaxFileBytes = 1 << 20;
constexpr double kExtrapolated = 3;  // how much wider the interval of a type that is not listed is

/// A file's text. Only regular files: a pipe or a device could block or never end.
std::string read_file(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    throw core::ProfileError("profile '" + path + "': expected a built-in name (" + joined(Profile::names()) +
                             ") or the path of a JSON file, got neither");
  }
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) throw core::ProfileError("profile '" + path + "': the file cannot be read: " + error.message());
  if (size > kMaxFileBytes) {
    throw core::ProfileError("profile '" + path + "': /: expected at most 1 MiB, got " + std::to_string(size) +
                             " bytes");
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(size, '\0');
  file.read(text.data(), static_cast<std::streamsize>(size));
  if (!file) throw core::ProfileError("profile '" + path + "': the file cannot be read");
  return text;
}

Quantity scaled(const Quantity& from, double factor, bool wider) {
  const double width = wider ? kExtrapolated : 1;
  return {from.value * factor, from.low * factor / width, from.high * factor * width};
}

}  // namespace

Profile load_profile(const std::string& name_or_path) {
  for (const auto& profile : builtin_profiles()) {
    if (profile.name == name_or_path) return parse_profile(profile.json, name_or_path);
  }
  if (name_or_path.find('\0') != std::string::npos)
    throw core::ProfileError("profile: expected a name or a path, got a zero byte in it");
  return parse_profile(read_file(name_or_path), name_or_path);
}

const DtypeCost& listed_for(const ProfileData& profile, const std::string& dtype) {
  const std::string& wanted = profile.runs_as.empty() ? dtype : profile.runs_as;
  for (const DtypeCost& cost : profile.dtypes) {
    if (cost.name == wanted) return cost;
  }
  const double bits = dtype_bits(wanted);
  const auto distance = [&](const DtypeCost& cost) { return std::abs(std::log2(bits / cost.bits)); };
  return *std::min_element(profile.dtypes.begin(), profile.dtypes.end(),
                           [&](const auto& a, const auto& b) { return distance(a) < distance(b); });
}

DtypeCost cost_of(const ProfileData& profile, const std::string& dtype) {
  const DtypeCost& listed = listed_for(profile, dtype);
  const std::string& wanted = profile.runs_as.empty() ? dtype : profile.runs_as;
  if (listed.name == wanted) return listed;
  const int bits = dtype_bits(wanted);
  const double ratio = static_cast<double>(bits) / listed.bits;
  return {wanted,
          bits,
          scaled(listed.mac_pj, ratio * ratio, true),
          scaled(listed.op_pj, ratio, true),
          scaled(listed.macs_s, 1 / ratio, true),
          scaled(listed.sparse_macs_s, 1 / ratio, true)};
}

std::string extrapolated_from(const ProfileData& profile, const std::string& dtype) {
  const std::string& wanted = profile.runs_as.empty() ? dtype : profile.runs_as;
  const std::string& nearest = listed_for(profile, dtype).name;
  return nearest == wanted ? "" : nearest;
}

namespace {

struct Width {
  std::string_view name;
  int bits;
};
constexpr Width kWidths[] = {{"float64", 64}, {"float32", 32}, {"float16", 16},      {"bfloat16", 16},
                             {"int64", 64},   {"int32", 32},   {"int16", 16},        {"int8", 8},
                             {"uint8", 8},    {"bool", 8},     {"complexfloat", 64}, {"complexdouble", 128},
                             {"uint16", 16},  {"uint32", 32},  {"uint64", 64},       {"complexhalf", 32}};

/// 0 for names of no dtype.
int known_bits(std::string_view dtype) {
  for (const Width& width : kWidths) {
    if (width.name == dtype) return width.bits;
  }
  return dtype.starts_with("float8") ? 8 : 0;
}

}  // namespace

bool is_dtype(std::string_view name) { return known_bits(name) > 0; }

int dtype_bits(std::string_view dtype) { return is_dtype(dtype) ? known_bits(dtype) : 32; }

}  // namespace energy
}  // namespace jouleprune
