// What the CUDA adapters derive from a weight and keep for the next call, on its device: found by the storages of the
// tensors that it was made of, and dropped when those die or change (by torch's version counters: what changes through
// .data is not noticed here).
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string_view>

namespace jouleprune::ops {

/// `name`: a string literal, different for each type of form. `of`: the tensors; inference tensors, whose changes torch
/// does not count, make a form for each call.
std::shared_ptr<const void> find_or_make(std::string_view name, std::initializer_list<at::Tensor> of,
                                         const std::array<int64_t, 4>& sizes,
                                         const std::function<std::shared_ptr<const void>()>& make);

/// As find_or_make, typed. make() returns a Form.
template <class Form, class Make>
std::shared_ptr<const Form> device_form(std::string_view name, std::initializer_list<at::Tensor> of,
                                        const std::array<int64_t, 4>& sizes, const Make& make) {
  return std::static_pointer_cast<const Form>(find_or_make(
      name, of, sizes, [&]() -> std::shared_ptr<const void> { return std::make_shared<const Form>(make()); }));
}

}  // namespace jouleprune::ops
