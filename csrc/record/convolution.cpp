// Convolutions as products: a weight [out_channels, in_channels / groups, taps...] is used once per output pixel; a
// transposed one, [in_channels, out_channels / groups, taps...], once per input pixel.
#include <string>
#include <utility>

#include "record/handlers.h"

namespace jouleprune::record {
namespace {

/// Positions of a convolution's arguments.
struct Places {
  size_t stride = 3, dilation = 5;
};

void add(const Call& call, Recording& recording, bool transposed, int64_t groups, Places places = {}) {
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
  Entry entry = recording.weighted(op, seen, weight, input, output);
  if (!transposed) set_windows(entry, output, call.integers(places.stride), call.integers(places.dilation));
  recording.add(std::move(entry));
}

}  // namespace

void set_windows(Entry& entry, const at::Tensor& output, std::vector<int64_t> stride, std::vector<int64_t> dilation) {
  const size_t axes = entry.shape.size() > 2 ? entry.shape.size() - 2 : 0;
  const auto sizes = output.sizes();
  if (axes == 0 || axes > 3 || sizes.size() < axes || output.numel() == 0) return;
  if (stride.size() == 1) stride.assign(axes, stride.front());
  if (dilation.size() == 1) dilation.assign(axes, dilation.front());
  entry.image.assign(sizes.end() - static_cast<std::ptrdiff_t>(axes), sizes.end());
  entry.stride = std::move(stride);
  entry.dilation = std::move(dilation);
}

void convolution(const Call& call, Recording& recording) { add(call, recording, false, call.integer(6)); }

void convolution_mkldnn(const Call& call, Recording& recording) {
  add(call, recording, false, call.integer(6), {.stride = 4, .dilation = 5});
}

void convolution_transposed(const Call& call, Recording& recording) { add(call, recording, true, call.integer(6)); }

void convolution_general(const Call& call, Recording& recording) {
  add(call, recording, call.boolean(6), call.integer(8));
}

}  // namespace jouleprune::record
