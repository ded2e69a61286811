#include "formats/bsr.h"

#include <cstdint>
#include <utility>

#include "formats/key_mixer.h"

namespace jouleprune::formats {

std::array<int64_t, 2> bsr_key(const BsrView& bsr) {
  constexpr uint64_t kTag = 0x627372;  // no csr key is mixed from this many words that begin so
  const auto structure = csr_key(bsr.block_view());
  Mixer mixer;
  mixer.add(kTag);
  for (const int64_t word : {structure[0], structure[1], bsr.rows, bsr.cols, bsr.r, bsr.c}) {
    mixer.add(static_cast<uint64_t>(word));
  }
  return mixer.finish();
}

std::string bsr_defect(const BsrView& bsr) {
  if (bsr.r < 1 || bsr.c < 1) {
    return "block size: expected at least 1 x 1, got " + std::to_string(bsr.r) + " x " + std::to_string(bsr.c);
  }
  constexpr int64_t kLimit = INT32_MAX;  // columns of entries are int32, too
  for (const auto& [name, size] : {std::pair{"rows", bsr.rows}, std::pair{"cols", bsr.cols}}) {
    if (size < 0 || size > kLimit) {
      return std::string(name) + ": expected 0 to " + std::to_string(kLimit) + ", got " + std::to_string(size);
    }
  }
  return csr_defect(bsr.block_view(), {"block rows", "block columns", "blocks", "block_columns", "block_row_offsets"});
}

}  // namespace jouleprune::formats
