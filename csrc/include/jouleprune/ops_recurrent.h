// The ops of recurrent layers as C++ functions, beside those of ops.h.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

namespace jouleprune {

/// A recurrent layer: (output, h, c). `input` [steps, n, features], or the data of a packed sequence with its `batch_sizes`;
/// `h`, `c` [layers x directions, n, features]. `matrices`: for each layer and direction W_ih, W_hh and, when the hidden state is
/// projected, W_hr, each as values, col_indices, row_offsets, key or as a dense weight [rows, cols], followed by its bias if it has
/// one; `counts`: how many tensors each has (4 or 1, and 1 more with a bias). Gates are ordered as torch::nn::LSTM's. Dropout works
/// between layers, in training. Differentiable as linear_csr. Throws c10::ValueError.
std::tuple<at::Tensor, at::Tensor, at::Tensor> lstm_csr(const at::Tensor& input, const std::optional<at::Tensor>& batch_sizes,
                                                        const at::Tensor& h, const at::Tensor& c, at::TensorList matrices,
                                                        at::IntArrayRef counts, int64_t layers, bool bidirectional = false,
                                                        double dropout = 0, bool training = false);

/// (output, h); as lstm_csr, with W_ih and W_hh of torch::nn::GRU.
std::tuple<at::Tensor, at::Tensor> gru_csr(const at::Tensor& input, const std::optional<at::Tensor>& batch_sizes,
                                           const at::Tensor& h, at::TensorList matrices, at::IntArrayRef counts, int64_t layers,
                                           bool bidirectional = false, double dropout = 0, bool training = false);

}  // namespace jouleprune
