#include "kernels/csr/conv_raster.h"

#include <algorithm>
#include <optional>
#include <type_traits>
#include <vector>

#include "kernels/csr/conv_work.h"
#include "kernels/csr/panels.h"
#include "kernels/csr/scratch.h"
#include "kernels/denormals.h"

namespace jouleprune::kernels::csr {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <class T>
class Convolution {
  using A = Accumulate<T>;

 public:
  Convolution(const ConvParams<T>& params, const ConvPlan& plan, Isa isa) : w_(params, plan, isa) {}

  /// Many sections are spread over the threads, few leave the threads to the work inside.
  void run(const ParallelFor& parallel) {
    std::vector<Section> sections;
    const auto split = [](int64_t size, int64_t most, const auto& visit) {
      const int64_t parts = ceil_div(size, most);
      for (int64_t part = 0; part < parts; ++part) {
        visit(size * part / parts, size * (part + 1) / parts);
      }
    };
    split(w_.shape.batch, w_.plan.images, [&](int64_t image, int64_t image_end) {
      split(w_.shape.out_height(), w_.plan.height, [&](int64_t y, int64_t y_end) {
        split(w_.shape.out_width(), w_.plan.width, [&](int64_t x, int64_t x_end) {
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
      const FlushDenormals flush;
      for (int64_t i = begin; i < end; ++i) {
        run_section(sections[static_cast<size_t>(i)], inside);
      }
    });
  }

 private:
  void run_section(const Section& section, const ParallelFor& parallel) const {
    if (w_.raster) {
      Scratch<A> planes(w_.raster->elements());
      fill(section, planes.data(), parallel);
      multiply_section(w_, section, planes.data(), parallel);
    } else if constexpr (std::is_same_v<T, A>) {
      multiply_section(w_, section, w_.params.input + section.image * w_.layout.image_stride, parallel);
    }
  }

  void fill(const Section& section, A* planes, const ParallelFor& parallel) const {
    const int64_t phases = w_.raster->phases(), plane = w_.raster->plane();
    std::vector<std::vector<RowCopy>> rows;
    for (int64_t phase = 0; phase < phases; ++phase) {
      rows.push_back(row_copies(section, phase));
    }
    const int64_t together = w_.params.input_channels_last ? w_.kernels.lanes : 1;  // channels
    const int64_t channel_stride = w_.params.input_channels_last ? 1 : w_.shape.height * w_.shape.width;
    const int64_t pixel_stride = w_.shape.stride_w * (w_.params.input_channels_last ? w_.shape.in_channels : 1);
    parallel(0, ceil_div(w_.shape.in_channels, together), grain_of(plane * phases * together), [&](int64_t begin, int64_t end) {
      const FlushDenormals flush;
      for (int64_t channel = begin * together; channel < std::min(w_.shape.in_channels, end * together); channel += together) {
        const int64_t channels = std::min(together, w_.shape.in_channels - channel);
        for (int64_t phase = 0; phase < phases; ++phase) {
          const auto& copies = rows[static_cast<size_t>(phase)];
          const auto fill_plane = w_.params.input_channels_last ? w_.kernels.fill_pixels : w_.kernels.fill_plane;
          fill_plane(w_.params.input + channel * channel_stride, pixel_stride, copies.data(), static_cast<int64_t>(copies.size()),
                     channels, planes + (channel * phases + phase) * plane, phases * plane);
        }
      }
    });
  }

  std::vector<RowCopy> row_copies(const Section& section, int64_t phase) const {
    const int64_t channels = w_.params.input_channels_last ? 1 : w_.shape.in_channels;
    const int64_t depth = w_.params.input_channels_last ? w_.shape.in_channels : 1;
    std::vector<RowCopy> copies;
    int64_t end = 0;
    for (const Raster::Row& row : w_.raster->rows(section, phase)) {
      if (row.begin < row.end) {
        const int64_t from = ((row.image * channels * w_.shape.height + row.y) * w_.shape.width + row.x) * depth;
        copies.push_back({from, row.at + row.begin - end, end, row.end - row.begin});
        end = row.at + row.end;
      }
    }
    copies.push_back({0, w_.raster->plane() - end, end, 0});
    return copies;
  }

  ConvWork<T> w_;
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
          std::is_same_v<T, Accumulate<T>> && !params.channels_last && params.activation == Activation::kNone};
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
