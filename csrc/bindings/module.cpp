// _C: the energy model and build information. Text crosses it, tensors do not.
#include <jouleprune/count.h>
#include <jouleprune/energy.h>
#include <jouleprune/marginals.h>
#include <jouleprune/version.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "energy/price.h"
#include "energy/profile_data.h"
#include "errors.h"
#include "gpu_choice.h"
#include "kernels/amx.h"
#include "kernels/isa.h"
#include "kernels/jit/executable_memory.h"
#include "kernels/peak/peak.h"
#include "meters.h"
#include "reports.h"
#include "timing.h"
#include "plan/alternatives.h"
#include "plan/emptied.h"
#include "plan/limits.h"
#include "plan/limits_json.h"
#include "plan/tuning.h"
#include "select/pattern.h"

namespace py = pybind11;

namespace jouleprune::bindings {
namespace {

/// One entry, as in a workload's "entries".
Entry entry_of(const std::string& json) {
  const Workload workload = Workload::parse(R"({"schema": 1, "entries": [)" + json + "]}");
  if (workload.entries.size() != 1) {
    throw std::invalid_argument("entry_json: expected one entry, got " + std::to_string(workload.entries.size()));
  }
  return workload.entries[0];
}

std::string price_entries(const std::string& entries_json, const Profile& profile, int64_t count) {
  Workload workload = Workload::parse(R"({"schema": 1, "entries": )" + entries_json + "}");
  workload.count = count;
  return nlohmann::json::parse(estimate(workload, profile).to_json()).at("layers").dump();
}

/// [{name, op, units, exact_j, relaxed_j, step, step_j}] of the entries with a weight.
std::string marginals(const std::string& workload_json, const Profile& profile, const std::string& unit) {
  nlohmann::json rows = nlohmann::json::array();
  const energy::Unit kind = energy::unit_of(unit);
  for (const Entry& entry : Workload::parse(workload_json).entries) {
    if (entry.weight_elements == 0) continue;
    const energy::Marginal found = energy::marginal(entry, profile, kind);
    rows.push_back({{"name", entry.name}, {"op", entry.op}, {"units", found.units}, {"exact_j", found.exact_j},
                    {"relaxed_j", found.relaxed_j}, {"step", found.step}, {"step_j", found.step_j}});
  }
  return rows.dump();
}

/// [{name, op, kernel, layout, density or null}] of the entries with a weight.
std::string break_evens(const std::string& workload_json, const Profile& profile) {
  nlohmann::json rows = nlohmann::json::array();
  for (const Entry& entry : Workload::parse(workload_json).entries) {
    for (const energy::BreakEven& found : energy::break_evens(entry, profile)) {
      rows.push_back({{"name", entry.name}, {"op", entry.op}, {"kernel", found.kernel}, {"layout", found.layout}});
      rows.back()["density"] = found.density ? nlohmann::json(*found.density) : nlohmann::json(nullptr);
    }
  }
  return rows.dump();
}

/// {op, dtype, rows, cols, n, groups, geometry, density, threads}
plan::TunedCall call_of(const std::string& json) {
  const auto call = nlohmann::json::parse(json);
  return {call.at("op"),     call.at("dtype"),    call.at("rows"),    call.at("cols"),   call.at("n"),
          call.at("groups"), call.at("geometry"), call.at("density"), call.at("threads")};
}

std::optional<double> find_time(const plan::TuningTable& table, const std::string& call_json, const std::string& kernel) {
  return table.find(call_of(call_json), kernel);
}

void put_time(plan::TuningTable& table, const std::string& call_json, const std::string& kernel, double seconds) {
  table.put(call_of(call_json), kernel, seconds);
}

/// Of this machine's table: [{weight, kernel, dtype, below}].
std::string measured_limits(const std::string& workload_json, const std::vector<std::string>& weights, const Profile& profile,
                            int threads) {
  return plan::to_json(plan::limits_here(Workload::parse(workload_json), weights, profile, threads)).dump();
}

/// Of a weight's calls, as in a workload's "entries": a line for each way to run them.
std::vector<std::string> alternatives(const std::string& calls_json, const std::string& pattern, int64_t kept,
                                      std::optional<int64_t> in_blocks, std::optional<int64_t> in_quads, const Profile& profile,
                                      const plan::TuningTable* times, int threads) {
  const Workload calls = Workload::parse(R"({"schema": 1, "entries": )" + calls_json + "}");
  std::vector<std::string> lines;
  for (const auto& each : plan::alternatives(calls.entries, {pattern, kept, in_blocks, in_quads}, profile, times, threads)) {
    lines.push_back(each.to_string());
  }
  return lines;
}

py::dict build_info() {
  py::dict info;
  info["version"] = JOULEPRUNE_VERSION;
  info["torch_version"] = JOULEPRUNE_TORCH_VERSION;
  info["torch_cuda"] = JOULEPRUNE_TORCH_CUDA;
  info["with_cuda"] = JOULEPRUNE_WITH_CUDA_TEXT;
  info["cuda_reason"] = JOULEPRUNE_CUDA_REASON;
  info["compiler"] = JOULEPRUNE_COMPILER;
  return info;
}

/// Slowest first.
std::vector<std::string> supported_isas() {
  std::vector<std::string> names;
  for (const kernels::Isa isa : kernels::supported_isas()) {
    names.emplace_back(kernels::isa_name(isa));
  }
  return names;
}

}  // namespace
}  // namespace jouleprune::bindings

PYBIND11_MODULE(_C, m) {
  using namespace jouleprune;  // NOLINT: the module's body is a list of our names
  bindings::translate_errors();
  py::class_<Profile>(m, "Profile")
      .def_static("load", &energy::load_profile, py::arg("name_or_path"))
      .def_static("parse", &energy::parse_profile, py::arg("json"), py::arg("origin"))
      .def_property_readonly("name", &Profile::name)
      .def_property_readonly("kind", &Profile::kind)
      .def_property_readonly("hash", &Profile::hash)
      .def("to_json", &Profile::to_json)
      .def("__repr__",
           [](const Profile& profile) { return "Profile('" + profile.name() + "', kind='" + profile.kind() + "')"; })
      .def(
          "__eq__", [](const Profile& a, const Profile& b) { return a.to_json() == b.to_json(); }, py::is_operator())
      .def("__hash__", [](const Profile& profile) { return std::hash<std::string>()(profile.to_json()); })
      .def(py::pickle([](const Profile& profile) { return profile.to_json(); },
                      [](const std::string& json) { return energy::parse_profile(json, "pickle"); }));
  m.def("profiles", &Profile::names);
  m.def(
      "estimate",
      [](const std::string& workload_json, const Profile& profile) {
        return estimate(Workload::parse(workload_json), profile).to_json();
      },
      py::arg("workload_json"), py::arg("profile"));
  m.def(
      "count",
      [](const std::string& case_json, const std::string& origin) {
        energy::CaseCounts counts = energy::count_case(case_json, origin);
        return std::tuple(std::move(counts.json), std::move(counts.deviations), std::move(counts.assumptions));
      },
      py::arg("case_json"), py::arg("origin"), py::call_guard<py::gil_scoped_release>());
  m.def("price_entries", &bindings::price_entries, py::arg("entries_json"), py::arg("profile"), py::arg("count") = 1);
  m.def("marginals", &bindings::marginals, py::arg("workload_json"), py::arg("profile"), py::arg("unit"));
  m.def("break_evens", &bindings::break_evens, py::arg("workload_json"), py::arg("profile"));
  m.def(
      "candidates",
      [](const std::string& entry_json, const Profile& profile, const std::string& pattern) {
        return energy::candidates(bindings::entry_of(entry_json), profile, pattern);
      },
      py::arg("entry_json"), py::arg("profile"), py::arg("pattern") = "unstructured");
  m.def(
      "passes_next_to_nothing", &plan::passes_next_to_nothing, py::arg("kept"), py::arg("rows"));
  m.def(
      "check_pattern", [](const std::string& pattern) { select::Pattern::parse(pattern); }, py::arg("pattern"));
  py::class_<plan::TuningTable>(m, "TuningTable")
      .def(py::init([](const std::string& machine) { return plan::TuningTable(machine.empty() ? plan::this_machine() : machine); }),
           py::arg("machine") = "")
      .def("load", &plan::TuningTable::load, py::arg("path"))
      .def("save", &plan::TuningTable::save, py::arg("path"))
      .def("find", &bindings::find_time, py::arg("call_json"), py::arg("kernel"))
      .def("put", &bindings::put_time, py::arg("call_json"), py::arg("kernel"), py::arg("seconds"))
      .def("__len__", &plan::TuningTable::size)
      .def_property_readonly("hash", &plan::TuningTable::hash);
  m.def("tuning_path", &plan::tuning_path);
  m.def("measured_limits", &bindings::measured_limits, py::arg("workload_json"), py::arg("weights"), py::arg("profile"),
        py::arg("threads"));
  bindings::bind_gpu_choice(m);
  bindings::bind_meters(m);
  bindings::bind_reports(m);
  bindings::bind_timing(m);
  m.def("alternatives", &bindings::alternatives, py::arg("calls_json"), py::arg("pattern"), py::arg("kept"), py::arg("in_blocks"),
        py::arg("in_quads"), py::arg("profile"), py::arg("times").none(true), py::arg("threads"));
  m.def("version", [] { return std::string(version()); });
  m.def("build_info", &bindings::build_info);
  m.def("active_isa", [] { return std::string(kernels::isa_name(kernels::active_isa())); });
  m.def("supported_isas", &bindings::supported_isas);
  m.def("generates_code", &kernels::jit::available);
  m.def("host_profile", [] { return std::string(plan::host_profile()); });
  m.def("matrix_tiles", [] {
    const std::string bfloat16 = kernels::tile_state(kernels::Tiles::kBFloat16), int8 = kernels::tile_state(kernels::Tiles::kInt8);
    return bfloat16 == int8 ? bfloat16 : "bfloat16 " + bfloat16 + ", int8 " + int8;
  });
  m.def(
      "peak_gflops", [](double seconds) { return kernels::peak::fused_multiply_add_gflops(kernels::active_isa(), seconds); },
      py::arg("seconds"), py::call_guard<py::gil_scoped_release>());
}
