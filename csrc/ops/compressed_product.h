// Products with compressed weights (bitmap tiles, 2:4) on CUDA, and what they keep of a weight's values.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <memory>
#include <string_view>

#include "csr/linear_csr.h"
#include "ops/csr_checks.h"
#include "ops/cuda_adapters.h"
#include "ops/cuda_backend.h"
#include "ops/device_forms.h"
#include "ops/packed_forms.h"

namespace jouleprune::ops {

inline int64_t turned_elements(int64_t features, int64_t n) { return features * ((n + 7) / 8 * 8); }

/// A form that depends on values: kept, unless gradients are recorded, where values change with every step.
template <class Form, class Make>
std::shared_ptr<const Form> kept_unless_fresh(std::string_view name, std::initializer_list<at::Tensor> of,
                                              const std::array<int64_t, 4>& sizes, const CudaScope& scope,
                                              const Make& make) {
  if (wants_fresh_values()) {
    return std::make_shared<const Form>(make());
  }
  return device_form<Form>(name, of, sizes, [&] {
    auto form = make();
    scope.synchronize();  // other streams may use it next
    return form;
  });
}

/// The same of a csr weight.
template <class Form, class Make>
std::shared_ptr<const Form> form_of_values(std::string_view name, const CsrWeight& weight, bool transposed,
                                           const CudaScope& scope, const Make& make) {
  return kept_unless_fresh<Form>(name, {weight.col_indices, weight.row_offsets, weight.values},
                                 {weight.csr.rows, weight.csr.cols, transposed ? 1 : 0, 0}, scope, make);
}

/// Values in another order, zero where it says -1.
inline at::Tensor packed_values(const at::Tensor& values, const at::Tensor& order, const CudaScope& scope) {
  auto packed = at::empty({order.numel()}, values.options());
  scope.run(cuda::csr::Pack{
      cuda_element_type(values.scalar_type()),
      values.numel(),
      {values.const_data_ptr(), order.const_data_ptr<int32_t>(), packed.mutable_data_ptr(), packed.numel()}});
  return packed;
}

struct CompressedWeight {
  bool pairs;  // 2:4, else bitmap tiles
  at::Tensor headers, starts, packed;
};

/// output [n, outputs] = epilogue(rows [n, inputs] W^T).
inline void run_compressed(const CompressedWeight& weight, const at::Tensor& rows, const at::Tensor& output,
                           const cuda::Epilogue& epilogue, const CudaScope& scope) {
  const int64_t n = rows.size(0), outputs = output.size(1), inputs = rows.size(1);
  const int32_t splits = cuda::csr::tile_splits(outputs, inputs, n, scope.machine().multiprocessors);
  auto partial = at::empty({cuda::csr::tile_partial_sums(outputs, n, splits)}, rows.options().dtype(at::kFloat));
  auto turned = scratch_for(rows, turned_elements(inputs, n));
  cuda::csr::TileParams params{};
  params.headers = weight.headers.const_data_ptr<uint8_t>();
  params.starts = weight.starts.defined() ? weight.starts.const_data_ptr<int32_t>() : nullptr;
  params.values = weight.packed.const_data_ptr();
  params.rows = outputs;
  params.cols = inputs;
  params.y = output.mutable_data_ptr();
  params.n = n;
  params.whole_chunks = outputs % 8 == 0;  // the allocator's memory begins at multiples of 16 bytes
  params.epilogue = epilogue;
  params.splits = splits;
  params.partial = partial.mutable_data_ptr<float>();
  scope.run(cuda::csr::LinearTiles{cuda_element_type(rows.scalar_type()), weight.pairs, params, weight.packed.numel(),
                                   rows.const_data_ptr(), rows.stride(0), turned.mutable_data_ptr()});
}

}  // namespace jouleprune::ops
