// Profile::load, Profile::parse and count: the core's functions with the public errors.
#include <jouleprune/count.h>
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

energy::CaseCounts energy::count(std::string_view json, const std::string& origin) {
  return with_value_errors([&] { return energy::count_case(json, origin); });
}

}  // namespace jouleprune
