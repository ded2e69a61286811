// The names of families of timed calls: what a profile's `timing` may be keyed by.
#pragma once
#include <string_view>
#include <vector>

namespace jouleprune::energy {

/// With how many sizes a place among the family's shapes may be told (TimeView::at), ascending: two numbers where an op's last axis may be
/// untold. Empty for what no call's family is named. What torch calls an op without MACs ("elementwise clamp") is free.
std::vector<size_t> sizes_of_family(std::string_view name);

}  // namespace jouleprune::energy
