#include "energy/systolic/array.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace jouleprune::energy::systolic {
namespace {

constexpr int64_t kLargest = int64_t{1} << 24, kLargestSide = 1 << 16;
constexpr double kMostMacs = 4611686018427387904.0;  // 2^62: sums of them stay in 64 bits

int64_t divided_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

double real(int64_t count) { return static_cast<double>(count); }

void expect(const char* field, int64_t value, int64_t least, int64_t most = kLargest) {
  if (value >= least && value <= most) return;
  throw std::invalid_argument(std::string(field) + ": expected an integer from " + std::to_string(least) + " to " +
                              std::to_string(most) + ", got " + std::to_string(value));
}

int64_t outputs(int64_t in, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  const int64_t room = in + 2 * padding - dilation * (kernel - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

/// Outputs along one axis whose input at tap `tap` is not padding.
int64_t valid(int64_t tap, int64_t in, int64_t out, int64_t stride, int64_t padding, int64_t dilation) {
  const int64_t offset = tap * dilation - padding;  // input = output x stride + offset
  const int64_t first = offset >= 0 ? 0 : divided_up(-offset, stride);
  const int64_t last = in - 1 - offset < 0 ? -1 : std::min((in - 1 - offset) / stride, out - 1);
  return std::max(last - first + 1, int64_t{0});
}

/// Words that are read again because windows of the next rows begin in rows that the cache has dropped.
double reloaded_words(const Layer& layer, const Array& array) {
  const int64_t reach = layer.dilation_h * (layer.kernel_h - 1) + 1;
  const int64_t row = layer.in_channels * layer.in_w, height = layer.in_h + 2 * layer.padding_h;
  const auto words_of = [&](int64_t padded) {
    return padded >= layer.padding_h && padded < layer.padding_h + layer.in_h ? row : 0;
  };
  const int64_t room = array.input_cache_words * array.word_bits / layer.input_bits;
  int64_t begin = 0, end = -1;
  double again = 0;
  while (begin + reach <= height) {
    for (int64_t i = begin; i < end; ++i) again += real(words_of(i));
    int64_t held = 0, next = begin;
    while (next < height && held + words_of(next) <= room) held += words_of(next++);
    if (next - begin < reach) {
      throw std::invalid_argument("input_cache_words: expected room for the " + std::to_string(reach) + " rows of " +
                                  std::to_string(row) + " words that a kernel covers, got " + std::to_string(room));
    }
    end = next;
    begin += ((end - begin - reach) / layer.stride_h + 1) * layer.stride_h;
  }
  return again;
}

/// Cost of a word of inputs, weights or metadata in words of the array.
struct Widths {
  double input, weight, mac;
  Widths(const Layer& layer, const Array& array)
      : input(real(layer.input_bits) / real(array.word_bits)),
        weight(real(layer.weight_bits + layer.metadata_bits) / real(array.word_bits)),
        mac(real(layer.weight_bits) * real(layer.input_bits) / (real(array.word_bits) * real(array.word_bits))) {}
};

double input_energy(const Layer& layer, const Array& array) {
  const Widths widths(layer, array);
  const int64_t group_outputs = layer.out_channels / layer.groups, strips = divided_up(group_outputs, array.cols);
  if (layer.fully_connected) {
    const int64_t room = array.input_cache_words * array.word_bits / layer.input_bits;
    const double words = real(layer.in_channels), out = real(layer.out_channels);
    const double spilled = real(std::max(layer.in_channels - room, int64_t{0}));
    const double from_memory = real(strips) * spilled + (words - spilled) + out;
    return real(layer.batch) * widths.input *
           ((real(strips) * array.e_cache + out / real(layer.groups) * array.e_rf) * words + array.e_mem * from_memory);
  }
  double rows = 0, cols = 0;
  for (int64_t tap = 0; tap < layer.kernel_h; ++tap) {
    rows += real(valid(tap, layer.in_h, layer.out_h(), layer.stride_h, layer.padding_h, layer.dilation_h));
  }
  for (int64_t tap = 0; tap < layer.kernel_w; ++tap) {
    cols += real(valid(tap, layer.in_w, layer.out_w(), layer.stride_w, layer.padding_w, layer.dilation_w));
  }
  const double unfolded = rows * cols * real(layer.in_channels);
  const double image = real(layer.in_channels) * real(layer.in_h) * real(layer.in_w);
  const double from_memory =
      image + reloaded_words(layer, array) + real(layer.out_h()) * real(layer.out_w()) * real(layer.out_channels);
  return real(layer.batch) * widths.input *
         (unfolded * (real(strips) * array.e_cache + real(group_outputs) * array.e_rf) + from_memory * array.e_mem);
}

double weight_energy(const Layer& layer, const Array& array, int64_t kept) {
  const Marginals each = marginals(layer, array);
  const double mac = Widths(layer, array).mac * array.e_mac * real(layer.pixels());
  const int64_t inside = std::min(kept, cached_weights(layer, array));
  return real(inside) * (each.in_cache - mac) + real(kept - inside) * (each.out_of_cache - mac);
}

}  // namespace

int64_t Layer::out_h() const { return fully_connected ? 1 : outputs(in_h, kernel_h, stride_h, padding_h, dilation_h); }
int64_t Layer::out_w() const { return fully_connected ? 1 : outputs(in_w, kernel_w, stride_w, padding_w, dilation_w); }
int64_t Layer::pixels() const { return batch * out_h() * out_w(); }

void check(const Array& array) {
  expect("array rows", array.rows, 1);
  expect("array cols", array.cols, 1);
  expect("input_cache_words", array.input_cache_words, 0);
  expect("weight_cache_words", array.weight_cache_words, 0);
  expect("word_bits", array.word_bits, 1);
  for (const double e : {array.e_mac, array.e_mem, array.e_cache, array.e_rf}) {
    if (!(e >= 0) || e > 1e30) throw std::invalid_argument("array energies: expected numbers from 0 to 1e30");
  }
}

void check(const Layer& layer) {
  expect("out_channels", layer.out_channels, 1);
  expect("in_channels", layer.in_channels, 1);
  expect("groups", layer.groups, 1);
  expect("batch", layer.batch, 0);
  expect("weight_bits", layer.weight_bits, 1);
  expect("input_bits", layer.input_bits, 1);
  expect("metadata_bits", layer.metadata_bits, 0);
  if (layer.out_channels % layer.groups != 0 || layer.in_channels % layer.groups != 0) {
    throw std::invalid_argument("groups: expected a divisor of the input and output channels, got " +
                                std::to_string(layer.groups));
  }
  const auto expect_countable = [&layer] {
    const double taps = layer.fully_connected ? 1 : real(layer.kernel_h) * real(layer.kernel_w);
    const double weights = real(layer.out_channels) * real(layer.in_channels / layer.groups) * taps;
    const double pixels = real(layer.batch) * real(layer.out_h()) * real(layer.out_w());
    if (weights * std::max(pixels, 1.0) <= kMostMacs && pixels <= kMostMacs) return;
    throw std::invalid_argument("layer: expected at most 2^62 multiply-accumulates, got more");
  };
  if (layer.fully_connected) return expect_countable();
  for (const auto& [field, value] :
       {std::pair{"in_h", layer.in_h}, std::pair{"in_w", layer.in_w}, std::pair{"kernel", layer.kernel_h},
        std::pair{"kernel", layer.kernel_w}, std::pair{"stride", layer.stride_h}, std::pair{"stride", layer.stride_w},
        std::pair{"dilation", layer.dilation_h}, std::pair{"dilation", layer.dilation_w}}) {
    expect(field, value, 1, kLargestSide);
  }
  expect("padding", layer.padding_h, 0, kLargestSide);
  expect("padding", layer.padding_w, 0, kLargestSide);
  if (layer.out_h() < 1 || layer.out_w() < 1)
    throw std::invalid_argument("kernel: expected one that fits in the padded input");
  expect_countable();
}

std::vector<int64_t> dense_taps(const Layer& layer) {
  return std::vector<int64_t>(static_cast<size_t>(layer.taps()),
                              layer.out_channels * (layer.in_channels / layer.groups));
}

int64_t valid_macs(const Layer& layer, const std::vector<int64_t>& kept_per_tap) {
  if (kept_per_tap.size() != static_cast<size_t>(layer.taps())) {
    throw std::invalid_argument("kept_per_tap: expected " + std::to_string(layer.taps()) + " counts, got " +
                                std::to_string(kept_per_tap.size()));
  }
  if (layer.fully_connected) return layer.batch * kept_per_tap[0];
  int64_t macs = 0;
  for (int64_t y = 0; y < layer.kernel_h; ++y) {
    const int64_t rows = valid(y, layer.in_h, layer.out_h(), layer.stride_h, layer.padding_h, layer.dilation_h);
    for (int64_t x = 0; x < layer.kernel_w; ++x) {
      const int64_t cols = valid(x, layer.in_w, layer.out_w(), layer.stride_w, layer.padding_w, layer.dilation_w);
      macs += kept_per_tap[static_cast<size_t>(y * layer.kernel_w + x)] * rows * cols;
    }
  }
  return layer.batch * macs;
}

LayerEnergy exact_energy(const Layer& layer, const Array& array, const std::vector<int64_t>& kept_per_tap) {
  int64_t kept = 0;
  for (const int64_t count : kept_per_tap) kept += count;
  const double macs = real(valid_macs(layer, kept_per_tap));
  return {input_energy(layer, array), weight_energy(layer, array, kept), Widths(layer, array).mac * array.e_mac * macs};
}

LayerEnergy relaxed_energy(const Layer& layer, const Array& array, int64_t kept) {
  const double macs = real(layer.pixels()) * real(kept);
  return {input_energy(layer, array), weight_energy(layer, array, kept), Widths(layer, array).mac * array.e_mac * macs};
}

Marginals marginals(const Layer& layer, const Array& array) {
  const Widths widths(layer, array);
  const double strips = real(divided_up(layer.pixels(), array.rows)), pixels = real(layer.pixels());
  const double inside =
      widths.weight * (strips * array.e_cache + pixels * array.e_rf) + widths.mac * array.e_mac * pixels;
  return {inside + widths.weight * array.e_mem, inside + widths.weight * array.e_mem * strips};
}

int64_t cached_weights(const Layer& layer, const Array& array) {
  return array.weight_cache_words * array.word_bits / (layer.weight_bits + layer.metadata_bits);
}

}  // namespace jouleprune::energy::systolic
