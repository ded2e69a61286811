// Activations that come or leave as bytes: the bits are those of quantising, multiplying and quantising one after the other, each by
// its reference, on every instruction set and for any number of threads.
#include <sstream>

#include "kernels/bsr_int8/bsr_int8_kernels.h"
#include "kernels/bsr_int8/quantise.h"
#include "products.h"

namespace jouleprune::kernels::bsr_int8::testing {
namespace {

using csr::ConvShape;
using csr::testing::random_structure;
using csr::testing::random_vector;
using csr::testing::Structure;
using csr::testing::threads;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

/// NaN has many bits, of which each kernel may give its own.
std::vector<float> one_nan(std::vector<float> values) {
  std::replace_if(values.begin(), values.end(), [](float x) { return std::isnan(x); }, kNan);
  return values;
}

struct Bytes {
  std::vector<uint8_t> bytes;
  std::vector<float> scales;

  Bytes(int64_t rows, int64_t cols) : bytes(static_cast<size_t>(rows * cols), 77), scales(static_cast<size_t>(rows), -5) {}
  /// The bytes of a lost row mean nothing.
  friend bool operator==(const Bytes& a, const Bytes& b) {
    if (a.bytes.size() != b.bytes.size() || !same_bits(one_nan(a.scales), one_nan(b.scales))) {
      return false;
    }
    const auto rows = static_cast<std::ptrdiff_t>(a.scales.size());
    const auto cols = static_cast<std::ptrdiff_t>(a.bytes.size()) / std::max<std::ptrdiff_t>(rows, 1);
    for (std::ptrdiff_t row = 0; row < rows; ++row) {
      const auto first = a.bytes.begin() + row * cols;
      if (!std::isnan(a.scales[static_cast<size_t>(row)]) && !std::equal(first, first + cols, b.bytes.begin() + row * cols)) {
        return false;
      }
    }
    return true;
  }
};

Bytes quantised(const std::vector<float>& x, int64_t rows, int64_t cols, float given, Isa isa = Isa::kReference,
                const ParallelFor& parallel = serial) {
  Bytes out(rows, cols);
  quantise({x.data(), rows, cols, cols, given, out.bytes.data(), out.scales.data()}, parallel, isa);
  return out;
}

/// A weight with everything that it borrows.
struct OwnedWeight {
  Structure structure;
  std::vector<int8_t> blocks;
  std::vector<float> scales, bias;

  OwnedWeight(int64_t rows, int64_t quad_cols, double density, std::mt19937& random)
      : structure(random_structure(rows, quad_cols, density, random)), scales(random_vector<float>(rows, random)),
        bias(random_vector<float>(rows, random)) {
    for (size_t i = 0; i < structure.col_indices.size() * kQuad; ++i) {
      blocks.push_back(static_cast<int8_t>(random()));
    }
  }
  Weight view(bool with_bias, bool relu) const {
    return {structure.view(), blocks.data(), scales.data(), with_bias ? bias.data() : nullptr, relu};
  }
};

struct LinearCase {
  int64_t n, rows, in_features;
  double density;
  float input_scale = 0;
  bool bias = true, relu = false;
};

std::vector<LinearCase> linear_cases(std::mt19937& random) {
  std::vector<LinearCase> cases = {{0, 3, 4, 0.5},      {1, 0, 4, 0.5},      {9, 3, 0, 0.5},   {1, 1, 1, 1},     {19, 7, 11, 0},
                                   {33, 5, 1, 0.5},     {8, 17, 63, 1},      {15, 16, 64, 0.3}, {17, 63, 65, 0.3}, {64, 64, 128, 0.1},
                                   {65, 65, 129, 0.5},  {16, 128, 256, 0.4}, {70, 200, 90, 0.4}, {5, 150, 300, 0.2},
                                   {100, 700, 2100, 0.8}};
  for (int i = 0; i < csr::testing::random_cases(150); ++i) {
    cases.push_back({static_cast<int64_t>(random() % (i % 4 == 0 ? 150 : 20)), static_cast<int64_t>(random() % 150),
                     static_cast<int64_t>(random() % 200), static_cast<double>(random() % 10) / 10.0,
                     i % 3 == 0 ? 0.01f : 0.0f, i % 2 == 0, i % 5 == 0});
  }
  return cases;
}

/// Now and then a NaN or an infinity among the values.
void spoil(std::vector<float>& values, std::mt19937& random) {
  if (!values.empty() && random() % 2 == 0) {
    values[random() % values.size()] = random() % 2 == 0 ? kNan : -std::numeric_limits<float>::infinity();
  }
}

TEST(BytesInt8, QuantisingRowsAndImages) {
  std::mt19937 random(1);
  for (const int64_t cols : {0, 1, 3, 15, 16, 17, 64, 100, 1000, 70'000, 131'073}) {
    for (const float given : {0.0f, 0.006f}) {
      auto x = random_vector<float>(7 * cols, random);
      if (cols > 0) {
        x[static_cast<size_t>(3 * cols - 1)] = kNan;
        x[static_cast<size_t>(5 * cols)] = std::numeric_limits<float>::infinity();
        std::fill_n(x.begin() + 6 * cols, cols, -0.0f);
      }
      const Bytes expected = quantised(x, 7, cols, given);
      for (const Isa isa : supported_isas()) {
        for (int count = 1; count <= 3; ++count) {
          ASSERT_EQ(quantised(x, 7, cols, given, isa, threads(count)), expected) << isa_name(isa) << " cols " << cols;
        }
      }
      if (cols > 0) {
        EXPECT_TRUE(std::isnan(expected.scales[2]));
        EXPECT_EQ(std::isnan(expected.scales[5]), given == 0);
        EXPECT_EQ(expected.bytes.back(), 128);
        EXPECT_EQ(expected.bytes.front(), 128 + bsr_int8::quantise(x[0], given > 0 ? 1 / given : 1 / expected.scales[0]));
      }
    }
  }
}

template <class In, class Out>
void run_linear(LinearParams<In, Out> params, int way, Isa isa) {
  params.with_code = params.small_kernels = way % 2 == 0;
  linear<In, Out>(params, threads(1 + way / 2), isa);
}

TEST(BytesInt8, LinearFromAndToBytes) {
  std::mt19937 random(2);
  for (const auto& c : linear_cases(random)) {
    OwnedWeight owned(c.rows, quads_of(c.in_features), c.density, random);
    auto x = random_vector<float>(c.n * c.in_features, random);
    spoil(x, random);
    if (random() % 8 == 0) {
      spoil(owned.bias, random);
    }
    const Weight weight = owned.view(c.bias, c.relu);
    std::vector<float> plain(static_cast<size_t>(c.n * c.rows));
    linear<float, float>({weight, c.in_features, c.n, x.data(), c.in_features, c.input_scale, plain.data()}, serial, Isa::kReference);
    const float out_scale = 0.37f;
    const Bytes in = quantised(x, c.n, c.in_features, c.input_scale), expected = quantised(plain, c.n, c.rows, out_scale);
    std::ostringstream name;
    name << c.n << " " << c.rows << " " << c.in_features << " density " << c.density << " scale " << c.input_scale;
    std::vector<Isa> isas = supported_isas();
    isas.push_back(Isa::kReference);
    for (const Isa isa : isas) {
      for (int way = 0; way < 6; ++way) {
        const std::string what = name.str() + " on " + isa_name(isa) + " way " + std::to_string(way);
        std::vector<float> floats(plain.size());
        run_linear<uint8_t, float>({weight, c.in_features, c.n, in.bytes.data(), c.in_features, 0, floats.data(), nullptr, true, true,
                                    in.scales.data()},
                                   way, isa);
        ASSERT_TRUE(same_bits(one_nan(floats), one_nan(plain))) << what;
        Bytes to(c.n, c.rows), both(c.n, c.rows);
        run_linear<float, uint8_t>({weight, c.in_features, c.n, x.data(), c.in_features, c.input_scale, to.bytes.data(), nullptr, true,
                                    true, nullptr, out_scale, to.scales.data()},
                                   way, isa);
        ASSERT_EQ(to, expected) << what;
        run_linear<uint8_t, uint8_t>({weight, c.in_features, c.n, in.bytes.data(), c.in_features, 0, both.bytes.data(), nullptr, true,
                                      true, in.scales.data(), out_scale, both.scales.data()},
                                     way, isa);
        ASSERT_EQ(both, expected) << what;
      }
    }
  }
}

struct ConvCase {
  ConvShape shape;
  double density;
  float input_scale = 0;
  bool bias = true, relu = false;
};

std::vector<ConvCase> conv_cases(std::mt19937& random) {
  std::vector<ConvCase> cases = {{{0, 2, 5, 5, 3, 3, 3}, 0.5},
                                 {{1, 2, 5, 5, 0, 3, 3}, 0.5},
                                 {{1, 1, 1, 1, 1, 1, 1}, 1},
                                 {{2, 2, 1, 1, 3, 3, 3, 1, 1, 4, 4}, 1, 0.01f},
                                 {{2, 12, 6, 6, 12, 3, 3, 1, 1, 1, 1, 1, 1, 12}, 0.7},
                                 {{1, 65, 9, 20, 40, 3, 3, 1, 1, 1, 1}, 0.3, 0.01f, true, true},
                                 {{2, 20, 4, 16, 70, 1, 1}, 0.3},
                                 {{9, 33, 7, 7, 64, 3, 3, 1, 1, 1, 1}, 0.2},
                                 {{2, 72, 6, 5, 72, 3, 3, 2, 2, 1, 1, 1, 1, 4}, 0.5, 0.006f},
                                 {{1, 64, 12, 50, 130, 3, 3, 1, 1, 1, 1}, 0.1, 0.006f, false, true}};
  const auto from = [&](int64_t low, int64_t high) { return low + static_cast<int64_t>(random() % (high - low + 1)); };
  for (int i = 0; i < csr::testing::random_cases(60); ++i) {
    ConvShape s;
    s.groups = from(1, 3);
    s.batch = from(0, 3), s.in_channels = s.groups * from(1, 9), s.out_channels = s.groups * from(1, 12);
    s.kernel_h = from(1, 3), s.kernel_w = from(1, 4), s.stride_h = from(1, 3), s.stride_w = from(1, 3);
    s.padding_h = from(0, 2), s.padding_w = from(0, 3), s.dilation_h = from(1, 2), s.dilation_w = from(1, 3);
    s.height = s.dilation_h * (s.kernel_h - 1) + from(1, 6), s.width = s.dilation_w * (s.kernel_w - 1) + from(1, 40);
    cases.push_back({s, from(0, 9) / 10.0, i % 3 == 0 ? 0.006f : 0.0f, i % 2 == 0, i % 5 == 0});
  }
  return cases;
}

/// way: threads, sections, code, format of the output; `last`: of the input.
template <class In, class Out>
void run_conv(ConvParams<In, Out> params, int way, bool last, Isa isa) {
  params.input_channels_last = last;
  params.with_code = way % 2 == 0;
  params.output_channels_last = way / 2 % 2 == 0;
  params.section_bytes = way % 3 == 0 ? 1500 : 0;
  conv2d<In, Out>(params, threads(1 + way % 3), isa);
}

TEST(BytesInt8, ConvolutionFromAndToBytes) {
  std::mt19937 random(3);
  for (const auto& c : conv_cases(random)) {
    const ConvShape& s = c.shape;
    OwnedWeight owned(s.out_channels, quad_columns(s), c.density, random);
    const int64_t image_in = s.in_channels * s.height * s.width, image_out = s.out_channels * s.out_height() * s.out_width();
    auto x = random_vector<float>(s.batch * image_in, random);
    spoil(x, random);
    const Weight weight = owned.view(c.bias, c.relu);
    const float out_scale = 0.37f;
    const Bytes in = quantised(x, s.batch, image_in, c.input_scale);
    for (int way = 0; way < 6; ++way) {
      const bool last = random() % 2 == 0;
      std::vector<float> plain(static_cast<size_t>(s.batch * image_out));
      run_conv<float, float>({weight, s, x.data(), false, c.input_scale, plain.data()}, way, last, Isa::kReference);
      const Bytes expected = quantised(plain, s.batch, image_out, out_scale);
      std::vector<Isa> isas = supported_isas();
      isas.push_back(Isa::kReference);
      for (const Isa isa : isas) {
        std::ostringstream what;
        what << isa_name(isa) << " way " << way << " channels " << s.in_channels << " " << s.out_channels << " of " << s.height << " x "
             << s.width << " kernel " << s.kernel_h << " x " << s.kernel_w << " stride " << s.stride_h << " " << s.stride_w << " last "
             << last << " scale " << c.input_scale << " relu " << c.relu;
        std::vector<float> floats(plain.size());
        run_conv<uint8_t, float>({weight, s, in.bytes.data(), false, 0, floats.data(), false, nullptr, true, 0, in.scales.data()}, way,
                                 last, isa);
        ASSERT_TRUE(same_bits(one_nan(floats), one_nan(plain))) << what.str();
        Bytes to(s.batch, image_out), both(s.batch, image_out);
        run_conv<float, uint8_t>({weight, s, x.data(), false, c.input_scale, to.bytes.data(), false, nullptr, true, 0, nullptr, out_scale,
                                  to.scales.data()},
                                 way, last, isa);
        run_conv<uint8_t, uint8_t>({weight, s, in.bytes.data(), false, 0, both.bytes.data(), false, nullptr, true, 0, in.scales.data(),
                                    out_scale, both.scales.data()},
                                   way, last, isa);
        ASSERT_EQ(to, expected) << what.str();
        ASSERT_EQ(both, expected) << what.str();
      }
    }
  }
}

TEST(BytesInt8, LargestSumsDoNotOverflow) {
  std::mt19937 random(4);
  const int64_t cols = kMaxInFeatures - 1;
  OwnedWeight owned(2, quads_of(cols), 1, random);
  std::fill(owned.blocks.begin(), owned.blocks.end(), static_cast<int8_t>(-128));
  const Weight weight = owned.view(false, false);
  const std::vector<uint8_t> bytes(static_cast<size_t>(18 * cols), 0);  // -128, which quantising never gives
  const std::vector<float> scales(18, 1);
  std::vector<float> expected(36);
  linear<uint8_t, float>({weight, cols, 18, bytes.data(), cols, 0, expected.data(), nullptr, true, true, scales.data()}, serial,
                         Isa::kReference);
  for (const Isa isa : supported_isas()) {
    for (int way = 0; way < 2; ++way) {
      std::vector<float> got(36);
      run_linear<uint8_t, float>({weight, cols, 18, bytes.data(), cols, 0, got.data(), nullptr, true, true, scales.data()}, way, isa);
      ASSERT_TRUE(same_bits(got, expected)) << isa_name(isa);
    }
  }
}

}  // namespace
}  // namespace jouleprune::kernels::bsr_int8::testing
