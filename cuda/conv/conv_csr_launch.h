// The launches of conv2d_csr and its gradients, for the GPU's launcher and the emulator's.
#pragma once
#include "conv/conv_csr.h"
#include "conv/conv_input.h"
#include "conv/conv_product.h"
#include "conv/conv_values.h"
#include "launch_kernel.h"

namespace jouleprune::cuda::conv {

template <class T, class Launcher>
void launch(Launcher& launcher, const Conv& p) {
  launch_kernel<ConvProduct<T>>(launcher, p.params);
}

template <class T, class Launcher>
void launch(Launcher& launcher, const ConvGradInput& p) {
  launch_kernel<ConvInput<T>>(launcher, p.params);
}

template <class T, class Launcher>
void launch(Launcher& launcher, const ConvGradValues& p) {
  launch_kernel<ConvValues<T>>(launcher, p.params);
}

}  // namespace jouleprune::cuda::conv
