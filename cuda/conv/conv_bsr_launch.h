// The launches of conv2d_bsr and its gradients, for the GPU's launcher and the emulator's: shifted planes, then the
// kernels of linear_bsr on them.
#pragma once
#include "bsr/launch.h"
#include "conv/conv_bsr.h"
#include "conv/shift_planes.h"

namespace jouleprune::cuda::conv {

/// Writes the planes that a view wants, if any; returns what is read.
template <class T, class Launcher>
const void* shifted(Launcher& launcher, const View& v, const void* image, void* planes) {
  if (v.direct()) {
    return image;
  }
  launch_kernel<ShiftPlanes<T>>(launcher, {image, v.batch, v.channels, v.height, v.width, v.kernel_w, v.columns,
                                           v.out_width, v.pitch(), planes});
  return planes;
}

/// `lists`: groups of outputs of each group of the convolution; `places`: windows of each, 0 where they share them.
inline Images images_of(const View& v, const void* data, const Window* windows, int64_t groups, int64_t lists,
                        int64_t places) {
  return {data,           windows,      v.batch,     v.kernel_w * v.channels,   v.height, v.pitch(), v.rows,
          v.out_channels, v.out_height, v.out_width, lists, v.out_channels / groups, places};
}

inline Images forward_images(const bsr::Weight& w, const BsrShape& s, const void* data, const Window* windows) {
  const int64_t across = simt::ceil_div<int64_t>(s.conv.in_channels / s.groups, w.c);
  return images_of(forward_view(s), data, windows, s.groups, simt::ceil_div<int64_t>(w.rows, w.r) / s.groups,
                   across * s.conv.taps());
}

inline bsr::WalkParams walk_of(const bsr::Weight& w) {
  return {w.values, w.r, w.c, w.offsets, w.columns, nullptr, simt::ceil_div<int64_t>(w.rows, w.r), 0};
}

template <class T>
bool whole_chunks(const View& v, const void* result) {
  return v.out_width % 8 == 0 && reinterpret_cast<uintptr_t>(result) % 16 == 0;
}

template <class T, class Launcher>
void launch(Launcher& launcher, const BsrConv& p) {
  const auto view = forward_view(p.shape);
  const auto* data = shifted<T>(launcher, view, p.input, p.planes);
  bsr::launch_forward<T>(launcher,
                         bsr::StripParams<Images>{walk_of(p.weight), forward_images(p.weight, p.shape, data, p.windows),
                                                  p.output, whole_chunks<T>(view, p.output), p.epilogue});
}

template <class T, class Launcher>
void launch(Launcher& launcher, const BsrConvInput& p) {
  const auto& w = p.weight;
  const auto& t = p.transposed;
  const auto view = input_view(p.shape);
  const auto* data = shifted<T>(launcher, view, p.grad_output, p.planes);
  const bsr::WalkParams walk{w.values, w.r, w.c, t.offsets, t.places, t.sources, t.groups, 0};
  bsr::launch_transposed<T>(
      launcher, bsr::StripParams<Images>{walk, images_of(view, data, p.windows, p.shape.groups, t.groups / p.shape.groups, 0),
                                         p.grad_input, whole_chunks<T>(view, p.grad_input), {}});
}

template <class T, class Launcher>
void launch(Launcher& launcher, const BsrConvBlocks& p) {
  const auto& w = p.weight;
  const auto plain = plain_view(p.shape);
  const auto* dy = shifted<T>(launcher, plain, p.grad_output, p.grad_planes);
  const auto* x = shifted<T>(launcher, forward_view(p.shape), p.input, p.planes);
  bsr::launch_gradient<T>(launcher,
                          bsr::GradientParams<Images>{walk_of(w), forward_images(w, p.shape, x, p.windows),
                                                      images_of(plain, dy, nullptr, 1, 1, 0), w.longest * w.c, p.grad_blocks});
}

}  // namespace jouleprune::cuda::conv
