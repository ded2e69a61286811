#include "kernels/csr/conv_raster.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "formats/ceil_div.h"
#include "kernels/csr/conv_work.h"
#include "kernels/denormals.h"

namespace jouleprune::kernels::csr {
namespace {

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
        multiply_section(w_, section, parallel);
      }
      return;
    }
    parallel(0, static_cast<int64_t>(sections.size()), 1, [&](int64_t begin, int64_t end) {
      const FlushDenormals flush;
      for (int64_t i = begin; i < end; ++i) {
        multiply_section(w_, sections[static_cast<size_t>(i)], inside);
      }
    });
  }

 private:
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
