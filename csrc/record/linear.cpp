// Products of matrices: of an activation with a weight ("linear"), or of two activations ("matmul").
#include <algorithm>
#include <utility>

#include "record/handlers.h"

namespace jouleprune::record {
namespace {

struct Shape {
  int64_t m = 1, k = 1, n = 1, batches = 1;  ///< batches of the output
  int64_t a_batches = 1, b_batches = 1;
};

/// The product A[.., m, k] x B[.., k, n] by the rules of torch.matmul; vectors and broadcast batches included.
Shape shape_of(const at::Tensor& a, const at::Tensor& b) {
  Shape shape;
  shape.k = a.size(-1);
  if (a.dim() > 1) shape.m = a.size(-2);
  if (b.dim() > 1) shape.n = b.size(-1);
  for (int64_t dim = 3; dim <= std::max(a.dim(), b.dim()); ++dim) {
    const int64_t in_a = dim <= a.dim() ? a.size(-dim) : 1, in_b = dim <= b.dim() ? b.size(-dim) : 1;
    shape.a_batches *= in_a;
    shape.b_batches *= in_b;
    shape.batches *= in_a == 1 ? in_b : in_a;
  }
  return shape;
}

void product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& output, Recording& recording) {
  if (a.dim() == 0 || b.dim() == 0) return;
  const Shape s = shape_of(a, b);
  // W[groups][rows, cols]: B as seen from its columns, or A.
  if (recording.weights().find(b)) {
    const Product seen{s.n, s.k, s.m * quotient(s.batches, s.b_batches), s.b_batches};
    recording.add(recording.weighted("linear", seen, b, a, output));
  } else if (recording.weights().find(a)) {
    const Product seen{s.m, s.k, s.n * quotient(s.batches, s.a_batches), s.a_batches};
    recording.add(recording.weighted("linear", seen, a, b, output));
  } else {
    Entry entry = recording.traffic("matmul", {a, b}, {output});
    entry.rows = s.m;
    entry.cols = s.k;
    entry.n = s.n;
    entry.groups = s.batches;
    entry.macs = s.m * s.k * s.n * s.batches;
    recording.add(std::move(entry));
  }
}

}  // namespace

void linear(const Call& call, Recording& recording) {
  const at::Tensor input = call.tensor(0), weight = call.tensor(1);
  const int64_t cols = weight.size(-1), rows = weight.dim() > 1 ? weight.size(0) : 1;
  const auto sizes = input.sizes();
  int64_t n = 1;
  for (size_t dim = 0; dim + 1 < sizes.size(); ++dim) n *= sizes[dim];
  recording.add(recording.weighted("linear", {rows, cols, n, 1}, weight, input, call.output()));
}

void addmm(const Call& call, Recording& recording) {
  product(call.tensor(1), call.tensor(2), call.output(), recording);
}

void matmul(const Call& call, Recording& recording) {
  product(call.tensor(0), call.tensor(1), call.output(), recording);
}

void bilinear(const Call& call, Recording& recording) {
  const at::Tensor left = call.tensor(0), right = call.tensor(1), weight = call.tensor(2);
  const int64_t n = quotient(left.numel(), left.size(-1));
  const Product seen{weight.size(0), weight.size(1) * weight.size(2), n, 1};
  Entry entry = recording.weighted("bilinear", seen, weight, left, call.output());
  entry.input_elements += right.numel();
  recording.add(std::move(entry));
}

}  // namespace jouleprune::record
