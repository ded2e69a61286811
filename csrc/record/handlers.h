// One handler per family of ops: a finished call -> entries.
#pragma once
#include "record/recording.h"

namespace jouleprune::record {

/// Per element: maximum, exponential, sum, division.
inline constexpr int64_t kSoftmaxOps = 4;

using Handler = void (*)(const Call& call, Recording& recording);

// linear.cpp
void linear(const Call& call, Recording& recording);    ///< (input, weight, ...)
void addmm(const Call& call, Recording& recording);     ///< (added, a, b, ...): addmm, addmv, baddbmm
void matmul(const Call& call, Recording& recording);    ///< (a, b): mm, mv, bmm, dot, matmul
void bilinear(const Call& call, Recording& recording);  ///< (input1, input2, weight, ...)

// convolution.cpp
void convolution(const Call& call, Recording& recording);         ///< (input, weight, bias, ..., groups at 6)
void convolution_mkldnn(const Call& call, Recording& recording);  ///< (..., padding, stride at 4, dilation, groups)
void convolution_transposed(const Call& call, Recording& recording);
void convolution_general(const Call& call, Recording& recording);  ///< transposed at 6, groups at 8

/// Output sizes, strides and dilations of a convolution; a single stride or dilation holds for every axis.
void set_windows(Entry& entry, const at::Tensor& output, std::vector<int64_t> stride, std::vector<int64_t> dilation);

// rnn.cpp: (input, ...) or (data, batch_sizes, ...), then hx, params, ...
void lstm(const Call& call, Recording& recording);
void gru(const Call& call, Recording& recording);
void rnn(const Call& call, Recording& recording);
void lstm_cell(const Call& call, Recording& recording);  ///< (input, hx, w_ih, w_hh, ...)
void lstm_csr(const Call& call, Recording& recording);
void gru_csr(const Call& call, Recording& recording);
void gru_cell(const Call& call, Recording& recording);
void rnn_cell(const Call& call, Recording& recording);

// attention.cpp
void attention(const Call& call, Recording& recording);             ///< (query, key, value, ...)
void multi_head_attention(const Call& call, Recording& recording);  ///< nn.MultiheadAttention fused
void encoder_layer(const Call& call, Recording& recording);         ///< nn.TransformerEncoderLayer fused

// embedding.cpp: (weight, indices, ...)
void embedding(const Call& call, Recording& recording);
void embedding_bag(const Call& call, Recording& recording);

// traffic.cpp
void elementwise(const Call& call, Recording& recording);
void dropout(const Call& call, Recording& recording);     ///< (input, p, train): free unless training
void norm(const Call& call, Recording& recording);
void softmax(const Call& call, Recording& recording);
void pool(const Call& call, Recording& recording);        ///< (input, kernel_size, ...)
void reduce(const Call& call, Recording& recording);      ///< one op per input element
void copy(const Call& call, Recording& recording);        ///< reads what it writes: cat, pad, contiguous, to
void gather(const Call& call, Recording& recording);      ///< reads only the elements it writes: index, gather
void scatter(const Call& call, Recording& recording);     ///< writes a few elements of a tensor: index_put_, scatter_
void view_or_copy(const Call& call, Recording& recording);  ///< free when the output shares the input's memory
void free_of_charge(const Call& call, Recording& recording);
void norm_of(Recording& recording, const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
             const at::Tensor& output);
void elementwise_of(Recording& recording, const std::vector<at::Tensor>& inputs, const at::Tensor& output);

// sparse.cpp
void linear_csr(const Call& call, Recording& recording);
void conv2d_bsr(const Call& call, Recording& recording);
void conv2d_csr(const Call& call, Recording& recording);
/// `sizes`: those of the dense weight of which `values` are kept.
void mark_csr(Entry& entry, const at::Tensor& values, std::vector<int64_t> sizes);
void linear_bsr(const Call& call, Recording& recording);
void linear_nm(const Call& call, Recording& recording);
void linear_bsr_int8(const Call& call, Recording& recording);
void conv2d_bsr_int8(const Call& call, Recording& recording);

}  // namespace jouleprune::record
