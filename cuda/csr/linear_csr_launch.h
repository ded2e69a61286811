// The launches of linear_csr and its gradients, for the GPU's launcher and the emulator's.
#pragma once
#include "csr/launch.h"
#include "csr/linear_csr.h"

namespace jouleprune::cuda::csr {

template <class T, class Launcher>
void turn(Launcher& launcher, const void* from, int64_t stride, int64_t n, int64_t features, void* turned,
          int64_t pitch) {
  launch_kernel<FeatureMajor<T>>(launcher, {from, stride, n, features, turned, pitch});
}

template <class T, class Launcher>
void launch(Launcher& launcher, const Linear& p) {
  const auto& m = p.matrix;
  if (p.turned_input == nullptr) {
    launch_by_entries<T>(launcher, {m, p.input, p.input_stride, p.output, 0, p.n, p.epilogue});
    return;
  }
  const int64_t pitch = feature_major_pitch(p.n);
  turn<T>(launcher, p.input, p.input_stride, p.n, m.cols, p.turned_input, pitch);
  launch_by_tokens<T>(launcher, {m, p.turned_input, pitch, p.turned_output, pitch, p.n, p.epilogue});
  // Back: rows of the turned output are batch rows of a matrix whose features are the tokens.
  turn<T>(launcher, p.turned_output, pitch, m.rows, p.n, p.output, m.rows);
}

template <class T, class Launcher>
void launch(Launcher& launcher, const Pack& p) {
  launch_kernel<PackTiles<T>>(launcher, p.params);
}

template <class T, class Launcher>
void launch(Launcher& launcher, const LinearTiles& p) {
  if constexpr (sizeof(T) == 2) {
    auto params = p.params;
    params.pitch = feature_major_pitch(params.n);
    params.x = p.turned_input;
    turn<T>(launcher, p.input, p.input_stride, params.n, params.cols, p.turned_input, params.pitch);
    p.pairs ? launch_tiles<T, PairGroups>(launcher, params) : launch_tiles<T, BitmapGroups>(launcher, params);
  }
}

/// What the kernels of both gradients of values are told: grad_output and input, turned to feature-major.
template <class T, class Launcher, class Call>
auto with_turned(Launcher& launcher, const Call& p, int64_t rows, int64_t cols) {
  auto params = p.params;
  params.pitch = feature_major_pitch(params.n);
  params.dy = p.turned_grad_output;
  params.x = p.turned_input;
  turn<T>(launcher, p.grad_output, p.grad_output_stride, params.n, rows, p.turned_grad_output, params.pitch);
  turn<T>(launcher, p.input, p.input_stride, params.n, cols, p.turned_input, params.pitch);
  return params;
}

template <class T, class Launcher>
void launch(Launcher& launcher, const LinearValues& p) {
  const auto params = with_turned<T>(launcher, p, p.rows, p.cols);
  launch_kernel<SampledDots<T>>(launcher, params);
}

template <class T, class Launcher>
void launch(Launcher& launcher, const LinearMasked& p) {
  if constexpr (sizeof(T) == 2) {
    const auto params = with_turned<T>(launcher, p, p.params.rows, p.params.cols);
    launch_kernel<MaskedGradient<T>>(launcher, params);
  }
}

}  // namespace jouleprune::cuda::csr
