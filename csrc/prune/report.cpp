// PruneReport as text and JSON.
#include <jouleprune/prune.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ostream>
#include <utility>

namespace jouleprune {
namespace {

/// Three significant digits with an SI prefix: "1.23 uJ".
std::string joules(double value) {
  static constexpr std::array<std::pair<double, const char*>, 5> kPrefixes = {
      {{1e0, "J"}, {1e-3, "mJ"}, {1e-6, "uJ"}, {1e-9, "nJ"}, {1e-12, "pJ"}}};
  auto chosen = kPrefixes.back();
  for (const auto& prefix : kPrefixes) {
    if (std::abs(value) >= prefix.first * 0.9995) {
      chosen = prefix;
      break;
    }
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3g %s", value / chosen.first, chosen.second);
  return text.data();
}

std::string padded(const std::string& text, size_t width, bool left) {
  const std::string space(width > text.size() ? width - text.size() : 0, ' ');
  return left ? text + space : space + text;
}

}  // namespace

std::string PruneReport::to_json() const {
  return "{\"schema\": 1, \"before\": " + before.to_json() + ", \"after\": " + after.to_json() +
         ", \"plan\": " + (plan.has_value() ? plan->to_json() : "null") + "}";
}

std::ostream& operator<<(std::ostream& out, const PruneReport& report) {
  const auto& after = report.after;
  out << joules(report.before.total_j()) << " -> " << joules(after.total_j()) << " per " << after.per << " on " << after.profile
      << ", " << after.label << " (interval " << joules(after.low_j) << " to " << joules(after.high_j) << ")\n";
  size_t width = 5;
  for (const auto& layer : after.layers()) {
    width = std::max(width, layer.name.size());
  }
  out << padded("layer", width, true) << "  " << padded("op", 12, true) << padded("density", 8, false)
      << padded("kernel", 12, false) << padded("before", 11, false) << padded("after", 11, false) << '\n';
  for (size_t i = 0; i < after.layers().size() && i < report.before.layers().size(); ++i) {
    const auto& layer = after.layers()[i];
    std::array<char, 16> density{};
    std::snprintf(density.data(), density.size(), "%.3f", layer.density);
    out << padded(layer.name, width, true) << "  " << padded(layer.op, 12, true) << padded(density.data(), 8, false)
        << padded(layer.kernel, 12, false) << padded(joules(report.before.layers()[i].energy_j), 11, false)
        << padded(joules(layer.energy_j), 11, false) << '\n';
  }
  const auto emptied = report.plan.has_value() ? report.plan->emptied() : std::vector<std::string>();
  for (const auto& name : emptied) {
    out << (&name == emptied.data() ? "emptied, so that nothing passes through: " : ", ") << name;
  }
  if (!emptied.empty()) out << '\n';
  return out;
}

}  // namespace jouleprune
