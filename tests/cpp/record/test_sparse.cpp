// The sparse ops as the recorder sees them, without running a kernel.
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "record/handlers.h"
#include "record/ops_table.h"

namespace {

using c10::IValue;
using namespace jouleprune::record;

NamedTensors sparse_module(const at::Tensor& values) {
  return {{"fc.values", values},
          {"fc.col_indices", at::zeros({1}, at::kInt)},
          {"fc.row_offsets", at::zeros({2}, at::kInt)}};
}

TEST(RecordSparse, LinearCsr) {
  const at::Tensor values = at::ones({5}), offsets = at::zeros({4}, at::kInt), key = at::zeros({2}, at::kLong);
  Recording recording(sparse_module(values), {});
  const std::vector<IValue> inputs{at::ones({2, 7, 10}), values, at::zeros({5}, at::kInt), offsets, key, IValue(),
                                   IValue(), int64_t{10}, "relu"};
  const std::vector<IValue> outputs{at::ones({2, 7, 3})};
  const OpRule* rule = find_rule("jouleprune::linear_csr");
  ASSERT_NE(rule, nullptr);
  rule->handler({"jouleprune::linear_csr", inputs, outputs}, recording);
  const jouleprune::Workload workload = recording.finish();
  ASSERT_EQ(workload.entries.size(), 1U);
  const jouleprune::Entry& entry = workload.entries[0];
  EXPECT_EQ(entry.name, "fc");
  EXPECT_EQ(entry.weight, "fc.weight");
  EXPECT_EQ(entry.op, "linear");
  EXPECT_EQ(entry.shape, (std::vector<int64_t>{3, 10}));
  EXPECT_EQ(entry.rows, 3);
  EXPECT_EQ(entry.cols, 10);
  EXPECT_EQ(entry.n, 14);
  EXPECT_EQ(entry.macs, 3 * 10 * 14);
  EXPECT_EQ(entry.ops, 42);
  EXPECT_EQ(entry.weight_elements, 30);
  EXPECT_EQ(entry.nnz, 5);
  EXPECT_EQ(entry.input_elements, 140);
  EXPECT_EQ(entry.output_elements, 42);
  EXPECT_EQ(entry.pattern, "unstructured");
  EXPECT_EQ(entry.layout, "csr");
  EXPECT_EQ(entry.kernel, "csr");
}

TEST(RecordSparse, Conv2dCsrWithGroups) {
  const at::Tensor values = at::ones({9}), offsets = at::zeros({7}, at::kInt), key = at::zeros({2}, at::kLong);
  Recording recording(sparse_module(values), {});
  const auto pair = [](int64_t a, int64_t b) { return IValue(std::vector<int64_t>{a, b}); };
  const std::vector<IValue> inputs{at::ones({2, 4, 5, 6}), values, at::zeros({9}, at::kInt), offsets, key, IValue(),
                                   IValue(), int64_t{4}, pair(3, 2), pair(1, 1), pair(0, 0), pair(1, 1), int64_t{2},
                                   "none"};
  const std::vector<IValue> outputs{at::ones({2, 6, 3, 5})};
  find_rule("jouleprune::conv2d_csr")->handler({"jouleprune::conv2d_csr", inputs, outputs}, recording);
  const jouleprune::Workload workload = recording.finish();
  ASSERT_EQ(workload.entries.size(), 1U);
  const jouleprune::Entry& entry = workload.entries[0];
  EXPECT_EQ(entry.op, "conv2d");
  EXPECT_EQ(entry.shape, (std::vector<int64_t>{6, 2, 3, 2}));
  EXPECT_EQ(entry.rows, 3);
  EXPECT_EQ(entry.cols, 12);
  EXPECT_EQ(entry.n, 30);
  EXPECT_EQ(entry.groups, 2);
  EXPECT_EQ(entry.macs, 2 * 15 * 6 * 12);  // pixels x output channels x channels of a group x taps
  EXPECT_EQ(entry.weight_elements, 72);
  EXPECT_EQ(entry.nnz, 9);
  EXPECT_EQ(entry.ops, 0);
}

}  // namespace
