// The core's named errors as the Python classes of jouleprune.errors.
#pragma once

namespace jouleprune::bindings {

/// Installs the translation for this module. The classes are imported when the first error passes.
void translate_errors();

}  // namespace jouleprune::bindings
