#include "kernels/bsr_int8/conv_fill.h"

#include <algorithm>
#include <atomic>

#include "kernels/bsr_int8/quantise.h"
#include "kernels/csr/panels.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

using csr::ConvShape;
using csr::Raster;
using csr::Section;

std::vector<PixelRun> pixel_runs(const ConvParams<float>& conv, const ConvShape& s, const Raster& raster, const Section& section,
                                 int64_t phase) {
  const bool last = conv.input_channels_last;
  const int64_t image_stride = (last ? 1 : s.in_channels) * s.height, depth = last ? s.in_channels : 1;
  std::vector<PixelRun> runs = {{0, 0, 0, 0, section.image}};
  for (const Raster::Row& row : raster.rows(section, phase)) {
    if (row.begin < row.end) {
      PixelRun& before = runs.back();
      before.zeros = row.at + row.begin - before.to - before.count;
      const int64_t from = ((row.image * image_stride + row.y) * s.width + row.x) * depth;
      runs.push_back({from, row.at + row.begin, row.end - row.begin, 0, row.image});
    }
  }
  runs.back().zeros = raster.plane() - runs.back().to - runs.back().count;
  return runs;
}

/// Calls fill(source) with a place of this thread's own for lost images, and adds them to all.
template <class Fill>
void watched(const PixelSource& source, ImageScales& scales, const Fill& fill) {
  if (!source.given) {
    return fill(source);
  }
  std::vector<uint8_t> lost(scales.lost.size(), 0);
  PixelSource own = source;
  own.lost = lost.data();
  fill(own);
  for (size_t image = 0; image < lost.size(); ++image) {
    if (lost[image] != 0) {
      std::atomic_ref<uint8_t>(scales.lost[image]).store(1, std::memory_order_relaxed);
    }
  }
}

}  // namespace

ImageScales image_scales(const ConvParams<float>& conv, const ConvKernels& kernels, const ParallelFor& parallel) {
  const ConvShape& s = conv.shape;
  const auto batch = static_cast<size_t>(s.batch);
  std::vector<uint32_t> largest(batch, 0);
  if (conv.input_scale == 0 || s.stride_h > 1 || s.stride_w > 1) {
    constexpr int64_t kPart = 1 << 16;  // elements
    const int64_t image = s.in_channels * s.height * s.width, parts = std::max<int64_t>(1, (image + kPart - 1) / kPart);
    std::vector<uint32_t> of_part(batch * static_cast<size_t>(parts));
    parallel(0, s.batch * parts, csr::grain_of(std::min(image, kPart) / 4), [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t first = unit % parts * kPart;
        of_part[static_cast<size_t>(unit)] =
            kernels.largest(conv.input + unit / parts * image + first, std::min(kPart, image - first));
      }
    });
    for (size_t unit = 0; unit < of_part.size(); ++unit) {
      uint32_t& most = largest[unit / static_cast<size_t>(parts)];
      most = std::max(most, of_part[unit]);
    }
  }
  ImageScales made{std::vector<float>(batch), std::vector<float>(batch), std::vector<uint8_t>(batch, 0)};
  for (size_t i = 0; i < batch; ++i) {
    const RowScale scale = row_scale(largest[i], conv.input_scale);
    made.scales[i] = scale.scale;
    made.inverses[i] = scale.inverse;
  }
  return made;
}

void fill_raster(const ConvParams<float>& conv, const ConvShape& s, const Raster& raster, const Section& section,
                 const ConvKernels& kernels, ImageScales& scales, int32_t* words, const ParallelFor& parallel) {
  const int64_t channels = s.in_channels / s.groups, quads = quads_of(channels), phases = raster.phases();
  const int64_t plane = phases * raster.plane();  // from one word of a quad to the next
  const bool last = conv.input_channels_last;
  PixelSource source{conv.input, channels, last ? 1 : s.height * s.width, s.stride_w * (last ? s.in_channels : 1),
                     scales.inverses.data(), conv.input_scale > 0};
  for (int64_t phase = 0; phase < phases; ++phase) {
    const auto runs = pixel_runs(conv, s, raster, section, phase);
    const auto run_count = static_cast<int64_t>(runs.size());
    int32_t* const to = words + phase * raster.plane();
    if (last) {
      parallel(0, run_count, csr::grain_of(s.in_channels * raster.layout().pitch), [&](int64_t begin, int64_t end) {
        watched(source, scales, [&](PixelSource own) {
          for (int64_t group = 0; group < s.groups; ++group) {
            own.x = conv.input + group * channels;
            kernels.fill_pixels(own, runs.data() + begin, end - begin, to + group * quads * kernels.words * plane, plane);
          }
        });
      });
      continue;
    }
    parallel(0, s.groups * quads, csr::grain_of(kQuad * raster.plane()), [&](int64_t begin, int64_t end) {
      watched(source, scales, [&](PixelSource own) {
        for (int64_t quad = begin; quad < end; ++quad) {
          const int64_t channel = quad % quads * kQuad;
          own.x = conv.input + (quad / quads * channels + channel) * source.channel_stride;
          own.channels = std::min(kQuad, channels - channel);
          kernels.fill_planes(own, runs.data(), run_count, to + quad * kernels.words * plane, plane);
        }
      });
    });
  }
}

}  // namespace jouleprune::kernels::bsr_int8
