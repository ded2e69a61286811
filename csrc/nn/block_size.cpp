// Which block size covers the zeros of a weight.
#include <ATen/ops/constant_pad_nd.h>
#include <jouleprune/value_errors.h>

#include <algorithm>
#include <iterator>

#include "formats/ceil_div.h"
#include "nn/linear_layouts.h"

namespace jouleprune::nn {
namespace {

/// Block sizes that are looked for, the largest first; as in Python.
constexpr BlockSize kDetected[] = {{32, 32}, {16, 16}, {32, 2}, {8, 8}, {32, 1}, {16, 1},
                                   {4, 4},   {1, 16},  {8, 1},  {1, 8}, {4, 1},  {1, 4}};

/// Entries, padding excluded, of the r x c blocks that hold a kept one.
int64_t entries_in_blocks(const at::Tensor& kept, const BlockSize& size) {
  const int64_t rows = kept.size(0), cols = kept.size(1), r = size[0], c = size[1];
  const auto blocks = kept_blocks(kept, size);
  const int64_t down = blocks.size(0), across = blocks.size(1);
  const auto held = blocks.unsqueeze(1).unsqueeze(3).expand({down, r, across, c});
  return held.reshape({down * r, across * c}).slice(0, 0, rows).slice(1, 0, cols).sum().item<int64_t>();
}

std::string words(const BlockSize& size) { return std::to_string(size[0]) + "x" + std::to_string(size[1]); }

}  // namespace

at::Tensor kept_blocks(const at::Tensor& kept, const BlockSize& size) {
  const auto [r, c] = size;
  const int64_t down = ceil_div(kept.size(0), r), across = ceil_div(kept.size(1), c);
  const auto padded = at::constant_pad_nd(kept, {0, across * c - kept.size(1), 0, down * r - kept.size(0)});
  return padded.view({down, r, across, c}).any(3).any(1);
}

BlockSize detect_block_size(const std::string& op, const at::Tensor& kept) {
  const int64_t nnz = kept.sum().item<int64_t>();
  std::vector<int64_t> wasted;
  std::string names;
  for (const BlockSize& size : kDetected) {
    wasted.push_back(entries_in_blocks(kept, size) - nnz);
    if (wasted.back() == 0) return size;
    names += (names.empty() ? "" : ", ") + words(size);
  }
  const auto least = std::min_element(wasted.begin(), wasted.end());
  throw PatternError(op + ": block_size: none of " + names + " covers the zeros of this weight without loss (" + std::to_string(nnz) +
                     " of " + std::to_string(kept.numel()) + " entries are kept); " +
                     words(kDetected[std::distance(wasted.begin(), least)]) + " comes closest, with " + std::to_string(*least) +
                     " pruned entries in kept blocks. Give block_size to store those as zeros, or use layout \"csr\"");
}

}  // namespace jouleprune::nn
