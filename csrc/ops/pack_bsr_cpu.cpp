// pack_bsr, unpack_bsr, prepack_bsr on the CPU.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>


#include "formats/bsr_pack.h"
#include "ops/bsr_checks.h"
#include "ops/csr_checks.h"
#include "ops/limits.h"
#include "ops/packable.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

std::tuple<Tensor, Tensor, Tensor, Tensor> pack_bsr_cpu(const Tensor& weight, const OptionalTensor& mask,
                                                        at::IntArrayRef block_size) {
  const at::NoGradGuard no_grad;
  constexpr const char* op = "pack_bsr";
  check_block_size(op, block_size);
  const auto [matrix, kept] = check_packable(op, weight, mask);
  const bool* const kept_data = kept.const_data_ptr<bool>();
  formats::BsrView bsr{matrix.size(0), matrix.size(1), block_size[0], block_size[1], 0, nullptr, nullptr};
  auto block_row_offsets = at::zeros({bsr.down() + 1}, matrix.options().dtype(at::kInt));
  int32_t* const offsets = block_row_offsets.mutable_data_ptr<int32_t>();
  formats::for_each_kept_block(kept_data, bsr.rows, bsr.cols, bsr.r, bsr.c, [&](int64_t block_row, int64_t) {
    ++offsets[block_row + 1];
    ++bsr.blocks;
  });
  TORCH_CHECK_VALUE(bsr.blocks <= kLimit / (bsr.r * bsr.c), op, ": weight: expected at most ", kLimit,
                    " entries in kept blocks, got ", bsr.blocks, " blocks of ", bsr.r, " x ", bsr.c);
  for (int64_t row = 0; row < bsr.down(); ++row) {
    offsets[row + 1] += offsets[row];
  }
  auto block_columns = at::empty({bsr.blocks}, matrix.options().dtype(at::kInt));
  int32_t* columns = block_columns.mutable_data_ptr<int32_t>();
  bsr.block_columns = columns;
  bsr.block_row_offsets = offsets;
  formats::for_each_kept_block(kept_data, bsr.rows, bsr.cols, bsr.r, bsr.c,
                               [&](int64_t, int64_t block_column) { *columns++ = static_cast<int32_t>(block_column); });
  auto blocks = at::zeros({bsr.blocks, bsr.r, bsr.c}, matrix.options());
  with_element_type(matrix.scalar_type(), [&](auto element) {
    using T = decltype(element);
    const T* const dense = data_of<T>(matrix);
    T* const to = mutable_data_of<T>(blocks);
    formats::for_each_entry(bsr, [&](int64_t entry, int64_t row, int64_t col) {
      if (const int64_t at = row * bsr.cols + col; kept_data[at]) {
        to[entry] = dense[at];
      }
    });
  });
  const auto key = formats::bsr_key(bsr);
  return {blocks, block_columns, block_row_offsets, at::tensor({key[0], key[1]}, at::kLong)};
}

Tensor unpack_bsr_cpu(const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets, int64_t rows,
                      int64_t cols) {
  const at::NoGradGuard no_grad;
  const auto weight = check_bsr_weight("unpack_bsr", {&blocks, {}, block_columns, block_row_offsets, nullptr, rows, cols}, blocks,
                                       "blocks");
  auto dense = at::zeros({rows, cols}, blocks.options());
  with_element_type(blocks.scalar_type(), [&](auto element) {
    using T = decltype(element);
    const T* const from = data_of<T>(weight.blocks);
    T* const to = mutable_data_of<T>(dense);
    formats::for_each_entry(weight.bsr, [&](int64_t entry, int64_t row, int64_t col) { to[row * cols + col] = from[entry]; });
  });
  return dense;
}

Tensor prepack_bsr_cpu(const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets, int64_t rows,
                       int64_t cols) {
  check_bsr_weight("prepack_bsr", {&blocks, {}, block_columns, block_row_offsets, nullptr, rows, cols}, blocks, "blocks");
  return at::empty({0}, block_columns.options());
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CPU, m) {
  m.impl("pack_bsr", TORCH_FN(jouleprune::ops::pack_bsr_cpu));
  m.impl("unpack_bsr", TORCH_FN(jouleprune::ops::unpack_bsr_cpu));
  m.impl("prepack_bsr", TORCH_FN(jouleprune::ops::prepack_bsr_cpu));
}
