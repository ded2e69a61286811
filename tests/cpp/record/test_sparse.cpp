// The sparse ops as the recorder sees them, without running a kernel.
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

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

/// The pattern of an int8 layer of 64 inputs whose rows keep these blocks of 1 x 4.
std::string int8_pattern(const std::vector<std::vector<int32_t>>& rows) {
  std::vector<int32_t> columns, offsets{0};
  for (const auto& row : rows) {
    columns.insert(columns.end(), row.begin(), row.end());
    offsets.push_back(static_cast<int32_t>(columns.size()));
  }
  const auto count = static_cast<int64_t>(rows.size());
  const at::Tensor blocks = at::ones({static_cast<int64_t>(columns.size()), 1, 4}, at::kChar);
  Recording recording({{"fc.blocks", blocks}}, {});
  const std::vector<IValue> inputs{at::ones({9, 64}), blocks, at::tensor(columns, at::kInt), at::tensor(offsets, at::kInt),
                                   at::zeros({2}, at::kLong), at::ones({count}), IValue(), IValue(), IValue(), int64_t{64}, "none"};
  const std::vector<IValue> outputs{at::ones({9, count})};
  find_rule("jouleprune::linear_bsr_int8")->handler({"jouleprune::linear_bsr_int8", inputs, outputs}, recording);
  const jouleprune::Workload workload = recording.finish();
  EXPECT_EQ(workload.entries.size(), 1U);
  EXPECT_EQ(workload.entries[0].kernel, "bsr-int8");
  EXPECT_EQ(workload.entries[0].nnz, blocks.numel());
  return workload.entries[0].pattern;
}

TEST(RecordSparse, PatternsOfInt8AreReadOffTheBlocks) {
  std::vector<std::vector<int32_t>> rows(36, {1, 5, 9});
  for (size_t row = 16; row < 32; ++row) rows[row] = {0};
  for (size_t row = 32; row < 36; ++row) rows[row] = {3, 15};  // the last rows are fewer
  EXPECT_EQ(int8_pattern(rows), "16x4");
  for (const size_t row : {size_t{0}, size_t{15}, size_t{16}, size_t{31}, size_t{35}}) {
    auto other = rows;
    other[row].back() = 14;  // as many blocks
    EXPECT_EQ(int8_pattern(other), "unstructured") << row;
    other = rows;
    other[row].pop_back();
    EXPECT_EQ(int8_pattern(other), "unstructured") << row;
  }
  EXPECT_EQ(int8_pattern(std::vector<std::vector<int32_t>>(8, {2})), "16x4");
}

}  // namespace
