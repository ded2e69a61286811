// The mask that removes the smallest `amount` of many float32 scores, ties by position, without sorting and without the
// host: four passes of a radix select find the score at which removing ends, then each block counts the ties before it
// and writes its bits. Additions are of whole numbers: the mask is the same in every run. Radix select as in Alabi et
// al., "Fast K-selection Algorithms for Graphics Processing Units", ACM JEA 2012.
#pragma once
#include "masks/score_key.h"

namespace jouleprune::cuda::masks {

inline constexpr int kDigits = 256, kPerThread = 8, kBlockThreads = 256, kPerBlock = kPerThread * kBlockThreads;

/// What the passes know: the upper digits of the key at which removing ends, and how many of the keys with these digits
/// go.
struct alignas(8) SelectState {
  uint32_t prefix, rank;
};

struct SmallestParams {
  const float* scores;  // [count]
  int64_t count;
  SelectState* state;  // begins as {0, amount}; amount < count
  uint32_t* counts;    // [256], begins as zeros
  uint32_t* ties;      // [blocks]: of each block of 2048 scores; then of all before it
  uint8_t* bits;       // [ceil(count / 8)]: 1 = kept
  int shift;           // of the digit that a pass is about: 24, 16, 8, 0
};

JP_ANYWHERE int64_t blocks_of(const SmallestParams& p) { return simt::ceil_div<int64_t>(p.count, kPerBlock); }

/// Of the numbers that the threads before this one have put into shared memory, one each.
template <class Ctx>
JP_BODY uint32_t sum_before(const Ctx& ctx) {
  uint32_t sum = 0;
  for (int t = 0; t < ctx.thread(); ++t) sum += ctx.template load_shared<uint32_t>(static_cast<uint32_t>(t) * 4);
  return sum;
}

/// Counts the digits of the keys that share the upper ones found so far.
struct CountDigits {
  using Params = SmallestParams;
  static constexpr int kThreads = kBlockThreads;
  static constexpr uint32_t kShared = kDigits * 4;

  static simt::Grid grid(const Params& p) { return {blocks_of(p), 1}; }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const auto slot = static_cast<uint32_t>(ctx.thread()) * 4;
    ctx.store_shared(slot, 0u);
    const uint32_t prefix = ctx.load(&p.state->prefix);
    ctx.sync();
    for (int64_t i = ctx.block_x() * kPerBlock + ctx.thread(); i < p.count && i < (ctx.block_x() + 1) * kPerBlock;
         i += kThreads) {
      const uint32_t key = key_of(ctx.load(p.scores + i));
      if (p.shift == 24 || key >> (p.shift + 8) == prefix >> (p.shift + 8)) {
        ctx.add_shared((key >> p.shift & 255u) * 4, 1);
      }
    }
    ctx.sync();
    if (const auto mine = ctx.template load_shared<uint32_t>(slot); mine != 0) {
      ctx.add(p.counts + ctx.thread(), mine);
    }
  }
};

/// Finds the digit in which removing ends, and empties the counts for the next pass.
struct SelectDigit {
  using Params = SmallestParams;
  static constexpr int kThreads = kDigits;
  static constexpr uint32_t kShared = kDigits * 4;

  static simt::Grid grid(const Params&) { return {1, 1}; }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const uint32_t mine = ctx.load(p.counts + ctx.thread());
    const SelectState state = ctx.load(p.state);
    ctx.store_shared(static_cast<uint32_t>(ctx.thread()) * 4, mine);
    ctx.sync();
    uint32_t below = 0;
    for (int digit = 0; digit < ctx.thread(); ++digit) {
      below += ctx.template load_shared<uint32_t>(static_cast<uint32_t>(digit) * 4);
    }
    if (below <= state.rank && state.rank < below + mine) {  // one thread
      ctx.store(p.state,
                SelectState{state.prefix | static_cast<uint32_t>(ctx.thread()) << p.shift, state.rank - below});
    }
    ctx.store(p.counts + ctx.thread(), 0u);
  }
};

/// A thread's eight neighbours: which are ties with the last key, and which are larger.
struct Eight {
  uint32_t ties = 0, larger = 0;  // bits
};
template <class Ctx>
JP_BODY Eight compared(const Ctx& ctx, const SmallestParams& p, uint32_t last) {
  Eight eight;
  const int64_t first = ctx.block_x() * kPerBlock + ctx.thread() * kPerThread;
  for (int i = 0; i < kPerThread && first + i < p.count; ++i) {
    const uint32_t key = key_of(ctx.load(p.scores + first + i));
    eight.ties |= static_cast<uint32_t>(key == last) << i;
    eight.larger |= static_cast<uint32_t>(key > last) << i;
  }
  return eight;
}

struct CountTies {
  using Params = SmallestParams;
  static constexpr int kThreads = kBlockThreads;
  static constexpr uint32_t kShared = 4;

  static simt::Grid grid(const Params& p) { return {blocks_of(p), 1}; }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    if (ctx.thread() == 0) {
      ctx.store_shared(0, 0u);
    }
    ctx.sync();
    ctx.add_shared(0, static_cast<uint32_t>(ctx.popcount(compared(ctx, p, ctx.load(&p.state->prefix)).ties)));
    ctx.sync();
    if (ctx.thread() == 0) {
      ctx.store(p.ties + ctx.block_x(), ctx.template load_shared<uint32_t>(0));
    }
  }
};

/// Ties of each block become those of all blocks before it: each thread has a run of blocks.
struct ScanTies {
  using Params = SmallestParams;
  static constexpr int kThreads = kBlockThreads;
  static constexpr uint32_t kShared = kBlockThreads * 4;

  static simt::Grid grid(const Params&) { return {1, 1}; }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const int64_t each = simt::ceil_div<int64_t>(blocks_of(p), kThreads), first = ctx.thread() * each;
    uint32_t sum = 0;
    for (int64_t i = first; i < first + each && i < blocks_of(p); ++i) {
      sum += ctx.load(p.ties + i);
    }
    ctx.store_shared(static_cast<uint32_t>(ctx.thread()) * 4, sum);
    ctx.sync();
    uint32_t before = sum_before(ctx);
    for (int64_t i = first; i < first + each && i < blocks_of(p); ++i) {
      const uint32_t here = ctx.load(p.ties + i);
      ctx.store(p.ties + i, before);
      before += here;
    }
  }
};

/// Keeps what is larger than the last key, and its ties but the first `rank` of them.
struct WriteBits {
  using Params = SmallestParams;
  static constexpr int kThreads = kBlockThreads;
  static constexpr uint32_t kShared = kBlockThreads * 4;

  static simt::Grid grid(const Params& p) { return {blocks_of(p), 1}; }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const SelectState state = ctx.load(p.state);
    const Eight eight = compared(ctx, p, state.prefix);
    ctx.store_shared(static_cast<uint32_t>(ctx.thread()) * 4, static_cast<uint32_t>(ctx.popcount(eight.ties)));
    ctx.sync();
    uint32_t before = ctx.load(p.ties + ctx.block_x()) + sum_before(ctx);
    uint32_t kept = eight.larger;
    for (int i = 0; i < kPerThread; ++i) {
      const uint32_t tie = eight.ties >> i & 1u;
      kept |= (before >= state.rank ? tie : 0u) << i;
      before += tie;
    }
    const int64_t byte = ctx.block_x() * kBlockThreads + ctx.thread();
    if (byte * kPerThread < p.count) {
      ctx.store(p.bits + byte, static_cast<uint8_t>(kept));
    }
  }
};

/// All launches; `p.shift` is not looked at.
template <class Launcher>
void launch_smallest(Launcher& launcher, SmallestParams p) {
  const auto run = [&](auto kernel) {
    using Kernel = decltype(kernel);
    launcher.template launch<Kernel>(Kernel::grid(p), Kernel::kShared, p);
  };
  for (p.shift = 24; p.shift >= 0; p.shift -= 8) {
    run(CountDigits{});
    run(SelectDigit{});
  }
  run(CountTies{});
  run(ScanTies{});
  run(WriteBits{});
}

}  // namespace jouleprune::cuda::masks
