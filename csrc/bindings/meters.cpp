#include "meters.h"

#include <jouleprune/meters.h>
#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "energy/calibrate.h"

namespace py = pybind11;
using Json = nlohmann::json;

namespace jouleprune::bindings {
namespace {

Json to_json(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

Json to_json(const Estimate& estimate) { return {estimate.value, estimate.low, estimate.high}; }

Json to_json(const Domain& domain) {
  return {{"name", domain.name},
          {"meter", domain.meter},
          {"scope", scope_name(domain.scope)},
          {"inside", domain.inside},
          {"adds", domain.adds},
          {"integrated", domain.integrated},
          {"available", domain.available},
          {"status", domain.status},
          {"refresh_s", domain.refresh_s},
          {"averaging_s", domain.averaging_s}};
}

Json to_json(const WindowEnergy& window) {
  Json domains = Json::array(), totals = Json::object();
  for (const DomainEnergy& domain : window.domains) {
    const std::string scope = scope_name(domain.scope);
    domains.push_back({{"domain", domain.domain},
                       {"scope", scope},
                       {"energy_j", to_json(domain.energy_j)},
                       {"status", domain.status}});
    if (const auto total = window.total_j(domain.scope)) totals[scope] = *total;
  }
  return {{"time_s", window.time_s}, {"domains", domains}, {"totals", totals}};
}

Json to_json(const Measurement& measured) {
  Json domains = Json::array(), totals = Json::object();
  for (const DomainMeasurement& domain : measured.domains) {
    domains.push_back({{"domain", domain.domain},
                       {"scope", scope_name(domain.scope)},
                       {"energy_j", domain.energy_j ? to_json(*domain.energy_j) : Json(nullptr)},
                       {"idle_w", to_json(domain.idle_w)},
                       {"status", domain.status}});
  }
  for (const auto& [name, total] : measured.totals) totals[name] = to_json(total);
  return {{"time_s", to_json(measured.time_s)},
          {"domains", domains},
          {"totals", totals},
          {"windows", measured.windows},
          {"runs_per_window", measured.runs_per_window},
          {"reached", measured.reached},
          {"before", measured.before},
          {"after", measured.after}};
}

Json to_json(const MeterCheck& check) {
  Json items = Json::array();
  for (const CheckItem& item : check.items) {
    const char* state = item.state == CheckItem::State::kPassed   ? "passed"
                        : item.state == CheckItem::State::kFailed ? "failed"
                                                                  : "not possible";
    items.push_back({{"name", item.name}, {"state", state}, {"detail", item.detail}});
  }
  return {{"items", items}, {"passed", check.passed}, {"before", check.before}, {"after", check.after}};
}

/// Joules that a Python callable tells; it may be asked from the polling thread.
class CallableSource : public EnergySource {
 public:
  explicit CallableSource(std::function<double()> joules) : joules_(std::move(joules)) {}
  Reading read() override {
    try {
      const double joules = joules_();
      if (!(joules >= 0 && joules < 1e12)) return {0, 0, "expected joules, got " + std::to_string(joules)};
      return {static_cast<uint64_t>(joules * 1e6), 0, ""};
    } catch (const std::exception& error) {
      return {0, 0, error.what()};
    }
  }

 private:
  std::function<double()> joules_;
};

Scope scope_of(const std::string& name) {
  for (const Scope scope : {Scope::kChip, Scope::kPackage, Scope::kBoard, Scope::kModule, Scope::kWall}) {
    if (scope_name(scope) == name) return scope;
  }
  throw core::MeterError("scope: expected one of chip, package, board, module, wall, got '" + name + "'");
}

/// Destructors wait for the polling thread, which may wait for the interpreter.
template <typename Object>
std::shared_ptr<Object> unlocked(Object* object) {
  return std::shared_ptr<Object>(object, [](Object* last) {
    const py::gil_scoped_release release;
    delete last;
  });
}

/// name, meter, scope, averaging_s, joules()
using PythonSource = std::tuple<std::string, std::string, std::string, double, std::function<double()>>;

std::shared_ptr<Meters> open_meters(const std::string& sysfs_root, const std::string& proc_root,
                                    const std::string& nvml_library, const std::string& zeusd_socket, bool perf,
                                    const std::vector<int>& gpus, bool cross_check,
                                    const std::vector<PythonSource>& sources) {
  MeterOptions options;
  options.sysfs_root = sysfs_root;
  options.proc_root = proc_root;
  options.nvml_library = nvml_library;
  options.zeusd_socket = zeusd_socket;
  options.perf = perf;
  options.gpus = gpus;
  options.cross_check = cross_check;
  for (const auto& [name, meter, scope, averaging_s, joules] : sources) {
    auto source = std::make_shared<CallableSource>(joules);
    source->domain.name = name;
    source->domain.meter = meter;
    source->domain.scope = scope_of(scope);
    source->domain.averaging_s = averaging_s;
    options.sources.push_back(std::move(source));
  }
  const py::gil_scoped_release release;
  return unlocked(new Meters(std::move(options)));
}

std::string describe(const Meters& meters) {
  Json domains = Json::array();
  for (const Domain& domain : meters.domains()) domains.push_back(to_json(domain));
  const Json found = {{"domains", domains},
                      {"notes", meters.notes()},
                      {"why_none", meters.why_none()},
                      {"refresh_s", meters.refresh_s()},
                      {"averaging_s", meters.averaging_s()},
                      {"conditions", meters.conditions()}};
  return found.dump(-1, ' ', false, Json::error_handler_t::replace);
}

using Run = std::function<void(int64_t)>;
using Synchronise = std::function<void()>;

std::string measured(Meters& meters, const Run& run, double target, double max_s, int min_windows, double window_s,
                     double idle_s, uint64_t seed, const Synchronise& synchronise) {
  const MeasureOptions options{target, max_s, min_windows, window_s, idle_s, seed, synchronise};
  return to_json(measure(run, meters, options)).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string checked(Meters& meters, const Run& run, double seconds, uint64_t seed, const Synchronise& synchronise) {
  return to_json(check_meters(run, meters, {seconds, seed, synchronise}))
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// [{family, features, target}] -> {coefficients, used, inflation, mape, worst, held_out, ...}
std::string fitted(const std::string& observations_json, const std::vector<std::string>& columns,
                   const std::vector<double>& start) {
  std::vector<energy::Observation> observations;
  for (const Json& seen : Json::parse(observations_json)) {
    observations.push_back({seen.at("family"), seen.at("features").get<std::vector<double>>(), seen.at("target")});
  }
  const energy::Fit fit =
      start.empty() ? energy::fit_sum(columns, observations) : energy::fit_longest(columns, observations, start);
  Json held_out = Json::array();
  for (const energy::HeldOut& family : fit.held_out) {
    held_out.push_back({{"family", family.family},
                        {"observations", family.observations},
                        {"mape", family.mape},
                        {"worst", family.worst}});
  }
  return Json({{"coefficients", fit.coefficients},
               {"used", fit.used},
               {"inflation", fit.inflation},
               {"mape", fit.mape},
               {"worst", fit.worst},
               {"held_out", held_out},
               {"held_out_mape", fit.held_out_mape},
               {"held_out_worst", fit.held_out_worst},
               {"held_out_rank", fit.held_out_rank}})
      .dump();
}

}  // namespace

void bind_meters(py::module_& m) {
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  py::class_<Meters, std::shared_ptr<Meters>>(m, "Meters")
      .def(py::init(&open_meters), py::kw_only(), py::arg("sysfs_root"), py::arg("proc_root"), py::arg("nvml_library"),
           py::arg("zeusd_socket"), py::arg("perf"), py::arg("gpus"), py::arg("cross_check"), py::arg("sources"))
      .def("any", &Meters::any)
      .def("describe", &describe, Unlocked())
      .def("measure", &measured, py::arg("run"), py::kw_only(), py::arg("target"), py::arg("max_s"),
           py::arg("min_windows"), py::arg("window_s"), py::arg("idle_s"), py::arg("seed"), py::arg("synchronise"),
           Unlocked())
      .def("check", &checked, py::arg("run"), py::kw_only(), py::arg("seconds"), py::arg("seed"),
           py::arg("synchronise"), Unlocked());
  py::class_<EnergyWindow, std::shared_ptr<EnergyWindow>>(m, "EnergyWindow")
      .def(py::init([](Meters& meters, Synchronise synchronise) {
             const py::gil_scoped_release release;
             return unlocked(new EnergyWindow(meters, std::move(synchronise)));
           }),
           py::arg("meters"), py::arg("synchronise"), py::keep_alive<1, 2>())
      .def(
          "end",
          [](EnergyWindow& window) {
            return to_json(window.end()).dump(-1, ' ', false, Json::error_handler_t::replace);
          },
          Unlocked());
  m.def("fit", &fitted, py::arg("observations_json"), py::arg("columns"), py::arg("start"));
}

}  // namespace jouleprune::bindings
