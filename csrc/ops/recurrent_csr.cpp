// lstm_csr and gru_csr: recurrent layers whose matrices are csr or dense. Made of other ops, so that autograd, autocast, fakes and
// CUDA come with them: per layer and direction the inputs of all steps are one product, the recurrent products one per step.
#include <ATen/core/Tensor.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/stack.h>
#include <jouleprune/ops.h>
#include <jouleprune/ops_recurrent.h>
#include <torch/library.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

/// W and its bias. Without structure `values` is the dense [rows, cols].
struct Matrix {
  Tensor values, col_indices, row_offsets, key;
  OptionalTensor bias;

  Tensor times(const Tensor& input) const {
    if (!col_indices.defined()) return at::linear(input, values, bias);
    return jouleprune::linear_csr(input, values, col_indices, row_offsets, key, std::nullopt, bias, input.sym_size(-1));
  }
};

/// Matrices of one layer and direction.
struct Cell {
  Matrix input, recurrent;
  std::optional<Matrix> projection;  // of the hidden state, W_hr
};

struct State {
  Tensor h, c;  // c: of an LSTM only

  State rows(const c10::SymInt& first, const c10::SymInt& last) const {
    return {h.slice_symint(0, first, last), c.defined() ? c.slice_symint(0, first, last) : c};
  }
};

State joined(const std::vector<State>& parts) {
  if (parts.size() == 1) return parts[0];
  std::vector<Tensor> h, c;
  for (const State& part : parts) {
    h.push_back(part.h);
    if (part.c.defined()) c.push_back(part.c);
  }
  return {at::cat(h), c.empty() ? Tensor() : at::cat(c)};
}

/// One step on what the input products gave, [n, gates x hidden]. Without gradients the gates are overwritten in place.
using Step = State (*)(const Cell& cell, const Tensor& from_input, const State& state, bool in_place);

Tensor sigmoid(Tensor x, bool in_place) { return in_place ? x.sigmoid_() : x.sigmoid(); }
Tensor tanh(Tensor x, bool in_place) { return in_place ? x.tanh_() : x.tanh(); }

State lstm_step(const Cell& cell, const Tensor& from_input, const State& state, bool in_place) {
  const Tensor gates = from_input + cell.recurrent.times(state.h);
  const std::vector<Tensor> parts = gates.chunk(4, 1);
  const Tensor in = sigmoid(parts[0], in_place), forget = sigmoid(parts[1], in_place), fresh = tanh(parts[2], in_place),
               out = sigmoid(parts[3], in_place);
  const Tensor c = in_place ? forget.mul_(state.c).addcmul_(in, fresh) : forget * state.c + in * fresh;
  Tensor h = in_place ? out.mul_(c.tanh()) : out * c.tanh();
  if (cell.projection) h = cell.projection->times(h);
  return {h, c};
}

State gru_step(const Cell& cell, const Tensor& from_input, const State& state, bool in_place) {
  const std::vector<Tensor> of_input = from_input.chunk(3, 1), of_state = cell.recurrent.times(state.h).chunk(3, 1);
  const Tensor reset = sigmoid(of_input[0] + of_state[0], in_place);
  const Tensor update = sigmoid(of_input[1] + of_state[1], in_place);
  const Tensor fresh = tanh(at::addcmul(of_input[2], reset, of_state[2]), in_place);
  const Tensor change = state.h - fresh;
  return {in_place ? change.mul_(update).add_(fresh) : change * update + fresh, Tensor()};
}

/// Where the steps of a batch lie. Padded: data [steps, n, ...]; packed: [sum of sizes, ...], sizes not growing.
struct Steps {
  std::vector<int64_t> sizes;  // empty when padded

  std::vector<Tensor> of(const Tensor& data) const { return sizes.empty() ? data.unbind(0) : data.split_with_sizes(sizes); }
  Tensor back(const std::vector<Tensor>& steps) const { return sizes.empty() ? at::stack(steps) : at::cat(steps); }
};

/// One layer in one direction: its outputs, and the state after the last step of each sequence.
std::pair<Tensor, State> run_cell(const Cell& cell, Step step, const Tensor& data, const Steps& steps, State state, bool reverse) {
  const bool in_place = !at::GradMode::is_enabled();
  const Tensor products = cell.input.times(data);
  const std::vector<Tensor> inputs = steps.of(products);
  // Under autocast the products have the lower precision: so has the state.
  const State start{state.h.to(products.scalar_type()), state.c.defined() ? state.c.to(products.scalar_type()) : state.c};
  std::vector<Tensor> outputs(inputs.size());
  std::vector<State> ended;  // states of sequences that are over, in the order they end
  state = start;
  int64_t running = steps.sizes.empty() ? 0 : steps.sizes[reverse ? steps.sizes.size() - 1 : 0];
  if (running > 0) state = start.rows(0, running);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const size_t t = reverse ? inputs.size() - 1 - i : i;
    if (!steps.sizes.empty() && steps.sizes[t] != running) {
      const int64_t size = steps.sizes[t];
      if (size < running) {
        ended.push_back(state.rows(size, running));
        state = state.rows(0, size);
      } else {
        state = joined({state, start.rows(running, size)});
      }
      running = size;
    }
    state = step(cell, inputs[t], state, in_place);
    outputs[t] = state.h;
  }
  ended.push_back(state);
  std::reverse(ended.begin(), ended.end());
  return {steps.back(outputs), joined(ended)};
}

struct Network {
  const char* op;
  Step step;
  std::vector<Cell> cells;  // layer by layer, forward before backward
  bool bidirectional = false;
  double dropout = 0;  // between layers; 0 unless training
};

std::vector<Cell> read_cells(const char* op, at::TensorList matrices, at::IntArrayRef counts, int64_t cells, bool may_project) {
  const auto total = static_cast<int64_t>(counts.size());
  const int64_t per_cell = cells > 0 ? total / cells : 0;
  TORCH_CHECK_VALUE(cells > 0 && total == cells * per_cell && (per_cell == 2 || (per_cell == 3 && may_project)), op,
                    ": counts: expected ", may_project ? "2 or 3" : "2", " matrices for each of ", cells,
                    " layers and directions, got ", total);
  int64_t tensors = 0;
  for (const int64_t count : counts) {
    TORCH_CHECK_VALUE(count == 1 || count == 2 || count == 4 || count == 5, op,
                      ": counts: expected 1 (dense) or 4 (csr) tensors for a matrix, and 1 more with a bias, got ", count);
    tensors += count;
  }
  TORCH_CHECK_VALUE(tensors == static_cast<int64_t>(matrices.size()), op, ": matrices: expected ", tensors,
                    " tensors by counts, got ", matrices.size());
  size_t tensor = 0, next = 0;
  const auto read = [&] {
    const int64_t count = counts[next++];
    Matrix matrix;
    matrix.values = matrices[tensor++];
    if (count >= 4) {
      matrix.col_indices = matrices[tensor++];
      matrix.row_offsets = matrices[tensor++];
      matrix.key = matrices[tensor++];
    }
    if (count == 2 || count == 5) matrix.bias = matrices[tensor++];
    return matrix;
  };
  std::vector<Cell> result;
  for (int64_t i = 0; i < cells; ++i) {
    Cell& cell = result.emplace_back();
    cell.input = read();
    cell.recurrent = read();
    if (per_cell == 3) cell.projection = read();
  }
  return result;
}

Steps read_steps(const char* op, const Tensor& input, const OptionalTensor& batch_sizes) {
  const bool packed = batch_sizes.has_value() && batch_sizes->defined();
  TORCH_CHECK_VALUE(input.dim() == (packed ? 2 : 3), op, ": input: expected ", packed ? "[sum of batch_sizes, features]" :
                    "[steps, n, features]", ", got ", input.dim(), " dimensions");
  if (!packed) {
    TORCH_CHECK_VALUE(input.sym_size(0) > 0, op, ": input: expected at least one step, got ", input.sym_sizes());
    return {};
  }
  TORCH_CHECK_VALUE(batch_sizes->dim() == 1 && batch_sizes->scalar_type() == at::kLong && batch_sizes->is_cpu(), op,
                    ": batch_sizes: expected int64 [steps] on the CPU, as pack_padded_sequence makes them");
  const Tensor contiguous = batch_sizes->contiguous();
  const int64_t* first = contiguous.const_data_ptr<int64_t>();
  Steps steps{{first, first + contiguous.numel()}};
  TORCH_CHECK_VALUE(!steps.sizes.empty() && steps.sizes.back() > 0 && std::is_sorted(steps.sizes.rbegin(), steps.sizes.rend()), op,
                    ": batch_sizes: expected positive sizes that do not grow, got ", batch_sizes->sizes());
  return steps;
}

void check_state(const Network& network, const char* name, const Tensor& state, const Steps& steps, const Tensor& input) {
  const c10::SymInt n = steps.sizes.empty() ? input.sym_size(1) : c10::SymInt(steps.sizes.front());
  const auto cells = static_cast<int64_t>(network.cells.size());
  TORCH_CHECK_VALUE(state.dim() == 3 && state.sym_size(0) == cells && state.sym_size(1) == n, network.op, ": ", name,
                    ": expected [layers x directions = ", cells, ", n = ", n, ", features], got ", state.sym_sizes());
}

/// All layers. Returns the outputs of the last, and the states of all.
std::pair<Tensor, State> run(const Network& network, Tensor data, const Steps& steps, const State& state) {
  const size_t directions = network.bidirectional ? 2 : 1, layers = network.cells.size() / directions;
  const std::vector<Tensor> h = state.h.unbind(0), c = state.c.defined() ? state.c.unbind(0) : std::vector<Tensor>(h.size());
  std::vector<Tensor> last_h, last_c;
  for (size_t layer = 0; layer < layers; ++layer) {
    std::vector<Tensor> outputs;
    for (size_t direction = 0; direction < directions; ++direction) {
      const size_t i = layer * directions + direction;
      auto [output, last] = run_cell(network.cells[i], network.step, data, steps, {h[i], c[i]}, direction == 1);
      outputs.push_back(std::move(output));
      last_h.push_back(last.h);
      if (last.c.defined()) last_c.push_back(last.c);
    }
    data = directions == 1 ? outputs[0] : at::cat(outputs, -1);
    if (network.dropout > 0 && layer + 1 < layers) data = at::dropout(data, network.dropout, true);
  }
  return {data, {at::stack(last_h), last_c.empty() ? Tensor() : at::stack(last_c)}};
}

using LstmCsr = std::tuple<Tensor, Tensor, Tensor>(const Tensor& input, const OptionalTensor& batch_sizes, const Tensor& h,
                                                   const Tensor& c, at::TensorList matrices, at::IntArrayRef counts,
                                                   int64_t layers, bool bidirectional, double dropout, bool training);
using GruCsr = std::tuple<Tensor, Tensor>(const Tensor& input, const OptionalTensor& batch_sizes, const Tensor& h,
                                          at::TensorList matrices, at::IntArrayRef counts, int64_t layers, bool bidirectional,
                                          double dropout, bool training);

std::tuple<Tensor, Tensor, Tensor> lstm(const Tensor& input, const OptionalTensor& batch_sizes, const Tensor& h, const Tensor& c,
                                        at::TensorList matrices, at::IntArrayRef counts, int64_t layers, bool bidirectional,
                                        double dropout, bool training) {
  constexpr const char* op = "lstm_csr";
  const Network network{op, lstm_step, read_cells(op, matrices, counts, layers * (bidirectional ? 2 : 1), true), bidirectional,
                        training ? dropout : 0};
  const Steps steps = read_steps(op, input, batch_sizes);
  check_state(network, "h", h, steps, input);
  check_state(network, "c", c, steps, input);
  auto [output, last] = run(network, input, steps, {h, c});
  return {output, last.h, last.c};
}

std::tuple<Tensor, Tensor> gru(const Tensor& input, const OptionalTensor& batch_sizes, const Tensor& h,
                               at::TensorList matrices, at::IntArrayRef counts, int64_t layers, bool bidirectional, double dropout,
                               bool training) {
  constexpr const char* op = "gru_csr";
  const Network network{op, gru_step, read_cells(op, matrices, counts, layers * (bidirectional ? 2 : 1), false), bidirectional,
                        training ? dropout : 0};
  const Steps steps = read_steps(op, input, batch_sizes);
  check_state(network, "h", h, steps, input);
  auto [output, last] = run(network, input, steps, {h, {}});
  return {output, last.h};
}

}  // namespace
}  // namespace jouleprune::ops

namespace jouleprune {

using ops::OptionalTensor;
using ops::Tensor;

std::tuple<Tensor, Tensor, Tensor> lstm_csr(const Tensor& input, const OptionalTensor& batch_sizes, const Tensor& h,
                                            const Tensor& c, at::TensorList matrices, at::IntArrayRef counts, int64_t layers,
                                            bool bidirectional, double dropout, bool training) {
  static const auto op = ops::find_op<ops::LstmCsr>("jouleprune::lstm_csr");
  return op.call(input, batch_sizes, h, c, matrices, counts, layers, bidirectional, dropout, training);
}

std::tuple<Tensor, Tensor> gru_csr(const Tensor& input, const OptionalTensor& batch_sizes, const Tensor& h,
                                   at::TensorList matrices, at::IntArrayRef counts, int64_t layers, bool bidirectional,
                                   double dropout, bool training) {
  static const auto op = ops::find_op<ops::GruCsr>("jouleprune::gru_csr");
  return op.call(input, batch_sizes, h, matrices, counts, layers, bidirectional, dropout, training);
}

}  // namespace jouleprune

TORCH_LIBRARY_IMPL(jouleprune, CompositeImplicitAutograd, m) {
  m.impl("lstm_csr", TORCH_FN(jouleprune::ops::lstm));
  m.impl("gru_csr", TORCH_FN(jouleprune::ops::gru));
}
