#include "energy/timed_families.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "energy/kernel_cost.h"
#include "energy/profile_data.h"

namespace jouleprune::energy {
namespace {

constexpr std::array<std::string_view, 7> kProducts = {"linear",           "bilinear",         "matmul",          "attention",
                                                       "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"};
constexpr std::array<std::string_view, 3> kRecurrent = {"lstm", "gru", "rnn"};
constexpr std::array<std::string_view, 4> kSparse = {"linear", "linear small", "pointwise", "convolution"};
constexpr std::array<std::string_view, 6> kAlongAnAxis = {"norm", "softmax", "pool", "reduce", "copy", "embedding"};

/// Dense convolutions, with their sizes (timing.cpp).
struct Kind {
  std::string_view name;
  size_t sizes;
};
constexpr std::array<Kind, 7> kConvolutions = {{{"convolution", 7}, {"convolution of a line", 7}, {"pointwise", 7}, {"depthwise", 6},
                                                {"grouped", 8}, {"convolution small", 5}, {"pointwise small", 5}}};

template <class Names>
bool holds(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// "KERNEL KIND", of a layout that keeps no zeros.
bool is_sparse(std::string_view stem) {
  return std::any_of(kernels().begin(), kernels().end(), [&](const KernelCost& kernel) {
    const size_t size = kernel.name.size();
    return kernel.layout != "dense" && stem.starts_with(kernel.name) && stem.size() > size && stem[size] == ' ' &&
           holds(kSparse, stem.substr(size + 1));
  });
}

/// Of a call with MACs; `stem`: without the dtype.
std::vector<size_t> sizes_with_macs(std::string_view stem) {
  const auto* const kind = std::find_if(kConvolutions.begin(), kConvolutions.end(), [&](const Kind& one) { return one.name == stem; });
  if (kind != kConvolutions.end()) return {kind->sizes};
  if (holds(kProducts, stem)) return {4};
  if (holds(kRecurrent, stem) || is_sparse(stem)) return {3};
  return {};
}

/// As torch names an op: letters, digits and underscores.
bool is_op_name(std::string_view call) {
  return !call.empty() && std::all_of(call.begin(), call.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
}

}  // namespace

std::vector<size_t> sizes_of_family(std::string_view name) {
  const size_t first = name.find(' '), last = name.rfind(' ');
  const std::string_view op = name.substr(0, first);
  if (first == std::string_view::npos || is_op_name(name.substr(first + 1))) {
    if (op == "elementwise") return {2};
    if (holds(kAlongAnAxis, op)) return {2, 3};
  }
  if (last == std::string_view::npos || !is_dtype(name.substr(last + 1))) return {};
  return sizes_with_macs(name.substr(0, last));
}

}  // namespace jouleprune::energy
