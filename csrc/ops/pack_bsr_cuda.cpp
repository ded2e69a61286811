// pack_bsr, unpack_bsr, prepack_bsr on CUDA, of torch's own ops on the device. Packing waits for the device: it has to
// know how many blocks are kept, and the key is mixed on the host.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/repeat_interleave.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <limits>

#include "ops/bsr_checks.h"
#include "ops/csr_checks.h"
#include "ops/cuda_backend.h"
#include "ops/packable.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

/// [down, r, across, c] of a matrix, filled up with zeros to whole blocks, as [down, across, r, c].
Tensor blocked(const Tensor& matrix, const formats::BsrView& bsr) {
  const auto whole =
      at::constant_pad_nd(matrix, {0, bsr.across() * bsr.c - bsr.cols, 0, bsr.down() * bsr.r - bsr.rows});
  return whole.view({bsr.down(), bsr.r, bsr.across(), bsr.c}).permute({0, 2, 1, 3});
}

std::tuple<Tensor, Tensor, Tensor, Tensor> pack_bsr_cuda(const Tensor& weight, const OptionalTensor& mask,
                                                         at::IntArrayRef block_size) {
  const at::NoGradGuard no_grad;
  constexpr const char* op = "pack_bsr";
  constexpr int64_t kLimit = std::numeric_limits<int32_t>::max();
  check_block_size(op, block_size);
  const CudaScope scope(weight);
  const auto [matrix, kept] = check_packable(op, weight, mask);
  formats::BsrView bsr{matrix.size(0), matrix.size(1), block_size[0], block_size[1], 0, nullptr, nullptr};
  const auto kept_entries = blocked(kept, bsr);
  const auto places = kept_entries.flatten(2).any(2).nonzero();  // [blocks, 2], row by row
  bsr.blocks = places.size(0);
  TORCH_CHECK_VALUE(bsr.blocks <= kLimit / (bsr.r * bsr.c), op, ": weight: expected at most ", kLimit,
                    " entries in kept blocks, got ", bsr.blocks, " blocks of ", bsr.r, " x ", bsr.c);
  const auto down = places.select(1, 0), across = places.select(1, 1);
  auto block_row_offsets = at::zeros({bsr.down() + 1}, matrix.options().dtype(at::kInt));
  block_row_offsets.slice(0, 1).copy_(at::cumsum(at::bincount(down, std::nullopt, bsr.down()), 0));
  const auto block_columns = across.to(at::kInt).contiguous();
  const auto zero = at::zeros({}, matrix.options());
  const auto blocks = at::where(kept_entries, blocked(matrix, bsr), zero).index({down, across}).contiguous();
  const auto host_columns = block_columns.cpu(), host_offsets = block_row_offsets.cpu();
  bsr.block_columns = host_columns.const_data_ptr<int32_t>();
  bsr.block_row_offsets = host_offsets.const_data_ptr<int32_t>();
  const auto key = formats::bsr_key(bsr);
  return {blocks, block_columns, block_row_offsets, at::tensor({key[0], key[1]}, at::kLong).to(weight.device())};
}

Tensor unpack_bsr_cuda(const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets, int64_t rows,
                       int64_t cols) {
  const at::NoGradGuard no_grad;
  const CudaScope scope(blocks);
  const auto weight = check_bsr_weight(
      "unpack_bsr", {&blocks, {}, block_columns, block_row_offsets, nullptr, rows, cols}, blocks, "blocks");
  const auto& bsr = weight.bsr;
  const auto counts = weight.block_row_offsets.slice(0, 1) - weight.block_row_offsets.slice(0, 0, -1);
  const auto down = at::repeat_interleave(counts, std::make_optional(bsr.blocks)).to(at::kLong);
  auto grid = at::zeros({bsr.down(), bsr.across(), bsr.r, bsr.c}, blocks.options());
  grid.index_put_({down, weight.block_columns.to(at::kLong)}, weight.blocks);
  const auto whole = grid.permute({0, 2, 1, 3}).reshape({bsr.down() * bsr.r, bsr.across() * bsr.c});
  return whole.slice(0, 0, rows).slice(1, 0, cols).contiguous();
}

Tensor prepack_bsr_cuda(const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                        int64_t rows, int64_t cols) {
  const CudaScope scope(blocks);
  check_bsr_weight("prepack_bsr", {&blocks, {}, block_columns, block_row_offsets, nullptr, rows, cols}, blocks,
                   "blocks");
  return at::empty({0}, block_columns.options());
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, JOULEPRUNE_CUDA_KEY, m) {
  m.impl("pack_bsr", TORCH_FN(jouleprune::ops::pack_bsr_cuda));
  m.impl("unpack_bsr", TORCH_FN(jouleprune::ops::unpack_bsr_cuda));
  m.impl("prepack_bsr", TORCH_FN(jouleprune::ops::prepack_bsr_cuda));
}
