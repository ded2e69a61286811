#include "timing.h"

#include <jouleprune/energy.h>
#include <pybind11/stl.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "energy/calibrate_family.h"
#include "energy/kernel_cost.h"
#include "energy/timing.h"

namespace py = pybind11;

namespace jouleprune::bindings {
namespace {

using Json = nlohmann::json;

/// [{family, general, counts: [...], at: [...]}], null for entries that no family times.
std::string time_views(const std::string& entries_json, const Profile& profile) {
  Json views = Json::array();
  const auto device = profile.kind() == "gpu" ? energy::DeviceKind::kGpu : energy::DeviceKind::kCpu;
  for (const Entry& entry : Workload::parse(R"({"schema": 1, "entries": )" + entries_json + "}").entries) {
    const auto view = energy::time_view(entry, profile.data(), energy::find_kernel(entry.kernel).count(entry, device));
    views.push_back(view ? Json{{"family", view->family}, {"general", view->general}, {"counts", view->counts}, {"at", view->at}}
                         : Json());
  }
  return views.dump();
}

/// `calls_json`: [{counts, at, seconds}].
std::string fit_family(const std::string& calls_json) {
  std::vector<energy::TimedShape> calls;
  for (const Json& call : Json::parse(calls_json)) {
    calls.push_back({call.at("counts").get<std::vector<double>>(), call.at("at").get<std::vector<double>>(), call.at("seconds")});
  }
  const std::vector<std::string> columns(energy::kTimedNames.begin(), energy::kTimedNames.end());
  const energy::FamilyFit fit = energy::fit_family(columns, calls);
  return Json{{"coefficients", fit.coefficients}, {"dropped", fit.dropped}, {"reach", fit.reach}, {"pull", fit.pull},
              {"ratios", fit.ratios},             {"mape", fit.mape},       {"worst", fit.worst}, {"bias", fit.bias}}
      .dump();
}

}  // namespace

void bind_timing(py::module_& m) {
  m.def("timed_counts", [] { return std::vector<std::string>(energy::kTimedNames.begin(), energy::kTimedNames.end()); });
  m.def("time_views", &time_views, py::arg("entries_json"), py::arg("profile"));
  m.def("fit_family", &fit_family, py::arg("calls_json"), py::call_guard<py::gil_scoped_release>());
}

}  // namespace jouleprune::bindings
