// What the CUDA kernels derive from a csr weight, each made when first needed and kept on the weight's device
// (device_forms.h).
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>

#include "conv/choice.h"
#include "csr/choice.h"
#include "csr/linear_csr.h"
#include "ops/csr_checks.h"

namespace jouleprune::ops {

/// Lists of a structure or of its transpose, and rows by length. `sources` is undefined for the structure itself.
struct DeviceMatrix {
  at::Tensor columns, offsets, sources, order;
  int64_t rows = 0, cols = 0;

  cuda::csr::Matrix view(const at::Tensor& values) const;
};
std::shared_ptr<const DeviceMatrix> device_matrix(const CsrWeight& weight, bool transposed);

/// The row of each entry, int32 [nnz].
at::Tensor device_entry_rows(const CsrWeight& weight);

/// The structure, or its transpose, as bitmap tiles.
struct DeviceTiles {
  at::Tensor headers, starts, order;
};
std::shared_ptr<const DeviceTiles> device_tiles(const CsrWeight& weight, bool transposed);

/// Where the weight keeps something, by tiles; lists as cuda::csr::MaskTiles has them.
struct DeviceMaskTiles {
  at::Tensor tiles, masks, firsts;
};
std::shared_ptr<const DeviceMaskTiles> device_mask_tiles(const CsrWeight& weight);

/// JOULEPRUNE_CUDA_CSR (by-entries, by-tokens, tiles, dense) where it is set and serves the type, else choose(). Throws
/// c10::ValueError for other words.
cuda::csr::Kernel csr_kernel(const cuda::csr::Shape& shape, const cuda::csr::Machine& machine);

/// runs_sparse() of cuda/conv/choice.h; JOULEPRUNE_CUDA_CSR=by-tokens and =dense force one or the other.
bool convolves_sparse(const cuda::conv::ConvWork& work, const cuda::csr::Machine& machine);

/// The structure of a convolution's weight as a matrix whose columns count over all groups, or its transpose.
std::shared_ptr<const DeviceMatrix> device_conv_matrix(const CsrWeight& weight, int64_t groups, bool transposed);

}  // namespace jouleprune::ops
