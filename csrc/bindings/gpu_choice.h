#pragma once
#include <pybind11/pybind11.h>

namespace jouleprune::bindings {

/// Kernels of csr products on GPUs: predictions, times, the choice.
void bind_gpu_choice(pybind11::module_& m);

}  // namespace jouleprune::bindings
