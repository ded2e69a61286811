#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "kernels/csr/small/forms.h"
#include "kernels/scalar_types.h"

namespace jouleprune::kernels::csr::small {
namespace {

constexpr int64_t kHalf = kJaggedRows / 2;

/// The rows of a strip as they stand at one block of columns: each keeps [begin, end) of the canonical order there.
struct Block {
  std::array<int32_t, kJaggedRows> begin{}, end{};
  std::array<int, kJaggedRows> sorted{};  ///< rows, those that keep most first

  int count(int row) const { return end[static_cast<size_t>(row)] - begin[static_cast<size_t>(row)]; }
  /// How many of the rows at places [first, first + kHalf) keep more than `step` values; sorted, they are the first ones.
  int64_t lanes(int64_t first, int64_t step) const {
    const auto from = sorted.begin() + first;
    return std::partition_point(from, from + kHalf, [&](int row) { return count(row) > step; }) - from;
  }
};

/// Moves on to the block of columns before `limit`.
void advance(const formats::CsrView& csr, int64_t first_row, int64_t limit, Block& block) {
  const int64_t rows = std::min(kJaggedRows, csr.rows - first_row);
  for (int64_t i = 0; i < rows; ++i) {
    const auto row = static_cast<size_t>(i);
    const int32_t last = csr.row_offsets[first_row + i + 1];
    block.begin[row] = block.end[row];
    while (block.end[row] < last && csr.col_indices[block.end[row]] < limit) {
      ++block.end[row];
    }
  }
  std::iota(block.sorted.begin(), block.sorted.end(), 0);
  std::stable_sort(block.sorted.begin(), block.sorted.end(), [&](int a, int b) { return block.count(a) > block.count(b); });
}

}  // namespace

template <class T>
JaggedForm<T>::JaggedForm(const formats::CsrView& csr, const T* from)
    : strips((csr.rows + kJaggedRows - 1) / kJaggedRows), blocks_per_strip((csr.cols + kJaggedColumns - 1) / kJaggedColumns), columns(csr.nnz),
      values(csr.nnz), starts(strips + 1), heads(strips) {
  std::vector<uint8_t> heads_and_counts;
  int64_t at = 0;
  for (int64_t s = 0; s < strips; ++s) {
    starts[s] = at;
    heads[s] = static_cast<int64_t>(heads_and_counts.size());
    Block block;
    for (int64_t i = 0; i < kJaggedRows; ++i) {
      block.end[static_cast<size_t>(i)] = csr.row_offsets[std::min(csr.rows, s * kJaggedRows + i)];
    }
    block.begin = block.end;  // rows past the last one stay empty
    for (int64_t b = 0; b < blocks_per_strip; ++b) {
      advance(csr, s * kJaggedRows, (b + 1) * kJaggedColumns, block);
      const int steps = block.count(block.sorted[0]), paired = block.count(block.sorted[kHalf]);
      std::array<uint8_t, kJaggedRows> place{};
      for (int64_t i = 0; i < kJaggedRows; ++i) {
        place[static_cast<size_t>(block.sorted[static_cast<size_t>(i)])] = static_cast<uint8_t>(i);
      }
      heads_and_counts.push_back(static_cast<uint8_t>(steps));
      heads_and_counts.push_back(static_cast<uint8_t>(paired));
      heads_and_counts.insert(heads_and_counts.end(), place.begin(), place.end());
      for (int step = 0; step < steps; ++step) {
        const int64_t count = block.lanes(step < paired ? kHalf : 0, step);
        heads_and_counts.push_back(static_cast<uint8_t>(count));
        for (int64_t lane = 0; lane < (step < paired ? kHalf + count : count); ++lane, ++at) {
          const int32_t k = block.begin[static_cast<size_t>(block.sorted[static_cast<size_t>(lane)])] + step;
          columns[at] = static_cast<uint8_t>(csr.col_indices[k] - b * kJaggedColumns);
          values[at] = from[k];
        }
      }
    }
  }
  starts[strips] = at;
  blocks = FormBuffer<uint8_t>(static_cast<int64_t>(heads_and_counts.size()));
  std::copy(heads_and_counts.begin(), heads_and_counts.end(), blocks.data());
}

template struct JaggedForm<float>;
template struct JaggedForm<BFloat16>;
template struct JaggedForm<Half>;

}  // namespace jouleprune::kernels::csr::small
