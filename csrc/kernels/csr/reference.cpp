#include "kernels/csr/reference.h"

#include <vector>

#include "kernels/reference_activation.h"

namespace jouleprune::kernels::csr::reference {
namespace {

template <class T>
T round_to(double x) {
  return narrow<T>(static_cast<Accumulate<T>>(x));
}

/// Where element `at` of [batch, channels, height, width] lies in [batch, height, width, channels].
int64_t channels_last(const ConvShape& s, int64_t at) {
  const int64_t plane = s.height * s.width;
  return (at / plane / s.in_channels * plane + at % plane) * s.in_channels + at / plane % s.in_channels;
}

/// Calls visit(k, b, oc, oy, ox, ic, iy, ix) for each kept weight k and each output pixel whose input pixel is no padding.
template <class Visit>
void for_each_product(const formats::CsrView& csr, const ConvShape& s, const Visit& visit) {
  const int64_t rows_per_group = s.out_channels / s.groups, channels_per_group = s.in_channels / s.groups;
  for (int64_t b = 0; b < s.batch; ++b) {
    for (int64_t oc = 0; oc < s.out_channels; ++oc) {
      for (int64_t oy = 0; oy < s.out_height(); ++oy) {
        for (int64_t ox = 0; ox < s.out_width(); ++ox) {
          for (int64_t k = csr.row_offsets[oc]; k < csr.row_offsets[oc + 1]; ++k) {
            const int64_t col = csr.col_indices[k];
            const int64_t ic = oc / rows_per_group * channels_per_group + col / s.taps();
            const int64_t iy = oy * s.stride_h - s.padding_h + col % s.taps() / s.kernel_w * s.dilation_h;
            const int64_t ix = ox * s.stride_w - s.padding_w + col % s.kernel_w * s.dilation_w;
            if (iy >= 0 && iy < s.height && ix >= 0 && ix < s.width) {
              visit(k, ((b * s.out_channels + oc) * s.out_height() + oy) * s.out_width() + ox,
                    ((b * s.in_channels + ic) * s.height + iy) * s.width + ix);
            }
          }
        }
      }
    }
  }
}

template <class T>
void add_residual(const Residual<T>& residual, int64_t at, T* output) {
  if (residual.values != nullptr) {
    output[at] = round_to<T>(reference_activation(static_cast<double>(widen(output[at])) + widen(residual.values[at]), residual.activation));
  }
}

}  // namespace

template <class T>
void linear(const LinearParams<T>& p) {
  for (int64_t j = 0; j < p.n; ++j) {
    for (int64_t r = 0; r < p.csr.rows; ++r) {
      double sum = p.bias == nullptr ? 0 : widen(p.bias[r]);
      for (int64_t k = p.csr.row_offsets[r]; k < p.csr.row_offsets[r + 1]; ++k) {
        sum += static_cast<double>(widen(p.values[k])) * widen(p.input[j * p.input_stride + p.csr.col_indices[k]]);
      }
      p.output[j * p.csr.rows + r] = round_to<T>(reference_activation(sum, p.activation));
      add_residual(p.residual, j * p.csr.rows + r, p.output);
    }
  }
}

template <class T>
void linear_backward_input(const LinearParams<T>& p) {
  std::vector<double> sums(static_cast<size_t>(p.csr.cols));
  for (int64_t j = 0; j < p.n; ++j) {
    sums.assign(sums.size(), 0.0);
    for (int64_t r = 0; r < p.csr.rows; ++r) {
      for (int64_t k = p.csr.row_offsets[r]; k < p.csr.row_offsets[r + 1]; ++k) {
        sums[p.csr.col_indices[k]] += static_cast<double>(widen(p.values[k])) * widen(p.input[j * p.input_stride + r]);
      }
    }
    for (int64_t c = 0; c < p.csr.cols; ++c) {
      p.output[j * p.csr.cols + c] = round_to<T>(sums[c]);
    }
  }
}

template <class T>
void linear_backward_values(const LinearValuesParams<T>& p) {
  for (int64_t r = 0; r < p.csr.rows; ++r) {
    for (int64_t k = p.csr.row_offsets[r]; k < p.csr.row_offsets[r + 1]; ++k) {
      double sum = 0;
      for (int64_t j = 0; j < p.n; ++j) {
        sum += static_cast<double>(widen(p.grad_output[j * p.grad_output_stride + r])) *
               widen(p.input[j * p.input_stride + p.csr.col_indices[k]]);
      }
      p.grad_values[k] = round_to<T>(sum);
    }
  }
}

template <class T>
void conv2d(const ConvParams<T>& p) {
  const ConvShape& s = p.shape;
  const int64_t plane = s.out_height() * s.out_width();
  std::vector<double> sums(static_cast<size_t>(s.batch * s.out_channels * plane));
  for_each_product(p.csr, s, [&](int64_t k, int64_t out, int64_t in) {
    sums[out] += static_cast<double>(widen(p.values[k])) * widen(p.input[p.input_channels_last ? channels_last(s, in) : in]);
  });
  for (int64_t b = 0; b < s.batch; ++b) {
    for (int64_t oc = 0; oc < s.out_channels; ++oc) {
      for (int64_t pixel = 0; pixel < plane; ++pixel) {
        const double bias = p.bias == nullptr ? 0 : widen(p.bias[oc]);
        const int64_t to = p.channels_last ? (b * plane + pixel) * s.out_channels + oc : (b * s.out_channels + oc) * plane + pixel;
        p.output[to] = round_to<T>(reference_activation(sums[(b * s.out_channels + oc) * plane + pixel] + bias, p.activation));
        add_residual(p.residual, to, p.output);
      }
    }
  }
}

template <class T>
void conv2d_backward_input(const ConvParams<T>& p) {
  std::vector<double> sums(static_cast<size_t>(p.shape.batch * p.shape.in_channels * p.shape.height * p.shape.width));
  for_each_product(p.csr, p.shape, [&](int64_t k, int64_t out, int64_t in) {
    sums[in] += static_cast<double>(widen(p.values[k])) * widen(p.input[out]);
  });
  for (size_t i = 0; i < sums.size(); ++i) {
    p.output[i] = round_to<T>(sums[i]);
  }
}

template <class T>
void conv2d_backward_values(const ConvValuesParams<T>& p) {
  std::vector<double> sums(static_cast<size_t>(p.csr.nnz));
  for_each_product(p.csr, p.shape, [&](int64_t k, int64_t out, int64_t in) {
    sums[k] += static_cast<double>(widen(p.grad_output[out])) * widen(p.input[in]);
  });
  for (size_t k = 0; k < sums.size(); ++k) {
    p.grad_values[k] = round_to<T>(sums[k]);
  }
}

#define JOULEPRUNE_INSTANTIATE(T)                                    \
  template void linear(const LinearParams<T>&);                      \
  template void linear_backward_input(const LinearParams<T>&);       \
  template void linear_backward_values(const LinearValuesParams<T>&); \
  template void conv2d(const ConvParams<T>&);                        \
  template void conv2d_backward_input(const ConvParams<T>&);         \
  template void conv2d_backward_values(const ConvValuesParams<T>&);
JOULEPRUNE_INSTANTIATE(float)
JOULEPRUNE_INSTANTIATE(double)
JOULEPRUNE_INSTANTIATE(BFloat16)
JOULEPRUNE_INSTANTIATE(Half)
#undef JOULEPRUNE_INSTANTIATE

}  // namespace jouleprune::kernels::csr::reference
