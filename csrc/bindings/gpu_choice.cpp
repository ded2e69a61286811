#include "gpu_choice.h"

#include <pybind11/stl.h>

#include <stdexcept>
#include <string>

#include "plan/gpu_choice.h"

namespace py = pybind11;

namespace jouleprune::bindings {
namespace {

using cuda::ElementType;
using cuda::csr::Machine;
using cuda::csr::Shape;

ElementType type_of(const std::string& dtype) {
  if (dtype == "float16") return ElementType::kFloat16;
  if (dtype == "bfloat16") return ElementType::kBFloat16;
  if (dtype == "float32") return ElementType::kFloat32;
  if (dtype == "float64") return ElementType::kFloat64;
  throw std::invalid_argument("dtype: expected float16, bfloat16, float32 or float64, got '" + dtype + "'");
}

Shape shape_of(const std::string& dtype, int64_t rows, int64_t cols, int64_t nnz, int64_t n) { return {type_of(dtype), rows, cols, nnz, n}; }

/// (chosen kernel, candidates as dicts, the text)
py::tuple choose(const Shape& shape, const Machine& machine, const plan::TuningTable* times, const std::string& no_cusparse) {
  const plan::GpuDecision decision = plan::choose_on_gpu(shape, machine, times, no_cusparse);
  py::list candidates;
  for (const plan::GpuCandidate& each : decision.candidates) {
    py::dict row;
    row["name"] = each.name;
    row["predicted_s"] = each.predicted_s;
    row["measured_s"] = each.measured_s;
    row["why_not"] = each.why_not;
    candidates.append(row);
  }
  return py::make_tuple(cuda::csr::name_of(decision.kernel), candidates, decision.to_string());
}

}  // namespace

void bind_gpu_choice(py::module_& m) {
  py::class_<Shape>(m, "GpuShape")
      .def(py::init(&shape_of), py::arg("dtype"), py::arg("rows"), py::arg("cols"), py::arg("nnz"), py::arg("n"));
  py::class_<Machine>(m, "GpuMachine")
      .def(py::init(&cuda::csr::machine_of), py::arg("major"), py::arg("minor"), py::arg("multiprocessors"), py::arg("clock_hz"),
           py::arg("dram_bytes_s"));
  m.def("gpu_identity", &plan::gpu_identity, py::arg("name"), py::arg("major"), py::arg("minor"), py::arg("multiprocessors"));
  m.def("choose_on_gpu", &choose, py::arg("shape"), py::arg("machine"), py::arg("times").none(true), py::arg("no_cusparse"));
  m.def(
      "put_gpu_time",
      [](plan::TuningTable& table, const Shape& shape, const std::string& kernel, double seconds) {
        table.put(plan::gpu_call(shape), kernel, seconds);
      },
      py::arg("table"), py::arg("shape"), py::arg("kernel"), py::arg("seconds"));
}

}  // namespace jouleprune::bindings
