// Linear products in int8 of many shapes, for the tests of their kernels.
#pragma once
#include <sstream>

#include "kernels/bsr_int8/bsr_int8_kernels.h"
#include "products.h"

namespace jouleprune::kernels::bsr_int8::testing {
namespace {

using csr::testing::random_structure;
using csr::testing::Structure;
using csr::testing::unwritten;

struct Case {
  int64_t n, rows, in_features;
  double density;
  int64_t gap = 0;  ///< unused elements between the batch rows of the input
  bool bias = true, relu = false;
  float input_scale = 0;

  std::string name() const {
    std::ostringstream out;
    out << "n " << n << " rows " << rows << " in_features " << in_features << " density " << density << " scale " << input_scale;
    return out.str();
  }
};

/// Odd sizes first.
std::vector<Case> fixed_cases() {
  return {{0, 3, 4, 0.5},        {1, 0, 4, 0.5},       {1, 3, 0, 0.5},         {9, 3, 0, 0.5},      {9, 0, 3, 0.5},
          {1, 1, 1, 1},          {8, 1, 1, 1},         {5, 7, 11, 0},          {19, 7, 11, 0},      {1, 5, 1, 0.5},
          {33, 5, 1, 0.5},       {2, 5, 2, 1},         {3, 5, 3, 1},           {7, 17, 33, 1},      {8, 17, 63, 1},
          {15, 16, 64, 0.3, 5},  {16, 16, 64, 0.3, 1}, {17, 15, 65, 0.3},      {63, 31, 127, 0.2},  {64, 64, 128, 0.1},
          {65, 33, 129, 0.5},    {3, 100, 300, 0.2},   {130, 130, 70, 0.3},    {300, 5, 7, 0.5},
          {20, 61, 500, 1, 0, true, true},
          {33, 30, 90, 0.5, 2, false, true, 0.01f},    {70, 90, 1000, 0.4, 0, true, false, 0.004f}, {40, 9, 70'001, 0.01},
          {100, 700, 2100, 0.8}};  // the last: several panels per pass over the weight
}

template <class Body>
void for_each_case(int usual, const Body& body) {
  std::mt19937 random(4);
  for (const auto& c : fixed_cases()) {
    body(c, random);
  }
  for (int i = 0; i < csr::testing::random_cases(usual); ++i) {
    const double densities[] = {0, 0.05, 0.3, 0.9};
    const float scales[] = {0, 0, 0.01f};
    body(Case{static_cast<int64_t>(random() % (i % 4 == 0 ? 150 : 20)), static_cast<int64_t>(random() % 70),
              static_cast<int64_t>(random() % 200), densities[random() % 4], static_cast<int64_t>(random() % 3),
              random() % 2 == 0, random() % 2 == 0, scales[random() % 3]},
         random);
  }
}

template <class T>
struct Problem {
  Structure structure;
  std::vector<int8_t> blocks;
  std::vector<float> scales, bias;
  std::vector<T> input;
  LinearParams<T> params;

  Problem(const Case& c, std::mt19937& random)
      : structure(random_structure(c.rows, quads_of(c.in_features), c.density, random)),
        scales(csr::testing::random_vector<float>(c.rows, random)), bias(csr::testing::random_vector<float>(c.rows, random)),
        input(csr::testing::random_vector<T>(c.n * (c.in_features + c.gap), random)) {
    fill_blocks(random);
    params = {{structure.view(), blocks.data(), scales.data(), c.bias ? bias.data() : nullptr, c.relu},
              c.in_features, c.n, input.data(), c.in_features + c.gap, c.input_scale, nullptr, nullptr};
  }

  /// Another structure of the same sizes.
  void use(Structure other, std::mt19937& random) {
    structure = std::move(other);
    blocks.clear();
    fill_blocks(random);
    params.weight.quads = structure.view();
    params.weight.blocks = blocks.data();
  }

  std::vector<T> run(Isa isa, const ParallelFor& parallel = serial) {
    auto output = unwritten<T>(params.n * params.weight.quads.rows);
    params.output = output.data();
    linear<T>(params, parallel, isa);
    return output;
  }

 private:
  void fill_blocks(std::mt19937& random) {
    for (size_t i = 0; i < structure.col_indices.size() * kQuad; ++i) {
      blocks.push_back(static_cast<int8_t>(random()));  // -128 and what reaches beyond the inputs included
    }
  }
};

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

}  // namespace
}  // namespace jouleprune::kernels::bsr_int8::testing
