// From kept counts to masks. Ties of importance stay in index order, so a count says all.
#pragma once
#include <cstdint>
#include <vector>

#include "select/ranking.h"

namespace jouleprune::select {

/// One bit per unit of this process, unit i at byte i / 8, bit i % 8; 1 = among the `kept` first. Unused bits of the last byte are 0.
std::vector<uint8_t> mask_bits(Ranking& ranking, int64_t kept);

/// Index of the unit at `rank` (1 = the most important), among those of all processes.
int64_t index_at(Ranking& ranking, int64_t rank);

}  // namespace jouleprune::select
