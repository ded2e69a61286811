// What calibration asks of the model of time: how calls are counted, and the fit of a family.
#pragma once
#include <pybind11/pybind11.h>

namespace jouleprune::bindings {

void bind_timing(pybind11::module_& m);

}  // namespace jouleprune::bindings
