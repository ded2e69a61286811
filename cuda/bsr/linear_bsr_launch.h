// The launches of linear_bsr and its gradients, for the GPU's launcher and the emulator's.
#pragma once
#include "bsr/launch.h"
#include "bsr/linear_bsr.h"

namespace jouleprune::cuda::bsr {

template <class T, class Launcher>
void turn(Launcher& launcher, const void* rows, int64_t stride, int64_t n, int64_t features, void* turned) {
  launch_feature_major<T>(launcher, {rows, stride, n, features, turned, feature_major_pitch(n)});
}

inline WalkParams walk_of(const Weight& w) {
  return {w.values, w.r, w.c, w.offsets, w.columns, nullptr, simt::ceil_div<int64_t>(w.rows, w.r), w.cols};
}

/// Rows of the output begin at multiples of 16 bytes.
template <class T>
bool whole_chunks(const void* output, int64_t outputs) {
  return reinterpret_cast<uintptr_t>(output) % 16 == 0 && outputs * static_cast<int64_t>(sizeof(T)) % 16 == 0;
}

template <class T, class Launcher>
void launch(Launcher& launcher, const Linear& p) {
  const auto& w = p.weight;
  turn<T>(launcher, p.input, p.input_stride, p.n, w.cols, p.turned_input);
  const StripParams<Rows> strips{walk_of(w),
                                 {p.turned_input, feature_major_pitch(p.n), p.n, w.rows},
                                 p.output,
                                 whole_chunks<T>(p.output, w.rows),
                                 p.epilogue};
  launch_forward<T>(launcher, strips);
}

template <class T, class Launcher>
void launch(Launcher& launcher, const LinearInput& p) {
  const auto& w = p.weight;
  turn<T>(launcher, p.grad_output, p.grad_output_stride, p.n, w.rows, p.turned_grad_output);
  const WalkParams walk{
      w.values, w.r, w.c, p.transposed.offsets, p.transposed.places, p.transposed.sources, p.transposed.groups, w.rows};
  const StripParams<Rows> strips{walk,
                                 {p.turned_grad_output, feature_major_pitch(p.n), p.n, w.cols},
                                 p.grad_input,
                                 whole_chunks<T>(p.grad_input, w.cols),
                                 {}};
  launch_transposed<T>(launcher, strips);
}

template <class T, class Launcher>
void launch(Launcher& launcher, const LinearBlocks& p) {
  const auto& w = p.weight;
  turn<T>(launcher, p.grad_output, p.grad_output_stride, p.n, w.rows, p.turned_grad_output);
  turn<T>(launcher, p.input, p.input_stride, p.n, w.cols, p.turned_input);
  const int64_t pitch = feature_major_pitch(p.n);
  launch_gradient<T>(launcher, GradientParams<Rows>{walk_of(w),
                                                    {p.turned_input, pitch, p.n, w.cols},
                                                    {p.turned_grad_output, pitch, p.n, w.rows},
                                                    w.longest * w.c,
                                                    p.grad_blocks});
}

}  // namespace jouleprune::cuda::bsr
