// A stretch of a list of entries, one read by each lane and handed to the others by shuffles.
#pragma once
#include "csr/csr_params.h"
#include "simt/elements.h"

namespace jouleprune::cuda::csr {

/// Calls visit(value, where) for the entries [begin, end) of `m`, in their order, in all lanes; where = place(column of the entry).
/// All lanes of a warp come with the same `begin` and `end`.
template <class T, class Ctx, class Place, class Visit>
JP_BODY void for_each_entry(const Ctx& ctx, const Matrix& m, int64_t begin, int64_t end, const Place& place,
                            const Visit& visit) {
  using Sum = simt::SumOf<T>;
  for (int64_t first = begin; first < end; first += simt::kLanes) {
    const int64_t mine = first + ctx.lane();
    Sum value = 0;
    int32_t where = 0;
    if (mine < end) {
      const int64_t source = m.sources == nullptr ? mine : ctx.load(m.sources + mine);
      value = static_cast<Sum>(simt::widen(ctx.load(static_cast<const T*>(m.values) + source)));
      where = place(ctx.load(m.columns + mine));
    }
    const int count = end - first < simt::kLanes ? static_cast<int>(end - first) : simt::kLanes;
    for (int k = 0; k < count; ++k) {
      const Sum w = ctx.shuffle(value, k);
      visit(w, ctx.shuffle(where, k));
    }
  }
}

}  // namespace jouleprune::cuda::csr
