// Tensor-core instructions of the device context. Turing has no m16n8k16: halves are two m16n8k8 there, and bfloat16,
// which it does not multiply, goes through shuffles: right, not fast.
#pragma once
#include "device.h"
#include "fragments.h"

namespace jouleprune::simt {

namespace detail {

#if __CUDA_ARCH__ < 800
template <class T>
JP_BODY float product_of_pairs(uint32_t a, uint32_t b) {
  return widen(T{static_cast<uint16_t>(a)}) * widen(T{static_cast<uint16_t>(b)}) +
         widen(T{static_cast<uint16_t>(a >> 16)}) * widen(T{static_cast<uint16_t>(b >> 16)});
}

template <class T>
JP_BODY void mma_by_shuffles(Sums& d, const Fragment& a, uint32_t b0, uint32_t b1) {
  const int lane = static_cast<int>(threadIdx.x) % kLanes, g = lane / 4, t = lane % 4;
  for (int k = 0; k < 4; ++k) {  // pairs 2k, 2k + 1 and 8 + 2k, 8 + 2k + 1 of the inner index
    Fragment row;
    for (int r = 0; r < 4; ++r) {
      row.r[r] = __shfl_sync(0xffffffffu, a.r[r], 4 * g + k);
    }
    for (int i = 0; i < 2; ++i) {
      const uint32_t low = __shfl_sync(0xffffffffu, b0, 4 * (2 * t + i) + k);
      const uint32_t high = __shfl_sync(0xffffffffu, b1, 4 * (2 * t + i) + k);
      d.v[i] += product_of_pairs<T>(row.r[0], low) + product_of_pairs<T>(row.r[2], high);
      d.v[2 + i] += product_of_pairs<T>(row.r[1], low) + product_of_pairs<T>(row.r[3], high);
    }
  }
}

JP_BODY void mma_half_8(Sums& d, uint32_t a0, uint32_t a1, uint32_t b) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
               : "+f"(d.v[0]), "+f"(d.v[1]), "+f"(d.v[2]), "+f"(d.v[3])
               : "r"(a0), "r"(a1), "r"(b));
}
#endif

template <class T>
inline constexpr bool kIsHalf = false;
template <>
inline constexpr bool kIsHalf<Half> = true;

}  // namespace detail

template <class T>
JP_BODY void Device::mma(Sums& d, const Fragment& a, uint32_t b0, uint32_t b1) const {
#if __CUDA_ARCH__ >= 800
  if constexpr (detail::kIsHalf<T>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
        "%3};"
        : "+f"(d.v[0]), "+f"(d.v[1]), "+f"(d.v[2]), "+f"(d.v[3])
        : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, "
        "%2, %3};"
        : "+f"(d.v[0]), "+f"(d.v[1]), "+f"(d.v[2]), "+f"(d.v[3])
        : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b0), "r"(b1));
  }
#else
  if constexpr (detail::kIsHalf<T>) {
    detail::mma_half_8(d, a.r[0], a.r[1], b0);
    detail::mma_half_8(d, a.r[2], a.r[3], b1);
  } else {
    detail::mma_by_shuffles<T>(d, a, b0, b1);
  }
#endif
}

template <class T, int kSelector>
JP_BODY void Device::mma_sparse(Sums& d, const Fragment& a, const Fragment& b, uint32_t metadata) const {
#if __CUDA_ARCH__ >= 800
  if constexpr (detail::kIsHalf<T>) {
    asm volatile(
        "mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9, %10, %11}, {%0, %1, %2, %3}, %12, %13;"
        : "+f"(d.v[0]), "+f"(d.v[1]), "+f"(d.v[2]), "+f"(d.v[3])
        : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b.r[0]), "r"(b.r[1]), "r"(b.r[2]), "r"(b.r[3]),
          "r"(metadata), "n"(kSelector));
  } else {
    asm volatile(
        "mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9, %10, %11}, {%0, %1, %2, %3}, %12, %13;"
        : "+f"(d.v[0]), "+f"(d.v[1]), "+f"(d.v[2]), "+f"(d.v[3])
        : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b.r[0]), "r"(b.r[1]), "r"(b.r[2]), "r"(b.r[3]),
          "r"(metadata), "n"(kSelector));
  }
#else
  // No such instruction on Turing: expand the kept pairs of each group of four to two dense products, through shuffles.
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  for (int half = 0; half < 2; ++half) {  // logical columns 16 half .. 16 half + 15
    Fragment dense{};
    for (int i = 0; i < 8; ++i) {
      const Place p = place_in_a(lane, i);
      const int chunk = 4 * half + p.column / 4, wanted = p.column % 4;
      const MetadataPlace at = place_of_metadata(p.row, chunk, kSelector);
      const uint32_t code = __shfl_sync(0xffffffffu, metadata, at.lane) >> at.bit & 15u;
      // Chunk q of a row keeps compressed columns 2q, 2q + 1: one register of lane 4 (row % 8) + q % 4.
      const int owner = 4 * (p.row % 8) + chunk % 4;
      uint32_t pair = 0;
      for (int r = 0; r < 4; ++r) {
        const uint32_t candidate = __shfl_sync(0xffffffffu, a.r[r], owner);
        pair = r == p.row / 8 + 2 * (chunk / 4) ? candidate : pair;
      }
      const uint32_t value = static_cast<int>(code & 3u) == wanted   ? pair & 0xffffu
                             : static_cast<int>(code >> 2) == wanted ? pair >> 16
                                                                     : 0u;
      dense.r[i / 2] |= value << (16 * (i & 1));
    }
    mma<T>(d, dense, b.r[2 * half], b.r[2 * half + 1]);
  }
#endif
}

}  // namespace jouleprune::simt
