#include "formats/csr.h"

#include <limits>

#include "formats/key_mixer.h"

namespace jouleprune::formats {
namespace {

constexpr int64_t kLimit = std::numeric_limits<int32_t>::max();

std::string size_defect(const char* name, int64_t size) {
  if (size >= 0 && size <= kLimit) {
    return {};
  }
  return std::string(name) + ": expected 0 to " + std::to_string(kLimit) + ", got " + std::to_string(size);
}

std::string place(const char* name, int64_t index) { return std::string(name) + "[" + std::to_string(index) + "]"; }

std::string row_defect(const CsrView& csr, const CsrNames& names, int64_t row) {
  const int32_t begin = csr.row_offsets[row], end = csr.row_offsets[row + 1];
  int32_t previous = -1;
  for (int32_t k = begin; k < end; ++k) {
    const int32_t col = csr.col_indices[k];
    if (col < 0 || col >= csr.cols) {
      return place(names.indices, k) + ": expected a column in [0, " + std::to_string(csr.cols) + "), got " +
             std::to_string(col);
    }
    if (col <= previous) {
      return place(names.indices, k) + ": expected ascending columns in row " + std::to_string(row) + ", got " +
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

std::string csr_defect(const CsrView& csr, const CsrNames& names) {
  for (const auto& defect : {size_defect(names.rows, csr.rows), size_defect(names.cols, csr.cols),
                             size_defect(names.nnz, csr.nnz)}) {
    if (!defect.empty()) {
      return defect;
    }
  }
  if (csr.row_offsets[0] != 0) {
    return place(names.offsets, 0) + ": expected 0, got " + std::to_string(csr.row_offsets[0]);
  }
  if (csr.row_offsets[csr.rows] != csr.nnz) {
    return place(names.offsets, csr.rows) + ": expected " + names.nnz + " = " + std::to_string(csr.nnz) + ", got " +
           std::to_string(csr.row_offsets[csr.rows]);
  }
  for (int64_t row = 0; row < csr.rows; ++row) {  // all offsets before any index is read through them
    if (csr.row_offsets[row + 1] < csr.row_offsets[row]) {
      return place(names.offsets, row + 1) + ": expected at least " + std::to_string(csr.row_offsets[row]) +
             " (offsets never decrease), got " + std::to_string(csr.row_offsets[row + 1]);
    }
  }
  for (int64_t row = 0; row < csr.rows; ++row) {
    if (auto defect = row_defect(csr, names, row); !defect.empty()) {
      return defect;
    }
  }
  return {};
}

}  // namespace jouleprune::formats
