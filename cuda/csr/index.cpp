#include "csr/index.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace jouleprune::cuda::csr {

std::vector<int32_t> longest_first(const int32_t* offsets, int64_t rows) {
  std::vector<int32_t> order(static_cast<size_t>(rows));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return offsets[a + 1] - offsets[a] > offsets[b + 1] - offsets[b]; });
  return order;
}

std::vector<int32_t> rows_of_entries(const HostStructure& s) {
  std::vector<int32_t> rows(static_cast<size_t>(s.nnz));
  for (int64_t row = 0; row < s.rows; ++row) {
    std::fill(rows.begin() + s.offsets[row], rows.begin() + s.offsets[row + 1], static_cast<int32_t>(row));
  }
  return rows;
}

std::vector<int32_t> columns_over_groups(const HostStructure& s, int64_t groups) {
  std::vector<int32_t> columns(s.columns, s.columns + s.nnz);
  const int64_t rows_per_group = s.rows / groups;
  for (int64_t row = 0; row < s.rows; ++row) {
    const auto shift = static_cast<int32_t>(row / rows_per_group * s.cols);
    for (int32_t k = s.offsets[row]; k < s.offsets[row + 1]; ++k) columns[static_cast<size_t>(k)] += shift;
  }
  return columns;
}

TransposedIndex transposed(const HostStructure& s) {
  TransposedIndex index;
  index.offsets.assign(static_cast<size_t>(s.cols) + 1, 0);
  for (int64_t k = 0; k < s.nnz; ++k) {
    ++index.offsets[static_cast<size_t>(s.columns[k]) + 1];
  }
  std::partial_sum(index.offsets.begin(), index.offsets.end(), index.offsets.begin());
  index.columns.resize(static_cast<size_t>(s.nnz));
  index.sources.resize(static_cast<size_t>(s.nnz));
  auto next = index.offsets;
  for (int64_t row = 0; row < s.rows; ++row) {
    for (int32_t k = s.offsets[row]; k < s.offsets[row + 1]; ++k) {
      const auto at = static_cast<size_t>(next[static_cast<size_t>(s.columns[k])]++);
      index.columns[at] = static_cast<int32_t>(row);
      index.sources[at] = k;
    }
  }
  return index;
}

}  // namespace jouleprune::cuda::csr
