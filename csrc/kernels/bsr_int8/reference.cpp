#include "kernels/bsr_int8/reference.h"

#include <algorithm>
#include <type_traits>
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
RowScale image_scale(const ConvShape& s, const Image<T>& image, float given)
  requires(!std::is_same_v<T, uint8_t>)
{
  uint32_t largest = 0;
  for (int64_t i = 0; i < s.in_channels * s.height * s.width; ++i) {
    largest = std::max(largest, magnitude_bits(widen(image.first[i])));
  }
  return row_scale(largest, given);
}

/// An activation in steps.
int32_t steps(uint8_t byte, float /*inverse*/) { return byte - 128; }
template <class T>
int32_t steps(T x, float inverse) {
  return bsr_int8::quantise(widen(x), inverse);
}

/// The sum of output row `r` at pixel (y, x).
template <class In>
int64_t conv_sum(const ConvParams<In, float>& p, const Image<In>& image, float inverse, int64_t r, int64_t y, int64_t x) {
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
      sum += p.weight.blocks[k * kQuad + i] * steps(image.at(first + channel + i, in_y * s.width + in_x), inverse);
    }
  }
  return sum;
}

template <class In>
void multiply(const ConvParams<In, float>& p) {
  const ConvShape& s = p.shape;
  const int64_t in_plane = s.height * s.width, out_width = s.out_width(), out_plane = s.out_height() * out_width;
  for (int64_t b = 0; b < s.batch; ++b) {
    const Image<In> image{p.input + b * s.in_channels * in_plane, p.input_channels_last ? 1 : in_plane,
                          p.input_channels_last ? s.in_channels : 1};
    RowScale step{};
    if constexpr (std::is_same_v<In, uint8_t>) {
      step.scale = p.input_scales[b];
    } else {
      step = image_scale(s, image, p.input_scale);
    }
    for (int64_t r = 0; r < s.out_channels; ++r) {
      const float scale = p.weight.scales[r] * step.scale, bias = p.weight.bias == nullptr ? 0.0f : p.weight.bias[r];
      for (int64_t pixel = 0; pixel < out_plane; ++pixel) {
        const int64_t sum = conv_sum(p, image, step.inverse, r, pixel / out_width, pixel % out_width);
        const float product = static_cast<float>(sum) * scale;
        const float y = product + bias;
        const int64_t at = p.output_channels_last ? pixel * s.out_channels + r : r * out_plane + pixel;
        p.output[b * s.out_channels * out_plane + at] = p.weight.relu && y < 0 ? 0.0f : y;
      }
    }
  }
}

/// Finished floats, a row of which shares a scale, as what the op gives.
template <class Params>
void give(const std::vector<float>& output, int64_t rows, int64_t cols, const Params& p) {
  using Out = std::remove_pointer_t<decltype(p.output)>;
  if constexpr (std::is_same_v<Out, uint8_t>) {
    quantise({output.data(), rows, cols, cols, p.output_scale, p.output, p.output_scales});
  } else {
    std::transform(output.begin(), output.end(), p.output, [](float y) { return narrow<Out>(y); });
  }
}

}  // namespace

template <class In, class Out>
void conv2d(const ConvParams<In, Out>& p) {
  const int64_t image = p.shape.out_channels * p.shape.out_height() * p.shape.out_width();
  std::vector<float> output(static_cast<size_t>(p.shape.batch * image));
  multiply(ConvParams<In, float>{p.weight, p.shape, p.input, p.input_channels_last, p.input_scale, output.data(),
                                 p.output_channels_last, nullptr, false, 0, p.input_scales});
  give(output, p.shape.batch, image, p);
}

void quantise(const QuantiseParams& p) {
  for (int64_t row = 0; row < p.rows; ++row) {
    const float* x = p.input + row * p.input_stride;
    uint32_t largest = 0;
    for (int64_t c = 0; c < p.cols; ++c) {
      largest = std::max(largest, magnitude_bits(x[c]));
    }
    const RowScale scale = row_scale(largest, p.given_scale);
    p.scales[row] = scale.scale;
    for (int64_t c = 0; c < p.cols; ++c) {
      p.bytes[row * p.cols + c] = static_cast<uint8_t>(bsr_int8::quantise(x[c], scale.inverse) + 128);
    }
  }
}

namespace {

/// A batch row in steps, and what a step is.
template <class In>
float steps_of(const LinearParams<In, float>& p, int64_t j, std::vector<int32_t>& q) {
  const In* input = p.input + j * p.input_stride;
  if constexpr (std::is_same_v<In, uint8_t>) {
    std::transform(input, input + p.in_features, q.begin(), [](uint8_t byte) { return steps(byte, 0); });
    return p.input_scales[j];
  } else {
    uint32_t largest = 0;
    for (int64_t c = 0; c < p.in_features; ++c) {
      largest = std::max(largest, magnitude_bits(widen(input[c])));
    }
    const RowScale row = row_scale(largest, p.input_scale);
    std::transform(input, input + p.in_features, q.begin(), [&](In x) { return steps(x, row.inverse); });
    return row.scale;
  }
}

/// The sums of a product as floats, [n, rows].
template <class In>
void multiply(const LinearParams<In, float>& p) {
  const auto& [quads, blocks, scales, bias, relu] = p.weight;
  std::vector<int32_t> x(static_cast<size_t>(quads.cols * kQuad));  // the last quad may reach beyond the inputs: zeros
  for (int64_t j = 0; j < p.n; ++j) {
    const float step = steps_of(p, j, x);
    for (int64_t r = 0; r < quads.rows; ++r) {
      int64_t sum = 0;
      for (int64_t k = quads.row_offsets[r]; k < quads.row_offsets[r + 1]; ++k) {
        for (int64_t i = 0; i < kQuad; ++i) {
          sum += blocks[k * kQuad + i] * x[static_cast<size_t>(quads.col_indices[k] * kQuad + i)];
        }
      }
      const float scale = scales[r] * step;
      const float product = static_cast<float>(sum) * scale;
      const float y = product + (bias == nullptr ? 0.0f : bias[r]);
      p.output[j * quads.rows + r] = relu && y < 0 ? 0.0f : y;
    }
  }
}

}  // namespace

template <class In, class Out>
void linear(const LinearParams<In, Out>& p) {
  const int64_t rows = p.weight.quads.rows;
  std::vector<float> output(static_cast<size_t>(p.n * rows));
  multiply(LinearParams<In, float>{p.weight, p.in_features, p.n, p.input, p.input_stride, p.input_scale, output.data(), nullptr, false,
                                   false, p.input_scales});
  give(output, p.n, rows, p);
}

template void linear(const LinearParams<float>&);
template void linear(const LinearParams<BFloat16>&);
template void linear(const LinearParams<Half>&);
template void linear(const LinearParams<uint8_t, float>&);
template void linear(const LinearParams<float, uint8_t>&);
template void linear(const LinearParams<uint8_t, uint8_t>&);
template void conv2d(const ConvParams<float>&);
template void conv2d(const ConvParams<BFloat16>&);
template void conv2d(const ConvParams<Half>&);
template void conv2d(const ConvParams<uint8_t, float>&);
template void conv2d(const ConvParams<float, uint8_t>&);
template void conv2d(const ConvParams<uint8_t, uint8_t>&);

}  // namespace jouleprune::kernels::bsr_int8::reference
