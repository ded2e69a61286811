// What the lists of a bsr weight read in images (Images::windows), and its transpose: made on the host, once per
// structure and geometry.
#pragma once
#include <cstdint>
#include <vector>

#include "bsr/index.h"
#include "conv/images.h"

namespace jouleprune::cuda::conv {

/// A weight [out_channels, taps * channels of a group, filled up to blocks] as conv_bsr.h has it.
struct HostWeight {
  bsr::HostStructure structure;
  int64_t in_channels, groups;
  int32_t kernel_h, kernel_w;

  int64_t group_channels() const { return in_channels / groups; }
  /// Block columns of one tap.
  int64_t across() const { return (group_channels() + structure.c - 1) / structure.c; }
  int64_t down() const { return (structure.rows + structure.r - 1) / structure.r; }
  int64_t taps() const { return static_cast<int64_t>(kernel_h) * kernel_w; }
  /// Groups of outputs of the transposed walk, in each group of the convolution.
  int64_t transposed_lists() const { return structure.c > 1 ? across() : (group_channels() + 15) / 16; }
};

/// Of the weight as it stands: [groups, taps, across].
std::vector<Window> forward_windows(const HostWeight& weight);
/// Of its transpose: [taps, down].
std::vector<Window> transposed_windows(const HostWeight& weight);

/// The transposed index: lists by group of the convolution and block of channels; places: tap * down + block row.
bsr::TransposedIndex transposed_lists(const HostWeight& weight);

}  // namespace jouleprune::cuda::conv
