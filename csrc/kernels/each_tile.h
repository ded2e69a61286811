// Loops over tile registers, which are named in the instruction. Internal linkage, see csr/vector.h.
#pragma once

namespace jouleprune::kernels {
namespace {

/// visit.operator()<0>() ... <kCount - 1>()
template <int kCount, int kFirst = 0, class Visit>
[[gnu::always_inline]] inline void for_each_tile(const Visit& visit) {
  if constexpr (kFirst < kCount) {
    visit.template operator()<kFirst>();
    for_each_tile<kCount, kFirst + 1>(visit);
  }
}

}  // namespace
}  // namespace jouleprune::kernels
