// What the bsr kernels move and multiply, by the counters of the emulator.
#include <gtest/gtest.h>

#include "cuda/bsr_problem.h"

namespace jouleprune::cuda::bsr {
namespace {

using simt::host::GlobalMemory;
using simt::host::Launcher;
using simt::host::Options;

struct Counted {
  simt::host::Counters counters;
  int64_t value_bytes;
};

Counted count(const Shape& shape, Op op) {
  const Problem<simt::Half> problem(shape, 5);
  GlobalMemory memory;
  Options options;
  options.collect_requests = true;
  Launcher launcher(memory, options);
  run_op(problem, op, Activation::kNone, false, false, launcher);
  EXPECT_EQ(launcher.problems(), "");
  return {launcher.report.counters, static_cast<int64_t>(problem.values.bytes())};
}

// Values are read once per 128 batch rows, in whole sectors; operands come without bank conflicts.
void expect_frugal(const Shape& shape, Op op, bool values_of_chunks = true) {
  const auto [counters, value_bytes] = count(shape, op);
  EXPECT_LE(static_cast<double>(counters.bytes_read.at("values")), 1.02 * static_cast<double>(value_bytes))
      << shape.text();
  if (values_of_chunks) {
    EXPECT_EQ(counters.sectors_read.at("values"), counters.sectors_needed.at("values")) << shape.text();
  }
  EXPECT_EQ(counters.conflicts.at("ldmatrix"), 0u) << shape.text();
  EXPECT_EQ(counters.conflicts.at("cp.async"), 0u) << shape.text();
}

TEST(BsrCounters, ReadOnceCoalescedWithoutConflicts) {
  for (const int64_t n : {8, 32, 64, 128}) {
    expect_frugal({64, 512, 16, 1, n, 0.5}, Op::kForward);
    expect_frugal({64, 512, 32, 1, n, 0.5}, Op::kForward);
    expect_frugal({64, 512, 16, 16, n, 0.5}, Op::kForward);
    expect_frugal({128, 512, 32, 32, n, 0.5}, Op::kForward);
    expect_frugal({256, 512, 64, 64, n, 0.5}, Op::kForward);
    expect_frugal({256, 512, 64, 64, n, 0.5}, Op::kInput);
    expect_frugal({256, 512, 32, 32, n, 0.5}, Op::kInput);
    expect_frugal({256, 128, 16, 1, n, 0.5}, Op::kInput);
  }
}

TEST(BsrCounters, GradientWithoutConflicts) {
  for (const auto& shape : {Shape{64, 256, 16, 1, 256, 0.5}, Shape{128, 256, 64, 64, 256, 0.5}}) {
    const auto counters = count(shape, Op::kValues).counters;
    EXPECT_EQ(counters.conflicts.at("ldmatrix"), 0u);
    EXPECT_EQ(counters.conflicts.at("cp.async"), 0u);
    EXPECT_EQ(counters.bytes_written.at("gradient"), static_cast<uint64_t>(count(shape, Op::kValues).value_bytes));
  }
}

TEST(BsrCounters, ProductsAreThoseOfTheTiles) {
  // Everything kept: 4 strips of 16 outputs, 512 positions in slabs of 16, 128 batch rows in tiles of 8.
  EXPECT_EQ(count({64, 512, 64, 64, 128, 1.0}, Op::kForward).counters.mma, 4u * 32u * 16u);
  // Vectors: 512 / 16 slabs per strip; one tile of the batch.
  EXPECT_EQ(count({64, 512, 16, 1, 8, 1.0}, Op::kForward).counters.mma, 4u * 32u);
}

}  // namespace
}  // namespace jouleprune::cuda::bsr
