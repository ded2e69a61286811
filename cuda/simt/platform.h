// What lets one source be a CUDA kernel body and a host function.
#pragma once
#include <cstdint>

#if defined(__CUDACC__)
#define JP_BODY __device__ __forceinline__               // kernel bodies and what they call
#define JP_ANYWHERE __host__ __device__ __forceinline__  // arithmetic that launchers use, too
#define JP_UNROLL _Pragma("unroll")
#else
#define JP_BODY inline
#define JP_ANYWHERE inline
#define JP_UNROLL
#endif

namespace jouleprune::simt {

inline constexpr int kLanes = 32;  // threads of a warp

template <class T>
JP_ANYWHERE constexpr T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

/// 16 bytes: the widest load, store and asynchronous copy.
struct alignas(16) Chunk {
  uint32_t words[4];
};

/// One operand register of each of four 8 x 8 matrices of 16-bit elements, as ldmatrix.x4 gives them: the A operand of
/// mma.m16n8k16, or two B operands.
struct Fragment {
  uint32_t r[4];
};

/// A lane's part of a 16 x 8 tile of sums.
struct Sums {
  float v[4];
};

/// Blocks of a launch; a body reads its place by ctx.block_x(), ctx.block_y().
struct Grid {
  int64_t x = 1, y = 1;
};

}  // namespace jouleprune::simt
