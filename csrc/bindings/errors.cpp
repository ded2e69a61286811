#include "errors.h"

#include <jouleprune/error.h>
#include <pybind11/pybind11.h>

namespace py = pybind11;

namespace jouleprune::bindings {
namespace {

void raise(const char* name, const char* message) {
  const py::object type = py::module_::import("jouleprune.errors").attr(name);
  PyErr_SetString(type.ptr(), message);
}

void raise_budget_error(const core::BudgetError& error) {
  const py::object type = py::module_::import("jouleprune.errors").attr("BudgetError");
  PyErr_SetObject(type.ptr(), type(error.what(), error.minimum_j).ptr());
}

void translate(std::exception_ptr pointer) {
  if (!pointer) return;
  try {
    std::rethrow_exception(pointer);
  } catch (const core::BudgetError& error) {
    raise_budget_error(error);
  } catch (const core::ProfileError& error) {
    raise("ProfileError", error.what());
  } catch (const core::PatternError& error) {
    raise("PatternError", error.what());
  } catch (const core::MeterError& error) {
    raise("MeterError", error.what());
  }
}

}  // namespace

void translate_errors() { py::register_local_exception_translator(translate); }

}  // namespace jouleprune::bindings
