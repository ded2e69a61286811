#include "kernels/bsr_int8/reference.h"

#include <algorithm>
#include <vector>

#include "kernels/bsr_int8/quantise.h"

namespace jouleprune::kernels::bsr_int8::reference {

using csr::ConvShape;

namespace {

/// One image and where its elements lie.
template <class T>
struct Image {
  const T* first;
  int64_t channel_stride, pixel_stride;

  const T& at(int64_t channel, int64_t pixel) const { return first[channel * channel_stride + pixel * pixel_stride]; }
};

template <class T>
RowScale image_scale(const ConvShape& s, const Image<T>& image, float given) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < s.in_channels * s.height * s.width; ++i) {
    largest = std::max(largest, magnitude_bits(widen(image.first[i])));
  }
  return row_scale(largest, given);
}

/// The sum of output row `r` at pixel (y, x).
template <class T>
int64_t conv_sum(const ConvParams<T>& p, const Image<T>& image, float inverse, int64_t r, int64_t y, int64_t x) {
  const ConvShape& s = p.shape;
  const int64_t channels = s.in_channels / s.groups, first = r / (s.out_channels / s.groups) * channels;
  const int64_t per_tap = quads_of(channels);
  const auto& quads = p.weight.quads;
  int64_t sum = 0;
  for (int64_t k = quads.row_offsets[r]; k < quads.row_offsets[r + 1]; ++k) {
    const int64_t tap = quads.col_indices[k] / per_tap, channel = quads.col_indices[k] % per_tap * kQuad;
    const int64_t in_y = y * s.stride_h - s.padding_h + tap / s.kernel_w * s.dilation_h;
    const int64_t in_x = x * s.stride_w - s.padding_w + tap % s.kernel_w * s.dilation_w;
    if (in_y < 0 || in_y >= s.height || in_x < 0 || in_x >= s.width) {
      continue;
    }
    for (int64_t i = 0; i < std::min(kQuad, channels - channel); ++i) {
      sum += p.weight.blocks[k * kQuad + i] * quantise(widen(image.at(first + channel + i, in_y * s.width + in_x)), inverse);
    }
  }
  return sum;
}

}  // namespace

template <class T>
void conv2d(const ConvParams<T>& p) {
  const ConvShape& s = p.shape;
  const int64_t in_plane = s.height * s.width, out_width = s.out_width(), out_plane = s.out_height() * out_width;
  for (int64_t b = 0; b < s.batch; ++b) {
    const Image<T> image{p.input + b * s.in_channels * in_plane, p.input_channels_last ? 1 : in_plane,
                         p.input_channels_last ? s.in_channels : 1};
    const RowScale step = image_scale(s, image, p.input_scale);
    for (int64_t r = 0; r < s.out_channels; ++r) {
      const float scale = p.weight.scales[r] * step.scale, bias = p.weight.bias == nullptr ? 0.0f : p.weight.bias[r];
      for (int64_t pixel = 0; pixel < out_plane; ++pixel) {
        const int64_t sum = conv_sum(p, image, step.inverse, r, pixel / out_width, pixel % out_width);
        const float product = static_cast<float>(sum) * scale;
        const float y = product + bias;
        const int64_t at = p.output_channels_last ? pixel * s.out_channels + r : r * out_plane + pixel;
        p.output[b * s.out_channels * out_plane + at] = narrow<T>(p.weight.relu && y < 0 ? 0.0f : y);
      }
    }
  }
}

template <class T>
void linear(const LinearParams<T>& p) {
  const auto& [quads, blocks, scales, bias, relu] = p.weight;
  std::vector<int32_t> x(static_cast<size_t>(quads.cols * kQuad));  // the last quad may reach beyond the inputs: zeros
  for (int64_t j = 0; j < p.n; ++j) {
    const T* input = p.input + j * p.input_stride;
    uint32_t largest = 0;
    for (int64_t c = 0; c < p.in_features; ++c) {
      largest = std::max(largest, magnitude_bits(widen(input[c])));
    }
    const RowScale row = row_scale(largest, p.input_scale);
    for (int64_t c = 0; c < p.in_features; ++c) {
      x[static_cast<size_t>(c)] = quantise(widen(input[c]), row.inverse);
    }
    for (int64_t r = 0; r < quads.rows; ++r) {
      int64_t sum = 0;
      for (int64_t k = quads.row_offsets[r]; k < quads.row_offsets[r + 1]; ++k) {
        for (int64_t i = 0; i < kQuad; ++i) {
          sum += blocks[k * kQuad + i] * x[static_cast<size_t>(quads.col_indices[k] * kQuad + i)];
        }
      }
      const float scale = scales[r] * row.scale;
      const float product = static_cast<float>(sum) * scale;
      const float y = product + (bias == nullptr ? 0.0f : bias[r]);
      p.output[j * quads.rows + r] = narrow<T>(relu && y < 0 ? 0.0f : y);
    }
  }
}

template void linear(const LinearParams<float>&);
template void linear(const LinearParams<BFloat16>&);
template void linear(const LinearParams<Half>&);
template void conv2d(const ConvParams<float>&);
template void conv2d(const ConvParams<BFloat16>&);
template void conv2d(const ConvParams<Half>&);

}  // namespace jouleprune::kernels::bsr_int8::reference
