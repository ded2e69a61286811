// Recurrent layers: one entry per weight matrix; each is used once per time step and sequence. Nonlinearities and gates
// are operations of the recurrent matrix's entry.
#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "record/handlers.h"

namespace jouleprune::record {
namespace {

struct Cell {
  const char* op;
  int64_t ops;  ///< operations per hidden value and step that are no MACs: nonlinearities, gates, sums
};
constexpr Cell kLstm{"lstm", 13};  // 4 sums of both products, 5 nonlinearities, 3 gates, 1 sum
constexpr Cell kGru{"gru", 10};    // 3 sums, 3 nonlinearities, the reset gate, the blend of old and new state (3)
constexpr Cell kRnn{"rnn", 2};     // a sum, a nonlinearity

/// A dense weight, or the values of one in layout csr.
struct Matrix {
  at::Tensor weight;
  int64_t rows = 0, cols = 0;
  bool csr = false;
};

Matrix dense(const at::Tensor& weight) { return {weight, weight.size(0), weight.size(1), false}; }

/// W[rows, cols] used n times in so many steps: reads n columns, writes n rows' worth.
void add(const Cell& kind, const Matrix& matrix, int64_t n, int64_t steps, int64_t ops, const at::Tensor& input,
         const at::Tensor& output, Recording& recording) {
  Entry entry = recording.weighted(kind.op, {matrix.rows, matrix.cols, n, 1}, matrix.weight, input, output);
  if (matrix.csr) mark_csr(entry, matrix.weight, {matrix.rows, matrix.cols});
  entry.input_elements = matrix.cols * n;
  entry.output_elements = matrix.rows * n;
  entry.ops = ops;
  entry.steps = std::max<int64_t>(steps, 1);
  recording.add(std::move(entry));
}

/// Steps in time. Packed sequences are told by their batch sizes, which stand before the states; padded ones have an axis for time, the
/// first or, with batch_first (6 after the weights), the second.
int64_t steps_of(const Call& call, size_t params_at) {
  const at::Tensor input = call.tensor(0);
  if (params_at == 3) return call.tensor(1).numel();
  const bool batch_first = params_at + 6 < call.inputs.size() && call.boolean(params_at + 6);
  return input.dim() < 3 || !batch_first ? input.size(0) : input.size(1);
}

/// Packed and padded sequences alike: n = steps x sequences, which is the data's elements over its features.
void layers(const Call& call, Recording& recording, const Cell& kind) {
  size_t params_at = call.inputs.size();
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    if (call.inputs[i].isTensorList()) params_at = i;  // the last list: LSTM's states are one too
  }
  if (params_at + 5 >= call.inputs.size()) throw std::logic_error("expected a list of weights among the arguments");
  const at::Tensor input = call.tensor(0), output = call.output();
  const std::vector<at::Tensor> params = call.tensors(params_at);
  const bool has_biases = call.boolean(params_at + 1);
  const int64_t directions = call.boolean(params_at + 5) ? 2 : 1, cells = call.integer(params_at + 2) * directions;
  const size_t per_cell = params.size() / static_cast<size_t>(cells > 0 ? cells : 1);
  const bool projected = per_cell == (has_biases ? 5 : 3);  // w_ih, w_hh, b_ih, b_hh, w_hr
  const int64_t n = quotient(input.numel(), input.size(-1)), steps = steps_of(call, params_at);
  for (size_t first = 0; first + 1 < params.size(); first += per_cell) {
    const bool sees_input = first < per_cell * static_cast<size_t>(directions);
    const at::Tensor& recurrent = params[first + 1];
    const int64_t hidden = projected ? params[first + per_cell - 1].size(1) : recurrent.size(1);
    add(kind, dense(params[first]), n, steps, 0, sees_input ? input : at::Tensor(), output, recording);
    add(kind, dense(recurrent), n, steps, kind.ops * hidden * n, {}, output, recording);
    if (projected) add(kind, dense(params[first + per_cell - 1]), n, steps, 0, {}, output, recording);
  }
}

void cell(const Call& call, Recording& recording, const Cell& kind) {
  const at::Tensor input = call.tensor(0), recurrent = call.tensor(3), output = call.output();
  const std::vector<at::Tensor> state = call.tensors(1);
  const int64_t n = quotient(input.numel(), input.size(-1));
  add(kind, dense(call.tensor(2)), n, 1, 0, input, output, recording);
  add(kind, dense(recurrent), n, 1, kind.ops * recurrent.size(1) * n, state.empty() ? at::Tensor() : state[0], output,
      recording);
}

/// Ours: (input, batch_sizes, states ..., matrices, counts, layers, bidirectional, ...): see csrc/library.cpp.
void csr_layers(const Call& call, Recording& recording, const Cell& kind, size_t matrices_at, int64_t gates) {
  const at::Tensor input = call.tensor(0), state = call.tensor(2), output = call.output();
  const std::vector<at::Tensor> tensors = call.tensors(matrices_at);
  const std::vector<int64_t> counts = call.integers(matrices_at + 1);
  const int64_t directions = call.boolean(matrices_at + 3) ? 2 : 1;
  const auto cells = static_cast<size_t>(call.integer(matrices_at + 2) * directions);
  const size_t per_cell = counts.size() / cells;
  const int64_t n = quotient(input.numel(), input.size(-1)), width = state.size(-1);
  const at::Tensor batch_sizes = call.tensor(1);
  const int64_t steps = batch_sizes.defined() ? batch_sizes.numel() : input.dim() < 3 ? n : input.size(0);
  size_t first = 0, next = 0;
  const auto matrix = [&](int64_t cols) {
    const auto count = static_cast<size_t>(counts[next++]), at = std::exchange(first, first + count);
    return count >= 4 ? Matrix{tensors[at], tensors[at + 2].numel() - 1, cols, true} : dense(tensors[at]);
  };
  for (size_t cell = 0; cell < cells; ++cell) {
    const bool sees_input = cell < static_cast<size_t>(directions);
    const Matrix from_input = matrix(sees_input ? input.size(-1) : width * directions), recurrent = matrix(width);
    const int64_t hidden = quotient(recurrent.rows, gates);
    add(kind, from_input, n, steps, 0, sees_input ? input : at::Tensor(), output, recording);
    add(kind, recurrent, n, steps, kind.ops * hidden * n, {}, output, recording);
    if (per_cell == 3) add(kind, matrix(hidden), n, steps, 0, {}, output, recording);
  }
}

}  // namespace

void lstm(const Call& call, Recording& recording) { layers(call, recording, kLstm); }
void gru(const Call& call, Recording& recording) { layers(call, recording, kGru); }
void lstm_csr(const Call& call, Recording& recording) { csr_layers(call, recording, kLstm, 4, 4); }
void gru_csr(const Call& call, Recording& recording) { csr_layers(call, recording, kGru, 3, 3); }
void rnn(const Call& call, Recording& recording) { layers(call, recording, kRnn); }
void lstm_cell(const Call& call, Recording& recording) { cell(call, recording, kLstm); }
void gru_cell(const Call& call, Recording& recording) { cell(call, recording, kGru); }
void rnn_cell(const Call& call, Recording& recording) { cell(call, recording, kRnn); }

}  // namespace jouleprune::record
