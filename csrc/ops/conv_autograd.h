// What the autograd kernels of the convolutions keep of their arguments between forward and backward.
#pragma once
#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstdint>
#include <vector>

namespace jouleprune::ops {

struct SavedConv {
  std::vector<c10::SymInt> input_size;
  std::vector<int64_t> kernel_size, stride, padding, dilation;
  int64_t groups;

  void save(torch::autograd::AutogradContext& context) const {
    context.saved_data["input_size"] = input_size;
    context.saved_data["kernel_size"] = kernel_size;
    context.saved_data["stride"] = stride;
    context.saved_data["padding"] = padding;
    context.saved_data["dilation"] = dilation;
    context.saved_data["groups"] = groups;
  }
  static SavedConv of(torch::autograd::AutogradContext& context) {
    const auto numbers = [&](const char* name) { return context.saved_data[name].toIntVector(); };
    return {context.saved_data["input_size"].toSymIntVector(),
            numbers("kernel_size"),
            numbers("stride"),
            numbers("padding"),
            numbers("dilation"),
            context.saved_data["groups"].toInt()};
  }
};

}  // namespace jouleprune::ops
