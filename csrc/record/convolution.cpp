// Convolutions as products: a weight [out_channels, in_channels / groups, taps...] is used once per output pixel; a
// transposed one, [in_channels, out_channels / groups, taps...], once per input pixel.
#include <string>
#include <utility>

#include "record/handlers.h"

namespace jouleprune::record {
namespace {

void add(const Call& call, Recording& recording, bool transposed, int64_t groups) {
  const at::Tensor input = call.tensor(0), weight = call.tensor(1), output = call.output();
  const std::string op = (transposed ? "conv_transpose" : "conv") + std::to_string(weight.dim() - 2) + "d";
  const int64_t outer = weight.size(0);
  const int64_t inner = quotient(weight.numel(), outer);  // channels of one group x taps
  Product seen;
  seen.groups = groups;
  if (transposed) {
    seen.rows = inner;
    seen.cols = quotient(outer, groups);
    seen.n = quotient(input.numel(), outer);
  } else {
    seen.rows = quotient(outer, groups);
    seen.cols = inner;
    seen.n = quotient(output.numel(), outer);
  }
  recording.add(recording.weighted(op, seen, weight, input, output));
}

}  // namespace

void convolution(const Call& call, Recording& recording) { add(call, recording, false, call.integer(6)); }

void convolution_transposed(const Call& call, Recording& recording) { add(call, recording, true, call.integer(6)); }

void convolution_general(const Call& call, Recording& recording) {
  add(call, recording, call.boolean(6), call.integer(8));
}

}  // namespace jouleprune::record
