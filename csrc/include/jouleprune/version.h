// Version of the library. Torch-free.
#pragma once

namespace jouleprune {

/// "major.minor.patch" of the compiled library.
const char* version();

}  // namespace jouleprune
