// CSR x dense, one warp per weight row and kBatch batch rows. Work O(nnz * n); a row's values and indices are read once, coalesced,
// per kBatch batch rows; activations are gathered. Row split as in Yang, Buluc, Owens, "Design Principles for Sparse Matrix
// Multiplication on the GPU", Euro-Par 2018.
#include "linear_csr.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace jouleprune::cuda {
namespace {

template <class T_, class Sum_>
struct LinearCsrConfig {
  using T = T_;
  using Sum = Sum_;
  static constexpr int kBatch = 8;          // batch rows per warp: sums held in registers
  static constexpr int kWarpsPerBlock = 4;  // weight rows per block
  static_assert(kWarpsPerBlock * 32 <= 1024, "a block has at most 1024 threads");
};

template <class Sum>
__device__ Sum warp_sum(Sum x) {
  for (int offset = 16; offset > 0; offset /= 2) {
    x += __shfl_xor_sync(0xffffffffu, x, offset);
  }
  return x;
}

template <class Config>
__global__ void linear_csr_kernel(LinearCsrParams p) {
  using T = typename Config::T;
  using Sum = typename Config::Sum;
  constexpr int kBatch = Config::kBatch;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * Config::kWarpsPerBlock + threadIdx.y;
  if (row >= p.rows) {
    return;  // a whole warp at once: the shuffles below see all lanes
  }
  const T* values = static_cast<const T*>(p.values);
  const T* input = static_cast<const T*>(p.input);
  const int64_t begin = p.row_offsets[row], end = p.row_offsets[row + 1];
  const Sum bias = p.bias == nullptr ? Sum(0) : static_cast<Sum>(static_cast<const T*>(p.bias)[row]);
  for (int64_t first = static_cast<int64_t>(blockIdx.y) * kBatch; first < p.n; first += static_cast<int64_t>(gridDim.y) * kBatch) {
    // Phase 1: each lane accumulates every 32nd kept weight of the row.
    Sum sums[kBatch] = {};
    for (int64_t k = begin + threadIdx.x; k < end; k += 32) {
      const Sum w = static_cast<Sum>(values[k]);
      const T* x = input + first * p.input_stride + p.col_indices[k];
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        if (first + b < p.n) {
          sums[b] += w * static_cast<Sum>(x[b * p.input_stride]);
        }
      }
    }
    // Phase 2: sum over the lanes; lane b writes batch row first + b.
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      Sum sum = warp_sum(sums[b]) + bias;
      sum = p.relu && sum < Sum(0) ? Sum(0) : sum;
      if (static_cast<int>(threadIdx.x) == b && first + b < p.n) {
        static_cast<T*>(p.output)[(first + b) * p.rows + row] = static_cast<T>(sum);
      }
    }
  }
}

template <class Config>
cudaError_t launch(const LinearCsrParams& p, cudaStream_t stream) {
  constexpr int64_t kMaxGridY = 65535;
  const int64_t blocks = (p.rows + Config::kWarpsPerBlock - 1) / Config::kWarpsPerBlock;
  const int64_t batches = (p.n + Config::kBatch - 1) / Config::kBatch;
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(batches < kMaxGridY ? batches : kMaxGridY));
  linear_csr_kernel<Config><<<grid, dim3(32, Config::kWarpsPerBlock), 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace

cudaError_t linear_csr(const LinearCsrParams& p, cudaStream_t stream) {
  if (p.rows == 0 || p.n == 0) {
    return cudaSuccess;  // an empty grid is a launch error
  }
  switch (p.type) {
    case ElementType::kFloat32: return launch<LinearCsrConfig<float, float>>(p, stream);
    case ElementType::kFloat64: return launch<LinearCsrConfig<double, double>>(p, stream);
    case ElementType::kBFloat16: return launch<LinearCsrConfig<__nv_bfloat16, float>>(p, stream);
    case ElementType::kFloat16: return launch<LinearCsrConfig<__half, float>>(p, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace jouleprune::cuda
