// A small search for the mapping of a layer, for devices that are given none.
#pragma once
#include <cstddef>
#include <cstdint>

#include "energy/nest/storage.h"

namespace jouleprune::energy::nest {

/// The next number of the form m x 2^k, m at most 16: at most an eighth more.
int64_t rounded_up(int64_t size);

/// The cheapest tiling found. All of them are looked at where there are at most 4,096; else descents from random
/// starts, which end after `evaluations`. The same arguments give the same tiling. At levels without a list of loops
/// the orders of three groups are tried: {G, M}, {C, R, S} and {N, P, Q}.
Tiling find_tiling(const Problem& problem, const Device& device, const Prices& prices, size_t evaluations = 600);

}  // namespace jouleprune::energy::nest
