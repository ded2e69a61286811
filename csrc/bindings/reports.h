// What reports show beside the energy report: terms and sources, use of the device, curves over the density.
#pragma once
#include <pybind11/pybind11.h>

namespace jouleprune::bindings {

void bind_reports(pybind11::module_& m);

}  // namespace jouleprune::bindings
