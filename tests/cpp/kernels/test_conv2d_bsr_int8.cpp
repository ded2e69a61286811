// As test_linear_bsr_int8.cpp: kernels give the reference's bits, the reference what sums in double say.
#include <sstream>

#include "kernels/bsr_int8/bsr_int8_kernels.h"
#include "kernels/bsr_int8/conv_sections.h"
#include "products.h"

namespace jouleprune::kernels::bsr_int8::testing {
namespace {

using csr::ConvShape;
using csr::testing::random_structure;
using csr::testing::Structure;
using csr::testing::threads;
using csr::testing::unwritten;

template <class T>
class Conv2dBsrInt8 : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, BFloat16, Half>;
TYPED_TEST_SUITE(Conv2dBsrInt8, ElementTypes);

struct Case {
  ConvShape shape;
  double density;
  float input_scale = 0;
  bool bias = true, relu = false;

  std::string name() const {
    std::ostringstream out;
    out << "conv";
    for (const int64_t size : {shape.batch, shape.in_channels, shape.height, shape.width, shape.out_channels, shape.kernel_h,
                               shape.kernel_w, shape.stride_h, shape.stride_w, shape.padding_h, shape.padding_w, shape.dilation_h,
                               shape.dilation_w, shape.groups}) {
      out << ' ' << size;
    }
    out << " density " << density << " scale " << input_scale;
    return out.str();
  }
};

/// Odd ones first: batch 0, no channels, one pixel, no kept weights, more padding than input, no input pixels.
std::vector<Case> fixed_cases() {
  return {{{0, 2, 5, 5, 3, 3, 3}, 0.5},
          {{1, 0, 5, 5, 3, 3, 3}, 0.5},
          {{1, 2, 5, 5, 0, 3, 3}, 0.5},
          {{2, 3, 4, 5, 4, 3, 3}, 0},
          {{1, 1, 1, 1, 1, 1, 1}, 1},
          {{1, 4, 0, 3, 3, 2, 1, 1, 1, 2, 0}, 1},
          {{2, 2, 1, 1, 3, 3, 3, 1, 1, 4, 4}, 1, 0.01f},
          {{1, 3, 8, 8, 5, 1, 1}, 0.5},
          {{3, 4, 7, 9, 6, 3, 2, 2, 3, 1, 2, 2, 1, 2}, 0.5},
          {{2, 12, 6, 6, 12, 3, 3, 1, 1, 1, 1, 1, 1, 12}, 0.7},   // depthwise
          {{1, 3, 20, 41, 34, 5, 5, 2, 2, 2, 2}, 0.2, 0.005f},
          {{2, 64, 12, 12, 24, 3, 3, 1, 1, 1, 1}, 0.05},
          {{1, 65, 9, 20, 40, 3, 3, 1, 1, 1, 1}, 0.3, 0.01f, true, true},
          {{1, 5, 1, 300, 40, 1, 7, 1, 1, 0, 3}, 0.4},            // one dimension
          {{2, 3, 1, 41, 33, 1, 5, 1, 2, 0, 4, 1, 2}, 0.4},
          {{1, 3, 30, 1, 5, 4, 1, 2, 1, 1, 0}, 0.6},
          {{2, 20, 4, 16, 70, 1, 1}, 0.3},                        // planes of whole vectors, several groups of rows
          {{2, 21, 5, 9, 70, 1, 1}, 0.3, 0, false, true},         // pixels left over
          {{3, 6, 2, 3, 35, 1, 1}, 0.5},                          // planes shorter than a vector
          {{2, 4, 9, 9, 6, 1, 1, 2, 2}, 0.6, 0.01f},              // pointwise, strided: some pixels are never read
          {{9, 33, 7, 7, 64, 3, 3, 1, 1, 1, 1}, 0.2},             // several images together
          {{2, 72, 6, 5, 72, 3, 3, 2, 2, 1, 1, 1, 1, 4}, 0.5},
          {{1, 128, 9, 9, 300, 3, 3, 1, 1, 1, 1}, 0.6}};          // a weight that one tile's pass is too dear for
}

template <class Body>
void for_each_case(int usual, const Body& body) {
  std::mt19937 random(5);
  const auto from = [&](int64_t low, int64_t high) { return low + static_cast<int64_t>(random() % (high - low + 1)); };
  for (const auto& c : fixed_cases()) {
    body(c, random);
  }
  for (int i = 0; i < csr::testing::random_cases(usual); ++i) {
    ConvShape s;
    s.groups = from(1, 3);
    s.batch = from(0, 3), s.in_channels = s.groups * from(1, 9), s.out_channels = s.groups * from(1, 12);
    s.kernel_h = from(1, 3), s.kernel_w = from(1, 4), s.stride_h = from(1, 3), s.stride_w = from(1, 3);
    s.padding_h = from(0, 2), s.padding_w = from(0, 3), s.dilation_h = from(1, 2), s.dilation_w = from(1, 3);
    s.height = s.dilation_h * (s.kernel_h - 1) + from(1, 6), s.width = s.dilation_w * (s.kernel_w - 1) + from(1, 40);
    body(Case{s, from(0, 9) / 10.0, i % 3 == 0 ? 0.006f : 0.0f, i % 2 == 0, i % 5 == 0}, random);
  }
}

/// [batch, channels, plane] -> [batch, plane, channels]; with channels and plane exchanged the way back.
template <class T>
std::vector<T> turned(const std::vector<T>& planes, int64_t channels, int64_t plane) {
  std::vector<T> out(planes.size());
  for (size_t i = 0; i < planes.size(); ++i) {
    const int64_t at = static_cast<int64_t>(i), pixel = at % plane, channel = at / plane % channels, image = at / plane / channels;
    out[static_cast<size_t>((image * plane + pixel) * channels + channel)] = planes[i];
  }
  return out;
}

template <class T>
struct Problem {
  ConvShape shape;
  Structure structure;
  std::vector<int8_t> blocks;
  std::vector<float> scales, bias;
  std::vector<T> input, pixels;  ///< the same, channels first and last
  ConvParams<T> params;

  Problem(const Case& c, std::mt19937& random)
      : shape(c.shape), structure(random_structure(shape.out_channels, quad_columns(shape), c.density, random)),
        scales(csr::testing::random_vector<float>(shape.out_channels, random)),
        bias(csr::testing::random_vector<float>(shape.out_channels, random)),
        input(csr::testing::random_vector<T>(shape.batch * shape.in_channels * shape.height * shape.width, random)) {
    for (size_t i = 0; i < structure.col_indices.size() * kQuad; ++i) {
      blocks.push_back(static_cast<int8_t>(random()));  // what reaches beyond the channels included
    }
    params.weight = {structure.view(), blocks.data(), scales.data(), c.bias ? bias.data() : nullptr, c.relu};
    params.shape = shape;
    params.input_scale = c.input_scale;
    set_input(input);
  }

  void set_input(const std::vector<T>& planes) {
    input = planes;
    pixels = turned(input, shape.in_channels, shape.height * shape.width);
  }

  /// The output with channels first, whatever the formats.
  std::vector<T> run(Isa isa, bool input_last = false, bool output_last = false, const ParallelFor& parallel = serial) {
    auto output = unwritten<T>(shape.pixels() * shape.out_channels);
    params.input = input_last ? pixels.data() : input.data();
    params.input_channels_last = input_last;
    params.output = output.data();
    params.output_channels_last = output_last;
    conv2d<T>(params, parallel, isa);
    return output_last ? turned(output, shape.out_height() * shape.out_width(), shape.out_channels) : output;
  }
};

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

template <class T>
void expect_equal_everywhere(Problem<T>& problem, const std::string& what) {
  const auto expected = problem.run(Isa::kReference);
  for (const Isa isa : supported_isas()) {
    for (int way = 0; way < 8; ++way) {
      const bool input_last = way & 1, output_last = way & 2;
      problem.params.with_code = (way & 4) == 0;
      const int count = 1 + way % 3;
      for (const int64_t bytes : {0, 1500}) {  // the second: many small sections
        problem.params.section_bytes = bytes;
        ASSERT_TRUE(same_bits(problem.run(isa, input_last, output_last, threads(count)), expected))
            << what << " on " << isa_name(isa) << (way & 4 ? " without code" : "") << " with " << count << " threads, channels last "
            << input_last << output_last << " sections of " << bytes;
      }
    }
  }
}

TYPED_TEST(Conv2dBsrInt8, ReferenceMatchesSumsInDouble) {
  using T = TypeParam;
  for_each_case(60, [](const Case& c, std::mt19937& random) {
    const ConvShape& s = c.shape;
    Problem<T> problem(c, random);
    const auto got = problem.run(Isa::kReference);
    const auto csr = problem.structure.view();
    const int64_t per_tap = quads_of(s.in_channels / s.groups), in_group = s.in_channels / s.groups;
    const int64_t image_size = s.in_channels * s.height * s.width;
    std::vector<double> steps;
    for (int64_t b = 0; b < s.batch; ++b) {
      double largest = 0;
      for (int64_t e = 0; e < image_size; ++e) {
        largest = std::max(largest, std::abs(static_cast<double>(widen(problem.input[b * image_size + e]))));
      }
      steps.push_back(c.input_scale > 0 ? static_cast<double>(c.input_scale) : largest > 0 ? largest / 127 : 1);
    }
    for (size_t at = 0; at < got.size(); ++at) {
      const int64_t i = static_cast<int64_t>(at), ox = i % s.out_width(), oy = i / s.out_width() % s.out_height();
      const int64_t r = i / s.out_width() / s.out_height() % s.out_channels, b = i / s.out_width() / s.out_height() / s.out_channels;
      const double step = steps[static_cast<size_t>(b)];
      // Rounding the inputs moves each by at most half a step (and a value between two steps may go either way in float).
      double exact = c.bias ? problem.bias[r] : 0, slack = 0;
      for (int64_t k = csr.row_offsets[r]; k < csr.row_offsets[r + 1]; ++k) {
        const int64_t tap = csr.col_indices[k] / per_tap, quad = csr.col_indices[k] % per_tap;
        const int64_t y = oy * s.stride_h + tap / s.kernel_w * s.dilation_h - s.padding_h;
        const int64_t x = ox * s.stride_w + tap % s.kernel_w * s.dilation_w - s.padding_w;
        for (int64_t e = 0; e < kQuad; ++e) {
          const int64_t channel = quad * kQuad + e;
          if (channel < in_group && y >= 0 && y < s.height && x >= 0 && x < s.width) {
            const int64_t in_channel = r / (s.out_channels / s.groups) * in_group + channel;
            const double weight = problem.blocks[k * kQuad + e] * static_cast<double>(problem.scales[r]);
            const double value = widen(problem.input[((b * s.in_channels + in_channel) * s.height + y) * s.width + x]);
            exact += weight * std::clamp(value, -127 * step, 127 * step);
            slack += std::abs(weight) * 0.5001 * step;
          }
        }
      }
      exact = c.relu && exact < 0 ? 0 : exact;
      const double rounding = csr::testing::kRounding<T> * (std::abs(exact) + slack) + 1e-6;
      ASSERT_NEAR(static_cast<double>(widen(got[at])), exact, slack + rounding) << c.name() << " element " << at;
    }
  });
}

TYPED_TEST(Conv2dBsrInt8, EveryKernelGivesTheBitsOfTheReference) {
  for_each_case(60, [](const Case& c, std::mt19937& random) {
    Problem<TypeParam> problem(c, random);
    expect_equal_everywhere(problem, c.name());
  });
}

TYPED_TEST(Conv2dBsrInt8, LargestSumsDoNotOverflow) {
  std::mt19937 random(1);
  Problem<TypeParam> problem({{1, kMaxInFeatures / 2, 1, 2, 3, 1, 2}, 1}, random);
  std::fill(problem.blocks.begin(), problem.blocks.end(), static_cast<int8_t>(-128));
  problem.set_input(std::vector<TypeParam>(problem.input.size(), narrow<TypeParam>(-1.0f)));
  expect_equal_everywhere(problem, "largest sums");
}

TYPED_TEST(Conv2dBsrInt8, ImagesOfZerosTinyAndHugeNumbers) {
  using T = TypeParam;
  for (const float scale : {0.0f, 0.25f}) {
    std::mt19937 random(2);
    Problem<T> problem({{8, 6, 5, 9, 7, 3, 3, 1, 1, 1, 1}, 0.6, scale}, random);
    const float factors[] = {0, -0.0f, 1e-44f, 1e-38f, 1e-30f, 1, 1e30f, 3e38f};
    auto input = problem.input;
    const size_t image = input.size() / 8;
    for (size_t i = 0; i < input.size(); ++i) {
      input[i] = narrow<T>(widen(input[i]) * factors[i / image]);
      if (std::isinf(widen(input[i]))) input[i] = narrow<T>(1.0f);
    }
    problem.set_input(input);
    expect_equal_everywhere(problem, "magnitudes");
    const auto output = problem.run(active_isa());
    for (int64_t i = 0; i < 7 * 45; ++i) {
      EXPECT_EQ(widen(output[i]), widen(narrow<T>(problem.bias[i / 45]))) << "an image of zeros gives the bias";
    }
  }
}

TYPED_TEST(Conv2dBsrInt8, NanMakesItsImageNan) {
  using T = TypeParam;
  for (const int64_t stride : {1, 2}) {
    for (const float scale : {0.0f, 0.25f}) {
      std::mt19937 random(3);
      Problem<T> problem({{4, 9, 6, 21, 20, 1, 1, stride, stride}, 0.6, scale, true, true}, random);
      auto input = problem.input;
      const int64_t image = 9 * 6 * 21;
      input[1 * image + 5 * 21 * 6 + 21 + 1] = narrow<T>(std::numeric_limits<float>::quiet_NaN());  // stride 2 never reads it
      input[2 * image + 3] = narrow<T>(-std::numeric_limits<float>::infinity());
      problem.set_input(input);
      const auto expected = problem.run(Isa::kReference);
      for (const Isa isa : supported_isas()) {
        for (int way = 0; way < 8; ++way) {
          problem.params.with_code = (way & 4) == 0;
          problem.params.section_bytes = way % 3 == 0 ? 700 : 0;
          const auto output = problem.run(isa, way & 1, way & 2, threads(2));
          for (size_t i = 0; i < output.size(); ++i) {
            const size_t at = i / (output.size() / 4);
            const bool lost = at == 1 || (at == 2 && scale == 0);
            ASSERT_EQ(std::isnan(widen(output[i])), lost) << isa_name(isa) << " image " << at << " way " << way;
            ASSERT_TRUE(lost || widen(output[i]) == widen(expected[i])) << isa_name(isa) << " image " << at << " way " << way;
          }
        }
      }
    }
  }
}

TEST(SectionSize, WholeImagesThenRowsThenPartsOfARow) {
  const ConvShape small{100, 16, 14, 14, 8, 3, 3, 1, 1, 1, 1};  // a raster of about 16 KB
  EXPECT_GT(section_size(small, 0)->images, 8);
  EXPECT_LT(section_size(small, 0)->images, 100);
  const ConvShape tall{1, 16, 4000, 300, 8, 3, 3, 1, 1, 1, 1};
  EXPECT_EQ(section_size(tall, 0)->images, 1);
  EXPECT_LT(section_size(tall, 0)->height, 100);
  EXPECT_EQ(section_size(tall, 0)->width, 300);
  const ConvShape wide{1, 4, 1, 5'000'000, 8, 1, 3, 1, 1, 0, 1};
  EXPECT_LT(section_size(wide, 0)->width, 100'000);
  const ConvShape sparse{1, 1 << 20, 1, 1, 1, 3, 3, 1, 1, 60, 60, 60, 60};  // 120 rows of 120 words in each of a million planes
  EXPECT_FALSE(section_size(sparse, 0).has_value());
}

}  // namespace
}  // namespace jouleprune::kernels::bsr_int8::testing
