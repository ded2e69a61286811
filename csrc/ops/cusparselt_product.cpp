#include "ops/cusparselt_product.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/_cslt_compress.h>
#include <ATen/ops/_cslt_sparse_mm.h>
#include <ATen/ops/constant_pad_nd.h>
#include <c10/util/Exception.h>

#include <atomic>
#include <string_view>

#include "ops/asked_kernel.h"
#include "ops/cuda_backend.h"

namespace jouleprune::ops {
namespace {

constexpr int64_t kMultiple = 32;    // of rows and columns, which serves every release
constexpr int64_t kBatch = 16;       // batch rows are filled up to a multiple of it
constexpr int64_t kManyRows = 512;   // fewer: products are bound by reading, and the library's calls are longer than ours
constexpr int64_t kLargeWeight = 2048 * 2048;

std::atomic<bool> refused = false;

bool is_there() {
  static const bool found = [] {
    const auto op = c10::Dispatcher::singleton().findSchema({"aten::_cslt_compress", ""});
    return op.has_value() && op->hasKernelForDispatchKey(c10::DispatchKey::JOULEPRUNE_CUDA_KEY);
  }();
  return found && !refused;
}

std::string_view asked_for() { return asked_kernel("JOULEPRUNE_CUDA_NM", {"own", "cusparselt"}); }

/// The library's refusal as an undefined tensor: builds without it have the ops, too, and they throw.
template <class Call>
at::Tensor unless_refused(const Call& call) {
  try {
    return call();
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const c10::Error& error) {
    refused = true;
    TORCH_WARN_ONCE("cuSPARSELt is not used: ", error.what_without_backtrace());
    return {};
  }
}

}  // namespace

bool wants_cusparselt(const formats::NmShape& shape, at::ScalarType dtype, int64_t n) {
  const auto asked = asked_for();
  const bool serves = shape.n == 2 && shape.m == 4 && (dtype == at::kHalf || dtype == at::kBFloat16) && shape.rows % kMultiple == 0 &&
                      shape.cols % kMultiple == 0 && shape.rows > 0 && shape.cols > 0 && n > 0;
  if (!serves || asked == "own" || !is_there()) return false;
  return asked == "cusparselt" || (n >= kManyRows && shape.rows * shape.cols >= kLargeWeight);
}

at::Tensor compressed_by_cusparselt(const std::function<at::Tensor()>& weight) {
  return unless_refused([&] { return at::_cslt_compress(weight()); });
}

at::Tensor cusparselt_product(const at::Tensor& compressed, const at::Tensor& rows, const at::Tensor& bias) {
  if (!compressed.defined()) return {};
  const int64_t n = rows.size(0), missing = (kBatch - n % kBatch) % kBatch;
  const auto filled = (missing == 0 ? rows : at::constant_pad_nd(rows, {0, 0, 0, missing})).contiguous();
  const auto given = bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt;
  const auto product = unless_refused(
      [&] { return at::_cslt_sparse_mm(compressed, filled.t(), given, std::nullopt, std::nullopt, /*transpose_result=*/true); });
  return product.defined() ? product.slice(0, 0, n) : product;
}

}  // namespace jouleprune::ops
