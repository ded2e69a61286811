// Each instruction that the context of kernel bodies wraps (cuda/simt/device.h), as a kernel of one warp: the same body on a GPU and in the
// emulator, whose results must be the same bits.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "simt/elements.h"
#include "simt/platform.h"
#if !defined(__CUDACC__)
#include <bit>
#endif

namespace jouleprune::instructions {

inline constexpr int kWords = 16;  // of each lane, in and out

enum Case {
  kMmaHalf,
  kMmaBFloat16,
  kSparseHalf0,
  kSparseHalf1,
  kSparseBFloat160,
  kSparseBFloat161,
  kLoadMatrices,
  kLoadTransposed,
  kTransposeMatrix,
  kCopies,
  kShuffles,
  kConversions,
  kAtomics,
  kLoads,
  kCases
};

struct Params {
  const uint32_t* in;  // [32, kWords]
  uint32_t* out;       // the same
  uint32_t* sum;       // [1]: of kAtomics
};

JP_BODY float number(uint32_t bits) {
#if defined(__CUDACC__)
  return __uint_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}
JP_BODY uint32_t bits_of(float x) {
#if defined(__CUDACC__)
  return __float_as_uint(x);
#else
  return std::bit_cast<uint32_t>(x);
#endif
}

/// Words of a lane: 0..3 A, 4..7 B, 8 metadata, 12..15 sums.
template <int kCase>
struct Kernel {
  using Params = instructions::Params;
  static constexpr int kThreads = 32;
  static constexpr uint32_t kShared = 2048;

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    uint32_t in[kWords], out[kWords] = {};
    for (int i = 0; i < kWords; ++i) in[i] = ctx.load(p.in + ctx.lane() * kWords + i);
    compute(ctx, p, in, out);
    for (int i = 0; i < kWords; ++i) ctx.store(p.out + ctx.lane() * kWords + i, out[i]);
  }

 private:
  template <class T, class Ctx>
  static JP_BODY void multiply(const Ctx& ctx, const uint32_t* in, uint32_t* out) {
    const simt::Fragment a{{in[0], in[1], in[2], in[3]}}, b{{in[4], in[5], in[6], in[7]}};
    simt::Sums sums{{number(in[12]), number(in[13]), number(in[14]), number(in[15])}};
    if constexpr (kCase == kMmaHalf || kCase == kMmaBFloat16) {
      ctx.template mma<T>(sums, a, b.r[0], b.r[1]);
    } else {
      ctx.template mma_sparse<T, kCase == kSparseHalf1 || kCase == kSparseBFloat161>(sums, a, b, in[8]);
    }
    for (int i = 0; i < 4; ++i) out[i] = bits_of(sums.v[i]);
  }

  /// The first 512 bytes of shared memory, in reach of every lane.
  template <class Ctx>
  static JP_BODY void fill(const Ctx& ctx, const uint32_t* in) {
    for (int i = 0; i < 4; ++i) ctx.store_shared(static_cast<uint32_t>(16 * ctx.lane() + 4 * i), in[i]);
    ctx.sync_warp();
  }

  template <class Ctx>
  static JP_BODY void compute(const Ctx& ctx, const Params& p, const uint32_t* in, uint32_t* out) {
    const int lane = ctx.lane();
    if constexpr (kCase == kMmaHalf || kCase == kSparseHalf0 || kCase == kSparseHalf1) {
      multiply<simt::Half>(ctx, in, out);
    } else if constexpr (kCase <= kSparseBFloat161) {
      multiply<simt::BFloat16>(ctx, in, out);
    } else if constexpr (kCase == kLoadMatrices || kCase == kLoadTransposed) {
      fill(ctx, in);
      const auto found = ctx.template load_matrices<kCase == kLoadTransposed>(static_cast<uint32_t>(16 * ((lane * 7 + 3) % 32)));
      for (int i = 0; i < 4; ++i) out[i] = found.r[i];
    } else if constexpr (kCase == kTransposeMatrix) {
      out[0] = ctx.transpose_matrix(in[0]);
    } else if constexpr (kCase == kCopies) {
      const auto to = static_cast<uint32_t>(16 * lane);
      ctx.copy_async(to, p.in + lane * kWords, (in[0] & 1) != 0);
      ctx.copy_commit();
      ctx.copy_async(512 + to, p.in + lane * kWords + 4, true);
      ctx.copy_commit();
      ctx.template copy_wait<0>();
      ctx.sync_warp();
      for (int i = 0; i < 4; ++i) {
        out[i] = ctx.template load_shared<uint32_t>(static_cast<uint32_t>(16 * (31 - lane) + 4 * i));
        out[4 + i] = ctx.template load_shared<uint32_t>(static_cast<uint32_t>(512 + 16 * (31 - lane) + 4 * i));
      }
    } else if constexpr (kCase == kShuffles) {
      out[0] = ctx.shuffle(in[0], static_cast<int>(in[1] % 32));
      for (int i = 0; i < 5; ++i) out[1 + i] = ctx.shuffle_xor(in[2], 1 << i);
      out[6] = ctx.ballot((in[3] & 1) != 0);
      out[7] = static_cast<uint32_t>(ctx.popcount(in[4]));
    } else if constexpr (kCase == kConversions) {
      for (int i = 0; i < 4; ++i) {
        out[i] = simt::narrow<simt::Half>(number(in[12 + i])).bits;
        out[4 + i] = simt::narrow<simt::BFloat16>(number(in[12 + i])).bits;
        out[8 + i] = bits_of(simt::widen(simt::Half{static_cast<uint16_t>(in[i])}));
        out[12 + i] = bits_of(simt::widen(simt::BFloat16{static_cast<uint16_t>(in[i])}));
      }
    } else if constexpr (kCase == kAtomics) {
      ctx.store_shared(static_cast<uint32_t>(4 * lane), 0u);
      ctx.sync_warp();
      ctx.add_shared(static_cast<uint32_t>(4 * (in[0] % 8)), in[1] % 1000);
      ctx.sync_warp();
      out[0] = ctx.template load_shared<uint32_t>(static_cast<uint32_t>(4 * lane));
      ctx.add(p.sum, in[2] % 1000);
    } else {
      const auto whole = ctx.load_once(reinterpret_cast<const simt::Chunk*>(p.in + lane * kWords));
      for (int i = 0; i < 4; ++i) out[i] = whole.words[i];
      out[4] = ctx.load(reinterpret_cast<const uint16_t*>(p.in + lane * kWords) + 1);
      out[5] = ctx.load(reinterpret_cast<const uint8_t*>(p.in + lane * kWords) + 3);
    }
  }
};

/// Calls body(Kernel<kCase>{}) with the case's kernel.
template <int kCase = 0, class Body>
void with_case(int which, const Body& body) {
  if constexpr (kCase < kCases) {
    which == kCase ? body(Kernel<kCase>{}) : with_case<kCase + 1>(which, body);
  }
}

struct Results {
  std::vector<uint32_t> out;
  uint32_t sum = 0;
  std::string problem;  // empty: none
};

Results emulated(int which, const std::vector<uint32_t>& in);
Results on_device(int which, const std::vector<uint32_t>& in);

}  // namespace jouleprune::instructions
