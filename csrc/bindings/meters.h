// Meters, windows, measurements and the fitter of calibration, as text across _C.
#pragma once
#include <pybind11/pybind11.h>

namespace jouleprune::bindings {

void bind_meters(pybind11::module_& m);

}  // namespace jouleprune::bindings
