// Padded planes of a section, made from the input as it is.
#include <algorithm>
#include <vector>

#include "kernels/csr/conv_work.h"

namespace jouleprune::kernels::csr {
namespace {

/// What makes elements [first, last) of the planes of a phase; whole rows at the beginning.
template <class T>
std::vector<RowCopy> row_copies(const ConvWork<T>& w, const Section& section, int64_t phase, int64_t first, int64_t last) {
  const bool pixels = w.params.input_channels_last;
  const int64_t channels = pixels ? 1 : w.shape.in_channels, depth = pixels ? w.shape.in_channels : 1;
  std::vector<RowCopy> copies;
  int64_t done = first / w.layout.pitch * w.layout.pitch;
  for (const Raster::Row& row : w.raster->rows(section, phase)) {
    if (row.at + w.layout.pitch <= first || row.at >= last) {
      continue;
    }
    if (row.begin < row.end) {
      const int64_t from = ((row.image * channels * w.shape.height + row.y) * w.shape.width + row.x) * depth;
      copies.push_back({from, row.at + row.begin - done, done, row.end - row.begin});
      done = row.at + row.end;
    }
  }
  copies.push_back({0, std::max<int64_t>(0, last - done), done, 0});
  return copies;
}

}  // namespace

template <class T>
void fill_raster(const ConvWork<T>& w, const Section& section, int64_t first, int64_t last, Accumulate<T>* planes) {
  const int64_t phases = w.raster->phases(), plane = w.raster->plane();
  std::vector<std::vector<RowCopy>> rows;
  for (int64_t phase = 0; phase < phases; ++phase) {
    rows.push_back(row_copies(w, section, phase, first, last));
  }
  const bool pixels = w.params.input_channels_last;
  const auto fill = pixels ? w.kernels.fill_pixels : w.kernels.fill_plane;
  const int64_t together = pixels ? w.kernels.lanes : 1;  // channels
  const int64_t channel_stride = pixels ? 1 : w.shape.height * w.shape.width;
  const int64_t pixel_stride = w.shape.stride_w * (pixels ? w.shape.in_channels : 1);
  for (int64_t channel = 0; channel < w.shape.in_channels; channel += together) {
    const int64_t channels = std::min(together, w.shape.in_channels - channel);
    for (int64_t phase = 0; phase < phases; ++phase) {
      const auto& copies = rows[static_cast<size_t>(phase)];
      fill(w.params.input + channel * channel_stride, pixel_stride, copies.data(), static_cast<int64_t>(copies.size()), channels,
           planes + (channel * phases + phase) * plane, phases * plane);
    }
  }
}

#define JOULEPRUNE_INSTANTIATE(T) \
  template void fill_raster(const ConvWork<T>&, const Section&, int64_t, int64_t, Accumulate<T>*);
JOULEPRUNE_INSTANTIATE(float)
JOULEPRUNE_INSTANTIATE(double)
JOULEPRUNE_INSTANTIATE(BFloat16)
JOULEPRUNE_INSTANTIATE(Half)
#undef JOULEPRUNE_INSTANTIATE

}  // namespace jouleprune::kernels::csr
