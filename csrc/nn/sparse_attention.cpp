// SparseMultiheadAttention: the order of operations is torch's, so that outputs and joules compare.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/baddbmm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <jouleprune/nn_attention.h>
#include <jouleprune/value_errors.h>

#include <cmath>
#include <limits>
#include <ostream>

#include "nn/in_projection.h"
#include "nn/matrices.h"

namespace jouleprune::nn {
namespace {

constexpr const char* kOp = "SparseMultiheadAttention";
constexpr const char* kOut = "out_proj";

bool one_projection(const torch::nn::MultiheadAttentionOptions& options) {
  return options.kdim() == options.embed_dim() && options.vdim() == options.embed_dim();
}

/// The name of a matrix in the dense module.
std::string dense_name(const std::string& name) { return name == kOut ? "out_proj.weight" : name; }

Matrices empty_projections(const torch::nn::MultiheadAttentionOptions& options) {
  const int64_t size = options.embed_dim();
  TORCH_CHECK_VALUE(size > 0 && options.num_heads() > 0 && size % options.num_heads() == 0, kOp,
                    ": embed_dim: expected a multiple of num_heads, both > 0, got ", size, " and ", options.num_heads());
  Matrices made;
  if (one_projection(options)) {
    made.names = {"in_proj_weight"};
    made.matrices = {empty_matrix(3 * size, size, options.bias())};
  } else {
    made.names = {"q_proj_weight", "k_proj_weight", "v_proj_weight"};
    for (const int64_t width : {size, options.kdim(), options.vdim()}) made.matrices.push_back(empty_matrix(size, width, options.bias()));
  }
  made.names.emplace_back(kOut);
  made.matrices.push_back(empty_matrix(size, size, options.bias()));
  return made;
}

/// One tensor, or views that read the same memory alike.
bool same(const at::Tensor& a, const at::Tensor& b) {
  return a.is_same(b) || (a.const_data_ptr() == b.const_data_ptr() && a.sizes() == b.sizes() && a.strides() == b.strides() &&
                          a.scalar_type() == b.scalar_type() && a.device() == b.device());
}

/// -inf where a bool mask is true; a mask of numbers as it is.
at::Tensor additive(const char* name, const at::Tensor& mask, const at::Tensor& like) {
  if (!mask.defined() || mask.is_floating_point()) {
    return mask;
  }
  TORCH_CHECK_VALUE(mask.scalar_type() == at::kBool, kOp, ": ", name, ": expected bool or floating point, got ", mask.scalar_type());
  return at::zeros_like(mask, like.scalar_type()).masked_fill_(mask, -std::numeric_limits<double>::infinity());
}

/// One more key, which no mask hides.
at::Tensor widened(const at::Tensor& mask) { return mask.defined() ? at::constant_pad_nd(mask, {0, 1}) : mask; }

/// [length, n, features] -> [n x heads, length, head_dim]
at::Tensor by_head(const at::Tensor& tensor, int64_t heads) {
  const int64_t n = tensor.size(1);
  return tensor.contiguous().view({tensor.size(0), n * heads, tensor.size(2) / heads}).transpose(0, 1);
}

void check_inputs(const torch::nn::MultiheadAttentionOptions& options, const at::Tensor& query, const at::Tensor& key,
                  const at::Tensor& value) {
  const auto check = [&](const char* name, const at::Tensor& tensor, int64_t width) {
    TORCH_CHECK_VALUE(tensor.defined() && tensor.dim() == 3 && tensor.size(2) == width, kOp, ": ", name, ": expected [length, n, ",
                      width, "], got ", tensor.defined() ? tensor.sizes() : at::IntArrayRef{});
  };
  check("query", query, options.embed_dim());
  check("key", key, options.kdim());
  check("value", value, options.vdim());
  TORCH_CHECK_VALUE(key.size(0) == value.size(0) && key.size(1) == value.size(1) && key.size(1) == query.size(1), kOp,
                    ": expected keys and values of one length, and one n for all, got query ", query.sizes(), ", key ", key.sizes(),
                    ", value ", value.sizes());
}

/// The attention mask and the padding as one, [1 or n x heads, queries or 1, keys]; undefined without any.
at::Tensor merged(const at::Tensor& mask, const at::Tensor& padding, int64_t heads) {
  if (!padding.defined()) {
    return mask;
  }
  const int64_t n = padding.size(0), keys = padding.size(1);
  const auto spread = padding.view({n, 1, 1, keys}).expand({n, heads, 1, keys}).reshape({n * heads, 1, keys});
  return mask.defined() ? mask + spread : spread;
}

}  // namespace

SparseMultiheadAttentionImpl::SparseMultiheadAttentionImpl(const torch::nn::MultiheadAttentionOptions& options_)
    : Matrices(empty_projections(options_)), options(options_) {
  if (options.add_bias_kv()) {
    bias_k = at::zeros({1, 1, options.embed_dim()});
    bias_v = at::zeros({1, 1, options.embed_dim()});
  }
  reset();
}

void SparseMultiheadAttentionImpl::reset() {
  register_matrices(*this);
  const bool has = bias_k.defined();
  bias_k = register_parameter("bias_k", has ? bias_k.detach().clone() : bias_k, /*requires_grad=*/has);
  bias_v = register_parameter("bias_v", has ? bias_v.detach().clone() : bias_v, /*requires_grad=*/has);
  parts_ = std::make_shared<ProjectionParts>();  // a copy's own
}

void SparseMultiheadAttentionImpl::pretty_print(std::ostream& stream) const {
  stream << std::boolalpha << "jouleprune::nn::SparseMultiheadAttention(" << options.embed_dim() << ", " << options.num_heads()
         << ", dropout=" << options.dropout() << ", bias=" << options.bias() << ", kdim=" << options.kdim()
         << ", vdim=" << options.vdim() << ", layout=csr, nnz=" << nnz() << ')';
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> SparseMultiheadAttentionImpl::project(const at::Tensor& query, const at::Tensor& key,
                                                                                     const at::Tensor& value) {
  if (matrices.size() == 4) {
    return {matrices[0]->forward(query), matrices[1]->forward(key), matrices[2]->forward(value)};
  }
  const auto part = [&](const at::Tensor& input, int64_t first, int64_t last) {
    return parts_->multiply(*matrices[0], input, first, last).chunk(last - first, -1);
  };
  if (same(query, key) && same(key, value)) {
    const auto all = part(query, 0, 3);
    return {all[0], all[1], all[2]};
  }
  if (same(key, value)) {
    const auto both = part(key, 1, 3);
    return {part(query, 0, 1)[0], both[0], both[1]};
  }
  return {part(query, 0, 1)[0], part(key, 1, 2)[0], part(value, 2, 3)[0]};
}

std::tuple<at::Tensor, at::Tensor> SparseMultiheadAttentionImpl::forward(const at::Tensor& query, const at::Tensor& key,
                                                                         const at::Tensor& value, const at::Tensor& key_padding_mask,
                                                                         bool need_weights, const at::Tensor& attn_mask,
                                                                         bool average_attn_weights) {
  check_inputs(options, query, key, value);
  const int64_t length = query.size(0), n = query.size(1), heads = options.num_heads(), head = options.embed_dim() / heads;
  const int64_t keys = key.size(0);
  at::Tensor mask = additive("attn_mask", attn_mask, query), padding = additive("key_padding_mask", key_padding_mask, query);
  TORCH_CHECK_VALUE(!padding.defined() || (padding.sizes() == at::IntArrayRef({n, keys})), kOp, ": key_padding_mask: expected [", n, ", ",
                    keys, "], got ", padding.defined() ? padding.sizes() : at::IntArrayRef{});
  if (mask.defined()) {
    TORCH_CHECK_VALUE(mask.sizes() == at::IntArrayRef({length, keys}) || mask.sizes() == at::IntArrayRef({n * heads, length, keys}), kOp,
                      ": attn_mask: expected [", length, ", ", keys, "] or [", n * heads, ", ", length, ", ", keys, "], got ", mask.sizes());
    mask = mask.dim() == 2 ? mask.unsqueeze(0) : mask;
  }
  auto [q, k, v] = project(query, key, value);
  if (bias_k.defined()) {
    k = at::cat({k, bias_k.repeat({1, n, 1})});
    v = at::cat({v, bias_v.repeat({1, n, 1})});
    mask = widened(mask), padding = widened(padding);
  }
  q = by_head(q * std::pow(static_cast<double>(head), -0.5), heads);
  k = by_head(k, heads);
  v = by_head(v, heads);
  if (options.add_zero_attn()) {
    const auto zeros = at::zeros({n * heads, 1, head}, k.options());
    k = at::cat({k, zeros}, 1), v = at::cat({v, zeros}, 1);
    mask = widened(mask), padding = widened(padding);
  }
  auto weights = at::bmm(q, k.transpose(1, 2));
  if (const auto all = merged(mask, padding, heads); all.defined()) {
    weights = weights + all;
  }
  weights = at::dropout(at::softmax(weights, -1), options.dropout(), is_training());
  const auto context = at::bmm(weights, v).transpose(0, 1).contiguous().view({length, n, options.embed_dim()});
  const auto output = matrices.back()->forward(context);
  if (!need_weights) {
    return {output, at::Tensor()};
  }
  weights = weights.view({n, heads, length, k.size(1)});
  return {output, average_attn_weights ? weights.mean(1) : weights};
}

torch::nn::MultiheadAttention SparseMultiheadAttentionImpl::to_dense() const {
  const at::NoGradGuard no_grad;
  torch::nn::MultiheadAttention dense(options);
  const auto last = matrices.back()->to_dense();
  dense->to(last.device(), last.scalar_type());
  auto parameters = dense->named_parameters();
  const int64_t projections = static_cast<int64_t>(matrices.size()) - 1, rows = options.embed_dim() * (projections == 1 ? 3 : 1);
  for (size_t i = 0; i < matrices.size(); ++i) {
    parameters[dense_name(names[i])].copy_(matrices[i]->to_dense()).set_requires_grad(trains(matrices[i]));
    if (const at::Tensor& bias = matrices[i]->bias; bias.defined()) {
      auto to = names[i] == kOut ? parameters["out_proj.bias"]
                                 : parameters["in_proj_bias"].slice(0, static_cast<int64_t>(i) * rows, static_cast<int64_t>(i + 1) * rows);
      to.copy_(bias);
    }
  }
  if (bias_k.defined()) {
    parameters["bias_k"].copy_(bias_k);
    parameters["bias_v"].copy_(bias_v);
  }
  dense->train(is_training());
  return dense;
}

SparseMultiheadAttention SparseMultiheadAttention::from_dense(const torch::nn::MultiheadAttentionImpl& dense, const std::string& layout,
                                                              const Masks& masks, const std::set<std::string>& stay_dense) {
  SparseMultiheadAttention made(dense.options);
  std::vector<std::string> known;
  for (const auto& name : made->names) known.push_back(dense_name(name));
  check_matrices(std::string(kOp) + "::from_dense", known, layout, masks, stay_dense);
  const auto parameters = dense.named_parameters();
  const int64_t size = dense.options.embed_dim();
  for (size_t i = 0; i < made->names.size(); ++i) {
    at::Tensor bias;
    if (made->names[i] == kOut) {
      bias = dense.out_proj->bias;
    } else if (dense.in_proj_bias.defined()) {  // of three projections each gets its third
      bias = made->names.size() == 2 ? dense.in_proj_bias
                                     : dense.in_proj_bias.detach().slice(0, static_cast<int64_t>(i) * size, static_cast<int64_t>(i + 1) * size);
      bias.set_requires_grad(dense.in_proj_bias.requires_grad());
    }
    const auto matrix = packed_matrix(parameters[known[i]], bias, known[i], masks, stay_dense);
    made->matrices[i] = Linear(made->replace_module(made->names[i], matrix.ptr()));
  }
  const auto take = [](at::Tensor& to, const at::Tensor& from) {
    if (from.defined()) to.set_data(from.detach().clone()), to.set_requires_grad(from.requires_grad());
  };
  take(made->bias_k, dense.bias_k);
  take(made->bias_v, dense.bias_v);
  made->train(dense.is_training());
  return made;
}

}  // namespace jouleprune::nn
