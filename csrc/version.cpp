#include <jouleprune/version.h>

namespace jouleprune {

const char* version() { return JOULEPRUNE_VERSION; }

}  // namespace jouleprune
