#include "kernels/csr/conv_raster.h"

#include <algorithm>
#include <array>
#include <optional>
#include <type_traits>
#include <vector>

#include "kernels/csr/conv_product.h"
#include "kernels/csr/panels.h"
#include "kernels/csr/raster.h"
#include "kernels/csr/raster_kernels.h"
#include "kernels/csr/scratch.h"
#include "kernels/csr/vector_kernels.h"

namespace jouleprune::kernels::csr {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t pair_of(int64_t a, int64_t b) { return a << 32 | b; }

/// Appends a run of pixels, joined to the last one where both ends meet.
void add_copy(std::vector<PixelCopy>& copies, const PixelCopy& next) {
  if (!copies.empty()) {
    PixelCopy& last = copies.back();
    if (last.from + last.count == next.from && last.to + last.count == next.to) {
      last.count += next.count;
      return;
    }
  }
  copies.push_back(next);
}

template <class T>
class Convolution {
  using A = Accumulate<T>;

 public:
  Convolution(const ConvParams<T>& params, const ConvPlan& plan, Isa isa)
      : p_(params), s_(params.shape), plan_(plan), kernels_(raster_kernels<T>(isa)), vectors_(vector_kernels<T>(isa)),
        out_plane_(s_.out_height() * s_.out_width()), start_(static_cast<size_t>(s_.out_channels)) {
    for (int64_t row = 0; row < s_.out_channels; ++row) {
      start_[static_cast<size_t>(row)] = p_.bias == nullptr ? A{0} : widen(p_.bias[row]);
    }
    if (plan_.plain) {  // a plane is one long row
      plan_.width = s_.width *= s_.height;
      plan_.height = s_.height = 1;
      layout_ = plain_layout(s_);
    } else {
      raster_.emplace(s_, plan_.images, plan_.height, plan_.width);
      layout_ = raster_->layout();
    }
    make_product(isa);
  }

  /// Many sections are spread over the threads, few leave the threads to the work inside.
  void run(const ParallelFor& parallel) {
    std::vector<Section> sections;
    const auto split = [](int64_t size, int64_t most, const auto& visit) {
      const int64_t parts = ceil_div(size, most);
      for (int64_t part = 0; part < parts; ++part) {
        visit(size * part / parts, size * (part + 1) / parts);
      }
    };
    split(s_.batch, plan_.images, [&](int64_t image, int64_t image_end) {
      split(s_.out_height(), plan_.height, [&](int64_t y, int64_t y_end) {
        split(s_.out_width(), plan_.width, [&](int64_t x, int64_t x_end) {
          sections.push_back({image, image_end - image, y, y_end - y, x, x_end - x});
        });
      });
    });
    constexpr size_t kManySections = 8;
    const ParallelFor inside = serial;
    if (sections.size() < kManySections) {
      for (const Section& section : sections) {
        run_section(section, parallel);
      }
      return;
    }
    parallel(0, static_cast<int64_t>(sections.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        run_section(sections[static_cast<size_t>(i)], inside);
      }
    });
  }

 private:
  struct Range {
    int64_t begin, end;
  };

  /// A panel holds one vector of pixels (several for loops, which take them together): [column][lane].
  int64_t panel_width() const { return kernels_.lanes * step_; }

  void make_product(Isa isa) {
    const bool code = p_.generated_code && has_conv_code<T>(isa);
    step_ = code ? 1 : kernels_.loop_vectors;
    const int64_t cols = s_.groups * p_.csr.cols;
    block_ = balanced_block(cols, plan_.column_block);
    tile_width_ = ceil_div(plan_.tile_vectors, step_) * step_ * kernels_.lanes;
    const int64_t row_stride = plan_.straight_out ? out_plane_ : tile_width_;
    ProductSpec spec{s_.groups, layout_.columns, block_, row_stride, code, isa};
    std::vector<int32_t> panel_columns;
    FormName name{"conv2d", {static_cast<int64_t>(isa) * 2 + code, s_.groups, block_, row_stride}, true};
    if (plan_.panels) {
      for (int64_t col = 0; col < cols; ++col) {
        panel_columns.push_back(static_cast<int32_t>(col % block_ * panel_width()));
      }
      spec.columns = panel_columns;
      name.details[4] = panel_width();
    } else {
      const int64_t plane = plan_.plain ? layout_.pitch : raster_->plane();
      const std::array<int64_t, 6> rest = {plan_.plain, plane, layout_.pitch, pair_of(s_.kernel_h, s_.kernel_w),
                                           pair_of(s_.stride_h, s_.stride_w), pair_of(s_.dilation_h, s_.dilation_w)};
      std::copy(rest.begin(), rest.end(), name.details.begin() + 5);
    }
    product_ = conv_product(p_.csr, p_.values, spec, p_.forms, name);
    step_ = product_->step();
  }

  void run_section(const Section& section, const ParallelFor& parallel) {
    std::optional<Scratch<A>> planes;
    const A* from = nullptr;
    if constexpr (std::is_same_v<T, A>) {
      from = plan_.plain ? p_.input + section.image * layout_.image_stride : nullptr;
    }
    if (!plan_.plain) {
      planes.emplace(raster_->elements());
      fill(section, planes->data(), parallel);
      from = planes->data();
    }
    if (plan_.panels) {
      multiply_panels(section, from, parallel);
    } else {
      multiply_raster(section, from, parallel);
    }
  }

  void fill(const Section& section, A* planes, const ParallelFor& parallel) {
    const int64_t phases = raster_->phases(), plane = raster_->plane();
    std::vector<std::vector<RowCopy>> rows;
    for (int64_t phase = 0; phase < phases; ++phase) {
      rows.push_back(row_copies(section, phase));
    }
    const int64_t together = p_.input_channels_last ? kernels_.lanes : 1;  // channels
    const int64_t channel_stride = p_.input_channels_last ? 1 : s_.height * s_.width;
    const int64_t pixel_stride = s_.stride_w * (p_.input_channels_last ? s_.in_channels : 1);
    parallel(0, ceil_div(s_.in_channels, together), grain_of(plane * phases * together), [&](int64_t begin, int64_t end) {
      for (int64_t channel = begin * together; channel < std::min(s_.in_channels, end * together); channel += together) {
        const int64_t channels = std::min(together, s_.in_channels - channel);
        for (int64_t phase = 0; phase < phases; ++phase) {
          const auto& copies = rows[static_cast<size_t>(phase)];
          const auto fill_plane = p_.input_channels_last ? kernels_.fill_pixels : kernels_.fill_plane;
          fill_plane(p_.input + channel * channel_stride, pixel_stride, copies.data(), static_cast<int64_t>(copies.size()), channels,
                     planes + (channel * phases + phase) * plane, phases * plane);
        }
      }
    });
  }

  std::vector<RowCopy> row_copies(const Section& section, int64_t phase) const {
    const int64_t channels = p_.input_channels_last ? 1 : s_.in_channels, depth = p_.input_channels_last ? s_.in_channels : 1;
    std::vector<RowCopy> copies;
    int64_t end = 0;
    for (const Raster::Row& row : raster_->rows(section, phase)) {
      if (row.begin < row.end) {
        const int64_t from = ((row.image * channels * s_.height + row.y) * s_.width + row.x) * depth;
        copies.push_back({from, row.at + row.begin - end, end, row.end - row.begin});
        end = row.at + row.end;
      }
    }
    copies.push_back({0, raster_->plane() - end, end, 0});
    return copies;
  }

  /// A few vectors of consecutive pixels of one image, junk between rows included.
  struct Tile {
    int64_t image, first, vectors;
    int64_t begin;  ///< pixels before are another tile's
    int64_t end;
  };

  std::vector<Tile> raster_tiles(const Section& section) const {
    std::vector<Tile> tiles;
    const int64_t lanes = kernels_.lanes, pixels = (section.height - 1) * layout_.pitch + section.width;
    // Planes as they are end with their last pixel: the last vector covers pixels of the one before again.
    const int64_t vectors = plan_.plain ? pixels / lanes : ceil_div(pixels, lanes);
    const int64_t count = ceil_div(vectors, tile_width_ / lanes), steps = ceil_div(vectors, step_);
    for (int64_t image = 0; image < section.images; ++image) {
      for (int64_t i = 0; i < count; ++i) {
        const int64_t begin = steps * i / count * step_, end = std::min(vectors, steps * (i + 1) / count * step_);
        tiles.push_back({image, begin * lanes, end - begin, begin * lanes, std::min(pixels, end * lanes)});
      }
      if (vectors * lanes < pixels) {
        tiles.push_back({image, pixels - lanes, 1, vectors * lanes, pixels});
      }
    }
    return tiles;
  }

  /// Units are (part of the groups, tile); the tiles of a part come one after the other, so that its code stays near.
  void multiply_raster(const Section& section, const A* planes, const ParallelFor& parallel) {
    const auto tiles = raster_tiles(section);
    const int64_t count = static_cast<int64_t>(tiles.size()), groups = product_->groups();
    const int64_t parts = ceil_div(groups, plan_.part_groups);
    const auto part_of = [&](int64_t part) { return Range{groups * part / parts, groups * (part + 1) / parts}; };
    int64_t part_rows = 0;
    for (int64_t part = 0; part < parts; ++part) {
      part_rows = std::max(part_rows, product_->row_begin(part_of(part).end) - product_->row_begin(part_of(part).begin));
    }
    parallel(0, parts * count, grain_of(p_.csr.nnz / parts * tile_width_), [&](int64_t begin, int64_t end) {
      Scratch<A> sums(part_rows * tile_width_);
      std::vector<PixelCopy> copies;
      for (int64_t unit = begin; unit < end; ++unit) {
        const Tile& tile = tiles[static_cast<size_t>(unit % count)];
        const Range part = part_of(unit / count);
        const int64_t row = product_->row_begin(part.begin), row_end = product_->row_begin(part.end);
        const A* const from = planes + tile.image * layout_.image_stride + tile.first;
        if constexpr (std::is_same_v<T, A>) {
          if (plan_.straight_out) {
            run_tile(tile, from, part, p_.output + row * out_plane_ + output_pixel(section, tile.image, 0, tile.first), out_plane_);
            continue;
          }
        }
        run_tile(tile, from, part, sums.data(), tile_width_);
        copies_of(section, tile, copies);
        store(row, row_end, sums.data(), copies);
      }
    });
  }

  void run_tile(const Tile& tile, const A* from, Range groups, A* sums, int64_t row_stride) const {
    const int64_t lanes = kernels_.lanes, row = product_->row_begin(groups.begin);
    for (int64_t block = 0; block < product_->blocks(); ++block) {
      for (int64_t v = 0; v < tile.vectors; v += step_) {
        for (int64_t group = groups.begin; group < groups.end; ++group) {
          product_->run(group, block, from + v * lanes, std::min(step_, tile.vectors - v), start_.data(),
                        sums + (product_->row_begin(group) - row) * row_stride + v * lanes);
        }
      }
    }
  }

  void copies_of(const Section& section, const Tile& tile, std::vector<PixelCopy>& copies) const {
    copies.clear();
    for (int64_t at = tile.begin; at < tile.end;) {
      const int64_t y = at / layout_.pitch, x = at % layout_.pitch;
      const int64_t count = std::min(section.width - x, tile.end - at);
      if (count > 0) {
        add_copy(copies, {at - tile.first, output_pixel(section, tile.image, y, x), count});
      }
      at += std::min(layout_.pitch - x, tile.end - at);
    }
  }

  int64_t output_pixel(const Section& section, int64_t image, int64_t y, int64_t x) const {
    const int64_t image_stride = p_.channels_last ? out_plane_ : s_.out_channels * out_plane_;
    return (section.image + image) * image_stride + (section.y + y) * s_.out_width() + section.x + x;
  }

  void store(int64_t row, int64_t row_end, A* sums, const std::vector<PixelCopy>& copies) const {
    if (!p_.channels_last) {
      return kernels_.copy_out(sums, tile_width_, row_end - row, copies.data(), static_cast<int64_t>(copies.size()), p_.relu,
                               p_.output + row * out_plane_, out_plane_);
    }
    if (p_.relu) {
      kernels_.clamp(sums, (row_end - row) * tile_width_);
    }
    for (const PixelCopy& copy : copies) {
      vectors_.unpack(sums + copy.from, row_end - row, tile_width_, copy.count, p_.output + copy.to * s_.out_channels + row,
                      s_.out_channels);
    }
  }

  /// Units are (chunk of pixels, part of the groups); a thread that gets several parts of a chunk gathers its panels once.
  void multiply_panels(const Section& section, const A* planes, const ParallelFor& parallel) {
    const int64_t pixels = section.images * section.height * section.width, vectors = ceil_div(pixels, kernels_.lanes);
    const int64_t chunks = ceil_div(vectors, tile_width_ / kernels_.lanes), groups = product_->groups();
    const int64_t steps = ceil_div(vectors, step_);
    constexpr int64_t kEnoughUnits = 16, kGroupsPerPart = 4;
    const int64_t parts = std::clamp<int64_t>(ceil_div(kEnoughUnits, chunks), 1, ceil_div(groups, kGroupsPerPart));
    parallel(0, chunks * parts, grain_of(p_.csr.nnz / parts * tile_width_), [&](int64_t begin, int64_t end) {
      Scratch<A> panels(block_ * tile_width_), sums(s_.out_channels * tile_width_);
      while (begin < end) {
        const int64_t chunk = begin / parts, first = begin % parts, last = std::min(parts, first + end - begin);
        run_chunk(section, planes, {steps * chunk / chunks * step_, std::min(vectors, steps * (chunk + 1) / chunks * step_)},
                  {groups * first / parts, groups * last / parts}, panels.data(), sums.data());
        begin += last - first;
      }
    });
  }

  void run_chunk(const Section& section, const A* planes, Range vectors, Range groups, A* panels, A* sums) const {
    const int64_t lanes = kernels_.lanes, cols = s_.groups * p_.csr.cols, count = vectors.end - vectors.begin;
    const int64_t pixels = section.images * section.height * section.width;
    std::vector<std::vector<PixelCopy>> gathers(static_cast<size_t>(count));
    std::vector<PixelCopy> copies;
    for (int64_t at = vectors.begin * lanes; at < std::min(pixels, vectors.end * lanes);) {
      const int64_t y = at / section.width, x = at % section.width, lane = at - vectors.begin * lanes;
      const int64_t image = y / section.height, row = y % section.height;
      const int64_t run = std::min({section.width - x, lanes - lane % lanes, pixels - at});
      add_copy(gathers[static_cast<size_t>(lane / lanes)],
               {image * layout_.image_stride + row * layout_.pitch + x, lane % lanes, run});
      add_copy(copies, {lane, output_pixel(section, image, row, x), run});
      at += run;
    }
    for (int64_t block = 0; block < product_->blocks(); ++block) {
      const int64_t first = block * block_, block_cols = std::min(block_, cols - first);
      for (int64_t v = 0; v < count; ++v) {
        const auto& gather = gathers[static_cast<size_t>(v)];
        kernels_.gather(planes, layout_.columns.data() + first, block_cols, gather.data(), static_cast<int64_t>(gather.size()),
                        panel_width(), panels + v / step_ * block_ * panel_width() + v % step_ * lanes);
      }
      for (int64_t group = groups.begin; group < groups.end; ++group) {
        for (int64_t v = 0; v < count; v += step_) {
          product_->run(group, block, panels + v / step_ * block_ * panel_width(), std::min(step_, count - v), start_.data(),
                        sums + product_->row_begin(group) * tile_width_ + v * lanes);
        }
      }
    }
    const int64_t row = product_->row_begin(groups.begin);
    store(row, product_->row_begin(groups.end), sums + row * tile_width_, copies);
  }

  const ConvParams<T>& p_;
  ConvShape s_;
  ConvPlan plan_;
  const RasterKernels<T>& kernels_;
  const VectorKernels<T>& vectors_;
  int64_t out_plane_;
  std::vector<A> start_;  ///< first sums of the rows
  std::optional<Raster> raster_;
  PlaneLayout layout_;
  int64_t step_ = 1, block_ = 1, tile_width_ = 0;
  std::shared_ptr<const ConvProduct<A>> product_;
};

}  // namespace

template <class T>
void conv2d_raster(const ConvParams<T>& params, const ConvPlan& plan, const ParallelFor& parallel, Isa isa) {
  Convolution<T>(params, plan, isa).run(parallel);
}

template <class T>
ConvMachine conv_machine(const ConvParams<T>& params, Isa isa) {
  const auto& kernels = raster_kernels<T>(isa);
  const bool code = params.generated_code && has_conv_code<T>(isa);
  const int64_t code_rows = isa == Isa::kAvx512 ? 30 : 13;
  return {kernels.lanes, code ? code_rows : kernels.loop_rows, code,
          std::is_same_v<T, Accumulate<T>> && !params.input_channels_last,
          std::is_same_v<T, Accumulate<T>> && !params.channels_last && !params.relu};
}

#define JOULEPRUNE_INSTANTIATE(T)                                                                       \
  template void conv2d_raster(const ConvParams<T>&, const ConvPlan&, const ParallelFor&, Isa);          \
  template ConvMachine conv_machine(const ConvParams<T>&, Isa);
JOULEPRUNE_INSTANTIATE(float)
JOULEPRUNE_INSTANTIATE(double)
JOULEPRUNE_INSTANTIATE(BFloat16)
JOULEPRUNE_INSTANTIATE(Half)
#undef JOULEPRUNE_INSTANTIATE

}  // namespace jouleprune::kernels::csr
