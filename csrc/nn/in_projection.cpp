#include "nn/in_projection.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/tensor.h>
#include <jouleprune/ops.h>

#include <array>

#include "formats/csr.h"
#include "nn/csr_weight.h"

namespace jouleprune::nn {
namespace {

/// Structure of a run of rows of the whole weight; its entries are a slice of the whole's.
struct Part {
  int64_t begin = 0, end = 0;    // of the entries
  at::Tensor row_offsets, key;
};

Part part_of(const at::Tensor& col_indices, const at::Tensor& row_offsets, int64_t first_row, int64_t last_row, int64_t cols) {
  const auto offsets = row_offsets.slice(0, first_row, last_row + 1).cpu();
  Part part;
  part.begin = offsets[0].item<int64_t>();
  part.end = offsets[-1].item<int64_t>();
  const auto own = (offsets - offsets[0]).contiguous();
  const auto columns = col_indices.slice(0, part.begin, part.end).cpu().contiguous();
  const auto key = formats::csr_key({last_row - first_row, cols, part.end - part.begin, columns.const_data_ptr<int32_t>(),
                                     own.const_data_ptr<int32_t>()});
  part.row_offsets = own.to(row_offsets.device());
  part.key = at::tensor({key[0], key[1]}, at::kLong).to(row_offsets.device());
  return part;
}

}  // namespace

struct ProjectionParts::Structures {
  at::Tensor col_indices, row_offsets;  // of the whole; held, so that their memory is no other tensor's
  std::array<Part, 3> thirds;
  Part keys_values;

  bool belong_to(const SparseLinearImpl& whole) const {
    const auto same = [](const at::Tensor& mine, const at::Tensor& its) {
      return mine.const_data_ptr() == its.const_data_ptr() && mine.numel() == its.numel() && mine.device() == its.device();
    };
    return same(col_indices, whole.col_indices) && same(row_offsets, whole.row_offsets);
  }
};

std::shared_ptr<const ProjectionParts::Structures> ProjectionParts::of(const SparseLinearImpl& whole) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (structures_ == nullptr || !structures_->belong_to(whole)) {
    const at::NoGradGuard no_grad;
    const int64_t third = whole.options.out_features / 3, cols = whole.options.in_features;
    auto made = std::make_shared<Structures>();
    made->col_indices = whole.col_indices.alias();
    made->row_offsets = whole.row_offsets.alias();
    for (int64_t i = 0; i < 3; ++i) {
      made->thirds[i] = part_of(whole.col_indices, whole.row_offsets, i * third, (i + 1) * third, cols);
    }
    made->keys_values = part_of(whole.col_indices, whole.row_offsets, third, 3 * third, cols);
    structures_ = std::move(made);
  }
  return structures_;
}

at::Tensor ProjectionParts::multiply(LinearImpl& projection, const at::Tensor& input, int64_t first, int64_t last) {
  if (first == 0 && last == 3) {
    return projection.forward(input);
  }
  const int64_t third = projection.options.out_features() / 3;
  std::optional<at::Tensor> bias;
  if (projection.bias.defined()) {
    bias = projection.bias.slice(0, first * third, last * third);
  }
  const auto& sparse = projection.sparse();
  if (sparse == nullptr) {
    return at::linear(input, projection.weight.slice(0, first * third, last * third), bias);
  }
  check_csr("SparseMultiheadAttention", sparse->options.layout);  // another one can only have been loaded
  const auto structures = of(*sparse);
  const Part& part = last - first == 1 ? structures->thirds[first] : structures->keys_values;
  return linear_csr(input, sparse->values.slice(0, part.begin, part.end), sparse->col_indices.slice(0, part.begin, part.end),
                    part.row_offsets, part.key, /*prepacked=*/std::nullopt, bias, sparse->options.in_features);
}

}  // namespace jouleprune::nn
