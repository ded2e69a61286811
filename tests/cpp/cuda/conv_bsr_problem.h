// Random convolutions with bsr weights for the emulated kernels, and what they give in double, by the definition.
#pragma once
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "conv/conv_bsr_launch.h"
#include "conv/windows.h"
#include "cuda/conv_shapes.h"
#include "cuda/values.h"
#include "simt/host/launcher.h"

namespace jouleprune::cuda::conv {

struct Case {
  ConvShape conv;  // outputs follow from the rest
  int32_t groups = 1;
  int64_t r = 16, c = 1;
  double density = 0.5;

  std::string text() const {
    const auto& s = conv;
    std::string all = "blocks " + std::to_string(r) + "x" + std::to_string(c) + " groups " + std::to_string(groups);
    for (const int64_t size : {s.batch, int64_t{s.in_channels}, int64_t{s.height}, int64_t{s.width}, int64_t{s.out_channels},
                               int64_t{s.kernel_h}, int64_t{s.kernel_w}, int64_t{s.stride_h}, int64_t{s.stride_w},
                               int64_t{s.padding_h}, int64_t{s.padding_w}, int64_t{s.dilation_h}, int64_t{s.dilation_w}}) {
      all += " " + std::to_string(size);
    }
    return all;
  }
};

enum class Op { kForward, kInput, kBlocks };

template <class T>
struct BsrProblem {
  Case c;
  ConvShape s;
  int64_t channels, across, down;  // channels of a group
  std::vector<int32_t> columns, offsets;
  Array<T> values, input, dy, bias, residual;

  BsrProblem(const Case& asked, uint64_t seed)
      : c(asked), s(completed(asked.conv)), channels(s.in_channels / c.groups), across(simt::ceil_div(channels, c.c)),
        down(simt::ceil_div<int64_t>(s.out_channels, c.r)) {
    std::mt19937_64 random(seed);
    std::bernoulli_distribution kept(c.density);
    offsets = {0};
    for (int64_t row = 0; row < down; ++row) {
      for (int64_t column = 0; column < across * s.taps(); ++column) {
        if (kept(random)) columns.push_back(static_cast<int32_t>(column));
      }
      offsets.push_back(static_cast<int32_t>(columns.size()));
    }
    values = random_values<T>(random, blocks() * c.r * c.c);
    // What lies beyond the channels is not to be looked at.
    each_weight([&](int64_t at, int64_t row, int64_t channel, int32_t) {
      if (row >= s.out_channels || channel < 0) values[at] = not_a_number<T>();
    });
    input = random_values<T>(random, s.batch * s.in_channels * s.height * s.width);
    dy = random_values<T>(random, s.batch * s.out_image());
    bias = random_values<T>(random, s.out_channels);
    residual = random_values<T>(random, s.batch * s.out_image());
  }

  int64_t blocks() const { return static_cast<int64_t>(columns.size()); }
  HostWeight host() const {
    return {{s.out_channels, across * s.taps() * c.c, c.r, c.c, columns.data(), offsets.data()},
            s.in_channels, c.groups, s.kernel_h, s.kernel_w};
  }
  bsr::Weight weight() const {
    return {{}, s.out_channels, across * s.taps() * c.c, static_cast<int32_t>(c.r), static_cast<int32_t>(c.c), blocks(),
            bsr::longest(offsets.data(), down), values.data(), columns.data(), offsets.data()};
  }
  BsrShape shape() const { return {s, c.groups}; }

  /// visit(place in the values, output channel, input channel or -1, tap), padding included.
  template <class Visit>
  void each_weight(const Visit& visit) const {
    for (int64_t b = 0, row = 0; b < blocks(); ++b) {
      while (b >= offsets[static_cast<size_t>(row) + 1]) ++row;
      for (int64_t k = 0; k < c.r * c.c; ++k) {
        const int64_t column = columns[static_cast<size_t>(b)], within = column % across * c.c + k % c.c,
                      out = row * c.r + k / c.c, group = out / (s.out_channels / c.groups);
        visit(b * c.r * c.c + k, out, within < channels ? group * channels + within : -1,
              static_cast<int32_t>(column / across));
      }
    }
  }

  /// visit(place in the values, place in the input, place in the output) for each product.
  template <class Visit>
  void each_product(const Visit& visit) const {
    each_weight([&](int64_t at, int64_t out, int64_t channel, int32_t tap) {
      if (out >= s.out_channels || channel < 0) return;
      for (int64_t image = 0; image < s.batch; ++image) {
        for (int32_t oy = 0; oy < s.out_height; ++oy) {
          for (int32_t ox = 0; ox < s.out_width; ++ox) {
            const int32_t y = oy * s.stride_h - s.padding_h + tap / s.kernel_w * s.dilation_h;
            const int32_t x = ox * s.stride_w - s.padding_w + tap % s.kernel_w * s.dilation_w;
            if (y < 0 || y >= s.height || x < 0 || x >= s.width) continue;
            visit(at, ((image * s.in_channels + channel) * s.height + y) * s.width + x,
                  ((image * s.out_channels + out) * s.out_height + oy) * s.out_width + ox);
          }
        }
      }
    });
  }
};

/// Runs an op as the adapters do. Returns its result.
template <class T>
Array<T> run_op(const BsrProblem<T>& p, Op op, const Epilogue& epilogue, simt::host::Launcher& launcher) {
  using simt::host::Access;
  auto& memory = launcher.memory;
  const auto list = [&](const char* name, const auto& entries) {
    memory.add(name, entries.data(), entries.size() * sizeof(entries[0]), Access::kRead);
  };
  const auto add = [&](const char* name, const Array<T>& array, Access access = Access::kRead) {
    memory.add(name, array.data(), array.bytes(), access);
  };
  const auto windows = op == Op::kInput ? transposed_windows(p.host()) : forward_windows(p.host());
  list("columns", p.columns);
  list("offsets", p.offsets);
  list("windows", windows);
  if (op != Op::kBlocks) add("values", p.values);
  Array<T> planes(op == Op::kInput ? input_view(p.shape()).scratch() : forward_view(p.shape()).scratch());
  add("planes", planes, Access::kReadWrite);
  if (op == Op::kForward) {
    add("input", p.input);
    add("bias", p.bias);
    add("residual", p.residual);
    Array<T> y(p.dy.size());
    add("y", y, Access::kWriteAll);
    launch<T>(launcher, BsrConv{p.weight(), p.shape(), windows.data(), p.input.data(), planes.data(), y.data(), epilogue});
    return y;
  }
  add("dy", p.dy);
  if (op == Op::kInput) {
    const auto index = transposed_lists(p.host());
    list("index", index.offsets);
    list("index", index.places);
    list("index", index.sources);
    Array<T> dx(p.input.size());
    add("dx", dx, Access::kWriteAll);
    launch<T>(launcher, BsrConvInput{p.weight(),
                                     {static_cast<int64_t>(index.offsets.size()) - 1, static_cast<int64_t>(index.places.size()),
                                      index.offsets.data(), index.places.data(), index.sources.data()},
                                     p.shape(), windows.data(), p.dy.data(), planes.data(), dx.data()});
    return dx;
  }
  add("input", p.input);
  Array<T> grad_planes(plain_view(p.shape()).scratch()), gradient(p.values.size());
  add("grad planes", grad_planes, Access::kReadWrite);
  add("gradient", gradient, Access::kWriteAll);
  launch<T>(launcher, BsrConvBlocks{p.weight(), p.shape(), windows.data(), p.dy.data(), p.input.data(), grad_planes.data(),
                                    planes.data(), gradient.data()});
  return gradient;
}

/// The first result that is farther from the truth than rounding explains, or an empty text.
template <class T>
std::string difference(const BsrProblem<T>& p, Op op, const Epilogue& e, const Array<T>& got) {
  std::vector<double> sums(static_cast<size_t>(got.size())), sizes(static_cast<size_t>(got.size()));
  p.each_product([&](int64_t w, int64_t in, int64_t out) {
    const auto at = static_cast<size_t>(op == Op::kForward ? out : op == Op::kInput ? in : w);
    const double term = (op == Op::kBlocks ? 1.0 : simt::widen(p.values[w])) *
                        (op == Op::kInput ? 1.0 : simt::widen(p.input[in])) * (op == Op::kForward ? 1.0 : simt::widen(p.dy[out]));
    sums[at] += term;
    sizes[at] += std::abs(term);
  });
  for (int64_t i = 0; i < got.size(); ++i) {
    double expected = sums[static_cast<size_t>(i)], size = sizes[static_cast<size_t>(i)];
    if (op == Op::kForward) {
      expected += e.bias == nullptr ? 0.0 : simt::widen(p.bias[i / p.s.out_plane() % p.s.out_channels]);
      expected += e.residual == nullptr ? 0.0 : simt::widen(p.residual[i]);
      expected = activated(expected, e.activation);
      size += 4;
    }
    const double y = simt::widen(got[i]);
    if (!(std::abs(y - expected) <= tolerance<T>(expected, size, e.residual != nullptr))) {
      return p.c.text() + ": place " + std::to_string(i) + ": expected " + std::to_string(expected) + ", got " + std::to_string(y);
    }
  }
  return {};
}

}  // namespace jouleprune::cuda::conv
