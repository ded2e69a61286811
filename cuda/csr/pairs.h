// Structure 2:4 as the sparse instructions of tensor cores take it: of each four neighbouring inputs two are kept. A
// strip of 16 rows is cut into groups of 64 columns, two products over 32. A lane's operand of either is 16 bytes of
// kept values; one word of metadata per lane serves both, since each reads two lanes of every four (fragments.h). 1152
// bytes for 1024 weights (dense: 2048).
//
//   header  [  0, 128)  metadata, a word per lane
//   values  [2, 32 lanes, 8]: element i of a lane's operand in the first and in the second product
#pragma once
#include <cstdint>
#include <vector>

namespace jouleprune::cuda::csr {

inline constexpr uint32_t kPairHeaderBytes = 128, kPairValues = 512;  // of a group

/// A structure as formats/nm.h has it for n = 2, m = 4, on the host: places within their four, ascending.
struct HostPairs {
  int64_t rows, cols, kept;  // kept per row
  const uint8_t* indices;    // [rows, kept]
};

struct Pairs {
  std::vector<uint8_t> headers;  // [strips, groups per strip, 128]
  std::vector<int32_t> order;    // [groups, 512]: which canonical value each packed one is, -1 where nothing is kept
};

Pairs pairs_of(const HostPairs& structure);

}  // namespace jouleprune::cuda::csr
