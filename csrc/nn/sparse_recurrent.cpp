// SparseLSTM, SparseGRU: matrices as SparseLinear children, run by lstm_csr and gru_csr.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>
#include <jouleprune/nn_sequence.h>
#include <jouleprune/ops_recurrent.h>
#include <jouleprune/value_errors.h>

#include <ostream>
#include <utility>

#include "nn/csr_weight.h"
#include "nn/matrices.h"

namespace jouleprune::nn {
namespace {

using torch::nn::utils::rnn::PackedSequence;
using Pair = std::tuple<at::Tensor, at::Tensor>;

int64_t projection(const torch::nn::LSTMOptions& options) { return options.proj_size(); }
int64_t projection(const torch::nn::GRUOptions&) { return 0; }
constexpr int64_t gates(const torch::nn::LSTMOptions&) { return 4; }
constexpr int64_t gates(const torch::nn::GRUOptions&) { return 3; }

/// Size of the hidden state.
template <typename Options>
int64_t width(const Options& options) {
  return projection(options) > 0 ? projection(options) : options.hidden_size();
}

/// Empty matrices under torch's names.
template <typename Options>
Matrices empty_matrices(const char* op, const Options& options) {
  TORCH_CHECK_VALUE(options.input_size() > 0 && options.hidden_size() > 0 && options.num_layers() > 0, op,
                    ": input_size, hidden_size, num_layers: expected numbers > 0, got ", options.input_size(), ", ",
                    options.hidden_size(), ", ", options.num_layers());
  const int64_t directions = options.bidirectional() ? 2 : 1, rows = gates(options) * options.hidden_size();
  Matrices made;
  const auto add = [&](const std::string& name, int64_t out, int64_t in, bool bias) {
    made.names.push_back(name);
    made.matrices.push_back(empty_matrix(out, in, bias));
  };
  for (int64_t layer = 0; layer < options.num_layers(); ++layer) {
    for (int64_t direction = 0; direction < directions; ++direction) {
      const std::string end = "_l" + std::to_string(layer) + (direction == 1 ? "_reverse" : "");
      add("weight_ih" + end, rows, layer == 0 ? options.input_size() : width(options) * directions, options.bias());
      add("weight_hh" + end, rows, width(options), options.bias());
      if (projection(options) > 0) add("weight_hr" + end, projection(options), options.hidden_size(), false);
    }
  }
  return made;
}

std::string bias_of(const std::string& weight) { return "bias" + weight.substr(std::string("weight").size()); }

template <typename Sparse, typename Dense>
Sparse packed(const std::string& op, const Dense& dense, const std::string& layout, const Masks& masks,
              const std::set<std::string>& stay_dense) {
  Sparse made(dense.options);
  check_matrices(op + "::from_dense", made->names, layout, masks, stay_dense);
  const auto parameters = dense.named_parameters(/*recurse=*/false);
  for (size_t i = 0; i < made->names.size(); ++i) {
    const std::string& name = made->names[i];
    const at::Tensor* bias = parameters.find(bias_of(name));
    const auto matrix = packed_matrix(parameters[name], bias == nullptr ? at::Tensor() : *bias, name, masks, stay_dense);
    made->matrices[i] = Linear(made->replace_module(name, matrix.ptr()));
  }
  made->train(dense.is_training());
  return made;
}

template <typename Dense, typename Module>
Dense unpacked(const Module& module) {
  const at::NoGradGuard no_grad;
  Dense dense(module.options);
  const auto first = module.matrices.front()->to_dense();
  dense->to(first.device(), first.scalar_type());
  auto parameters = dense->named_parameters(/*recurse=*/false);
  for (size_t i = 0; i < module.names.size(); ++i) {
    const Linear& matrix = module.matrices[i];
    parameters[module.names[i]].copy_(matrix->to_dense()).set_requires_grad(trains(matrix));
    if (matrix->bias.defined()) {
      parameters[bias_of(module.names[i])].copy_(matrix->bias).set_requires_grad(matrix->bias.requires_grad());
    }
  }
  dense->train(module.is_training());
  return dense;
}

struct Tensors {
  std::vector<at::Tensor> tensors;
  std::vector<int64_t> counts;
};

Tensors tensors_of(const char* op, const Matrices& module) {
  Tensors all;
  for (const Linear& matrix : module.matrices) {
    const size_t before = all.tensors.size();
    if (const auto& sparse = matrix->sparse()) {
      check_csr(op, sparse->options.layout);  // another one can only have been loaded
      all.tensors.insert(all.tensors.end(), {sparse->values, sparse->col_indices, sparse->row_offsets, sparse->key});
    } else {
      all.tensors.push_back(matrix->weight);
    }
    if (matrix->bias.defined()) all.tensors.push_back(matrix->bias);
    all.counts.push_back(static_cast<int64_t>(all.tensors.size() - before));
  }
  return all;
}

/// [steps, n, features]
template <typename Options>
at::Tensor steps_first(const char* op, const Options& options, const at::Tensor& input) {
  TORCH_CHECK_VALUE((input.dim() == 2 || input.dim() == 3) && input.size(-1) == options.input_size(), op,
                    ": input: expected [steps, n, input_size = ", options.input_size(),
                    "], [n, steps, ...] with batch_first, or one sequence [steps, ...], got ", input.sizes());
  if (input.dim() == 2) return input.unsqueeze(1);
  return options.batch_first() ? input.transpose(0, 1) : input;
}

template <typename Options>
at::Tensor as_given(const Options& options, const at::Tensor& output, bool batched) {
  if (!batched) return output.squeeze(1);
  return options.batch_first() ? output.transpose(0, 1) : output;
}

/// What was given, or zeros.
template <typename Options>
at::Tensor state_of(const char* op, const Options& options, const at::Tensor& data, int64_t n, int64_t size,
                    const at::Tensor& given, bool batched) {
  if (!given.defined()) {
    return at::zeros({options.num_layers() * (options.bidirectional() ? 2 : 1), n, size}, data.options());
  }
  TORCH_CHECK_VALUE(given.dim() == (batched ? 3 : 2), op, ": state: expected [layers x directions, ", batched ? "n, " : "", size,
                    "], got ", given.sizes());
  return batched ? given : given.unsqueeze(1);
}

at::Tensor reordered(const at::Tensor& state, const at::Tensor& permutation) {
  return permutation.defined() ? state.index_select(1, permutation) : state;
}

template <typename Module>
void print(std::ostream& stream, const char* name, const Module& module) {
  const auto& options = module.options;
  stream << std::boolalpha << "jouleprune::nn::" << name << '(' << options.input_size() << ", " << options.hidden_size()
         << ", num_layers=" << options.num_layers() << ", bias=" << options.bias() << ", batch_first=" << options.batch_first()
         << ", dropout=" << options.dropout() << ", bidirectional=" << options.bidirectional();
  if (projection(options) > 0) stream << ", proj_size=" << projection(options);
  stream << ", layout=csr, nnz=" << module.nnz() << ')';
}

}  // namespace

SparseLSTMImpl::SparseLSTMImpl(const torch::nn::LSTMOptions& options_)
    : Matrices(empty_matrices("SparseLSTM", options_)), options(options_) {
  reset();
}

void SparseLSTMImpl::reset() { register_matrices(*this); }

void SparseLSTMImpl::pretty_print(std::ostream& stream) const { print(stream, "SparseLSTM", *this); }

std::tuple<at::Tensor, Pair> SparseLSTMImpl::forward(const at::Tensor& input, std::optional<Pair> state) {
  constexpr const char* op = "SparseLSTM";
  const bool batched = input.dim() != 2;
  const at::Tensor steps = steps_first(op, options, input);
  const auto [given_h, given_c] = state.value_or(Pair());
  const at::Tensor h = state_of(op, options, steps, steps.size(1), width(options), given_h, batched);
  const at::Tensor c = state_of(op, options, steps, steps.size(1), options.hidden_size(), given_c, batched);
  const auto [tensors, counts] = tensors_of(op, *this);
  const auto [output, last_h, last_c] = lstm_csr(steps, std::nullopt, h, c, tensors, counts, options.num_layers(),
                                                 options.bidirectional(), options.dropout(), is_training());
  return {as_given(options, output, batched), batched ? Pair(last_h, last_c) : Pair(last_h.squeeze(1), last_c.squeeze(1))};
}

std::tuple<PackedSequence, Pair> SparseLSTMImpl::forward_with_packed_input(const PackedSequence& input,
                                                                           const std::optional<Pair>& state) {
  constexpr const char* op = "SparseLSTM";
  const int64_t n = input.batch_sizes()[0].item<int64_t>();
  const auto [given_h, given_c] = state.value_or(Pair());
  const at::Tensor h = state_of(op, options, input.data(), n, width(options), given_h, true);
  const at::Tensor c = state_of(op, options, input.data(), n, options.hidden_size(), given_c, true);
  const at::Tensor& sorted = input.sorted_indices();
  const at::Tensor& unsorted = input.unsorted_indices();
  const auto [tensors, counts] = tensors_of(op, *this);
  const auto [output, last_h, last_c] =
      lstm_csr(input.data(), input.batch_sizes(), reordered(h, sorted), reordered(c, sorted), tensors, counts,
               options.num_layers(), options.bidirectional(), options.dropout(), is_training());
  return {PackedSequence(output, input.batch_sizes(), sorted, unsorted),
          Pair(reordered(last_h, unsorted), reordered(last_c, unsorted))};
}

torch::nn::LSTM SparseLSTMImpl::to_dense() const { return unpacked<torch::nn::LSTM>(*this); }

SparseLSTM SparseLSTM::from_dense(const torch::nn::LSTMImpl& dense, const std::string& layout, const Masks& masks,
                                const std::set<std::string>& stay_dense) {
  return packed<SparseLSTM>("SparseLSTM", dense, layout, masks, stay_dense);
}

SparseGRUImpl::SparseGRUImpl(const torch::nn::GRUOptions& options_)
    : Matrices(empty_matrices("SparseGRU", options_)), options(options_) {
  reset();
}

void SparseGRUImpl::reset() { register_matrices(*this); }

void SparseGRUImpl::pretty_print(std::ostream& stream) const { print(stream, "SparseGRU", *this); }

Pair SparseGRUImpl::forward(const at::Tensor& input, at::Tensor state) {
  constexpr const char* op = "SparseGRU";
  const bool batched = input.dim() != 2;
  const at::Tensor steps = steps_first(op, options, input);
  const at::Tensor h = state_of(op, options, steps, steps.size(1), options.hidden_size(), state, batched);
  const auto [tensors, counts] = tensors_of(op, *this);
  const auto [output, last] = gru_csr(steps, std::nullopt, h, tensors, counts, options.num_layers(), options.bidirectional(),
                                      options.dropout(), is_training());
  return {as_given(options, output, batched), batched ? last : last.squeeze(1)};
}

std::tuple<PackedSequence, at::Tensor> SparseGRUImpl::forward_with_packed_input(const PackedSequence& input,
                                                                               const at::Tensor& state) {
  constexpr const char* op = "SparseGRU";
  const int64_t n = input.batch_sizes()[0].item<int64_t>();
  const at::Tensor h = state_of(op, options, input.data(), n, options.hidden_size(), state, true);
  const auto [tensors, counts] = tensors_of(op, *this);
  const auto [output, last] = gru_csr(input.data(), input.batch_sizes(), reordered(h, input.sorted_indices()), tensors, counts,
                                      options.num_layers(), options.bidirectional(), options.dropout(), is_training());
  return {PackedSequence(output, input.batch_sizes(), input.sorted_indices(), input.unsorted_indices()),
          reordered(last, input.unsorted_indices())};
}

torch::nn::GRU SparseGRUImpl::to_dense() const { return unpacked<torch::nn::GRU>(*this); }

SparseGRU SparseGRU::from_dense(const torch::nn::GRUImpl& dense, const std::string& layout, const Masks& masks,
                                const std::set<std::string>& stay_dense) {
  return packed<SparseGRU>("SparseGRU", dense, layout, masks, stay_dense);
}

}  // namespace jouleprune::nn
