// The profiles compiled in: csrc/energy/profiles/*.json, turned into sources by csrc/energy/CMakeLists.txt.
#pragma once
#include <span>
#include <string_view>

namespace jouleprune::energy {

struct BuiltinProfile {
  std::string_view name, json;
};

std::span<const BuiltinProfile> builtin_profiles();

}  // namespace jouleprune::energy
