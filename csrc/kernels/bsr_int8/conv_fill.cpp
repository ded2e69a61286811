#include "kernels/bsr_int8/conv_fill.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "kernels/bsr_int8/quantise.h"
#include "kernels/csr/panels.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

using csr::ConvShape;
using csr::Raster;
using csr::Section;

/// What makes words [range.first, range.last) of the planes of a phase; whole rows at the beginning. last: channels are.
std::vector<PixelRun> pixel_runs(bool last, const ConvShape& s, const Raster& raster, const Section& section, int64_t phase,
                                 const PlaneRange& range) {
  const int64_t image_stride = (last ? 1 : s.in_channels) * s.height, depth = last ? s.in_channels : 1;
  const int64_t pitch = raster.layout().pitch;
  std::vector<PixelRun> runs = {{0, range.first / pitch * pitch, 0, 0, section.image}};
  for (const Raster::Row& row : raster.rows(section, phase)) {
    if (row.at + pitch <= range.first || row.at >= range.last) {
      continue;
    }
    if (row.begin < row.end) {
      PixelRun& before = runs.back();
      before.zeros = row.at + row.begin - before.to - before.count;
      const int64_t from = ((row.image * image_stride + row.y) * s.width + row.x) * depth;
      runs.push_back({from, row.at + row.begin, row.end - row.begin, 0, row.image});
    }
  }
  runs.back().zeros = std::max<int64_t>(0, range.last - runs.back().to - runs.back().count);
  return runs;
}

ImageScales float_scales(const ConvShape& s, const float* input, float given, const ConvKernels& kernels, const ParallelFor& parallel) {
  const auto batch = static_cast<size_t>(s.batch);
  std::vector<uint32_t> largest(batch, 0);
  if (given == 0 || s.stride_h > 1 || s.stride_w > 1) {
    constexpr int64_t kPart = 1 << 16;  // elements
    const int64_t image = s.in_channels * s.height * s.width, parts = std::max<int64_t>(1, (image + kPart - 1) / kPart);
    std::vector<uint32_t> of_part(batch * static_cast<size_t>(parts));
    parallel(0, s.batch * parts, csr::grain_of(std::min(image, kPart) / 4), [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t first = unit % parts * kPart;
        of_part[static_cast<size_t>(unit)] =
            kernels.largest(input + unit / parts * image + first, std::min(kPart, image - first));
      }
    });
    for (size_t unit = 0; unit < of_part.size(); ++unit) {
      uint32_t& most = largest[unit / static_cast<size_t>(parts)];
      most = std::max(most, of_part[unit]);
    }
  }
  ImageScales made{std::vector<float>(batch), std::vector<float>(batch)};
  for (size_t i = 0; i < batch; ++i) {
    const RowScale scale = row_scale(largest[i], given);
    made.scales[i] = scale.scale;
    made.inverses[i] = scale.inverse;
  }
  return made;
}

template <class Out>
PixelSource source_of(const ConvParams<float, Out>& conv, const ImageScales& scales, uint8_t* lost) {
  PixelSource source;
  source.inverse = scales.inverses.data();
  source.given = conv.input_scale > 0;
  source.lost = lost;
  return source;
}
template <class Out>
ByteSource source_of(const ConvParams<uint8_t, Out>&, const ImageScales&, uint8_t*) {
  return {};
}

auto fills_of(const PixelSource&, const ConvKernels& kernels) { return std::pair(kernels.fill_planes, kernels.fill_pixels); }
auto fills_of(const ByteSource&, const ConvKernels& kernels) { return std::pair(kernels.fill_byte_planes, kernels.fill_byte_pixels); }

}  // namespace

template <class In, class Out>
ImageScales image_scales(const ConvParams<In, Out>& conv, const ConvKernels& kernels, const ParallelFor& parallel) {
  if constexpr (std::is_same_v<In, uint8_t>) {
    return {std::vector<float>(conv.input_scales, conv.input_scales + conv.shape.batch), {}};
  } else {
    return float_scales(conv.shape, conv.input, conv.input_scale, kernels, parallel);
  }
}

template <class In, class Out>
void fill_raster(const ConvParams<In, Out>& conv, const ConvShape& s, const Raster& raster, const Section& section,
                 const PlaneRange& range, const ConvKernels& kernels, const ImageScales& scales, int32_t* words, uint8_t* lost) {
  const int64_t channels = s.in_channels / s.groups, quads = quads_of(channels), phases = raster.phases();
  const int64_t plane = phases * raster.plane();  // from one word of a quad to the next
  const bool last = conv.input_channels_last;
  auto source = source_of(conv, scales, lost);
  source.channels = channels;
  source.channel_stride = last ? 1 : s.height * s.width;
  source.pixel_stride = s.stride_w * (last ? s.in_channels : 1);
  const auto [fill_planes, fill_pixels] = fills_of(source, kernels);
  for (int64_t phase = 0; phase < phases; ++phase) {
    const auto runs = pixel_runs(last, s, raster, section, phase, range);
    const auto run_count = static_cast<int64_t>(runs.size());
    int32_t* const to = words + phase * raster.plane();
    if (last) {
      for (int64_t group = 0; group < s.groups; ++group) {
        source.x = conv.input + group * channels;
        fill_pixels(source, runs.data(), run_count, to + group * quads * kernels.words * plane, plane);
      }
      continue;
    }
    for (int64_t quad = 0; quad < s.groups * quads; ++quad) {
      const int64_t channel = quad % quads * kQuad;
      source.x = conv.input + (quad / quads * channels + channel) * source.channel_stride;
      source.channels = std::min(kQuad, channels - channel);
      fill_planes(source, runs.data(), run_count, to + quad * kernels.words * plane, plane);
    }
  }
}

#define JOULEPRUNE_INSTANTIATE(In, Out)                                                                           \
  template ImageScales image_scales(const ConvParams<In, Out>&, const ConvKernels&, const ParallelFor&);          \
  template void fill_raster(const ConvParams<In, Out>&, const ConvShape&, const Raster&, const Section&,          \
                            const PlaneRange&, const ConvKernels&, const ImageScales&, int32_t*, uint8_t*);
JOULEPRUNE_INSTANTIATE(float, float)
JOULEPRUNE_INSTANTIATE(float, uint8_t)
JOULEPRUNE_INSTANTIATE(uint8_t, float)
JOULEPRUNE_INSTANTIATE(uint8_t, uint8_t)
#undef JOULEPRUNE_INSTANTIATE

}  // namespace jouleprune::kernels::bsr_int8
