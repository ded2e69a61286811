// Profile::load and Profile::parse: the core's functions with the public errors.
#include <jouleprune/energy.h>
#include <jouleprune/value_errors.h>

#include "energy/profile_data.h"

namespace jouleprune {

Profile Profile::load(const std::string& name_or_path) {
  return with_value_errors([&] { return energy::load_profile(name_or_path); });
}

Profile Profile::parse(std::string_view json, const std::string& origin) {
  return with_value_errors([&] { return energy::parse_profile(json, origin); });
}

}  // namespace jouleprune
