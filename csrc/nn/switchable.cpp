// LSTM, GRU, MultiheadAttention: the interface of torch::nn's; dense until switch_to_sparse(). The module that runs is held inside, and
// its parameters, buffers and children are registered here as well.
#include <jouleprune/nn_attention.h>

#include <ostream>
#include <sstream>
#include <string>
#include <type_traits>

#include "nn/csr_weight.h"

namespace jouleprune::nn {
namespace {

template <class Derived>
constexpr const char* kName = std::is_same_v<Derived, LSTMImpl> ? "LSTM" : std::is_same_v<Derived, GRUImpl> ? "GRU" : "MultiheadAttention";

/// Throws c10::ValueError unless the archive has all parameters, of the sizes of the module's.
void check_sizes(const std::string& op, torch::serialize::InputArchive& archive, const torch::nn::Module& module,
                 const std::string& prefix = "") {
  for (const auto& parameter : module.named_parameters(/*recurse=*/false)) {
    at::Tensor found;
    TORCH_CHECK_VALUE(archive.try_read(parameter.key(), found) && found.sizes() == parameter.value().sizes(), op, ": ", prefix,
                      parameter.key(), ": expected ", parameter.value().sizes(), ", got ",
                      found.defined() ? found.sizes() : at::IntArrayRef{});
  }
  for (const auto& child : module.named_children()) {
    torch::serialize::InputArchive inner;
    TORCH_CHECK_VALUE(archive.try_read(child.key(), inner), op, ": ", prefix, child.key(), ": expected in the archive, found none");
    check_sizes(op, inner, *child.value(), prefix + child.key() + ".");
  }
}

}  // namespace

template <class Derived, class Dense, class Sparse>
std::string SwitchableImpl<Derived, Dense, Sparse>::name_of(const char* member) const {
  return kName<Derived> + std::string(member);
}

template <class Derived, class Dense, class Sparse>
SwitchableImpl<Derived, Dense, Sparse>::SwitchableImpl(const Options& options_) : options(options_) {
  SwitchableImpl::reset();
}

template <class Derived, class Dense, class Sparse>
void SwitchableImpl<Derived, Dense, Sparse>::reset() {
  const bool training = this->is_training();
  if (sparse_) {  // reached by clone(): the copy gets tensors of its own
    own(Sparse(std::dynamic_pointer_cast<typename Sparse::Impl>(sparse_->clone())));
  } else {
    own(Dense(options));
  }
  train(training);
}

template <class Derived, class Dense, class Sparse>
void SwitchableImpl<Derived, Dense, Sparse>::pretty_print(std::ostream& stream) const {
  if (sparse_) {
    sparse_->pretty_print(stream);
    return;
  }
  std::ostringstream text;
  dense_->pretty_print(text);
  const std::string told = text.str();
  stream << "jouleprune::nn::" << kName<Derived> << (told.find('(') == std::string::npos ? "" : told.substr(told.find('(')));
}

template <class Derived, class Dense, class Sparse>
void SwitchableImpl<Derived, Dense, Sparse>::load(torch::serialize::InputArchive& archive) {
  Sparse loaded(options);
  torch::serialize::InputArchive matrix;
  if (archive.try_read(loaded->names.front(), matrix)) {  // a child: the archive is of a sparse module
    loaded->load(archive);
    loaded->train(this->is_training());
    own(loaded);
    return;
  }
  Dense target = sparse_ ? to_dense() : Dense(dense_);
  check_sizes(name_of("::load"), archive, *target);
  target->load(archive);
  if (sparse_) own(target);
  flatten();
}

template <class Derived, class Dense, class Sparse>
void SwitchableImpl<Derived, Dense, Sparse>::train(bool on) {
  torch::nn::Module::train(on);
  if (dense_) dense_->train(on);
  if (sparse_) sparse_->train(on);
}

template <class Derived, class Dense, class Sparse>
void SwitchableImpl<Derived, Dense, Sparse>::to(torch::Device device, torch::Dtype dtype, bool non_blocking) {
  torch::nn::Module::to(device, dtype, non_blocking);
  flatten();
}

template <class Derived, class Dense, class Sparse>
void SwitchableImpl<Derived, Dense, Sparse>::to(torch::Dtype dtype, bool non_blocking) {
  torch::nn::Module::to(dtype, non_blocking);
  flatten();
}

template <class Derived, class Dense, class Sparse>
void SwitchableImpl<Derived, Dense, Sparse>::to(torch::Device device, bool non_blocking) {
  torch::nn::Module::to(device, non_blocking);
  flatten();
}

template <class Derived, class Dense, class Sparse>
int64_t SwitchableImpl<Derived, Dense, Sparse>::nnz() const {
  if (sparse_) return sparse_->nnz();
  int64_t entries = 0;
  for (const auto& parameter : dense_->named_parameters()) {
    if (parameter.key().find("bias") == std::string::npos) entries += parameter.value().numel();
  }
  return entries;
}

template <class Derived, class Dense, class Sparse>
void SwitchableImpl<Derived, Dense, Sparse>::switch_to_sparse(const std::string& layout, const Masks& masks,
                                                              const std::set<std::string>& stay_dense) {
  TORCH_CHECK_VALUE(!is_sparse(), name_of("::switch_to_sparse"), ": the layer runs sparse already");
  own(Sparse::from_dense(*dense_, layout, masks, stay_dense));
}

template <class Derived, class Dense, class Sparse>
void SwitchableImpl<Derived, Dense, Sparse>::switch_to_dense() {
  TORCH_CHECK_VALUE(is_sparse(), name_of("::switch_to_dense"), ": the layer is dense already");
  own(sparse_->to_dense());
}

template <class Derived, class Dense, class Sparse>
Dense SwitchableImpl<Derived, Dense, Sparse>::to_dense() const {
  return sparse_ ? sparse_->to_dense() : Dense(std::dynamic_pointer_cast<typename Dense::Impl>(dense_->clone()));
}

template <class Derived, class Dense, class Sparse>
template <class Inner>
void SwitchableImpl<Derived, Dense, Sparse>::adopt(const std::shared_ptr<Inner>& inner) {
  drop_registered(*this);
  for (const auto& parameter : inner->named_parameters(/*recurse=*/false)) {
    this->register_parameter(parameter.key(), parameter.value(), parameter.value().requires_grad());
  }
  for (const auto& buffer : inner->named_buffers(/*recurse=*/false)) this->register_buffer(buffer.key(), buffer.value());
  for (const auto& child : inner->named_children()) this->register_module(child.key(), child.value());
}

template <class Derived, class Dense, class Sparse>
void SwitchableImpl<Derived, Dense, Sparse>::own(Dense dense) {
  adopt(dense.ptr());
  dense_ = dense.ptr();
  sparse_ = nullptr;
}

template <class Derived, class Dense, class Sparse>
void SwitchableImpl<Derived, Dense, Sparse>::own(Sparse sparse) {
  adopt(sparse.ptr());
  sparse_ = sparse.ptr();
  dense_ = nullptr;
}

/// cuDNN wants the weights of a recurrent layer in one piece of memory.
template <class Derived, class Dense, class Sparse>
void SwitchableImpl<Derived, Dense, Sparse>::flatten() {
  if constexpr (requires { dense_->flatten_parameters(); }) {
    if (dense_) dense_->flatten_parameters();
  }
}

template class SwitchableImpl<LSTMImpl, torch::nn::LSTM, SparseLSTM>;
template class SwitchableImpl<GRUImpl, torch::nn::GRU, SparseGRU>;
template class SwitchableImpl<MultiheadAttentionImpl, torch::nn::MultiheadAttention, SparseMultiheadAttention>;

using torch::nn::utils::rnn::PackedSequence;

std::tuple<at::Tensor, std::tuple<at::Tensor, at::Tensor>> LSTMImpl::forward(const at::Tensor& input, State state) {
  return sparse() ? sparse()->forward(input, std::move(state)) : dense()->forward(input, std::move(state));
}

std::tuple<PackedSequence, std::tuple<at::Tensor, at::Tensor>> LSTMImpl::forward_with_packed_input(const PackedSequence& input,
                                                                                                   State state) {
  return sparse() ? sparse()->forward_with_packed_input(input, state) : dense()->forward_with_packed_input(input, std::move(state));
}

std::tuple<at::Tensor, at::Tensor> GRUImpl::forward(const at::Tensor& input, at::Tensor state) {
  return sparse() ? sparse()->forward(input, std::move(state)) : dense()->forward(input, std::move(state));
}

std::tuple<PackedSequence, at::Tensor> GRUImpl::forward_with_packed_input(const PackedSequence& input, at::Tensor state) {
  return sparse() ? sparse()->forward_with_packed_input(input, state) : dense()->forward_with_packed_input(input, std::move(state));
}

std::tuple<at::Tensor, at::Tensor> MultiheadAttentionImpl::forward(const at::Tensor& query, const at::Tensor& key,
                                                                   const at::Tensor& value, const at::Tensor& key_padding_mask,
                                                                   bool need_weights, const at::Tensor& attn_mask,
                                                                   bool average_attn_weights) {
  if (sparse()) return sparse()->forward(query, key, value, key_padding_mask, need_weights, attn_mask, average_attn_weights);
  return dense()->forward(query, key, value, key_padding_mask, need_weights, attn_mask, average_attn_weights);
}

}  // namespace jouleprune::nn
