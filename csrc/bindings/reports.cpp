#include "reports.h"

#include <jouleprune/density_curves.h>
#include <jouleprune/device_use.h>
#include <jouleprune/energy_terms.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

namespace py = pybind11;

namespace jouleprune::bindings {
namespace {

/// JSON array with an explanation of each call of the layer, in call order; empty when there is none of that name.
std::string explain(const std::string& workload_json, const Profile& profile, const std::string& layer) {
  const Workload workload = Workload::parse(workload_json);
  std::string text;
  for (const Entry& entry : workload.entries) {
    if (entry.name != layer) continue;
    text.append(text.empty() ? "" : ",").append(energy::to_json(energy::explain(entry, profile, workload.count)));
  }
  return "[" + text + "]";
}

std::string device_use(const std::string& workload_json, const Profile& profile) {
  return energy::to_json(energy::device_use(Workload::parse(workload_json), profile));
}

std::string density_curves(const std::string& workload_json, const Profile& profile,
                           const std::vector<double>& densities) {
  return energy::to_json(energy::density_curves(Workload::parse(workload_json), profile, densities));
}

}  // namespace

void bind_reports(py::module_& m) {
  m.def("explain", &explain, py::arg("workload_json"), py::arg("profile"), py::arg("layer"));
  m.def("device_use", &device_use, py::arg("workload_json"), py::arg("profile"));
  m.def("density_curves", &density_curves, py::arg("workload_json"), py::arg("profile"), py::arg("densities"));
}

}  // namespace jouleprune::bindings
