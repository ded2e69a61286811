#include <algorithm>
#include <type_traits>
#include <vector>

#include "formats/ceil_div.h"
#include "kernels/csr/conv_work.h"
#include "kernels/csr/panels.h"
#include "kernels/csr/scratch.h"
#include "kernels/denormals.h"

namespace jouleprune::kernels::csr {
namespace {

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

struct Range {
  int64_t begin, end;
};

template <class T>
class Multiply {
  using A = Accumulate<T>;

 public:
  Multiply(const ConvWork<T>& work, const Section& section) : w_(work), section_(section) {}

  /// Units are (part of the groups, tile, group); the tiles of a part come one after the other, so that its code stays near, and the
  /// groups of a part take turns at a tile, so that its inputs do.
  void on_raster(const ParallelFor& parallel) {
    const auto tiles = raster_tiles();
    const int64_t count = static_cast<int64_t>(tiles.size()), groups = w_.product->groups();
    const int64_t parts = ceil_div(groups, w_.plan.part_groups);
    const auto part_of = [&](int64_t part) { return Range{groups * part / parts, groups * (part + 1) / parts}; };
    const auto part_at = [&](int64_t unit) { return (unit / count * parts + parts - 1) / groups; };
    int64_t part_rows = 0;
    for (int64_t part = 0; part < parts; ++part) {
      part_rows = std::max(part_rows, w_.product->row_begin(part_of(part).end) - w_.product->row_begin(part_of(part).begin));
    }
    parallel(0, groups * count, grain_of(w_.params.csr.nnz / groups * w_.tile_width), [&](int64_t begin, int64_t end) {
      const FlushDenormals flush;
      Scratch<A> own(w_.raster ? w_.raster->elements() : 0), sums(part_rows * w_.tile_width);
      std::vector<PixelCopy> copies;
      const auto tile_of = [&](int64_t unit) {
        const Range part = part_of(part_at(unit));
        return (unit - part.begin * count) / (part.end - part.begin);
      };
      const bool one_part = part_at(begin) == part_at(end - 1);
      const A* const planes = one_part ? planes_for(tiles[static_cast<size_t>(tile_of(begin))],
                                                    tiles[static_cast<size_t>(tile_of(end - 1))], own.data())
                                       : planes_for(tiles.front(), tiles.back(), own.data());
      while (begin < end) {
        const Range part = part_of(part_at(begin));
        const Tile& tile = tiles[static_cast<size_t>(tile_of(begin))];
        const int64_t first = part.begin + (begin - part.begin * count) % (part.end - part.begin);
        const Range some{first, std::min(part.end, first + end - begin)};
        run_tile_to_output(tile, some, planes, sums.data(), copies);
        begin += some.end - some.begin;
      }
    });
  }

  /// Units are (chunk of pixels, group), or chunks when there are many; a thread that gets several groups of a chunk gathers its
  /// panels once.
  void on_panels(const ParallelFor& parallel) {
    const int64_t pixels = section_.images * section_.height * section_.width, vectors = ceil_div(pixels, w_.kernels.lanes);
    const int64_t chunks = ceil_div(vectors, w_.tile_width / w_.kernels.lanes), groups = w_.product->groups();
    const int64_t steps = ceil_div(vectors, w_.step);
    constexpr int64_t kManyChunks = 16;
    const int64_t parts = chunks < kManyChunks ? groups : 1;
    parallel(0, chunks * parts, grain_of(w_.params.csr.nnz / parts * w_.tile_width), [&](int64_t begin, int64_t end) {
      const FlushDenormals flush;
      Scratch<A> own(w_.raster ? w_.raster->elements() : 0), panels(w_.block * w_.tile_width);
      Scratch<A> sums(w_.shape.out_channels * w_.tile_width);
      const A* const planes = all_planes(own.data());
      while (begin < end) {
        const int64_t chunk = begin / parts, first = begin % parts, last = std::min(parts, first + end - begin);
        run_chunk({steps * chunk / chunks * w_.step, std::min(vectors, steps * (chunk + 1) / chunks * w_.step)},
                  {groups * first / parts, groups * last / parts}, planes, panels.data(), sums.data());
        begin += last - first;
      }
    });
  }

 private:
  /// A few vectors of consecutive pixels of one image, junk between rows included.
  struct Tile {
    int64_t image, first, vectors;
    int64_t begin;  ///< pixels before are another tile's
    int64_t end;
  };

  std::vector<Tile> raster_tiles() const {
    std::vector<Tile> tiles;
    const int64_t lanes = w_.kernels.lanes, pixels = (section_.height - 1) * w_.layout.pitch + section_.width;
    // Planes as they are end with their last pixel: the last vector covers pixels of the one before again.
    const int64_t vectors = w_.plan.plain ? pixels / lanes : ceil_div(pixels, lanes);
    const int64_t count = ceil_div(vectors, w_.tile_width / lanes), steps = ceil_div(vectors, w_.step);
    for (int64_t image = 0; image < section_.images; ++image) {
      for (int64_t i = 0; i < count; ++i) {
        const int64_t begin = steps * i / count * w_.step, end = std::min(vectors, steps * (i + 1) / count * w_.step);
        tiles.push_back({image, begin * lanes, end - begin, begin * lanes, std::min(pixels, end * lanes)});
      }
      if (vectors * lanes < pixels) {
        tiles.push_back({image, pixels - lanes, 1, vectors * lanes, pixels});
      }
    }
    return tiles;
  }

  void run_tile_to_output(const Tile& tile, Range groups, const A* planes, A* sums, std::vector<PixelCopy>& copies) const {
    const int64_t row = w_.product->row_begin(groups.begin), row_end = w_.product->row_begin(groups.end);
    const A* const from = planes + tile.image * w_.layout.image_stride + tile.first;
    if constexpr (std::is_same_v<T, A>) {
      if (w_.plan.straight_out) {
        A* const to = w_.params.output + row * w_.out_plane + output_pixel(tile.image, 0, tile.first);
        run_tile(tile, from, groups, to, w_.out_plane);
        if (w_.params.residual.values != nullptr) {
          copies_of(tile, copies);
          add_residual(row, row_end, copies);
        }
        return;
      }
    }
    run_tile(tile, from, groups, sums, w_.tile_width);
    copies_of(tile, copies);
    store(row, row_end, sums, copies);
    add_residual(row, row_end, copies);
  }

  /// What the tiles from `first` to `last` read: of the raster that is filled here, or of the input as it is.
  const A* planes_for(const Tile& first, const Tile& last, A* own) const {
    if (!w_.raster) {
      return all_planes(own);
    }
    const auto place = [&](const Tile& tile) { return tile.image * w_.layout.image_stride + tile.first; };
    const int64_t end = place(last) + last.vectors * w_.kernels.lanes + w_.raster->reach();
    fill_raster(w_, section_, place(first), std::min(end, w_.raster->plane()), own);
    return own;
  }

  const A* all_planes(A* own) const {
    if (w_.raster) {
      fill_raster(w_, section_, 0, w_.raster->plane(), own);
      return own;
    }
    if constexpr (std::is_same_v<T, A>) {
      return w_.params.input + section_.image * w_.layout.image_stride;
    }
    return own;  // only elements that are not widened are read in place
  }

  void run_tile(const Tile& tile, const A* from, Range groups, A* sums, int64_t row_stride) const {
    const int64_t lanes = w_.kernels.lanes, row = w_.product->row_begin(groups.begin);
    for (int64_t block = 0; block < w_.product->blocks(); ++block) {
      for (int64_t v = 0; v < tile.vectors; v += w_.step) {
        for (int64_t group = groups.begin; group < groups.end; ++group) {
          w_.product->run(group, block, from + v * lanes, std::min(w_.step, tile.vectors - v), w_.start.data(),
                        sums + (w_.product->row_begin(group) - row) * row_stride + v * lanes);
        }
      }
    }
  }

  void copies_of(const Tile& tile, std::vector<PixelCopy>& copies) const {
    copies.clear();
    for (int64_t at = tile.begin; at < tile.end;) {
      const int64_t y = at / w_.layout.pitch, x = at % w_.layout.pitch;
      const int64_t count = std::min(section_.width - x, tile.end - at);
      if (count > 0) {
        add_copy(copies, {at - tile.first, output_pixel(tile.image, y, x), count});
      }
      at += std::min(w_.layout.pitch - x, tile.end - at);
    }
  }

  void run_chunk(Range vectors, Range groups, const A* planes, A* panels, A* sums) const {
    const int64_t lanes = w_.kernels.lanes, cols = w_.shape.groups * w_.params.csr.cols, count = vectors.end - vectors.begin;
    const int64_t pixels = section_.images * section_.height * section_.width, panel = w_.block * w_.panel_width();
    std::vector<std::vector<PixelCopy>> gathers(static_cast<size_t>(count));
    std::vector<PixelCopy> copies;
    for (int64_t at = vectors.begin * lanes; at < std::min(pixels, vectors.end * lanes);) {
      const int64_t y = at / section_.width, x = at % section_.width, lane = at - vectors.begin * lanes;
      const int64_t image = y / section_.height, row = y % section_.height;
      const int64_t run = std::min({section_.width - x, lanes - lane % lanes, pixels - at});
      add_copy(gathers[static_cast<size_t>(lane / lanes)],
               {image * w_.layout.image_stride + row * w_.layout.pitch + x, lane % lanes, run});
      add_copy(copies, {lane, output_pixel(image, row, x), run});
      at += run;
    }
    for (int64_t block = 0; block < w_.product->blocks(); ++block) {
      const int64_t first = block * w_.block, block_cols = std::min(w_.block, cols - first);
      for (int64_t v = 0; v < count; ++v) {
        const auto& gather = gathers[static_cast<size_t>(v)];
        A* const to = panels + v / w_.step * panel + v % w_.step * lanes;
        w_.kernels.gather(planes, w_.layout.columns.data() + first, block_cols, gather.data(),
                          static_cast<int64_t>(gather.size()), w_.panel_width(), to);
      }
      for (int64_t group = groups.begin; group < groups.end; ++group) {
        for (int64_t v = 0; v < count; v += w_.step) {
          w_.product->run(group, block, panels + v / w_.step * panel, std::min(w_.step, count - v), w_.start.data(),
                          sums + w_.product->row_begin(group) * w_.tile_width + v * lanes);
        }
      }
    }
    const int64_t row = w_.product->row_begin(groups.begin);
    store(row, w_.product->row_begin(groups.end), sums + row * w_.tile_width, copies);
    add_residual(row, w_.product->row_begin(groups.end), copies);
  }

  int64_t output_pixel(int64_t image, int64_t y, int64_t x) const {
    const int64_t image_stride = w_.params.channels_last ? w_.out_plane : w_.shape.out_channels * w_.out_plane;
    return (section_.image + image) * image_stride + (section_.y + y) * w_.shape.out_width() + section_.x + x;
  }

  /// Where finished sums leave: what is applied to them is applied here.
  void store(int64_t row, int64_t row_end, A* sums, const std::vector<PixelCopy>& copies) const {
    const Activation activation = w_.params.activation;
    const bool relu = activation == Activation::kRelu && !w_.params.channels_last;  // copy_out clamps as it copies
    if (!relu && activation != Activation::kNone) {
      w_.vectors.activate(activation, sums, (row_end - row) * w_.tile_width);
    }
    if (!w_.params.channels_last) {
      return w_.kernels.copy_out(sums, w_.tile_width, row_end - row, copies.data(), static_cast<int64_t>(copies.size()), relu,
                                 w_.params.output + row * w_.out_plane, w_.out_plane);
    }
    for (const PixelCopy& copy : copies) {
      w_.vectors.unpack(sums + copy.from, row_end - row, w_.tile_width, copy.count,
                        w_.params.output + copy.to * w_.shape.out_channels + row, w_.shape.out_channels);
    }
  }

  /// To what store() has just written.
  void add_residual(int64_t row, int64_t row_end, const std::vector<PixelCopy>& copies) const {
    const auto& [values, activation] = w_.params.residual;
    if (values == nullptr) {
      return;
    }
    const auto add = [&, values = values, activation = activation](int64_t at, int64_t count) {
      w_.vectors.add_residual(values + at, activation, count, w_.params.output + at);
    };
    for (const PixelCopy& copy : copies) {
      if (w_.params.channels_last) {
        for (int64_t pixel = copy.to; pixel < copy.to + copy.count; ++pixel) {
          add(pixel * w_.shape.out_channels + row, row_end - row);
        }
      } else {
        for (int64_t r = row; r < row_end; ++r) {
          add(r * w_.out_plane + copy.to, copy.count);
        }
      }
    }
  }

  const ConvWork<T>& w_;
  const Section& section_;
};

}  // namespace

template <class T>
void multiply_section(const ConvWork<T>& work, const Section& section, const ParallelFor& parallel) {
  Multiply<T> multiply(work, section);
  if (work.plan.panels) {
    multiply.on_panels(parallel);
  } else {
    multiply.on_raster(parallel);
  }
}

#define JOULEPRUNE_INSTANTIATE(T) \
  template void multiply_section(const ConvWork<T>&, const Section&, const ParallelFor&);
JOULEPRUNE_INSTANTIATE(float)
JOULEPRUNE_INSTANTIATE(double)
JOULEPRUNE_INSTANTIATE(BFloat16)
JOULEPRUNE_INSTANTIATE(Half)
#undef JOULEPRUNE_INSTANTIATE

}  // namespace jouleprune::kernels::csr
