// Chains of layers against the same layers one by one: equal to the bit.
#include "kernels/csr/linear_chain.h"

#include <array>
#include <cstring>

#include "kernels/caches.h"
#include "kernels/csr/linear_code.h"
#include "products.h"

namespace jouleprune::kernels::csr::testing {
namespace {

struct Layers {
  std::vector<Structure> structures;
  std::vector<std::vector<float>> values, biases;
  std::vector<LinearParams<float>> params;
};

/// Layers between features of these sizes.
Layers random_layers(const std::vector<int64_t>& sizes, double density, int64_t n, std::mt19937& random) {
  Layers layers;
  for (size_t i = 0; i + 1 < sizes.size(); ++i) {
    layers.structures.push_back(random_structure(sizes[i + 1], sizes[i], density, random));
    layers.values.push_back(random_vector<float>(layers.structures.back().view().nnz, random));
    layers.biases.push_back(random_vector<float>(sizes[i + 1], random));
  }
  for (size_t i = 0; i < layers.structures.size(); ++i) {
    LinearParams<float> p;
    p.csr = layers.structures[i].view();
    p.values = layers.values[i].data();
    p.bias = random() % 3 == 0 ? nullptr : layers.biases[i].data();
    p.activation = random_activation(random);
    p.n = n;
    layers.params.push_back(p);
  }
  return layers;
}

std::vector<float> one_by_one(Layers layers, const std::vector<float>& input, int64_t stride, Isa isa) {
  std::vector<float> x = input, y;
  for (auto& p : layers.params) {
    y.assign(static_cast<size_t>(p.n * p.csr.rows), 0);
    p.input = x.data();
    p.input_stride = stride;
    p.output = y.data();
    linear_code(p, choose_linear_code(p.csr, p.n, isa, second_level_cache()), serial, isa);
    stride = p.csr.rows;
    x = y;
  }
  return y;
}

TEST(LinearChain, EqualsItsLayersOneByOne) {
  std::mt19937 random(3);
  std::vector<std::vector<int64_t>> sizes = {{7, 1, 9}, {1, 1, 1}, {33, 31, 17, 65}, {64, 64, 64}, {300, 40, 500}, {5, 0, 4}, {70, 90},
                                             {400, 450, 390, 410}};
  for (int i = 0; i < random_cases(40); ++i) {
    std::vector<int64_t>& some = sizes.emplace_back();
    for (uint64_t k = 0; k < 2 + random() % 4; ++k) some.push_back(static_cast<int64_t>(random() % 80));
  }
  for (const Isa isa : {Isa::kAvx2, Isa::kAvx512}) {
    if (!isa_supported(isa) || !has_linear_code<float>(isa)) continue;
    for (const auto& features : sizes) {
      for (const double density : {0.02, 0.3}) {
        const int64_t n = std::array{9, 16, 31, 130, 400}[random() % 5], stride = features.front() + static_cast<int64_t>(random() % 3);
        Layers layers = random_layers(features, density, n, random);
        const auto input = random_vector<float>(n * stride, random);
        const auto expected = one_by_one(layers, input, stride, isa);
        for (int count = 1; count <= 3; ++count) {
          auto output = unwritten<float>(n * features.back());
          layers.params.front().input = input.data();
          layers.params.front().input_stride = stride;
          layers.params.back().output = output.data();
          linear_chain(layers.params, threads(count), isa);
          ASSERT_TRUE(expected.empty() || std::memcmp(expected.data(), output.data(), expected.size() * sizeof(float)) == 0)
              << isa_name(isa) << ", n " << n << ", " << features.size() - 1 << " layers from " << features.front() << ", " << count
              << " threads";
        }
      }
    }
  }
}

TEST(LinearChain, OrdersOfCodeByCache) {
  std::mt19937 random(1);
  const auto large = random_structure(1024, 1024, 0.2, random), small = random_structure(1024, 1024, 0.02, random);
  constexpr int64_t kMegabyte = 1 << 20;
  EXPECT_EQ(choose_linear_code(large.view(), 256, Isa::kAvx512, 2 * kMegabyte), (LinearCodeChoice{CodeOrder::kGroupOuter, 0}));
  EXPECT_EQ(choose_linear_code(small.view(), 256, Isa::kAvx512, 2 * kMegabyte), (LinearCodeChoice{CodeOrder::kPanelOuter, 0}));
  EXPECT_EQ(choose_linear_code(small.view(), 16, Isa::kAvx512, 2 * kMegabyte).order, CodeOrder::kGroupOuter);  // one panel
  const auto wide = random_structure(768, 3072, 0.6, random);  // two thirds of the rows
  EXPECT_TRUE(linear_code_pays(wide.view(), 128, kMegabyte));
  EXPECT_FALSE(linear_code_pays(wide.view(), 128, 2 * kMegabyte));
  EXPECT_TRUE(linear_code_pays(wide.view(), 64, 2 * kMegabyte));
}

}  // namespace
}  // namespace jouleprune::kernels::csr::testing
