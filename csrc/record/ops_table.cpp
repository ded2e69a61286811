#include "record/ops_table.h"

#include <initializer_list>
#include <string>
#include <unordered_map>

namespace jouleprune::record {
namespace {

using Table = std::unordered_map<std::string_view, OpRule>;

void layers(Table& table) {
  const auto add = [&](Handler handler, std::initializer_list<std::string_view> ops, size_t input = 0) {
    for (const std::string_view op : ops) table[op] = {handler, true, input};
  };
  add(linear, {"aten::linear"});
  add(bilinear, {"aten::bilinear"});
  add(convolution, {"aten::conv1d", "aten::conv2d", "aten::conv3d", "aten::_convolution_mode"});
  add(convolution_mkldnn, {"aten::mkldnn_convolution"});
  add(convolution_transposed, {"aten::conv_transpose1d", "aten::conv_transpose2d", "aten::conv_transpose3d"});
  add(convolution_general, {"aten::convolution", "aten::_convolution", "aten::convolution_overrideable"});
  add(lstm, {"aten::lstm"});
  add(gru, {"aten::gru"});
  add(rnn, {"aten::rnn_tanh", "aten::rnn_relu"});
  add(lstm_cell, {"aten::lstm_cell"});
  add(gru_cell, {"aten::gru_cell"});
  add(rnn_cell, {"aten::rnn_tanh_cell", "aten::rnn_relu_cell"});
  add(multi_head_attention, {"aten::_native_multi_head_attention"});
  add(encoder_layer, {"aten::_transformer_encoder_layer_fwd"});
  add(embedding, {"aten::embedding"}, 1);
  add(embedding_bag, {"aten::embedding_bag", "aten::_embedding_bag", "aten::_embedding_bag_forward_only"}, 1);
  add(attention, {"aten::scaled_dot_product_attention", "aten::_scaled_dot_product_attention_math",
                  "aten::_scaled_dot_product_flash_attention", "aten::_scaled_dot_product_flash_attention_for_cpu",
                  "aten::_scaled_dot_product_efficient_attention", "aten::_scaled_dot_product_cudnn_attention",
                  "aten::_scaled_dot_product_fused_attention_overrideable"});
  add(linear_csr, {"jouleprune::linear_csr"});
  add(conv2d_bsr, {"jouleprune::conv2d_bsr"});
  add(conv2d_csr, {"jouleprune::conv2d_csr"});
  add(lstm_csr, {"jouleprune::lstm_csr"});
  add(gru_csr, {"jouleprune::gru_csr"});
  add(linear_bsr, {"jouleprune::linear_bsr"});
  add(linear_nm, {"jouleprune::linear_nm"});
  add(linear_bsr_int8, {"jouleprune::linear_bsr_int8", "jouleprune::linear_bsr_int8_to_bytes"});
  add(conv2d_bsr_int8, {"jouleprune::conv2d_bsr_int8", "jouleprune::conv2d_bsr_int8_to_bytes"});
}

void products(Table& table) {
  for (const char* op : {"aten::mm", "aten::mv", "aten::bmm", "aten::dot", "aten::vdot", "aten::matmul"}) {
    table[op] = {matmul};
  }
  for (const char* op : {"aten::addmm", "aten::addmv", "aten::baddbmm", "aten::_addmm_activation"}) {
    table[op] = {addmm, false, 1};
  }
}

void traffic(Table& table) {
  const auto add = [&](Handler handler, std::initializer_list<std::string_view> ops) {
    for (const std::string_view op : ops) table[op] = {handler};
  };
  // Elementwise ops that torch does not tag as such; the tagged ones are found by their tag.
  add(elementwise, {"aten::hardswish", "aten::glu", "aten::prelu", "aten::_prelu_kernel", "aten::log_sigmoid",
                    "aten::floor_divide", "aten::_add_relu", "aten::tril", "aten::triu", "aten::complex", "aten::polar",
                    "aten::isin", "aten::bucketize", "aten::searchsorted", "aten::bernoulli", "aten::grid_sampler",
                    "aten::upsample_nearest1d", "aten::upsample_nearest2d", "aten::upsample_nearest3d",
                    "aten::upsample_linear1d", "aten::upsample_bilinear2d", "aten::upsample_trilinear3d",
                    "aten::upsample_bicubic2d", "aten::_upsample_nearest_exact1d", "aten::_upsample_nearest_exact2d",
                    "aten::_upsample_nearest_exact3d", "aten::_upsample_bilinear2d_aa",
                    "aten::_upsample_bicubic2d_aa", "jouleprune::quantize_bytes"});
  add(dropout, {"aten::dropout", "aten::alpha_dropout", "aten::feature_dropout", "aten::feature_alpha_dropout",
                "aten::native_dropout"});
  add(norm, {"aten::batch_norm", "aten::native_batch_norm", "aten::_native_batch_norm_legit_no_training",
             "aten::cudnn_batch_norm", "aten::layer_norm", "aten::native_layer_norm", "aten::group_norm",
             "aten::native_group_norm", "aten::instance_norm", "aten::rms_norm", "aten::_fused_rms_norm"});
  add(softmax, {"aten::softmax", "aten::_softmax", "aten::log_softmax", "aten::_log_softmax", "aten::_safe_softmax",
                "aten::_masked_softmax"});
  add(pool, {"aten::max_pool1d", "aten::max_pool2d", "aten::max_pool3d", "aten::max_pool1d_with_indices",
             "aten::max_pool2d_with_indices", "aten::max_pool3d_with_indices", "aten::avg_pool1d", "aten::avg_pool2d",
             "aten::avg_pool3d", "aten::adaptive_avg_pool1d", "aten::adaptive_avg_pool2d", "aten::adaptive_avg_pool3d",
             "aten::_adaptive_avg_pool2d", "aten::_adaptive_avg_pool3d", "aten::adaptive_max_pool1d",
             "aten::adaptive_max_pool2d", "aten::adaptive_max_pool3d"});
  add(reduce, {"aten::sum", "aten::mean", "aten::nansum", "aten::nanmean", "aten::prod", "aten::var", "aten::std",
               "aten::var_mean", "aten::std_mean", "aten::amax", "aten::amin", "aten::aminmax", "aten::argmax",
               "aten::argmin", "aten::all", "aten::any", "aten::norm", "aten::linalg_vector_norm", "aten::logsumexp",
               "aten::cumsum", "aten::cumprod", "aten::cummax", "aten::cummin", "aten::topk", "aten::sort",
               "aten::argsort", "aten::median", "aten::kthvalue", "aten::mode", "aten::count_nonzero", "aten::nonzero",
               "aten::multinomial", "aten::mse_loss", "aten::l1_loss", "aten::smooth_l1_loss", "aten::huber_loss",
               "aten::nll_loss", "aten::nll_loss_nd", "aten::cross_entropy_loss", "aten::binary_cross_entropy",
               "aten::binary_cross_entropy_with_logits", "aten::kl_div"});
  add(copy, {"aten::cat", "aten::concat", "aten::concatenate", "aten::stack", "aten::pad", "aten::constant_pad_nd",
             "aten::_pad_circular", "aten::reflection_pad1d", "aten::reflection_pad2d", "aten::reflection_pad3d",
             "aten::replication_pad1d", "aten::replication_pad2d", "aten::replication_pad3d", "aten::clone",
             "aten::_to_copy", "aten::repeat", "aten::tile", "aten::repeat_interleave", "aten::roll", "aten::flip",
             "aten::rot90", "aten::pixel_shuffle", "aten::pixel_unshuffle", "aten::channel_shuffle", "aten::im2col",
             "aten::col2im", "aten::_pack_padded_sequence", "aten::_pad_packed_sequence", "aten::masked_select"});
  add(gather, {"aten::index", "aten::_unsafe_index", "aten::index_select", "aten::gather", "aten::take",
               "aten::take_along_dim"});
  add(scatter, {"aten::copy", "aten::index_put", "aten::_index_put_impl", "aten::index_copy", "aten::index_add",
                "aten::index_fill", "aten::scatter", "aten::scatter_add", "aten::scatter_reduce",
                "aten::masked_scatter",
                "aten::slice_scatter", "aten::select_scatter", "aten::diagonal_scatter"});
  // Metadata, constants, and what only ever returns a view although its schema does not say so (views in place).
  add(free_of_charge, {"aten::detach", "aten::t", "aten::transpose", "aten::squeeze", "aten::unsqueeze",
                       "aten::swapaxes", "aten::swapdims", "aten::as_strided", "aten::_unsafe_view",
                       "aten::unsafe_chunk", "aten::unsafe_split", "aten::unsafe_split_with_sizes", "aten::lift",
                       "aten::fill", "aten::zero", "aten::resize", "aten::set", "aten::empty_like",
                       "aten::zeros_like", "aten::ones_like", "aten::full_like", "aten::rand_like",
                       "aten::randn_like", "aten::new_empty", "aten::new_empty_strided", "aten::new_zeros",
                       "aten::new_ones", "aten::new_full", "aten::uniform", "aten::normal", "aten::requires_grad",
                       "aten::_local_scalar_dense", "aten::item", "aten::_shape_as_tensor", "aten::broadcast_tensors",
                       "aten::_nested_tensor_from_mask_left_aligned", "aten::_assert_async",
                       "aten::_assert_tensor_metadata"});
}

Table make_table() {
  Table table;
  layers(table);
  products(table);
  traffic(table);
  return table;
}

}  // namespace

const OpRule* find_rule(std::string_view op) {
  static const Table table = make_table();
  if (op.ends_with('_') && !op.ends_with("__")) op.remove_suffix(1);
  const auto found = table.find(op);
  return found == table.end() ? nullptr : &found->second;
}

}  // namespace jouleprune::record
