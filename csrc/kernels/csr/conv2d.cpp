#include <algorithm>

#include "kernels/csr/conv_plan.h"
#include "kernels/csr/conv_raster.h"
#include "kernels/csr/csr_kernels.h"
#include "kernels/csr/im2col.h"
#include "kernels/csr/panels.h"
#include "kernels/csr/reference.h"
#include "kernels/csr/sampled_dots.h"
#include "kernels/csr/scratch.h"
#include "kernels/csr/transpose.h"

namespace jouleprune::kernels::csr {
namespace {

constexpr int64_t kManyGroups = 8;

/// Calls body(group, threads): many groups are spread over the threads, few leave the threads to the work inside.
void for_each_group(int64_t groups, const ParallelFor& parallel, const std::function<void(int64_t, const ParallelFor&)>& body) {
  if (groups >= kManyGroups) {
    const ParallelFor inside = serial;
    parallel(0, groups, 1, [&](int64_t begin, int64_t end) {
      for (int64_t group = begin; group < end; ++group) {
        body(group, inside);
      }
    });
  } else {
    for (int64_t group = 0; group < groups; ++group) {
      body(group, parallel);
    }
  }
}

/// The gradient of one input channel of one image: products of the transposed weight, tap by tap, added where they came from.
template <class T>
void backward_channel(const ConvShape& s, const VectorKernels<T>& kernels, const Weight<T>& transposed, int64_t first_row,
                      const std::vector<Panel>& panels, const Accumulate<T>* packed, int64_t panel_elements,
                      Accumulate<T>* plane) {
  using A = Accumulate<T>;
  constexpr int64_t kTileElements = 1 << 12;
  alignas(64) A tile[kTileElements];
  for (size_t index = 0; index < panels.size(); ++index) {
    const Panel& panel = panels[index];
    const int64_t taps_per_tile = kTileElements / panel.width;
    for (int64_t tap = 0; tap < s.taps(); tap += taps_per_tile) {
      const int64_t last = std::min(s.taps(), tap + taps_per_tile);
      kernels.multiply(transposed, first_row + tap, first_row + last, packed + static_cast<int64_t>(index) * panel_elements,
                       panel.width, tile);
      for (int64_t t = tap; t < last; ++t) {
        const A* from = tile + (t - tap) * panel.width;
        for_each_run(s, panel, [&](const PixelRun& run) {
          const Overlap overlap = overlap_of(s, run, tap_of(s, t));
          for (int64_t i = overlap.first; i < overlap.last; ++i) {
            plane[overlap.offset + i * s.stride_w] += from[run.at + i];
          }
        });
      }
    }
  }
}

std::vector<Panel> image_panels(int64_t pixels, int64_t lanes) {
  std::vector<Panel> panels;
  for (int64_t begin = 0; begin < pixels; begin += kMaxVectors * lanes) {
    const int64_t count = std::min(kMaxVectors * lanes, pixels - begin);
    panels.push_back({begin, count, (count + lanes - 1) / lanes * lanes});
  }
  return panels;
}

}  // namespace

template <class T>
void conv2d(const ConvParams<T>& p, const ParallelFor& parallel, Isa isa) {
  if (isa == Isa::kReference) {
    return reference::conv2d(p);
  }
  const ConvShape& s = p.shape;
  if (s.pixels() == 0 || s.out_channels == 0) {
    return;
  }
  if (is_pointwise(s) && s.groups == 1 && p.input_channels_last && p.channels_last) {  // each pixel is a batch row
    return linear(LinearParams<T>{p.csr, p.values, p.bias, p.activation, s.pixels(), p.input, s.in_channels, p.output, p.forms,
                                  p.generated_code, p.residual},
                  parallel, isa);
  }
  conv2d_raster(p, plan_conv(s, p.csr.nnz, conv_machine(p, isa)), parallel, isa);
}

template <class T>
void conv2d_backward_input(const ConvParams<T>& p, const ParallelFor& parallel, Isa isa) {
  using A = Accumulate<T>;
  if (isa == Isa::kReference) {
    return reference::conv2d_backward_input(p);
  }
  const auto& kernels = vector_kernels<T>(isa);
  const ConvShape s = flattened(p.shape);
  const int64_t out_plane = s.out_height() * s.out_width(), in_plane = s.height * s.width;
  const int64_t rows_per_group = s.out_channels / s.groups, channels_per_group = s.in_channels / s.groups;
  if (s.batch == 0 || s.in_channels == 0 || in_plane == 0) {
    return;
  }
  const auto transposed = transposed_form(p.forms, p.csr, s.groups);
  const auto values = transposed->gather(p.values);
  const Weight<T> weight{values.data(), transposed->view().col_indices, transposed->view().row_offsets};
  const auto panels = image_panels(out_plane, kernels.lanes);
  const int64_t panel_count = static_cast<int64_t>(panels.size());
  const int64_t group_elements = panel_count * rows_per_group * kMaxVectors * kernels.lanes;
  const int64_t image_elements = s.groups * group_elements;
  const int64_t panel_elements = rows_per_group * kMaxVectors * kernels.lanes;
  constexpr int64_t kWaveElements = 1 << 20;  // packed gradients alive at once: 4 MB of float32
  const int64_t wave = std::clamp<int64_t>(kWaveElements / std::max<int64_t>(image_elements, 1), 1, s.batch);
  Scratch<A> packed(wave * image_elements);
  const int64_t channel_work = p.csr.nnz / s.in_channels * out_plane + in_plane;
  for (int64_t first = 0; first < s.batch; first += wave) {
    const int64_t images = std::min(wave, s.batch - first);
    parallel(0, images * s.groups * panel_count, grain_of(panel_elements), [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit) {
        const Panel& panel = panels[unit % panel_count];
        const int64_t image = first + unit / panel_count / s.groups, group = unit / panel_count % s.groups;
        fill_planes(p.input + image * s.out_channels * out_plane, s.out_channels, out_plane, panel, group * rows_per_group,
                    (group + 1) * rows_per_group, packed.data() + unit * panel_elements);
      }
    });
    parallel(0, images * s.in_channels, grain_of(channel_work), [&](int64_t begin, int64_t end) {
      Scratch<A> plane(in_plane);
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t image = unit / s.in_channels, channel = unit % s.in_channels, group = channel / channels_per_group;
        std::fill_n(plane.data(), in_plane, A{0});
        backward_channel(s, kernels, weight, group * p.csr.cols + channel % channels_per_group * s.taps(), panels,
                         packed.data() + image * image_elements + group * group_elements, panel_elements, plane.data());
        T* to = p.output + ((first + image) * s.in_channels + channel) * in_plane;
        std::transform(plane.data(), plane.data() + in_plane, to, [](A x) { return narrow<T>(x); });
      }
    });
  }
}

template <class T>
void conv2d_backward_values(const ConvValuesParams<T>& p, const ParallelFor& parallel, Isa isa) {
  if (isa == Isa::kReference) {
    return reference::conv2d_backward_values(p);
  }
  const ConvShape s = flattened(p.shape);
  const int64_t rows_per_group = s.out_channels / s.groups, out_plane = s.out_height() * s.out_width();
  for_each_group(s.groups, parallel, [&](int64_t group, const ParallelFor& threads) {
    SampledProblem<T> problem{p.csr.col_indices,          p.csr.row_offsets, group * rows_per_group,
                              (group + 1) * rows_per_group, p.csr.cols,        s.pixels(), {}, {}, p.grad_values};
    problem.fill_rows = [&](const Panel& panel, int64_t begin, int64_t end, Accumulate<T>* to) {
      fill_planes(p.grad_output, s.out_channels, out_plane, panel, group * rows_per_group + begin,
                  group * rows_per_group + end, to);
    };
    problem.fill_cols = [&](const Panel& panel, int64_t begin, int64_t end, Accumulate<T>* to) {
      fill_im2col(s, p.input, group, panel, begin, end, to);
    };
    sampled_dots(problem, isa, threads);
  });
}

#define JOULEPRUNE_INSTANTIATE(T)                                                            \
  template void conv2d(const ConvParams<T>&, const ParallelFor&, Isa);                       \
  template void conv2d_backward_input(const ConvParams<T>&, const ParallelFor&, Isa);        \
  template void conv2d_backward_values(const ConvValuesParams<T>&, const ParallelFor&, Isa);
JOULEPRUNE_INSTANTIATE(float)
JOULEPRUNE_INSTANTIATE(double)
JOULEPRUNE_INSTANTIATE(BFloat16)
JOULEPRUNE_INSTANTIATE(Half)
#undef JOULEPRUNE_INSTANTIATE

}  // namespace jouleprune::kernels::csr
