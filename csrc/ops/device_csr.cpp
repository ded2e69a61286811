#include "ops/device_csr.h"

#include <c10/util/Exception.h>

#include <cmath>
#include <optional>
#include <string>

#include "csr/index.h"
#include "csr/mask_tiles.h"
#include "csr/tiles.h"
#include "ops/asked_kernel.h"
#include "ops/cuda_adapters.h"
#include "ops/cusparse_product.h"
#include "ops/device_forms.h"
#include "ops/gpu_times.h"

namespace jouleprune::ops {
namespace {

/// The structure on the host; borrows from its tensors.
struct OnHost {
  at::Tensor columns, offsets;
  cuda::csr::HostStructure structure;

  explicit OnHost(const CsrWeight& weight) : columns(weight.col_indices.cpu()), offsets(weight.row_offsets.cpu()) {
    structure = {weight.csr.rows, weight.csr.cols, weight.csr.nnz, columns.const_data_ptr<int32_t>(),
                 offsets.const_data_ptr<int32_t>()};
  }
};

std::array<int64_t, 4> sizes_of(const CsrWeight& weight, bool transposed) {
  return {weight.csr.rows, weight.csr.cols, transposed ? 1 : 0, 0};
}

}  // namespace

cuda::csr::Matrix DeviceMatrix::view(const at::Tensor& values) const {
  return {values.const_data_ptr(),
          columns.const_data_ptr<int32_t>(),
          offsets.const_data_ptr<int32_t>(),
          sources.defined() ? sources.const_data_ptr<int32_t>() : nullptr,
          order.const_data_ptr<int32_t>(),
          rows,
          cols};
}

std::shared_ptr<const DeviceMatrix> device_matrix(const CsrWeight& weight, bool transposed) {
  // The structure's own lists are not kept: the form would keep its weight alive.
  const auto kept = device_form<DeviceMatrix>(
      "csr matrix", {weight.col_indices, weight.row_offsets}, sizes_of(weight, transposed), [&] {
        const OnHost host(weight);
        const auto& like = weight.col_indices;
        if (!transposed) {
          return DeviceMatrix{{},
                              {},
                              {},
                              on_device(cuda::csr::longest_first(host.structure.offsets, weight.csr.rows), like),
                              weight.csr.rows,
                              weight.csr.cols};
        }
        const auto index = cuda::csr::transposed(host.structure);
        return DeviceMatrix{on_device(index.columns, like),
                            on_device(index.offsets, like),
                            on_device(index.sources, like),
                            on_device(cuda::csr::longest_first(index.offsets.data(), weight.csr.cols), like),
                            weight.csr.cols,
                            weight.csr.rows};
      });
  if (transposed) {
    return kept;
  }
  return std::make_shared<const DeviceMatrix>(
      DeviceMatrix{weight.col_indices, weight.row_offsets, {}, kept->order, weight.csr.rows, weight.csr.cols});
}

at::Tensor device_entry_rows(const CsrWeight& weight) {
  return *device_form<at::Tensor>(
      "csr entry rows", {weight.col_indices, weight.row_offsets}, sizes_of(weight, false),
      [&] { return on_device(cuda::csr::rows_of_entries(OnHost(weight).structure), weight.col_indices); });
}

std::shared_ptr<const DeviceTiles> device_tiles(const CsrWeight& weight, bool transposed) {
  return device_form<DeviceTiles>(
      "csr tiles", {weight.col_indices, weight.row_offsets}, sizes_of(weight, transposed), [&] {
        const OnHost host(weight);
        const auto& s = host.structure;
        cuda::csr::Tiles tiles;
        if (transposed) {
          const auto index = cuda::csr::transposed(s);
          tiles = cuda::csr::tiles_of({s.cols, s.rows, s.nnz, index.columns.data(), index.offsets.data()},
                                      index.sources.data());
        } else {
          tiles = cuda::csr::tiles_of(s);
        }
        const auto& like = weight.col_indices;
        const auto headers = at::tensor(tiles.headers, at::TensorOptions().dtype(at::kByte)).to(like.device());
        return DeviceTiles{headers, on_device(tiles.starts, like), on_device(tiles.order, like)};
      });
}

std::shared_ptr<const DeviceMaskTiles> device_mask_tiles(const CsrWeight& weight) {
  return device_form<DeviceMaskTiles>(
      "csr mask tiles", {weight.col_indices, weight.row_offsets}, sizes_of(weight, false), [&] {
        const auto tiles = cuda::csr::mask_tiles_of(OnHost(weight).structure);
        const auto& like = weight.col_indices;
        return DeviceMaskTiles{on_device(tiles.tiles, like), on_device(tiles.masks, like),
                               on_device(tiles.firsts, like)};
      });
}

std::shared_ptr<const DeviceMatrix> device_conv_matrix(const CsrWeight& weight, int64_t groups, bool transposed) {
  if (groups == 1) return device_matrix(weight, transposed);
  return device_form<DeviceMatrix>(
      "csr conv matrix", {weight.col_indices, weight.row_offsets}, {weight.csr.rows, weight.csr.cols, transposed ? 1 : 0, groups},
      [&] {
        const OnHost host(weight);
        const auto& s = host.structure;
        const auto columns = cuda::csr::columns_over_groups(s, groups);
        const auto& like = weight.col_indices;
        if (!transposed) {
          return DeviceMatrix{on_device(columns, like),
                              weight.row_offsets,
                              {},
                              on_device(cuda::csr::longest_first(s.offsets, s.rows), like),
                              s.rows,
                              s.cols * groups};
        }
        const auto index = cuda::csr::transposed({s.rows, s.cols * groups, s.nnz, columns.data(), s.offsets});
        return DeviceMatrix{on_device(index.columns, like),
                            on_device(index.offsets, like),
                            on_device(index.sources, like),
                            on_device(cuda::csr::longest_first(index.offsets.data(), s.cols * groups), like),
                            s.cols * groups,
                            s.rows};
      });
}

namespace {
/// The kernel that JOULEPRUNE_CUDA_CSR names; nothing where it is not set.
std::optional<cuda::csr::Kernel> forced_kernel() {
  using cuda::csr::Kernel;
  const auto asked = asked_kernel("JOULEPRUNE_CUDA_CSR", {"by-entries", "by-tokens", "tiles", "dense", "cusparse"});
  for (const auto kernel : {Kernel::kByEntries, Kernel::kByTokens, Kernel::kTiles, Kernel::kDense, Kernel::kCusparse}) {
    if (name_of(kernel) == asked) return kernel;
  }
  return std::nullopt;
}
}  // namespace

bool asks_for_cusparse() { return forced_kernel() == cuda::csr::Kernel::kCusparse; }

cuda::csr::Kernel csr_kernel(const cuda::csr::Shape& shape, const CudaScope& scope) {
  const auto forced = forced_kernel();
  if (forced && !std::isinf(predicted_s(*forced, shape, scope.machine()))) return *forced;
  return choose_by_times(shape, scope.machine(), scope.identity(), [&] { return why_no_cusparse(shape.type); });
}

bool convolves_sparse(const cuda::conv::ConvWork& work, const cuda::csr::Machine& machine) {
  const auto forced = forced_kernel();
  if (forced == cuda::csr::Kernel::kDense) return false;
  return forced == cuda::csr::Kernel::kByTokens || cuda::conv::runs_sparse(cuda::conv::ConvKernel::kEntries, work, machine);
}

}  // namespace jouleprune::ops
