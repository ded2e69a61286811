// Cases and random weights of layout bsr.
#pragma once
#include <algorithm>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "formats/bsr_pack.h"
#include "kernels/bsr/bsr_kernels.h"
#include "products.h"

namespace jouleprune::kernels::bsr::testing {

using namespace csr::testing;

struct Case {
  int64_t n, rows, cols, r, c;
  double density;
  int64_t gap = 0;  ///< unused elements between the batch rows of the dense arguments
  bool bias = true;
  Activation activation = Activation::kNone;

  std::string name() const {
    std::ostringstream out;
    out << "n " << n << " rows " << rows << " cols " << cols << " blocks " << r << "x" << c << " density " << density;
    return out.str();
  }
};

struct Blocks {
  formats::BsrView shape;
  csr::testing::Structure structure;  // of the blocks

  formats::BsrView view() const {
    auto view = shape;
    const auto blocks = structure.view();
    view.blocks = blocks.nnz;
    view.block_columns = blocks.col_indices;
    view.block_row_offsets = blocks.row_offsets;
    return view;
  }
};

inline Blocks random_blocks(const Case& c, std::mt19937& random) {
  const formats::BsrView shape{c.rows, c.cols, c.r, c.c};
  return {shape, random_structure(shape.down(), shape.across(), c.density, random)};
}

/// Values of the blocks, NaN in the padding: it must never count.
template <class T>
std::vector<T> random_values(const formats::BsrView& bsr, std::mt19937& random) {
  auto values = unwritten<T>(bsr.blocks * bsr.r * bsr.c);
  const auto filled = random_vector<T>(bsr.blocks * bsr.r * bsr.c, random);
  formats::for_each_entry(bsr, [&](int64_t entry, int64_t, int64_t) { values[entry] = filled[entry]; });
  return values;
}

/// What linear() gives; rows of `input` lie c.cols + c.gap apart.
template <class T>
Expected<T> expect_linear(const Case& c, const formats::BsrView& bsr, const std::vector<T>& values, const std::vector<T>& input,
                          const std::vector<T>& bias) {
  std::vector<Triple> triples;
  std::vector<double> start;
  for (int64_t j = 0; j < c.n; ++j) {
    std::transform(bias.begin(), bias.end(), std::back_inserter(start), [&](T b) { return c.bias ? widen(b) : 0; });
    formats::for_each_entry(bsr, [&](int64_t entry, int64_t row, int64_t col) {
      triples.push_back({j * c.rows + row, entry, j * (c.cols + c.gap) + col});
    });
  }
  return expect_products<T>(c.n * c.rows, triples, values, input, start, c.activation);
}

}  // namespace jouleprune::kernels::bsr::testing
