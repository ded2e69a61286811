#include "bsr/index.h"

#include <algorithm>
#include <cstddef>

#include "bsr/walks.h"

namespace jouleprune::cuda::bsr {

TransposedIndex transposed_blocks(const HostStructure& s) {
  const int64_t down = simt::ceil_div(s.rows, s.r), across = simt::ceil_div(s.cols, s.c);
  const int32_t blocks = s.block_row_offsets[down];
  TransposedIndex index;
  index.offsets.assign(static_cast<size_t>(across) + 1, 0);
  index.places.resize(static_cast<size_t>(blocks));
  index.sources.resize(static_cast<size_t>(blocks));
  for (int32_t b = 0; b < blocks; ++b) {
    ++index.offsets[static_cast<size_t>(s.block_columns[b]) + 1];
  }
  for (size_t g = 0; g < static_cast<size_t>(across); ++g) {
    index.offsets[g + 1] += index.offsets[g];
  }
  auto next = index.offsets;
  for (int64_t row = 0; row < down; ++row) {
    for (int32_t b = s.block_row_offsets[row]; b < s.block_row_offsets[row + 1]; ++b) {
      const auto at = static_cast<size_t>(next[static_cast<size_t>(s.block_columns[b])]++);
      index.places[at] = static_cast<int32_t>(row);
      index.sources[at] = b;
    }
  }
  return index;
}

TransposedIndex transposed_vectors(const HostStructure& s) {
  const int64_t down = simt::ceil_div(s.rows, s.r), groups = simt::ceil_div<int64_t>(s.cols, kVectorGroup);
  TransposedIndex index;
  index.offsets.assign(static_cast<size_t>(groups) + 1, 0);
  const auto each_entry = [&](auto&& visit) {  // visit(group, block row, first vector, vector behind the last)
    for (int64_t row = 0; row < down; ++row) {
      for (int32_t v = s.block_row_offsets[row]; v < s.block_row_offsets[row + 1];) {
        const int32_t begin = v, group = s.block_columns[v] / kVectorGroup;
        while (v < s.block_row_offsets[row + 1] && s.block_columns[v] / kVectorGroup == group) {
          ++v;
        }
        visit(static_cast<size_t>(group), static_cast<int32_t>(row), begin, v);
      }
    }
  };
  each_entry([&](size_t group, int32_t, int32_t, int32_t) { ++index.offsets[group + 1]; });
  for (size_t g = 0; g < static_cast<size_t>(groups); ++g) {
    index.offsets[g + 1] += index.offsets[g];
  }
  const auto entries = static_cast<size_t>(index.offsets.back());
  index.places.resize(entries);
  index.sources.assign(entries * kVectorGroup, -1);
  auto next = index.offsets;
  each_entry([&](size_t group, int32_t row, int32_t begin, int32_t end) {
    const auto at = static_cast<size_t>(next[group]++);
    index.places[at] = row;
    for (int32_t v = begin; v < end; ++v) {
      index.sources[at * kVectorGroup + static_cast<size_t>(s.block_columns[v] % kVectorGroup)] = v;
    }
  });
  return index;
}

int64_t longest(const int32_t* offsets, int64_t groups) {
  int64_t most = 0;
  for (int64_t g = 0; g < groups; ++g) {
    most = std::max<int64_t>(most, offsets[g + 1] - offsets[g]);
  }
  return most;
}

}  // namespace jouleprune::cuda::bsr
