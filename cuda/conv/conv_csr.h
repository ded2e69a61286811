// conv2d_csr and its gradients, as launchers take them. Pointers are of the device; knows neither torch nor CUDA.
#pragma once
#include <limits>

#include "conv/conv_params.h"
#include "element_type.h"

namespace jouleprune::cuda::conv {

/// output = epilogue(convolution); 16-bit types are summed in float32.
struct Conv {
  ElementType type;
  int64_t nnz;
  ProductParams params;
};

struct ConvGradInput {
  ElementType type;
  int64_t nnz;
  InputParams params;
};

struct ConvGradValues {
  ElementType type;
  ValuesParams params;
};

/// Whether places inside an image fit 32 bits, and channels a grid: others are for torch's dense convolution.
inline bool fits(const ConvShape& s) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max(), kMostChannels = 4 * 65535;
  const int64_t padded = (s.height + 2 * int64_t{s.padding_h}) * (s.width + 2 * int64_t{s.padding_w});
  return s.in_channels * padded <= kMost && static_cast<int64_t>(s.out_height) * s.out_width <= kMost - 128 &&
         static_cast<int64_t>(s.height) * s.width <= kMost - 128 && s.in_channels <= kMostChannels &&
         s.out_channels <= kMostChannels;
}

}  // namespace jouleprune::cuda::conv
