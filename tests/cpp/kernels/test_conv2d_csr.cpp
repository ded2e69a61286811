#include <sstream>

#include "products.h"

namespace jouleprune::kernels::csr::testing {
namespace {

template <class T>
class Conv2dCsr : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double, BFloat16, Half>;
TYPED_TEST_SUITE(Conv2dCsr, ElementTypes);

struct Case {
  ConvShape shape;
  double density;

  std::string name() const {
    std::ostringstream out;
    out << "conv";
    for (const int64_t size : {shape.batch, shape.in_channels, shape.height, shape.width, shape.out_channels, shape.kernel_h,
                               shape.kernel_w, shape.stride_h, shape.stride_w, shape.padding_h, shape.padding_w, shape.dilation_h,
                               shape.dilation_w, shape.groups}) {
      out << ' ' << size;
    }
    return out.str();
  }
};

/// Odd ones first: batch 0, no channels, one pixel, no kept weights, more padding than input.
std::vector<Case> fixed_cases() {
  return {{{0, 2, 5, 5, 3, 3, 3}, 0.5},
          {{1, 0, 5, 5, 3, 3, 3}, 0.5},
          {{1, 2, 5, 5, 0, 3, 3}, 0.5},
          {{2, 3, 4, 5, 4, 3, 3}, 0},
          {{1, 1, 1, 1, 1, 1, 1}, 1},
          {{2, 2, 1, 1, 3, 3, 3, 1, 1, 4, 4}, 1},
          {{1, 3, 8, 8, 5, 1, 1}, 0.5},
          {{3, 4, 7, 9, 6, 3, 2, 2, 3, 1, 2, 2, 1, 2}, 0.5},
          {{2, 12, 6, 6, 12, 3, 3, 1, 1, 1, 1, 1, 1, 12}, 0.7},
          {{1, 3, 20, 21, 4, 5, 5, 1, 1, 2, 2}, 0.2},
          {{2, 64, 12, 12, 24, 3, 3, 1, 1, 1, 1}, 0.05}};  // several waves of panels
}

template <class Body>
void for_each_case(const Body& body) {
  std::mt19937 random(5);
  const auto from = [&](int64_t low, int64_t high) { return low + static_cast<int64_t>(random() % (high - low + 1)); };
  for (const auto& c : fixed_cases()) {
    body(c, random);
  }
  for (int i = 0; i < 120; ++i) {
    ConvShape s;
    s.groups = from(1, 3);
    s.batch = from(0, 3), s.in_channels = s.groups * from(1, 3), s.out_channels = s.groups * from(1, 4);
    s.kernel_h = from(1, 3), s.kernel_w = from(1, 4), s.stride_h = from(1, 3), s.stride_w = from(1, 3);
    s.padding_h = from(0, 2), s.padding_w = from(0, 3), s.dilation_h = from(1, 2), s.dilation_w = from(1, 3);
    s.height = s.dilation_h * (s.kernel_h - 1) + from(1, 6), s.width = s.dilation_w * (s.kernel_w - 1) + from(1, 9);
    body(Case{s, from(0, 9) / 10.0}, random);
  }
}

/// Triples (output pixel, kept weight, input pixel) of a convolution, by its definition.
std::vector<Triple> products_of(const ConvShape& s, const formats::CsrView& csr) {
  std::vector<Triple> out;
  const int64_t in_per_group = s.in_channels / s.groups, out_per_group = s.out_channels / s.groups;
  for (int64_t b = 0; b < s.batch; ++b)
    for (int64_t oc = 0; oc < s.out_channels; ++oc)
      for (int64_t k = csr.row_offsets[oc]; k < csr.row_offsets[oc + 1]; ++k) {
        const int64_t col = csr.col_indices[k], kx = col % s.kernel_w, ky = col / s.kernel_w % s.kernel_h;
        const int64_t ic = oc / out_per_group * in_per_group + col / (s.kernel_w * s.kernel_h);
        for (int64_t oy = 0; oy < s.out_height(); ++oy)
          for (int64_t ox = 0; ox < s.out_width(); ++ox) {
            const int64_t iy = oy * s.stride_h + ky * s.dilation_h - s.padding_h;
            const int64_t ix = ox * s.stride_w + kx * s.dilation_w - s.padding_w;
            if (iy >= 0 && iy < s.height && ix >= 0 && ix < s.width) {
              out.push_back({((b * s.out_channels + oc) * s.out_height() + oy) * s.out_width() + ox, k,
                             ((b * s.in_channels + ic) * s.height + iy) * s.width + ix});
            }
          }
      }
  return out;
}

struct Sizes {
  int64_t input, output;
  explicit Sizes(const ConvShape& s)
      : input(s.batch * s.in_channels * s.height * s.width), output(s.pixels() * s.out_channels) {}
};

TYPED_TEST(Conv2dCsr, ForwardMatches) {
  using T = TypeParam;
  for_each_case([](const Case& c, std::mt19937& random) {
    const ConvShape& s = c.shape;
    const Sizes sizes(s);
    const auto structure = random_structure(s.out_channels, s.cols(), c.density, random);
    const auto csr = structure.view();
    const auto values = random_vector<T>(csr.nnz, random), input = random_vector<T>(sizes.input, random);
    const auto bias = random_vector<T>(s.out_channels, random);
    const Activation activation = random_activation(random);
    const int64_t plane = s.out_height() * s.out_width();
    std::vector<double> start;
    for (int64_t i = 0; i < sizes.output; ++i) {
      start.push_back(widen(bias[i / plane % s.out_channels]));
    }
    const auto expected = expect_products<T>(sizes.output, products_of(s, csr), values, input, start, activation);
    for (const bool channels_last : {false, true}) {
      expect_on_every_isa(expected, c.name(), [&](Isa isa, const ParallelFor& parallel) {
        auto output = unwritten<T>(sizes.output);
        conv2d<T>({csr, values.data(), bias.data(), activation, s, input.data(), output.data(), channels_last}, parallel, isa);
        if (channels_last) {
          const auto nhwc = output;
          for (int64_t i = 0; i < sizes.output; ++i) {
            const int64_t pixel = i % plane, oc = i / plane % s.out_channels, b = i / plane / s.out_channels;
            output[i] = nhwc[(b * plane + pixel) * s.out_channels + oc];
          }
        }
        return output;
      });
    }
  });
}

TYPED_TEST(Conv2dCsr, GradientOfTheInputMatches) {
  using T = TypeParam;
  for_each_case([](const Case& c, std::mt19937& random) {
    const Sizes sizes(c.shape);
    const auto structure = random_structure(c.shape.out_channels, c.shape.cols(), c.density, random);
    const auto csr = structure.view();
    const auto values = random_vector<T>(csr.nnz, random), grad = random_vector<T>(sizes.output, random);
    std::vector<Triple> triples;
    for (const auto& t : products_of(c.shape, csr)) {
      triples.push_back({t.b, t.a, t.out});
    }
    const auto expected = expect_products<T>(sizes.input, triples, values, grad, {});
    expect_on_every_isa(expected, c.name(), [&](Isa isa, const ParallelFor& parallel) {
      auto output = unwritten<T>(sizes.input);
      conv2d_backward_input<T>({csr, values.data(), nullptr, Activation::kNone, c.shape, grad.data(), output.data(), false},
                               parallel, isa);
      return output;
    });
  });
}

TYPED_TEST(Conv2dCsr, GradientOfTheValuesMatches) {
  using T = TypeParam;
  for_each_case([](const Case& c, std::mt19937& random) {
    const Sizes sizes(c.shape);
    const auto structure = random_structure(c.shape.out_channels, c.shape.cols(), c.density, random);
    const auto csr = structure.view();
    const auto grad = random_vector<T>(sizes.output, random), input = random_vector<T>(sizes.input, random);
    std::vector<Triple> triples;
    for (const auto& t : products_of(c.shape, csr)) {
      triples.push_back({t.a, t.out, t.b});
    }
    const auto expected = expect_products<T>(csr.nnz, triples, grad, input, {});
    expect_on_every_isa(expected, c.name(), [&](Isa isa, const ParallelFor& parallel) {
      auto output = unwritten<T>(csr.nnz);
      conv2d_backward_values<T>({csr, c.shape, grad.data(), input.data(), output.data()}, parallel, isa);
      return output;
    });
  });
}

}  // namespace
}  // namespace jouleprune::kernels::csr::testing
