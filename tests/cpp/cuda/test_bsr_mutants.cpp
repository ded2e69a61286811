// Every barrier, commit and wait of the bsr kernels is needed.
#include "cuda/bsr_problem.h"
#include "cuda/mutants.h"

namespace jouleprune::cuda::bsr {
namespace {

using simt::host::GlobalMemory;
using simt::host::Launcher;
using simt::host::Options;
using simt::host::Site;

template <class T>
std::string run(const Problem<T>& problem, Op op, const Options& options, std::set<Site>& sites) {
  GlobalMemory memory;
  Launcher launcher(memory, options);
  const auto y = run_op(problem, op, Activation::kNone, false, false, launcher);
  sites.insert(launcher.report.barriers.begin(), launcher.report.barriers.end());
  return launcher.problems() + difference(problem, op, Activation::kNone, false, false, y);
}

/// Two shapes each: the last step of a pipeline has to end in its first stage, which the output then overwrites, and in
/// another one.
template <class T>
void expect_needed(const Shape& shape, const Shape& other, Op op) {
  const Problem<T> first(shape, 3), second(other, 3);
  expect_every_barrier_needed([&](const Options& options, auto& sites) {
    return run(first, op, options, sites) + run(second, op, options, sites);
  });
}

TEST(BsrMutants, ForwardVectorsOneTile) {
  expect_needed<simt::Half>({16, 250, 16, 1, 8, 1.0}, {16, 300, 16, 1, 8, 0.9}, Op::kForward);
}
TEST(BsrMutants, ForwardVectorsTwoWarpsAlong) {
  expect_needed<simt::Half>({32, 120, 32, 1, 20, 1.0}, {32, 300, 32, 1, 20, 0.9}, Op::kForward);
}
TEST(BsrMutants, ForwardBlocks) {
  expect_needed<simt::BFloat16>({64, 320, 64, 64, 70, 1.0}, {64, 64, 64, 64, 70, 1.0}, Op::kForward);
}
TEST(BsrMutants, InputVectors) {
  expect_needed<simt::Half>({110, 16, 16, 1, 40, 1.0}, {160, 16, 16, 1, 40, 0.9}, Op::kInput);
}
TEST(BsrMutants, InputBlocks) {
  expect_needed<simt::Half>({320, 32, 32, 32, 40, 1.0}, {128, 32, 32, 32, 40, 1.0}, Op::kInput);
}
TEST(BsrMutants, ValuesVectors) {
  expect_needed<simt::Half>({16, 70, 16, 1, 330, 0.9}, {16, 70, 16, 1, 250, 0.9}, Op::kValues);
}
TEST(BsrMutants, ValuesBlocks) {
  expect_needed<simt::Half>({32, 96, 32, 32, 330, 0.9}, {32, 64, 32, 32, 250, 1.0}, Op::kValues);
}
TEST(BsrMutants, ForwardFma) { expect_needed<float>({16, 80, 16, 1, 40, 0.9}, {1, 1, 16, 1, 1, 1.0}, Op::kForward); }
TEST(BsrMutants, ValuesFma) { expect_needed<float>({16, 80, 16, 16, 40, 0.9}, {1, 1, 4, 4, 1, 1.0}, Op::kValues); }

}  // namespace
}  // namespace jouleprune::cuda::bsr
