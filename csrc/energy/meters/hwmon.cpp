// Power monitors on the boards of Jetson modules, through hwmon: INA3221 (three rails: volts x amperes), INA238
// (watts). Older kernels of the vendor have in_power<k>_input of an iio device. Sampled power, so it is integrated.
#include <algorithm>
#include <cctype>

#include "energy/meters/backends.h"
#include "energy/meters/files.h"

namespace jouleprune::energy::meters {
namespace {

constexpr double kUsualUpdate = 0.1;  // seconds, where the driver does not say

/// Watts = product of the files' numbers x scale.
class Rail : public EnergySource {
 public:
  Rail(std::vector<std::string> files, double scale) : files_(std::move(files)), scale_(scale) {}
  Reading read() override {
    double watts = scale_;
    for (const std::string& path : files_) {
      const FileText file = read_small(path);
      if (file.error != 0) return {0, 0, path + ": " + reason(file.error)};
      const auto value = decimal_of(file.text);
      if (!value)
        return {0, 0, path + ": expected a number that is not negative, got '" + file.text.substr(0, 40) + "'"};
      watts *= *value;
    }
    return {0, watts, ""};
  }

 private:
  std::vector<std::string> files_;
  double scale_;
};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  return text;
}

void add_rail(std::string label, const std::string& fallback, std::vector<std::string> files, double scale,
              double update_s, Found& found) {
  label = lower(label.empty() ? fallback : label);
  const auto rail = std::make_shared<Rail>(std::move(files), scale);
  rail->domain.name = label;
  rail->domain.meter = "hwmon";
  rail->domain.integrated = true;
  rail->domain.averaging_s = update_s;
  // VDD_IN feeds all others. Other rails overlap in ways that differ from board to board: they are told, and never
  // added.
  const bool input = label == "vdd_in" || label == "pom_5v_in";
  rail->domain.scope = input ? Scope::kBoard : Scope::kChip;
  rail->domain.adds = input;
  found.sources.push_back(rail);
}

double update_of(const std::string& folder) {
  const auto interval_ms = number_of(read_small(folder + "/update_interval").text);
  return interval_ms && *interval_ms > 0 ? 1e-3 * static_cast<double>(*interval_ms) : kUsualUpdate;
}

void add_device(const std::string& folder, const std::string& kind, Found& found) {
  if (kind == "ina238") {
    const std::string power = folder + "/power1_input";
    if (exists(power))
      add_rail(read_small(folder + "/power1_label").text, "ina238", {power}, 1e-6, update_of(folder), found);
    return;
  }
  for (int channel = 1; channel <= 3; ++channel) {
    const std::string number = std::to_string(channel);
    const std::string millivolts = folder + "/in" + number + "_input",
                      milliamperes = folder + "/curr" + number + "_input";
    if (!exists(millivolts) || !exists(milliamperes)) continue;  // not connected
    add_rail(read_small(folder + "/in" + number + "_label").text, "rail-" + number, {millivolts, milliamperes}, 1e-6,
             update_of(folder), found);
  }
}

void add_older(const std::string& folder, Found& found) {
  for (int channel = 0; channel <= 2; ++channel) {
    const std::string number = std::to_string(channel), power = folder + "/in_power" + number + "_input";
    if (exists(power))
      add_rail(read_small(folder + "/rail_name_" + number).text, "rail-" + number, {power}, 1e-3, kUsualUpdate, found);
  }
}

}  // namespace

void find_hwmon(const MeterOptions& options, Found& found) {
  if (options.sysfs_root.empty()) return;
  const size_t first = found.sources.size();
  const std::string monitors = options.sysfs_root + "/class/hwmon";
  for (const std::string& name : names_in(monitors)) {
    const std::string kind = read_small(monitors + "/" + name + "/name").text;
    if (kind == "ina3221" || kind == "ina238") add_device(monitors + "/" + name, kind, found);
  }
  const std::string drivers = options.sysfs_root + "/bus/i2c/drivers/ina3221x";
  for (const std::string& device : names_in(drivers)) {
    for (const std::string& name : names_in(drivers + "/" + device)) {
      if (name.starts_with("iio:device")) add_older(drivers + "/" + device + "/" + name, found);
    }
  }
  const auto begin = found.sources.begin() + static_cast<std::ptrdiff_t>(first);
  const auto input = std::find_if(begin, found.sources.end(), [](const auto& rail) { return rail->domain.adds; });
  if (input == found.sources.end()) return;
  for (auto rail = begin; rail != found.sources.end(); ++rail) {
    if (!(*rail)->domain.adds) (*rail)->domain.inside = (*input)->domain.name;
  }
}

}  // namespace jouleprune::energy::meters
