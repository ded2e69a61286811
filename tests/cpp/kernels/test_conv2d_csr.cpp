#include <sstream>

#include "kernels/csr/conv_raster.h"
#include "kernels/csr/raster.h"
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
          {{2, 64, 12, 12, 24, 3, 3, 1, 1, 1, 1}, 0.05},
          {{1, 5, 1, 300, 40, 1, 7, 1, 1, 0, 3}, 0.4},             // one dimension
          {{2, 3, 1, 41, 33, 1, 5, 1, 2, 0, 4, 1, 2}, 0.4},
          {{1, 3, 30, 1, 5, 4, 1, 2, 1, 1, 0}, 0.6},
          {{2, 20, 4, 16, 70, 1, 1}, 0.3},                         // planes of whole vectors, several groups of rows
          {{2, 20, 5, 9, 70, 1, 1}, 0.3},                          // pixels left over
          {{3, 6, 2, 3, 35, 1, 1}, 0.5},                           // planes shorter than a vector
          {{2, 4, 9, 9, 6, 1, 1, 2, 2}, 0.6},                      // pointwise, strided
          {{3, 33, 7, 7, 64, 3, 3, 1, 1, 1, 1}, 0.2},              // several images together
          {{2, 36, 6, 5, 72, 3, 3, 2, 2, 1, 1, 1, 1, 12}, 0.5}};
}

template <class Body>
void for_each_case(const Body& body) {
  std::mt19937 random(5);
  const auto from = [&](int64_t low, int64_t high) { return low + static_cast<int64_t>(random() % (high - low + 1)); };
  for (const auto& c : fixed_cases()) {
    body(c, random);
  }
  for (int i = 0; i < random_cases(120); ++i) {
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

/// [batch, channels, plane] -> [batch, plane, channels]
template <class T>
std::vector<T> to_channels_last(const std::vector<T>& planes, int64_t channels, int64_t plane) {
  std::vector<T> out(planes.size());
  for (size_t i = 0; i < planes.size(); ++i) {
    const int64_t at = static_cast<int64_t>(i), pixel = at % plane, channel = at / plane % channels;
    const int64_t image = at / plane / channels;
    out[(image * plane + pixel) * channels + channel] = planes[i];
  }
  return out;
}
template <class T>
std::vector<T> to_planes(const std::vector<T>& pixels, int64_t channels, int64_t plane) {
  return to_channels_last(pixels, plane, channels);
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
      for (const bool input_channels_last : {false, true}) {
        for (const bool code : {true, false}) {
          const std::string what = c.name() + (channels_last ? " channels last" : "") +
                                   (input_channels_last ? " from channels last" : "") + (code ? "" : " without code");
          const auto arranged = input_channels_last ? to_channels_last(input, s.in_channels, s.height * s.width) : input;
          expect_on_every_isa(expected, what, [&](Isa isa, const ParallelFor& parallel) {
            auto output = unwritten<T>(sizes.output);
            conv2d<T>({csr, values.data(), bias.data(), activation, s, arranged.data(), output.data(), channels_last, nullptr,
                       input_channels_last, code},
                      parallel, isa);
            return channels_last ? to_planes(output, s.out_channels, plane) : output;
          });
        }
      }
    }
  });
}

/// Any plan gives the right sums, however sensible: small sections, tiles and blocks, panels of any size.
TYPED_TEST(Conv2dCsr, EveryPlanMatches) {
  using T = TypeParam;
  for_each_case([](const Case& c, std::mt19937& random) {
    const ConvShape& s = c.shape;
    const Sizes sizes(s);
    if (sizes.output == 0) {
      return;
    }
    const auto structure = random_structure(s.out_channels, s.cols(), c.density, random);
    const auto csr = structure.view();
    const auto values = random_vector<T>(csr.nnz, random), input = random_vector<T>(sizes.input, random);
    const auto expected = expect_products<T>(sizes.output, products_of(s, csr), values, input, {}, Activation::kNone);
    const auto from = [&](int64_t low, int64_t high) { return low + static_cast<int64_t>(random() % (high - low + 1)); };
    for (const bool panels : {false, true}) {
      ConvPlan plan;
      plan.panels = panels;
      plan.column_block = from(0, 1) * from(1, 40);
      plan.tile_vectors = from(1, 9);
      plan.part_groups = from(1, 4);
      plan.images = from(1, s.batch);
      plan.height = from(1, s.out_height());
      plan.width = from(0, 1) == 0 ? s.out_width() : from(1, s.out_width());
      for (const bool code : {true, false}) {
        expect_on_every_isa(expected, c.name() + (panels ? " panels" : " raster"), [&](Isa isa, const ParallelFor& parallel) {
          auto output = unwritten<T>(sizes.output);
          const ConvParams<T> params{csr,           values.data(), nullptr, Activation::kNone, s, input.data(),
                                     output.data(), false,         nullptr, false, code};
          if (isa == Isa::kReference) {
            conv2d(params, parallel, isa);
          } else {
            conv2d_raster(params, plan, parallel, isa);
          }
          return output;
        });
      }
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

/// 3 x 3, padded by 1; weights, inputs and what comes out are named by position.
struct Special {
  ConvShape shape{1, 2, 6, 20, 33, 3, 3, 1, 1, 1, 1};
  Structure structure;
  std::vector<float> values, input;

  Special() {
    structure = {33, 18, {}, {0}};
    for (int32_t row = 0; row < 33; ++row) {
      structure.col_indices.push_back(4);  // the middle tap of channel 0, and of channel 1 in row 32
      if (row == 32) {
        structure.col_indices.push_back(13);
      }
      structure.row_offsets.push_back(static_cast<int32_t>(structure.col_indices.size()));
    }
    values.assign(34, 1.0f);
    input.assign(2 * 120, 1.0f);
  }
  std::vector<float> run(Isa isa, bool code, bool relu = false) const {
    std::vector<float> output(33 * 120);
    conv2d<float>({structure.view(), values.data(), nullptr, relu ? Activation::kRelu : Activation::kNone,
                   shape, input.data(), output.data(), false, nullptr, false,
                   code},
                  serial, isa);
    return output;
  }
};

TEST(Conv2dCsrSpecial, RemovedWeightsNeverMultiply) {
  Special s;
  std::fill(s.input.begin() + 120, s.input.end(), std::numeric_limits<float>::quiet_NaN());  // channel 1: one row has a weight
  for (const Isa isa : supported_isas()) {
    for (const bool code : {true, false}) {
      const auto output = s.run(isa, code);
      for (int64_t i = 0; i < 33 * 120; ++i) {
        EXPECT_EQ(std::isnan(output[i]), i >= 32 * 120) << isa_name(isa) << ' ' << i;
      }
    }
  }
}

TEST(Conv2dCsrSpecial, InfinityAndNanArriveWhereTheyAre) {
  Special s;
  s.input[45] = std::numeric_limits<float>::infinity();
  s.input[46] = std::numeric_limits<float>::quiet_NaN();
  for (const Isa isa : supported_isas()) {
    for (const bool relu : {false, true}) {
      const auto output = s.run(isa, true, relu);
      for (int64_t i = 0; i < 120; ++i) {
        EXPECT_EQ(std::isinf(output[i]), i == 45) << isa_name(isa);
        EXPECT_EQ(std::isnan(output[i]), i == 46) << isa_name(isa);
      }
    }
  }
}

/// Padding is zeros, as if the input had been padded by hand: an infinite weight makes NaN of it.
TEST(Conv2dCsrSpecial, InfiniteWeightTimesPaddingIsNan) {
  Special s;
  std::fill_n(s.structure.col_indices.begin(), 33, 3);  // the left tap
  s.structure.col_indices[33] = 13;
  s.values[0] = std::numeric_limits<float>::infinity();
  for (const Isa isa : supported_isas()) {
    if (isa == Isa::kReference) {
      continue;  // it skips what is outside
    }
    for (const bool code : {true, false}) {
      const auto output = s.run(isa, code);
      for (int64_t i = 0; i < 120; ++i) {
        EXPECT_EQ(std::isnan(output[i]), i % 20 == 0) << isa_name(isa) << ' ' << i;
        EXPECT_EQ(std::isinf(output[i]), i % 20 != 0) << isa_name(isa) << ' ' << i;
      }
    }
  }
}

TEST(Conv2dCsrSpecial, DenormalWeightsAreZero) {
  Special s;
  s.values[0] = 1e-40f;
  for (const Isa isa : supported_isas()) {
    if (isa != Isa::kReference) {
      EXPECT_EQ(s.run(isa, true)[0], 0.0f) << isa_name(isa);
      EXPECT_EQ(s.run(isa, false)[0], 0.0f) << isa_name(isa);
    }
  }
}

class KeptForms : public PackedForms {
 public:
  std::shared_ptr<const PackedForm> get(const FormName& name, const Make& make) override {
    for (const auto& [known, form] : forms_) {
      if (known == name) {
        return form;
      }
    }
    forms_.emplace_back(name, make());
    return forms_.back().second;
  }
  std::array<int64_t, 2> structure_key() const override { return {1, 2}; }
  size_t size() const { return forms_.size(); }

 private:
  std::vector<std::pair<FormName, std::shared_ptr<const PackedForm>>> forms_;
};

/// Forms are told apart by all that shapes them: sizes, batch and layouts in turn, over one store.
TEST(Conv2dCsrForms, OneStoreServesAllShapes) {
  std::mt19937 random(3);
  for (const int64_t taps : {1, 3}) {
    const auto structure = random_structure(40, 8 * taps * taps, 0.4, random);
    const auto csr = structure.view();
    const auto values = random_vector<float>(csr.nnz, random);
    for (const Isa isa : supported_isas()) {
      KeptForms forms;
      for (int round = 0; round < 2; ++round) {
        for (const int64_t height : {4, 7, 16}) {
          for (const int64_t stride : {1, 2}) {
            for (const int64_t batch : {1, 3}) {
              for (const bool code : {true, false}) {
                for (const bool relu : {false, true}) {
                  const ConvShape s{batch, 8, height, height, 40, taps, taps, stride, stride, taps / 2, taps / 2};
                  const Sizes sizes(s);
                  const auto input = random_vector<float>(sizes.input, random);
                  auto fresh = unwritten<float>(sizes.output), kept = fresh;
                  ConvParams<float> params{csr,          values.data(), nullptr, relu ? Activation::kRelu : Activation::kNone, s, input.data(),
                                           fresh.data(), false,         nullptr, false, code};
                  conv2d(params, serial, isa);
                  params.output = kept.data();
                  params.forms = &forms;
                  conv2d(params, serial, isa);
                  ASSERT_EQ(std::memcmp(fresh.data(), kept.data(), fresh.size() * sizeof(float)), 0) << isa_name(isa);
                }
              }
            }
          }
        }
      }
      EXPECT_LE(forms.size(), 30u);
    }
  }
}

TEST(ConvPlan, PixelsAreGatheredWhereJunkIsDear) {
  const ConvMachine machine;
  EXPECT_TRUE(plan_conv({8, 512, 7, 7, 512, 3, 3, 1, 1, 1, 1}, 512 * 4608 / 10, machine).panels);
  EXPECT_FALSE(plan_conv({1, 64, 56, 56, 64, 3, 3, 1, 1, 1, 1}, 64 * 576 / 10, machine).panels);
  const ConvPlan pointwise = plan_conv({1, 256, 28, 28, 256}, 256 * 256 / 10, machine);
  EXPECT_TRUE(pointwise.plain && pointwise.straight_out && !pointwise.panels);
}

TEST(ConvPlan, LargeImagesAreCut) {
  const ConvPlan rows = plan_conv({1, 64, 500, 500, 64, 3, 3, 1, 1, 1, 1}, 64 * 576 / 10, {});
  EXPECT_LT(rows.height, 100);
  EXPECT_EQ(rows.width, 500);
  const ConvPlan line = plan_conv({1, 64, 1, 100'000, 64, 1, 9, 1, 1, 0, 4}, 64 * 576 / 10, {});
  EXPECT_EQ(line.height, 1);
  EXPECT_LT(line.width, 10'000);
}

TEST(Raster, NeighbouringRowsShareTheirPadding) {
  const Raster raster({1, 2, 10, 12, 1, 3, 3, 1, 1, 1, 1}, 1, 10, 12);
  EXPECT_EQ(raster.layout().pitch, 13);
  EXPECT_EQ(raster.phases(), 1);
  const Raster strided({1, 2, 10, 12, 1, 3, 3, 2, 2, 1, 1}, 1, 5, 6);
  EXPECT_EQ(strided.phases(), 4);
  EXPECT_EQ(Raster({1, 2, 10, 12, 1, 1, 1, 2, 2}, 1, 5, 6).phases(), 1);  // others are read by no tap
}

}  // namespace
}  // namespace jouleprune::kernels::csr::testing
