#include "formats/csr.h"

#include <limits>

namespace jouleprune::formats {
namespace {

// Two lanes of multiply and xor-shift mixing over 64-bit words; words are made by arithmetic, not by reinterpreting memory, so
// that the key does not depend on byte order. The constants are odd and unrelated (golden ratio, sqrt(3) - 1 in 64 bits).
class Mixer {
 public:
  void add(uint64_t word) {
    low_ = (low_ ^ word) * 0x9e3779b97f4a7c15u;
    low_ ^= low_ >> 32;
    high_ = (high_ ^ (word * 0xbb67ae8584caa73bu)) * 0xd6e8feb86659fd93u;
    high_ ^= high_ >> 29;
  }

  /// Adds a list of int32, two to a word.
  void add(const int32_t* items, int64_t count) {
    int64_t i = 0;
    for (; i + 1 < count; i += 2) {
      add(static_cast<uint64_t>(static_cast<uint32_t>(items[i])) |
          static_cast<uint64_t>(static_cast<uint32_t>(items[i + 1])) << 32);
    }
    if (i < count) {
      add(static_cast<uint64_t>(static_cast<uint32_t>(items[i])));
    }
  }

  std::array<int64_t, 2> finish() {
    add(0x6a6f756c65707275u);  // so that the last word is mixed as well as the others
    add(high_);
    return {static_cast<int64_t>(low_), static_cast<int64_t>(high_)};
  }

 private:
  uint64_t low_ = 0x243f6a8885a308d3u, high_ = 0x13198a2e03707344u;  // pi
};

constexpr int64_t kLimit = std::numeric_limits<int32_t>::max();

std::string size_defect(const char* name, int64_t size) {
  if (size >= 0 && size <= kLimit) {
    return {};
  }
  return std::string(name) + ": expected 0 to " + std::to_string(kLimit) + ", got " + std::to_string(size);
}

std::string row_defect(const CsrView& csr, int64_t row) {
  const int32_t begin = csr.row_offsets[row], end = csr.row_offsets[row + 1];
  int32_t previous = -1;
  for (int32_t k = begin; k < end; ++k) {
    const int32_t col = csr.col_indices[k];
    if (col < 0 || col >= csr.cols) {
      return "col_indices[" + std::to_string(k) + "]: expected a column in [0, " + std::to_string(csr.cols) + "), got " +
             std::to_string(col);
    }
    if (col <= previous) {
      return "col_indices[" + std::to_string(k) + "]: expected ascending columns in row " + std::to_string(row) + ", got " +
             std::to_string(col) + " after " + std::to_string(previous);
    }
    previous = col;
  }
  return {};
}

}  // namespace

std::array<int64_t, 2> csr_key(const CsrView& csr) {
  Mixer mixer;
  mixer.add(static_cast<uint64_t>(csr.rows));
  mixer.add(static_cast<uint64_t>(csr.cols));
  mixer.add(static_cast<uint64_t>(csr.nnz));
  mixer.add(csr.row_offsets, csr.rows + 1);
  mixer.add(csr.col_indices, csr.nnz);
  return mixer.finish();
}

std::string csr_defect(const CsrView& csr) {
  for (const auto& defect : {size_defect("rows", csr.rows), size_defect("cols", csr.cols), size_defect("nnz", csr.nnz)}) {
    if (!defect.empty()) {
      return defect;
    }
  }
  if (csr.row_offsets[0] != 0) {
    return "row_offsets[0]: expected 0, got " + std::to_string(csr.row_offsets[0]);
  }
  if (csr.row_offsets[csr.rows] != csr.nnz) {
    return "row_offsets[" + std::to_string(csr.rows) + "]: expected nnz = " + std::to_string(csr.nnz) + ", got " +
           std::to_string(csr.row_offsets[csr.rows]);
  }
  for (int64_t row = 0; row < csr.rows; ++row) {  // all offsets before any index is read through them
    if (csr.row_offsets[row + 1] < csr.row_offsets[row]) {
      return "row_offsets[" + std::to_string(row + 1) + "]: expected at least " + std::to_string(csr.row_offsets[row]) +
             " (offsets never decrease), got " + std::to_string(csr.row_offsets[row + 1]);
    }
  }
  for (int64_t row = 0; row < csr.rows; ++row) {
    if (auto defect = row_defect(csr, row); !defect.empty()) {
      return defect;
    }
  }
  return {};
}

}  // namespace jouleprune::formats
