// Convolutions with csr weights: the CUDA bodies in the emulator against sums in double.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "conv/conv_csr_launch.h"
#include "csr/index.h"
#include "cuda/conv_shapes.h"
#include "cuda/sweep.h"
#include "cuda/values.h"
#include "simt/host/launcher.h"

namespace jouleprune::cuda::conv {
namespace {

using simt::host::Access;
using simt::host::GlobalMemory;
using simt::host::Launcher;

struct Case {
  ConvShape shape;  // outputs follow from the rest
  int32_t groups = 1;
  double density = 0.4;
};

/// A random weight, an image in double, and both as the kernels read them.
template <class T>
struct Problem {
  ConvShape s;
  int64_t cols;  // over all groups
  std::vector<int32_t> columns, offsets;
  Array<T> values, input, padded, grad_output, bias;

  Problem(const Case& c, uint64_t seed) : s(completed(c.shape)), cols(static_cast<int64_t>(s.in_channels) * s.taps()) {
    std::mt19937_64 random(seed);
    std::bernoulli_distribution kept(c.density), empty(0.1);
    offsets = {0};
    const int64_t per_group = cols / c.groups, rows_per_group = s.out_channels / c.groups;
    for (int64_t row = 0; row < s.out_channels; ++row) {
      const bool none = empty(random);
      for (int64_t column = 0; column < per_group && !none; ++column) {
        if (kept(random)) columns.push_back(static_cast<int32_t>(row / rows_per_group * per_group + column));
      }
      offsets.push_back(static_cast<int32_t>(columns.size()));
    }
    values = random_values<T>(random, static_cast<int64_t>(columns.size()));
    input = random_values<T>(random, s.batch * s.in_channels * s.height * s.width);
    grad_output = random_values<T>(random, s.batch * s.out_image());
    bias = random_values<T>(random, s.out_channels);
    padded = Array<T>(s.batch * s.padded_image());
    for (int64_t i = 0; i < padded.size(); ++i) padded[i] = from_double<T>(0);
    for (int64_t plane = 0; plane < s.batch * s.in_channels; ++plane) {
      for (int32_t y = 0; y < s.height; ++y) {
        for (int32_t x = 0; x < s.width; ++x) {
          padded[plane * s.padded_plane() + (y + s.padding_h) * s.padded_width() + x + s.padding_w] =
              input[(plane * s.height + y) * s.width + x];
        }
      }
    }
  }

  int64_t nnz() const { return static_cast<int64_t>(columns.size()); }

  /// visit(entry, image, row, output pixel, input place in [batch, in, h, w], or -1 in the padding): by the definition.
  template <class Visit>
  void for_each_product(const Visit& visit) const {
    for (int64_t image = 0; image < s.batch; ++image) {
      for (int64_t row = 0; row < s.out_channels; ++row) {
        for (int32_t k = offsets[static_cast<size_t>(row)]; k < offsets[static_cast<size_t>(row) + 1]; ++k) {
          const int32_t column = columns[static_cast<size_t>(k)], channel = column / s.taps(), tap = column % s.taps();
          for (int32_t oy = 0; oy < s.out_height; ++oy) {
            for (int32_t ox = 0; ox < s.out_width; ++ox) {
              const int32_t y = oy * s.stride_h - s.padding_h + tap / s.kernel_w * s.dilation_h;
              const int32_t x = ox * s.stride_w - s.padding_w + tap % s.kernel_w * s.dilation_w;
              const bool inside = y >= 0 && y < s.height && x >= 0 && x < s.width;
              visit(k, row, image * s.out_image() + row * s.out_plane() + oy * s.out_width + ox,
                    inside ? ((image * s.in_channels + channel) * s.height + y) * s.width + x : -1);
            }
          }
        }
      }
    }
  }
};

struct Expected {
  std::vector<double> value, magnitude;
  explicit Expected(int64_t size) : value(static_cast<size_t>(size)), magnitude(static_cast<size_t>(size)) {}
  void add(int64_t at, double term) {
    value[static_cast<size_t>(at)] += term;
    magnitude[static_cast<size_t>(at)] += std::abs(term);
  }
  template <class T>
  std::string difference(const Array<T>& got) const {
    for (size_t i = 0; i < value.size(); ++i) {
      const double error = std::abs(simt::widen(got[static_cast<int64_t>(i)]) - value[i]);
      if (!(error <= tolerance<T>(value[i], magnitude[i], false))) {
        return "place " + std::to_string(i) + ": expected " + std::to_string(value[i]) + ", off by " + std::to_string(error);
      }
    }
    return {};
  }
};

csr::Matrix matrix_of(GlobalMemory& memory, const void* values, const std::vector<int32_t>& columns,
                      const std::vector<int32_t>& offsets, const std::vector<int32_t>* sources,
                      const std::vector<int32_t>& order, int64_t rows, int64_t cols) {
  for (const auto* list : {&columns, &offsets, sources, &order}) {
    if (list != nullptr) memory.add("list", list->data(), list->size() * 4, Access::kRead);
  }
  return {values, columns.data(), offsets.data(), sources == nullptr ? nullptr : sources->data(), order.data(), rows, cols};
}

template <class T>
void check_product(const Problem<T>& p, const simt::host::Options& options) {
  const auto& s = p.s;
  Array<T> output(s.batch * s.out_image());
  GlobalMemory memory;
  memory.add("values", p.values.data(), p.values.bytes(), Access::kRead);
  memory.add("input", p.padded.data(), p.padded.bytes(), Access::kRead);
  memory.add("bias", p.bias.data(), p.bias.bytes(), Access::kRead);
  memory.add("output", output.data(), output.bytes(), Access::kWriteAll);
  const auto order = csr::longest_first(p.offsets.data(), s.out_channels);
  Launcher launcher(memory, options);
  launch<T>(launcher, Conv{{}, p.nnz(), {matrix_of(memory, p.values.data(), p.columns, p.offsets, nullptr, order, s.out_channels, p.cols),
                                         s, p.padded.data(), output.data(), {p.bias.data(), nullptr, Activation::kNone}}});
  ASSERT_EQ(launcher.problems(), "");
  Expected expected(output.size());
  for (int64_t i = 0; i < output.size(); ++i) {
    expected.add(i, simt::widen(p.bias[i / s.out_plane() % s.out_channels]));
  }
  p.for_each_product([&](int32_t k, int64_t, int64_t out, int64_t in) {
    if (in >= 0) expected.add(out, static_cast<double>(simt::widen(p.values[k])) * simt::widen(p.input[in]));
  });
  ASSERT_EQ(expected.difference(output), "");
}

template <class T>
void check_input(const Problem<T>& p, const simt::host::Options& options) {
  const auto& s = p.s;
  const auto index = csr::transposed({s.out_channels, p.cols, p.nnz(), p.columns.data(), p.offsets.data()});
  const auto order = csr::longest_first(index.offsets.data(), p.cols);
  Array<T> gradient(p.input.size());
  GlobalMemory memory;
  memory.add("values", p.values.data(), p.values.bytes(), Access::kRead);
  memory.add("grad_output", p.grad_output.data(), p.grad_output.bytes(), Access::kRead);
  memory.add("gradient", gradient.data(), gradient.bytes(), Access::kWriteAll);
  Launcher launcher(memory, options);
  launch<T>(launcher,
            ConvGradInput{{}, p.nnz(), {matrix_of(memory, p.values.data(), index.columns, index.offsets, &index.sources, order, p.cols,
                                                  s.out_channels),
                                        s, p.grad_output.data(), gradient.data()}});
  ASSERT_EQ(launcher.problems(), "");
  Expected expected(gradient.size());
  p.for_each_product([&](int32_t k, int64_t, int64_t out, int64_t in) {
    if (in >= 0) expected.add(in, static_cast<double>(simt::widen(p.values[k])) * simt::widen(p.grad_output[out]));
  });
  ASSERT_EQ(expected.difference(gradient), "");
}

template <class T>
void check_values(const Problem<T>& p, const simt::host::Options& options) {
  const auto rows = csr::rows_of_entries({p.s.out_channels, p.cols, p.nnz(), p.columns.data(), p.offsets.data()});
  Array<T> gradient(p.nnz());
  GlobalMemory memory;
  memory.add("rows", rows.data(), rows.size() * 4, Access::kRead);
  memory.add("columns", p.columns.data(), p.columns.size() * 4, Access::kRead);
  memory.add("grad_output", p.grad_output.data(), p.grad_output.bytes(), Access::kRead);
  memory.add("input", p.padded.data(), p.padded.bytes(), Access::kRead);
  memory.add("gradient", gradient.data(), gradient.bytes(), Access::kWriteAll);
  Launcher launcher(memory, options);
  launch<T>(launcher, ConvGradValues{{}, {p.s, rows.data(), p.columns.data(), p.nnz(), p.grad_output.data(), p.padded.data(), gradient.data()}});
  ASSERT_EQ(launcher.problems(), "");
  Expected expected(p.nnz());
  p.for_each_product([&](int32_t k, int64_t, int64_t out, int64_t in) {
    if (in >= 0) expected.add(k, static_cast<double>(simt::widen(p.grad_output[out])) * simt::widen(p.input[in]));
  });
  ASSERT_EQ(expected.difference(gradient), "");
}

// ConvShape: batch, in channels, height, width, out channels, (height, width), kernel, stride, padding, dilation.
std::vector<Case> cases() {
  std::vector<Case> all = {{{1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1}, 1, 1.0},
                           {{2, 3, 7, 9, 5, 0, 0, 3, 3, 1, 1, 1, 1, 1, 1}},
                           {{1, 4, 11, 8, 6, 0, 0, 3, 2, 2, 3, 1, 0, 2, 1}, 2},
                           {{2, 6, 5, 5, 6, 0, 0, 3, 3, 1, 1, 1, 1, 1, 1}, 6, 0.8},
                           {{1, 2, 13, 14, 3, 0, 0, 5, 5, 2, 2, 3, 4, 1, 1}},
                           {{1, 90, 3, 3, 9, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1}},
                           {{1, 2, 12, 12, 4, 0, 0, 3, 3, 3, 3, 0, 0, 1, 1}},
                           {{3, 2, 4, 4, 4, 0, 0, 3, 3, 1, 1, 1, 1, 1, 1}, 1, 0.0},
                           {{0, 2, 4, 4, 4, 0, 0, 3, 3, 1, 1, 1, 1, 1, 1}}};
  std::mt19937_64 random(1);
  const auto from = [&](int low, int high) { return static_cast<int32_t>(std::uniform_int_distribution<int>(low, high)(random)); };
  while (all.size() < 200) {
    const int32_t groups = from(1, 3);
    Case c{{from(1, 2), groups * from(1, 4), from(1, 12), from(1, 12), groups * from(1, 4), 0, 0, from(1, 4), from(1, 4), from(1, 3),
            from(1, 3), from(0, 3), from(0, 3), from(1, 2), from(1, 2)},
           groups, 0.1 * from(1, 10)};
    const auto& s = c.shape;
    if (s.padded_height() > s.dilation_h * (s.kernel_h - 1) && s.padded_width() > s.dilation_w * (s.kernel_w - 1)) all.push_back(c);
  }
  return all;
}

template <class T>
void sweep(size_t first) {
  const auto all = cases();
  for (size_t i = first % thinning(); i < all.size(); i += thinning()) {
    const Problem<T> problem(all[i], 100 + i);
    for (const auto& options : schedules(first + i)) {
      SCOPED_TRACE("case " + std::to_string(i));
      check_product(problem, options);
      check_input(problem, options);
      check_values(problem, options);
    }
  }
}

TEST(ConvBodies, Half) { sweep<simt::Half>(0); }
TEST(ConvBodies, BFloat16) { sweep<simt::BFloat16>(1); }
TEST(ConvBodies, Float) { sweep<float>(2); }
TEST(ConvBodies, Double) { sweep<double>(3); }

TEST(ConvFits, WhatPlacesOf32BitsReach) {
  ConvShape s = completed({1, 64, 56, 56, 64, 0, 0, 3, 3, 1, 1, 1, 1, 1, 1});
  EXPECT_TRUE(fits(s));
  s.in_channels = 200'000;
  s.height = s.width = 200;  // 8.2 x 10^9 places
  EXPECT_FALSE(fits(s));
  s = completed({1, 300'000, 1, 1, 8, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1});
  EXPECT_FALSE(fits(s));  // more channels than blocks of a grid's second axis
}

}  // namespace
}  // namespace jouleprune::cuda::conv
