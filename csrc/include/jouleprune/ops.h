// Every op of the layouts csr and bsr and of masks as a C++ function; they go through torch's dispatcher, so that autograd, autocast,
// CUDA and tracing work as for torch's own functions.
//
// Layout csr of a weight [rows, cols] (a convolution's weight seen as [out_channels, in_channels / groups x kernel taps]):
//   values       [nnz]       float32, float64, bfloat16 or float16: the kept entries, rows ascending, columns ascending in a row
//   col_indices  [nnz]       int32, in [0, cols)
//   row_offsets  [rows + 1]  int32, first 0, last nnz
//   key          [2]         int64: 128-bit key of the structure, from pack_csr
// The structure is checked when a storage is first seen (range, order, and that the key belongs to it), not on each call.
//
// Errors: c10::ValueError for shapes, sizes, names, devices and unsound structures, c10::TypeError for dtypes; messages name the
// op, the argument, what was expected and what came. Zeros that were removed stay removed: unlike in a dense product, 0 x inf and
// 0 x NaN of a removed entry do not appear in the result.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/SymInt.h>
#include <c10/core/SymIntArrayRef.h>

#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace jouleprune {

/// values, col_indices, row_offsets, key of `weight` [rows, ...], flattened to [rows, cols]. Kept: where `mask` (bool, shape of the
/// weight) is true, without one where weight != 0 (-0.0 is a zero, NaN is kept). Not differentiable.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> pack_csr(const at::Tensor& weight,
                                                                    const std::optional<at::Tensor>& mask = std::nullopt);

/// The dense weight [rows, cols]. Differentiable in values.
at::Tensor unpack_csr(const at::Tensor& values, const at::Tensor& col_indices, const at::Tensor& row_offsets, c10::SymInt cols);

/// An order of the structure that suits the kernels of this machine (int32); empty where nothing helps, as for the present ones.
at::Tensor prepack_csr(const at::Tensor& values, const at::Tensor& col_indices, const at::Tensor& row_offsets, c10::SymInt cols);

/// activation(input W^T + bias + residual): input [..., in_features] -> [..., rows]. `input`, `values`, `bias` [rows] and
/// `residual` [..., rows], which is added to the rounded sums, share dtype and device. `prepacked`: from prepack_csr, or nullopt. `activation`: "none", "relu", "gelu", "silu". 16-bit sums are kept in
/// float32. Differentiable once in input, values (at the kept entries), bias and residual.
at::Tensor linear_csr(const at::Tensor& input, const at::Tensor& values, const at::Tensor& col_indices,
                      const at::Tensor& row_offsets, const at::Tensor& key, const std::optional<at::Tensor>& prepacked,
                      const std::optional<at::Tensor>& bias, c10::SymInt in_features, std::string_view activation = "none",
                      const std::optional<at::Tensor>& residual = std::nullopt);

/// Linear layers one after the other, as linear_csr called for each and to the same bits. `weights`: values, col_indices, row_offsets,
/// key of each layer, followed by its bias if it has one; `counts`: 4 or, with a bias, 5 per layer; `in_features`: of the first layer;
/// `activations`: one per layer, separated by commas: "relu,none" (a list of strings cannot be traced).
/// float32 inference on the CPU runs as one kernel, which keeps the batch transposed between layers.
at::Tensor linear_csr_chain(const at::Tensor& input, at::TensorList weights, at::IntArrayRef counts, c10::SymInt in_features,
                            std::string_view activations);

/// grad_output [..., rows] -> gradient of the input [..., in_features].
at::Tensor linear_csr_backward_input(const at::Tensor& grad_output, const at::Tensor& values, const at::Tensor& col_indices,
                                     const at::Tensor& row_offsets, const at::Tensor& key, c10::SymInt in_features);

/// grad_output [..., rows], input [..., in_features] -> gradient of the values [nnz].
at::Tensor linear_csr_backward_values(const at::Tensor& grad_output, const at::Tensor& input, const at::Tensor& col_indices,
                                      const at::Tensor& row_offsets, const at::Tensor& key, c10::SymInt in_features);

/// activation(conv2d(input, W) + bias + residual): input [n, in_channels, h, w] -> [n, rows, out_h, out_w] in the memory format of the input
/// (contiguous or channels_last). Zero padding. Differentiable as linear_csr.
at::Tensor conv2d_csr(const at::Tensor& input, const at::Tensor& values, const at::Tensor& col_indices,
                      const at::Tensor& row_offsets, const at::Tensor& key, const std::optional<at::Tensor>& prepacked,
                      const std::optional<at::Tensor>& bias, c10::SymInt in_channels, at::IntArrayRef kernel_size,
                      at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation, int64_t groups,
                      std::string_view activation = "none", const std::optional<at::Tensor>& residual = std::nullopt);

/// grad_output [n, rows, out_h, out_w] -> gradient of the input, of shape `input_size`, contiguous.
at::Tensor conv2d_csr_backward_input(const at::Tensor& grad_output, const at::Tensor& values, const at::Tensor& col_indices,
                                     const at::Tensor& row_offsets, const at::Tensor& key, c10::SymIntArrayRef input_size,
                                     at::IntArrayRef kernel_size, at::IntArrayRef stride, at::IntArrayRef padding,
                                     at::IntArrayRef dilation, int64_t groups);

/// grad_output [n, rows, out_h, out_w], input [n, in_channels, h, w] -> gradient of the values [nnz].
at::Tensor conv2d_csr_backward_values(const at::Tensor& grad_output, const at::Tensor& input, const at::Tensor& col_indices,
                                      const at::Tensor& row_offsets, const at::Tensor& key, at::IntArrayRef kernel_size,
                                      at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation, int64_t groups);

// Layout bsr of a weight [rows, cols], in blocks of r x c entries ("vector" is the case c = 1):
//   blocks             [blocks, r, c]        dtypes as of csr: the kept blocks, row-major within; block rows ascending, block columns
//                                            ascending in a block row. Beyond the edges of the weight: padding, not looked at
//   block_columns      [blocks]              int32, in [0, ceil(cols / c))
//   block_row_offsets  [ceil(rows / r) + 1]  int32, first 0, last `blocks`
//   key                [2]                   int64: 128-bit key of the structure, from pack_bsr
// Every entry of a kept block multiplies, those that are zero included; removed blocks never do.

/// blocks, block_columns, block_row_offsets, key of `weight` [rows, ...], flattened to [rows, cols]. A block is kept when any of its
/// entries is, by the rules of pack_csr; with a mask the others of its entries are stored as 0. Not differentiable.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> pack_bsr(const at::Tensor& weight, const std::optional<at::Tensor>& mask,
                                                                    at::IntArrayRef block_size);

/// The dense weight [rows, cols]. Differentiable in blocks.
at::Tensor unpack_bsr(const at::Tensor& blocks, const at::Tensor& block_columns, const at::Tensor& block_row_offsets,
                      c10::SymInt rows, c10::SymInt cols);

/// As prepack_csr.
at::Tensor prepack_bsr(const at::Tensor& blocks, const at::Tensor& block_columns, const at::Tensor& block_row_offsets,
                       c10::SymInt rows, c10::SymInt cols);

/// As linear_csr; differentiable in input, blocks (kept blocks) and bias.
at::Tensor linear_bsr(const at::Tensor& input, const at::Tensor& blocks, const at::Tensor& block_columns,
                      const at::Tensor& block_row_offsets, const at::Tensor& key, const std::optional<at::Tensor>& prepacked,
                      const std::optional<at::Tensor>& bias, c10::SymInt out_features, c10::SymInt in_features,
                      std::string_view activation = "none");

/// grad_output [..., out_features] -> gradient of the input [..., in_features].
at::Tensor linear_bsr_backward_input(const at::Tensor& grad_output, const at::Tensor& blocks, const at::Tensor& block_columns,
                                     const at::Tensor& block_row_offsets, const at::Tensor& key, c10::SymInt out_features,
                                     c10::SymInt in_features);

/// grad_output [..., out_features], input [..., in_features] -> gradient of the blocks [blocks, r, c], 0 in the padding.
at::Tensor linear_bsr_backward_values(const at::Tensor& grad_output, const at::Tensor& input, const at::Tensor& block_columns,
                                      const at::Tensor& block_row_offsets, const at::Tensor& key, c10::SymIntArrayRef block_size,
                                      c10::SymInt out_features, c10::SymInt in_features);

/// activation(conv2d(input, W) + bias + residual): input [n, in_channels, h, w] -> [n, out_channels, out_h, out_w], contiguous. Zero
/// padding. The weight is packed as the matrix [out_channels, taps x (in_channels / groups, rounded up to a multiple of c)], tap by tap,
/// kernel row by kernel row: a block lies at one tap, and channels beyond the last are padding. Differentiable as linear_bsr.
at::Tensor conv2d_bsr(const at::Tensor& input, const at::Tensor& blocks, const at::Tensor& block_columns,
                      const at::Tensor& block_row_offsets, const at::Tensor& key, const std::optional<at::Tensor>& prepacked,
                      const std::optional<at::Tensor>& bias, c10::SymInt out_channels, c10::SymInt in_channels,
                      at::IntArrayRef kernel_size, at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation,
                      int64_t groups, std::string_view activation = "none",
                      const std::optional<at::Tensor>& residual = std::nullopt);

/// grad_output [n, out_channels, out_h, out_w] -> gradient of the input, of shape `input_size`, contiguous.
at::Tensor conv2d_bsr_backward_input(const at::Tensor& grad_output, const at::Tensor& blocks, const at::Tensor& block_columns,
                                     const at::Tensor& block_row_offsets, const at::Tensor& key, c10::SymIntArrayRef input_size,
                                     at::IntArrayRef kernel_size, at::IntArrayRef stride, at::IntArrayRef padding,
                                     at::IntArrayRef dilation, int64_t groups);

/// grad_output, input [n, in_channels, h, w] -> gradient of the blocks [blocks, r, c], 0 for padding.
at::Tensor conv2d_bsr_backward_values(const at::Tensor& grad_output, const at::Tensor& input, const at::Tensor& block_columns,
                                      const at::Tensor& block_row_offsets, const at::Tensor& key, c10::SymIntArrayRef block_size,
                                      at::IntArrayRef kernel_size, at::IntArrayRef stride, at::IntArrayRef padding,
                                      at::IntArrayRef dilation, int64_t groups);

/// Bits of a bool tensor: uint8 [ceil(numel / 8)], element i at byte i / 8, bit i % 8; unused bits are 0.
at::Tensor pack_mask(const at::Tensor& mask);

/// The bool tensor of shape `size`, from pack_mask's bits.
at::Tensor unpack_mask(const at::Tensor& bits, c10::SymIntArrayRef size);
at::Tensor unpack_mask(const at::Tensor& bits, at::IntArrayRef size);

/// Sets the elements of `self` to 0 where the bit is 0; any dtype, strides and device; counts as an in-place change. A tensor that
/// requires grad needs no_grad, as for torch's in-place functions.
void apply_mask_(const at::Tensor& self, const at::Tensor& bits);

/// Scores of the elements of `weight`, float32, same shape; higher = keep. Not differentiable.
///   "magnitude"  w^2: an estimate of the loss of removing w is of second order in w, so that ratios to joules compare
///   "gradient"   |grad|
///   "taylor"     |w grad|
///   "lamp"       w^2 / sum of the w'^2 of the tensor at or after w in a stable ascending sort by w'^2: Lee et al., Layer-adaptive
///                Sparsity for the Magnitude-based Pruning, ICLR 2021, eq. 2
/// Scores beyond float32 saturate at its largest number. Throws c10::ValueError when `weight` or `grad` holds NaN or inf, when a
/// criterion that uses the gradient gets none, and for an unknown criterion.
at::Tensor importance(const at::Tensor& weight, const std::optional<at::Tensor>& grad, std::string_view criterion);

// Masks of units, bool, true = kept. Scores: any real dtype and device, compared by magnitude; NaN is above infinity. Of equal ones
// the first stay. `left`: bool, what earlier masks kept; none: everything. The result is the same for any number of threads.

/// One mask per tensor of `scores`: what is left but the `amount` smallest of all, found without sorting or joining the tensors, also
/// beyond 2^31 entries. Throws c10::ValueError when `amount` is negative or more than is left.
std::vector<at::Tensor> mask_smallest(at::TensorList scores, int64_t amount, at::TensorList left = {});

/// Pattern n:m: of every m consecutive entries along `dim` the n largest of those left; the last group may be shorter.
at::Tensor mask_n_of_m(const at::Tensor& scores, int64_t n, int64_t m, int64_t dim,
                       const std::optional<at::Tensor>& left = std::nullopt);

/// scores [rows, ...], flattened to [rows, cols] and seen as units of r x c entries -> norms (float64) and left (bool), both
/// [ceil(rows / r), ceil(cols / c)]. The norm is a mean over the unit's entries in the weight: (sum |score|^norm / entries)^(1 / norm),
/// or the largest |score| for infinity; entries that are not left count as 0. A unit is left while any of its entries is.
std::tuple<at::Tensor, at::Tensor> unit_norms(const at::Tensor& scores, at::IntArrayRef block_size, double norm,
                                              const std::optional<at::Tensor>& left = std::nullopt);

/// The mask of a weight of `size` from the mask of its units: an entry is kept when its unit is and when it is left.
at::Tensor spread_units(const at::Tensor& units, at::IntArrayRef size, at::IntArrayRef block_size,
                        const std::optional<at::Tensor>& left = std::nullopt);

}  // namespace jouleprune
