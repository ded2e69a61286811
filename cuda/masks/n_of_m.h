// The pattern n:m on the device: of every m entries along one dimension the n of largest magnitude stay, of equal ones
// the first (csrc/select/n_of_m.h). A thread per entry counts the entries of its group that go before it: for the small
// m of such patterns that is less than sorting, and the group's other entries come from the first-level cache.
#pragma once
#include "masks/score_key.h"
#include "simt/elements.h"

namespace jouleprune::cuda::masks {

/// A tensor [outer, length, inner]: groups run along `length`; the last one of a line may be shorter.
struct NOfMParams {
  const void* scores;
  const bool* left;  // null: all entries are
  int64_t outer, length, inner;
  int64_t n, m;
  bool* kept;
};

template <class T>
struct KeepNOfM {
  using Params = NOfMParams;
  static constexpr int kThreads = 256;
  static constexpr uint32_t kShared = 0;

  static simt::Grid grid(const Params& p) {
    return {simt::ceil_div<int64_t>(p.outer * p.length * p.inner, kThreads), 1};
  }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const int64_t at = ctx.block_x() * kThreads + ctx.thread();
    if (at >= p.outer * p.length * p.inner) return;
    if (p.left != nullptr && !ctx.load(p.left + at)) return ctx.store(p.kept + at, false);
    const int64_t place = at / p.inner % p.length, first = place / p.m * p.m;
    const int64_t end = first + p.m < p.length ? first + p.m : p.length;
    const int64_t line = at - place * p.inner;
    const uint32_t mine = key_at(ctx, p, at);
    int64_t before = 0;
    for (int64_t i = first; i < end; ++i) {
      const int64_t other = line + i * p.inner;
      if (i == place || (p.left != nullptr && !ctx.load(p.left + other))) continue;
      const uint32_t key = key_at(ctx, p, other);
      before += key > mine || (key == mine && i < place);
    }
    ctx.store(p.kept + at, before < p.n);
  }

 private:
  template <class Ctx>
  static JP_BODY uint32_t key_at(const Ctx& ctx, const Params& p, int64_t at) {
    const float score = simt::widen(ctx.load(static_cast<const T*>(p.scores) + at));
    return key_of(score < 0 ? -score : score);
  }
};

}  // namespace jouleprune::cuda::masks
