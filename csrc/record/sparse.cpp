// Our own sparse ops: the weight is named after the tensor `values` or `blocks`, its kept entries are counted by the layout.
#include <algorithm>
#include <string>
#include <utility>

#include "record/handlers.h"
#include "record/zeros.h"

namespace jouleprune::record {
namespace {

/// `sizes`: those of the dense weight.
Entry csr_entry(const Call& call, Recording& recording, std::string op, const Product& product,
                std::vector<int64_t> sizes, const std::string& activation) {
  const at::Tensor input = call.tensor(0), values = call.tensor(1), output = call.output();
  Entry entry = recording.weighted(std::move(op), product, values, input, output);
  mark_csr(entry, values, std::move(sizes));
  if (activation != "none") entry.ops = output.numel();  // fused
  return entry;
}

/// What the op adds to its result: read once, and no traffic of a sum of its own.
void add_residual(const Call& call, Recording& recording, size_t place) {
  if (call.inputs.size() > place && call.inputs[place].isTensor() && call.inputs[place].toTensor().defined()) {
    const at::Tensor residual = call.inputs[place].toTensor();
    Entry entry = recording.traffic("elementwise", {residual}, {});
    entry.ops = residual.numel();
    recording.add(std::move(entry));
  }
}

/// A Linear in layout bsr; `mark` tells the rest.
template <class Mark>
void add_blocks(const Call& call, Recording& recording, const at::Tensor& blocks, int64_t rows, int64_t cols,
                const std::string& activation, const Mark& mark) {
  const at::Tensor input = call.tensor(0), output = call.output();
  Entry entry = recording.weighted("linear", {rows, cols, quotient(output.numel(), rows), 1}, blocks, input, output);
  entry.shape = {rows, cols};
  entry.weight_elements = rows * cols;
  entry.nnz = std::min(blocks.numel(), rows * cols);  // the last blocks may reach beyond the weight
  if (activation != "none") entry.ops = output.numel();  // fused
  entry.layout = "bsr";
  mark(entry);
  recording.add(std::move(entry));
}

std::string block_pattern(const at::Tensor& blocks) {
  return std::to_string(blocks.size(1)) + "x" + std::to_string(blocks.size(2));
}

/// Whether the rows of each 16 keep the same blocks, as patterns of that many rows make them. `columns`, `offsets`: of the blocks of each
/// row, which ascend. No where they cannot be read.
bool share_blocks(const at::Tensor& columns, const at::Tensor& offsets, int64_t rows) {
  constexpr int64_t kGroup = 16;
  for (const at::Tensor* tensor : {&columns, &offsets}) {
    if (!has_data(*tensor) || !tensor->is_cpu() || tensor->scalar_type() != at::kInt || !tensor->is_contiguous()) return false;
  }
  const int32_t *column = columns.const_data_ptr<int32_t>(), *offset = offsets.const_data_ptr<int32_t>();
  if (offsets.numel() != rows + 1 || offset[0] != 0 || !std::is_sorted(offset, offset + rows + 1) || offset[rows] > columns.numel()) {
    return false;
  }
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t first = row - row % kGroup;
    if (!std::equal(column + offset[row], column + offset[row + 1], column + offset[first], column + offset[first + 1])) return false;
  }
  return true;
}

/// A convolution in layout bsr; in_channels and what follows it are the arguments from `place` on.
Entry conv_of_blocks(const Call& call, Recording& recording, int64_t rows, size_t place) {
  const at::Tensor input = call.tensor(0), blocks = call.tensor(1), output = call.output();
  const int64_t groups = call.integer(place + 5);
  const std::vector<int64_t> kernel = call.integers(place + 1);
  const int64_t channels = quotient(call.integer(place), groups), height = kernel.front(), width = kernel.back();
  const Product product{quotient(rows, groups), channels * height * width, quotient(output.numel(), rows), groups};
  Entry entry = recording.weighted("conv2d", product, blocks, input, output);
  entry.shape = {rows, channels, height, width};
  set_windows(entry, output, call.integers(place + 2), call.integers(place + 4));
  entry.weight_elements = rows * channels * height * width;
  entry.nnz = std::min(blocks.numel(), entry.weight_elements);  // the last blocks may reach beyond the outputs and the channels
  if (call.inputs.at(place + 6).toStringView() != "none") entry.ops = output.numel();  // fused
  entry.layout = "bsr";
  return entry;
}

}  // namespace

void mark_csr(Entry& entry, const at::Tensor& values, std::vector<int64_t> sizes) {
  entry.weight_elements = 1;
  for (const int64_t size : sizes) entry.weight_elements *= size;
  entry.shape = std::move(sizes);
  entry.nnz = values.numel();
  entry.pattern = "unstructured";
  entry.layout = "csr";
  entry.kernel = "csr";
}

void linear_csr(const Call& call, Recording& recording) {
  const int64_t rows = call.tensor(3).numel() - 1, cols = call.integer(7);
  const int64_t n = quotient(call.output().numel(), rows);
  recording.add(csr_entry(call, recording, "linear", {rows, cols, n, 1}, {rows, cols},
                          std::string(call.inputs.at(8).toStringView())));
  add_residual(call, recording, 9);
}

void linear_nm(const Call& call, Recording& recording) {
  const int64_t rows = call.tensor(2).size(0), cols = call.integer(6), n = quotient(call.output().numel(), rows);
  const at::Tensor input = call.tensor(0), values = call.tensor(1), output = call.output();
  Entry entry = recording.weighted("linear", {rows, cols, n, 1}, values, input, output);
  mark_csr(entry, values, {rows, cols});
  if (call.inputs.at(9).toStringView() != "none") entry.ops = output.numel();  // fused
  entry.pattern = std::to_string(call.integer(7)) + ":" + std::to_string(call.integer(8));
  entry.layout = "nm";  // run by the kernel of csr: its cost is that one's
  recording.add(std::move(entry));
}

void linear_bsr(const Call& call, Recording& recording) {
  const at::Tensor blocks = call.tensor(1);
  const int64_t rows = call.integer(7), cols = call.integer(8);
  add_blocks(call, recording, blocks, rows, cols, std::string(call.inputs.at(9).toStringView()), [&](Entry& entry) {
    entry.pattern = block_pattern(blocks);
    entry.kernel = "bsr";
  });
}

void linear_bsr_int8(const Call& call, Recording& recording) {
  const int64_t rows = call.tensor(5).numel(), cols = call.integer(9);
  add_blocks(call, recording, call.tensor(1), rows, cols, std::string(call.inputs.at(10).toStringView()), [&](Entry& entry) {
    entry.dtype = "int8";
    // What it costs on matrix tiles depends on it; stored is 1 x 4, whatever the pattern.
    entry.pattern = share_blocks(call.tensor(2), call.tensor(3), rows) ? "16x4" : "unstructured";
    entry.kernel = "bsr-int8";
  });
}

void conv2d_bsr_int8(const Call& call, Recording& recording) {
  Entry entry = conv_of_blocks(call, recording, call.tensor(5).numel(), 9);
  entry.dtype = "int8";
  entry.pattern = "unstructured";  // no cost of a convolution in int8 depends on it
  entry.kernel = "bsr-int8";
  recording.add(std::move(entry));
}

void conv2d_bsr(const Call& call, Recording& recording) {
  const at::Tensor blocks = call.tensor(1);
  Entry entry = conv_of_blocks(call, recording, call.integer(7), 8);
  entry.pattern = block_pattern(blocks);
  entry.kernel = "bsr";
  recording.add(std::move(entry));
  add_residual(call, recording, 15);
}

void conv2d_csr(const Call& call, Recording& recording) {
  const int64_t rows = call.tensor(3).numel() - 1, groups = call.integer(12);
  const std::vector<int64_t> kernel = call.integers(8);
  const int64_t channels = quotient(call.integer(7), groups), height = kernel.front(), width = kernel.back();
  const int64_t n = quotient(call.output().numel(), rows);
  Entry entry = csr_entry(call, recording, "conv2d", {quotient(rows, groups), channels * height * width, n, groups},
                          {rows, channels, height, width}, std::string(call.inputs.at(13).toStringView()));
  set_windows(entry, call.output(), call.integers(9), call.integers(11));
  recording.add(std::move(entry));
  add_residual(call, recording, 14);
}

}  // namespace jouleprune::record
