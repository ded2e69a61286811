// The transposed weight, for gradients of the input.
#pragma once
#include <cstdint>
#include <vector>

#include "formats/csr.h"
#include "kernels/csr/vector_kernels.h"

namespace jouleprune::kernels::csr {

/// The weight's rows are cut into `groups` equal parts; part g becomes rows [g * cols, (g + 1) * cols) of the transposed one, whose
/// columns count rows within the part.
template <class T>
struct Transposed {
  std::vector<T> values;             // [nnz]
  std::vector<int32_t> col_indices;  // [nnz]
  std::vector<int32_t> row_offsets;  // [groups * cols + 1]

  Weight<T> weight() const { return {values.data(), col_indices.data(), row_offsets.data(), nullptr, false}; }
};

template <class T>
Transposed<T> transpose(const formats::CsrView& csr, const T* values, int64_t groups) {
  Transposed<T> out{std::vector<T>(static_cast<size_t>(csr.nnz)), std::vector<int32_t>(static_cast<size_t>(csr.nnz)),
                    std::vector<int32_t>(static_cast<size_t>(groups * csr.cols + 1))};
  const int64_t rows_per_group = csr.rows / groups;
  const auto each = [&](const auto& visit) {
    for (int64_t r = 0; r < csr.rows; ++r) {
      const int64_t first = r / rows_per_group * csr.cols;
      for (int64_t k = csr.row_offsets[r]; k < csr.row_offsets[r + 1]; ++k) {
        visit(first + csr.col_indices[k], static_cast<int32_t>(r % rows_per_group), k);
      }
    }
  };
  each([&](int64_t row, int32_t, int64_t) { ++out.row_offsets[row + 1]; });
  for (size_t row = 1; row < out.row_offsets.size(); ++row) {
    out.row_offsets[row] += out.row_offsets[row - 1];
  }
  std::vector<int32_t> next(out.row_offsets.begin(), out.row_offsets.end() - 1);
  each([&](int64_t row, int32_t col, int64_t k) {
    const int32_t to = next[row]++;
    out.col_indices[to] = col;
    out.values[to] = values[k];
  });
  return out;
}

}  // namespace jouleprune::kernels::csr
