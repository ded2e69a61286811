#include <algorithm>
#include <atomic>
#include <limits>
#include <type_traits>
#include <vector>

#include "formats/ceil_div.h"
#include "kernels/bsr_int8/bsr_int8_kernels.h"
#include "kernels/bsr_int8/conv_fill.h"
#include "kernels/bsr_int8/conv_form.h"
#include "kernels/bsr_int8/conv_kernels.h"
#include "kernels/bsr_int8/conv_sections.h"
#include "kernels/bsr_int8/lost_rows.h"
#include "kernels/bsr_int8/panel_kernels.h"
#include "kernels/bsr_int8/reference.h"
#include "kernels/csr/conv_plan.h"
#include "kernels/csr/panels.h"
#include "kernels/csr/scratch.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

using csr::ConvShape;
using csr::flattened;
using csr::Raster;
using csr::Scratch;
using csr::Section;


/// Vectors of pixels whose sums are in the making. More of them pass by a group's code before it leaves the first-level cache, and
/// runs of output are longer: 64 channels of 56 x 56 at 95 %: 90 us, with 16 93, with 8 97; 512 channels of 7 x 7, batch 8: 498, 504,
/// 501. (Blocks of columns, which pay in float32, cost 1 to 10 % here: activations are a quarter as large.)
constexpr int64_t kTileVectors = 32;

/// What one call works with.
template <class In, class Out>
class Convolution {
 public:
  Convolution(const ConvParams<In, Out>& params, const SectionSize& size, Isa isa)
      : p_(params), shape_(flattened(params.shape)), size_(size), kernels_(conv_kernels(isa)),
        raster_(word_shape(shape_, kernels_.words), size.images, size.height, size.width),
        tile_width_((kTileVectors + 1) * kernels_.lanes),
        form_(conv_form(params.weight, params.forms, isa, {shape_, raster_, kernels_, tile_width_, with_code(isa)})) {}

  /// Many sections are spread over the threads, few leave the threads to the work inside.
  void run(const ParallelFor& parallel) {
    const ImageScales scales = image_scales(p_, kernels_, parallel);
    std::vector<uint8_t> lost(scales.scales.size(), 0);
    const auto sections = all_sections();
    constexpr size_t kManySections = 8;
    if (sections.size() < kManySections) {
      for (const Section& section : sections) {
        run_section(section, scales, lost, parallel);
      }
    } else {
      parallel(0, static_cast<int64_t>(sections.size()), 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          run_section(sections[static_cast<size_t>(i)], scales, lost, serial);
        }
      });
    }
    if constexpr (kBytesOut) {
      mark_lost(p_.output_scales, lost.data(), shape_.batch);
    } else {
      lose_images(lost);
    }
  }

 private:
  static constexpr bool kBytesOut = std::is_same_v<Out, uint8_t>;

  void lose_images(const std::vector<uint8_t>& lost) const {
    for (size_t image = 0; image < lost.size(); ++image) {
      if (lost[image] != 0) {
        const int64_t elements = shape_.out_channels * out_plane();
        std::fill_n(p_.output + static_cast<int64_t>(image) * elements, elements, std::numeric_limits<float>::quiet_NaN());
      }
    }
  }

  bool with_code(Isa isa) const {
    return p_.with_code && isa == Isa::kAvx512 && kernels_.words == 1 && jit::available();
  }
  int64_t out_plane() const { return shape_.out_height() * shape_.out_width(); }

  std::vector<Section> all_sections() const {
    std::vector<Section> sections;
    for (int64_t image = 0; image < shape_.batch; image += size_.images) {
      for (int64_t y = 0; y < shape_.out_height(); y += size_.height) {
        for (int64_t x = 0; x < shape_.out_width(); x += size_.width) {
          sections.push_back({image, std::min(size_.images, shape_.batch - image), y, std::min(size_.height, shape_.out_height() - y),
                              x, std::min(size_.width, shape_.out_width() - x)});
        }
      }
    }
    return sections;
  }

  /// Units are (tile, group of rows), so that the groups find a tile's pixels in the first-level cache. Each thread fills the part of
  /// the raster that its tiles read. `lost`: [batch] set to 1 for an image with a NaN.
  void run_section(const Section& section, const ImageScales& scales, std::vector<uint8_t>& lost, const ParallelFor& parallel) const {
    const auto& layout = raster_.layout();
    const int64_t lanes = (section.images - 1) * layout.image_stride + (section.height - 1) * layout.pitch + section.width;
    const int64_t vectors = ceil_div(lanes, kernels_.lanes), tiles = ceil_div(vectors, kTileVectors), groups = form_->groups();
    const int64_t work = p_.weight.quads.nnz / std::max<int64_t>(groups, 1) * tile_width_;
    const auto first_lane = [&](int64_t tile) { return vectors * tile / tiles * kernels_.lanes; };
    parallel(0, tiles * groups, csr::grain_of(work), [&](int64_t begin, int64_t end) {
      Scratch<int32_t> words(raster_.elements()), sums(kUnitRows * tile_width_);
      const int64_t read_end = first_lane((end - 1) / groups + 1) + raster_.reach();
      std::vector<uint8_t> own_lost(lost.size(), 0);  // of this thread alone, until one was found
      fill_raster(p_, shape_, raster_, section, {first_lane(begin / groups), std::min(read_end, raster_.plane())}, kernels_, scales,
                  words.data(), own_lost.data());
      std::vector<OutputRun> runs;
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t first = first_lane(unit / groups), last = first_lane(unit / groups + 1);
        if (unit == begin || unit % groups == 0) {
          output_runs(section, first, last, scales, runs);
        }
        const int64_t group = unit % groups, rows = form_->row_begin(group + 1) - form_->row_begin(group);
        form_->run(kernels_, group, words.data() + first, (last - first) / kernels_.lanes, sums.data(), tile_width_);
        store(sums.data(), form_->row_begin(group), rows, runs, own_lost.data());
      }
      for (size_t image = 0; image < own_lost.size(); ++image) {
        if (own_lost[image] != 0) {
          std::atomic_ref<uint8_t>(lost[image]).store(1, std::memory_order_relaxed);
        }
      }
    });
  }

  void store(const int32_t* sums, int64_t row, int64_t rows, const std::vector<OutputRun>& runs, uint8_t* lost) const {
    const Weight& w = p_.weight;
    const bool last = p_.output_channels_last;
    const auto count = static_cast<int64_t>(runs.size());
    Out* const y = p_.output + row * (last ? 1 : out_plane());
    TileOutput out{nullptr, last ? shape_.out_channels : out_plane(), w.scales + row, w.bias == nullptr ? nullptr : w.bias + row,
                   w.relu};
    if constexpr (kBytesOut) {
      const auto put = last ? kernels_.store_byte_pixels : kernels_.store_byte_planes;
      put(sums, tile_width_, rows, runs.data(), count, out, {y, 1 / p_.output_scale, lost});
    } else {
      out.y = y;
      (last ? kernels_.store_pixels : kernels_.store_planes)(sums, tile_width_, rows, runs.data(), count, out);
    }
  }

  /// Where lanes [begin, end) of the section's raster go; those between rows and between images go nowhere.
  void output_runs(const Section& section, int64_t begin, int64_t end, const ImageScales& scales,
                   std::vector<OutputRun>& runs) const {
    const auto& layout = raster_.layout();
    runs.clear();
    for (int64_t at = begin; at < end;) {
      const int64_t image = std::min(at / layout.image_stride, section.images - 1), inside = at - image * layout.image_stride;
      const int64_t y = inside / layout.pitch, x = inside % layout.pitch;
      if (y >= section.height) {
        at = image + 1 < section.images ? (image + 1) * layout.image_stride : end;
        continue;
      }
      if (const int64_t count = std::min(section.width - x, end - at); count > 0) {
        const int64_t pixel = (section.y + y) * shape_.out_width() + section.x + x, batch = section.image + image;
        const int64_t to = p_.output_channels_last ? (batch * out_plane() + pixel) * shape_.out_channels
                                                   : batch * shape_.out_channels * out_plane() + pixel;
        runs.push_back({at - begin, count, to, scales.scales[static_cast<size_t>(batch)], batch});
      }
      at += layout.pitch - x;
    }
  }

  const ConvParams<In, Out>& p_;
  ConvShape shape_;
  SectionSize size_;
  const ConvKernels& kernels_;
  Raster raster_;
  int64_t tile_width_;  ///< whole vectors may be read beyond the last one
  std::shared_ptr<const ConvForm> form_;
};

void widen_all(const PanelKernels& kernels, const BFloat16* x, int64_t count, float* to) { kernels.widen_bfloat16(x, count, to); }
void widen_all(const PanelKernels& kernels, const Half* x, int64_t count, float* to) { kernels.widen_half(x, count, to); }
void narrow_all(const PanelKernels& kernels, const float* x, int64_t count, BFloat16* to) { kernels.narrow_bfloat16(x, count, to); }
void narrow_all(const PanelKernels& kernels, const float* x, int64_t count, Half* to) { kernels.narrow_half(x, count, to); }

/// 16-bit types through float32, image by image.
template <class T>
void conv2d_wide(const ConvParams<T>& p, const ParallelFor& parallel, Isa isa) {
  const PanelKernels& kernels = panel_kernels(isa);
  const ConvShape& s = p.shape;
  const int64_t image_in = s.in_channels * s.height * s.width, image_out = s.out_channels * s.out_height() * s.out_width();
  Scratch<float> input(s.batch * image_in), output(s.batch * image_out);
  parallel(0, s.batch, csr::grain_of(image_in), [&](int64_t begin, int64_t end) {
    widen_all(kernels, p.input + begin * image_in, (end - begin) * image_in, input.data() + begin * image_in);
  });
  conv2d(ConvParams<float>{p.weight, s, input.data(), p.input_channels_last, p.input_scale, output.data(), p.output_channels_last,
                           p.forms, p.with_code, p.section_bytes},
         parallel, isa);
  parallel(0, s.batch, csr::grain_of(image_out), [&](int64_t begin, int64_t end) {
    narrow_all(kernels, output.data() + begin * image_out, (end - begin) * image_out, p.output + begin * image_out);
  });
}

}  // namespace

template <class In, class Out>
void conv2d(const ConvParams<In, Out>& p, const ParallelFor& parallel, Isa isa) {
  if (isa == Isa::kReference) {
    return reference::conv2d(p);
  }
  if constexpr (std::is_same_v<Out, uint8_t>) {
    std::fill_n(p.output_scales, p.shape.batch, p.output_scale);
  }
  if (p.shape.pixels() == 0 || p.shape.out_channels == 0) {
    return;
  }
  constexpr bool kWide = std::is_same_v<In, BFloat16> || std::is_same_v<In, Half>;
  if constexpr (kWide) {
    return conv2d_wide(p, parallel, isa);
  } else {
    const auto size = section_size(word_shape(flattened(p.shape), conv_kernels(isa).words), p.section_bytes);
    if (!size) {
      return reference::conv2d(p);
    }
    Convolution<In, Out>(p, *size, isa).run(parallel);
  }
}

template void conv2d(const ConvParams<float>&, const ParallelFor&, Isa);
template void conv2d(const ConvParams<BFloat16>&, const ParallelFor&, Isa);
template void conv2d(const ConvParams<Half>&, const ParallelFor&, Isa);
template void conv2d(const ConvParams<uint8_t, float>&, const ParallelFor&, Isa);
template void conv2d(const ConvParams<float, uint8_t>&, const ParallelFor&, Isa);
template void conv2d(const ConvParams<uint8_t, uint8_t>&, const ParallelFor&, Isa);

}  // namespace jouleprune::kernels::bsr_int8
