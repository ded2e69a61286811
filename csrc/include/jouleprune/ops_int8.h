// The ops of int8 weights as C++ functions, beside those of ops.h. For inference on the CPU: they have no derivatives.
//
// Layout bsr in int8 of a weight [rows, cols], in blocks of 1 x 4 entries:
//   blocks             [blocks, 1, 4]  int8; block rows ascending, block columns ascending in a row
//   block_columns      [blocks]        int32, in [0, ceil(cols / 4))
//   block_row_offsets  [rows + 1]      int32, first 0, last `blocks`
//   key                [2]             int64: 128-bit key of the structure, from pack_bsr_int8
//   scales             [rows]          float32: weight = block entry x scale of its row
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/SymInt.h>

#include <optional>
#include <string_view>
#include <tuple>

namespace jouleprune {

/// blocks, block_columns, block_row_offsets, key, scales of `weight` [rows, ...], flattened to [rows, cols]. A block is kept when any
/// of its entries is, by the rules of pack_csr. Throws c10::ValueError for weights that hold NaN or infinity.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> pack_bsr_int8(
    const at::Tensor& weight, const std::optional<at::Tensor>& mask = std::nullopt);

/// The dense weight [rows, cols] that int8 holds, float32.
at::Tensor unpack_bsr_int8(const at::Tensor& blocks, const at::Tensor& block_columns, const at::Tensor& block_row_offsets,
                           const at::Tensor& scales, c10::SymInt cols);

/// activation(input W^T + bias) with inputs rounded to int8: input [..., in_features], float32, bfloat16 or float16 -> [..., rows].
/// `input_scale` [1], float32: one scale for all inputs; 0 or nullopt gives each row of the input its own. `bias` [rows], float32 or
/// the dtype of the input. Throws where a gradient would be needed.
at::Tensor linear_bsr_int8(const at::Tensor& input, const at::Tensor& blocks, const at::Tensor& block_columns,
                           const at::Tensor& block_row_offsets, const at::Tensor& key, const at::Tensor& scales,
                           const std::optional<at::Tensor>& input_scale, const std::optional<at::Tensor>& prepacked,
                           const std::optional<at::Tensor>& bias, c10::SymInt in_features, std::string_view activation = "none");

/// activation(conv2d(input, W) + bias), zero padding, with inputs rounded to int8: input [n, in_channels, h, w] -> [n, rows, out_h,
/// out_w] in the memory format of the input (contiguous or channels_last). The weight [rows, in_channels / groups, kh, kw] was packed
/// as [rows, kh, kw, channels], channels filled up with zeros to a multiple of 4: a block is four neighbouring channels at one tap.
/// `input_scale` as of linear_bsr_int8, 0 or nullopt gives each image its own. Throws where a gradient would be needed.
at::Tensor conv2d_bsr_int8(const at::Tensor& input, const at::Tensor& blocks, const at::Tensor& block_columns,
                           const at::Tensor& block_row_offsets, const at::Tensor& key, const at::Tensor& scales,
                           const std::optional<at::Tensor>& input_scale, const std::optional<at::Tensor>& prepacked,
                           const std::optional<at::Tensor>& bias, c10::SymInt in_channels, at::IntArrayRef kernel_size,
                           at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation, int64_t groups,
                           std::string_view activation = "none");

}  // namespace jouleprune
