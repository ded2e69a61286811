// Gating, skipping and metadata against walks over actual zeros.
#include <gtest/gtest.h>

#include <random>

#include "energy/nest/sparse.h"

namespace jouleprune::test {
namespace {

using namespace energy::nest;

constexpr size_t kA = 0, kB = 1, kZ = 2;
enum Kind : size_t { kReads, kFills, kUpdates };

/// Z[M, N] = A[M, K] B[K, N] from one buffer, loops in the order given.
struct Product {
  Workload workload;
  Mapping mapping;
  SparseDesign design;

  Product(int64_t m, int64_t k, int64_t n, const std::vector<size_t>& order)
      : workload{{"M", "K", "N"},
                 {m, k, n},
                 {{"A", {{{0, 1}}, {{1, 1}}}, false},
                  {"B", {{{1, 1}}, {{2, 1}}}, false},
                  {"Z", {{{0, 1}}, {{2, 1}}}, true}}} {
    MappingLevel buffer{"buffer", {true, true, true}, {}};
    for (const size_t dim : order) buffer.loops.push_back({dim, workload.bounds[dim]});
    mapping.levels = {buffer};
    design.levels.resize(1);
    design.levels[0].representations.resize(3);
    design.levels[0].read_pj = 1;
    design.densities.assign(3, fixed_structured(1));
  }

  void on_empty_a(size_t target, bool skips) { design.levels[0].optimizations.push_back({skips, {{target, {kA}}}}); }
  SparseCounts run() const { return count_sparse(workload, mapping, count(workload, mapping), design); }
};

std::string random_mask(std::mt19937& random, int64_t words) {
  std::string mask;
  for (int64_t i = 0; i < words; ++i) mask += random() % 4 == 0 ? '1' : '0';
  return mask;
}

TEST(SparseNest, ActualDataEqualsWalk) {
  std::mt19937 random(8);
  const std::vector<std::vector<size_t>> orders{{0, 1, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (int round = 0; round < 200; ++round) {
    const auto m = static_cast<int64_t>(1 + random() % 6), k = static_cast<int64_t>(1 + random() % 6),
               n = static_cast<int64_t>(1 + random() % 6);
    const bool skips = round % 2 == 0;
    Product product(m, k, n, orders[random() % orders.size()]);
    const std::string mask = random_mask(random, m * k);
    product.design.densities[kA] = actual_data({m, k}, mask);
    if (skips) product.design.levels[0].representations[kA].ranks = {{Format::kCoordinates, {{0, 1, 2}}, 4, 4}};
    product.on_empty_a(kB, skips);
    const SparseCounts counts = product.run();
    // The walk: B is read where A is not zero, arithmetic runs there.
    const int64_t busy = n * std::count(mask.begin(), mask.end(), '1');
    const SparseAccesses& b = counts.levels[0][kB];
    EXPECT_EQ(b.actual[kReads], busy);
    EXPECT_EQ((skips ? b.skipped : b.gated)[kReads], m * k * n - busy);
    EXPECT_EQ(counts.levels[0][kA].actual[kReads], skips ? busy : m * k * n);
    EXPECT_EQ(counts.computes, busy);
  }
}

TEST(SparseNest, WithoutZerosNothingIsSaved) {
  Product product(4, 6, 5, {0, 2, 1});
  product.on_empty_a(kB, false);
  product.on_empty_a(kZ, true);
  const SparseCounts counts = product.run();
  const NestCounts dense = count(product.workload, product.mapping);
  for (size_t tensor = 0; tensor < 3; ++tensor) {
    const Accesses& plain = dense.levels[0].tensors[tensor].accesses;
    EXPECT_EQ(counts.levels[0][tensor].actual, (std::array{plain.reads, plain.fills, plain.updates}));
  }
  EXPECT_EQ(counts.computes, dense.macs());
}

TEST(SparseNest, FewerNonzerosNeverCostMore) {
  int64_t before = -1;
  for (double share = 0; share <= 1.0001; share += 1.0 / 16) {
    Product product(4, 4, 4, {0, 1, 2});
    product.design.densities[kA] = fixed_structured(std::min(share, 1.0));
    product.on_empty_a(kB, true);
    product.on_empty_a(kZ, true);
    const SparseCounts counts = product.run();
    const int64_t all = counts.levels[0][kB].actual[kReads] + counts.levels[0][kZ].actual[kUpdates] + counts.computes;
    EXPECT_GE(all, before);
    before = all;
  }
}

/// Metadata of a row of 16 words of which `nonzero` are kept, read once.
std::vector<FormatUnits> row_metadata(const std::vector<Rank>& ranks, double density) {
  Product product(1, 16, 1, {1});
  product.design.densities[kA] = fixed_structured(density);
  product.design.levels[0].representations[kA].ranks = ranks;
  return product.run().levels[0][kA].format[kReads];
}

TEST(SparseNest, MetadataOfEachFormat) {
  const auto only = [](Format format) { return std::vector<Rank>{{format, {}, 4, 4}}; };
  EXPECT_EQ(row_metadata(only(Format::kBitmask), 0.25), (std::vector<FormatUnits>{{16, 0}}));
  EXPECT_EQ(row_metadata(only(Format::kCoordinates), 0.25), (std::vector<FormatUnits>{{4, 0}}));
  EXPECT_EQ(row_metadata(only(Format::kRunLengths), 0.25), (std::vector<FormatUnits>{{4, 0}}));
}

TEST(SparseNest, CsrIsOffsetsOverCoordinates) {
  // 8 rows of 16 with 4 each: 9 offsets, 32 coordinates.
  Product product(8, 16, 1, {0, 1});
  product.design.densities[kA] = fixed_structured(0.25);
  product.design.levels[0].representations[kA].ranks = {{Format::kCoordinates, {}, 4, 4}, {Format::kOffsets, {}, 4, 4}};
  const SparseAccesses a = product.run().levels[0][kA];
  EXPECT_EQ(a.format[kReads], (std::vector<FormatUnits>{{32, 0}, {0, 9}}));
  EXPECT_EQ(a.most_stored, 32);
}

TEST(SparseNest, RefusesTooFewRanks) {
  Product product(8, 16, 1, {0, 1});
  product.design.levels[0].representations[kA].ranks = {{Format::kCoordinates, {}, 4, 4}};
  EXPECT_THROW(product.run(), std::invalid_argument);
}

TEST(SparseNest, ArithmeticGatesZerosThatArrive) {
  Product product(4, 8, 2, {0, 1, 2});
  product.design.densities[kA] = fixed_structured(0.5);
  product.design.densities[kB] = fixed_structured(0.25);
  EXPECT_EQ(product.run().computes, 64);
  product.design.gate_zero_operands = true;
  EXPECT_EQ(product.run().computes, 8);
  EXPECT_EQ(product.run().gated_computes, 56);
}

}  // namespace
}  // namespace jouleprune::test
