#include "conv/windows.h"

#include <algorithm>
#include <cstddef>

#include "bsr/walks.h"

namespace jouleprune::cuda::conv {
namespace {

int32_t i32(int64_t x) { return static_cast<int32_t>(x); }

/// visit(list, place, first block, block behind the last) for each entry of the transposed walk, block row by block row.
template <class Visit>
void each_entry(const HostWeight& weight, const Visit& visit) {
  const auto& s = weight.structure;
  const int64_t down = weight.down(), across = weight.across(), lists = weight.transposed_lists();
  const int64_t rows_of_group = std::max<int64_t>(1, down / weight.groups), per = s.c > 1 ? 1 : bsr::kVectorGroup;
  for (int64_t row = 0; row < down; ++row) {
    const auto end = s.block_row_offsets[row + 1];
    for (auto b = s.block_row_offsets[row]; b < end;) {
      const int64_t tap = s.block_columns[b] / across, list = s.block_columns[b] % across / per;
      const auto first = b;
      while (b < end && s.block_columns[b] / across == tap && s.block_columns[b] % across / per == list) {
        ++b;
      }
      visit(static_cast<size_t>(row / rows_of_group * lists + list), i32(tap * down + row), first, b);
    }
  }
}

}  // namespace

std::vector<Window> forward_windows(const HostWeight& weight) {
  const int64_t channels = weight.group_channels(), c = weight.structure.c;
  std::vector<Window> windows;
  for (int64_t group = 0; group < weight.groups; ++group) {
    for (int32_t tap = 0; tap < weight.taps(); ++tap) {
      for (int64_t first = 0; first < channels; first += c) {
        const int64_t plane = tap % weight.kernel_w * weight.in_channels + group * channels + first;
        windows.push_back({i32(plane), tap / weight.kernel_w, i32(std::min(c, channels - first)), 0});
      }
    }
  }
  return windows;
}

std::vector<Window> transposed_windows(const HostWeight& weight) {
  const int64_t rows = weight.structure.rows, r = weight.structure.r;
  std::vector<Window> windows;
  for (int32_t tap = 0; tap < weight.taps(); ++tap) {
    for (int64_t first = 0; first < rows; first += r) {
      windows.push_back({i32(tap % weight.kernel_w * rows + first), tap / weight.kernel_w, i32(std::min(r, rows - first)), 0});
    }
  }
  return windows;
}

bsr::TransposedIndex transposed_lists(const HostWeight& weight) {
  const auto& s = weight.structure;
  const size_t per = s.c > 1 ? 1 : bsr::kVectorGroup;
  bsr::TransposedIndex index;
  index.offsets.assign(static_cast<size_t>(weight.groups * weight.transposed_lists()) + 1, 0);
  each_entry(weight, [&](size_t list, int32_t, int32_t, int32_t) { ++index.offsets[list + 1]; });
  for (size_t list = 0; list + 1 < index.offsets.size(); ++list) {
    index.offsets[list + 1] += index.offsets[list];
  }
  const auto entries = static_cast<size_t>(index.offsets.back());
  index.places.resize(entries);
  index.sources.assign(entries * per, -1);
  auto next = index.offsets;
  each_entry(weight, [&](size_t list, int32_t place, int32_t first, int32_t end) {
    const auto at = static_cast<size_t>(next[list]++);
    index.places[at] = place;
    for (auto b = first; b < end; ++b) {
      index.sources[at * per + (s.c > 1 ? 0 : static_cast<size_t>(s.block_columns[b] % weight.across()) % per)] = b;
    }
  });
  return index;
}

}  // namespace jouleprune::cuda::conv
