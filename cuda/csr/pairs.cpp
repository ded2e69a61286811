#include "csr/pairs.h"

#include <array>
#include <cstddef>

#include "csr/tiles.h"
#include "simt/fragments.h"

namespace jouleprune::cuda::csr {
namespace {

/// The two places of a chunk of four and which values stand there; a value of -1 is a zero that fills up.
struct Chunk {
  std::array<int, 2> place{0, 1};
  std::array<int32_t, 2> value{-1, -1};
};

Chunk chunk_of(const HostPairs& s, int64_t row, int64_t chunk) {
  Chunk c;
  const int64_t first = row * s.kept + 2 * chunk;  // chunks before this one are whole: they keep two
  const int64_t left = s.kept - 2 * chunk;
  if (row >= s.rows || left <= 0) {
    return c;
  }
  c.place[0] = s.indices[first];
  c.value[0] = static_cast<int32_t>(first);
  if (left > 1) {
    c.place[1] = s.indices[first + 1];
    c.value[1] = static_cast<int32_t>(first + 1);
  } else if (c.place[0] < 3) {
    c.place[1] = 3;
  } else {  // places ascend: the zero goes before
    c = {{0, 3}, {-1, c.value[0]}};
  }
  return c;
}

}  // namespace

Pairs pairs_of(const HostPairs& s) {
  const int64_t strips = strips_of(s.rows), groups = groups_per_strip(s.cols);
  Pairs pairs;
  pairs.headers.assign(static_cast<size_t>(strips * groups * kPairHeaderBytes), 0);
  pairs.order.assign(static_cast<size_t>(strips * groups * kPairValues), -1);
  // Which lane's which element a place of the compressed 16 x 16 operand is.
  std::array<int, 256> owner{};
  for (int lane = 0; lane < simt::kLanes; ++lane) {
    for (int i = 0; i < 8; ++i) {
      const auto p = simt::place_in_a(lane, i);
      owner[static_cast<size_t>(p.row * 16 + p.column)] = lane * 8 + i;
    }
  }
  for (int64_t group = 0; group < strips * groups; ++group) {
    for (int row = 0; row < kGroupRows; ++row) {
      for (int chunk = 0; chunk < kGroupColumns / 4; ++chunk) {
        const int product = chunk / 8, within = chunk % 8;
        const auto c = chunk_of(s, group / groups * kGroupRows + row, group % groups * (kGroupColumns / 4) + chunk);
        const auto at = simt::place_of_metadata(row, within, product);
        const auto byte = static_cast<size_t>(group * kPairHeaderBytes + 4 * at.lane + at.bit / 8);
        pairs.headers[byte] |= static_cast<uint8_t>((c.place[0] | c.place[1] << 2) << at.bit % 8);
        for (size_t i = 0; i < 2; ++i) {
          const int place = owner[static_cast<size_t>(row * 16 + 2 * within) + i];
          pairs.order[static_cast<size_t>(group * kPairValues + 256 * product + place)] = c.value[i];
        }
      }
    }
  }
  return pairs;
}

}  // namespace jouleprune::cuda::csr
