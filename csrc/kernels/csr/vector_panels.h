// The loops over panels: a PanelOrder's streams times a panel of a few vectors, sums in registers. Included only by vector_body.h.
#pragma once
#include "kernels/csr/vector.h"
#include "kernels/csr/vector_kernels.h"

namespace jouleprune::kernels::csr {
namespace {

/// Sums of kRows rows and kVectors vectors, in registers.
template <class A, int kRows, int kVectors>
struct Sums {
  static constexpr int64_t kWidth = kVectors * kLanes<A>;
  Vector<A> at[kRows][kVectors];

  [[gnu::always_inline]] inline void begin(const PanelUnit<A>& unit, int64_t group, const A* tile) {
    if (unit.block == 0) {
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const Vector<A> start = splat<A>(unit.start[group * kRows + r]);
#pragma GCC unroll 8
        for (int q = 0; q < kVectors; ++q) {
          at[r][q] = start;
        }
      }
    } else {
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
        for (int q = 0; q < kVectors; ++q) {
          at[r][q] = load(tile + r * kWidth + q * kLanes<A>);
        }
      }
    }
  }

  [[gnu::always_inline]] inline void end(const PanelUnit<A>& unit, A* tile) {
    if (unit.relu) {
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
        for (int q = 0; q < kVectors; ++q) {
          at[r][q] = at[r][q] < Vector<A>{} ? Vector<A>{} : at[r][q];
        }
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int q = 0; q < kVectors; ++q) {
        store(tile + r * kWidth + q * kLanes<A>, at[r][q]);
      }
    }
  }

  /// Row r += w times a vector of activations, read from memory.
  [[gnu::always_inline]] inline void add(int r, A w, const A* x) {
    const Vector<A> wide = splat<A>(w);
#pragma GCC unroll 8
    for (int q = 0; q < kVectors; ++q) {
      at[r][q] += wide * load(x + q * kLanes<A>);
    }
  }
};

/// The columns that exactly the rows in kPattern keep: each activation is loaded once for all of them.
template <int kPattern, class A, int kVectors>
[[gnu::always_inline]] inline void add_pattern(Sums<A, 4, kVectors>& sums, int count, const A*& values, const int32_t*& columns,
                                               const A* panel) {
  for (; count > 0; --count) {
    const A* from = panel + *columns++;
    Vector<A> x[kVectors];
#pragma GCC unroll 8
    for (int q = 0; q < kVectors; ++q) {
      x[q] = load(from + q * kLanes<A>);
    }
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      if (kPattern >> r & 1) {
        const Vector<A> w = splat<A>(*values++);
#pragma GCC unroll 8
        for (int q = 0; q < kVectors; ++q) {
          sums.at[r][q] += w * x[q];
        }
      }
    }
  }
}

template <class A, int kVectors>
void multiply_patterns(const PanelUnit<A>& unit) {
  const PanelStream& stream = unit.stream;
  const A* const panel = unit.panel + unit.block * stream.block_columns * unit.width;
  A* tile = unit.tile;
  for (int64_t g = unit.group_begin; g < unit.group_end; ++g, tile += 4 * Sums<A, 4, kVectors>::kWidth) {
    const int64_t at = unit.block * stream.groups + g;
    const A* values = unit.values + stream.starts[at].values;
    const int32_t* columns = stream.columns + stream.starts[at].columns;
    const uint16_t* counts = stream.counts + at * 15 - 1;
    Sums<A, 4, kVectors> sums;
    sums.begin(unit, g, tile);
    add_pattern<1>(sums, counts[1], values, columns, panel);
    add_pattern<2>(sums, counts[2], values, columns, panel);
    add_pattern<3>(sums, counts[3], values, columns, panel);
    add_pattern<4>(sums, counts[4], values, columns, panel);
    add_pattern<5>(sums, counts[5], values, columns, panel);
    add_pattern<6>(sums, counts[6], values, columns, panel);
    add_pattern<7>(sums, counts[7], values, columns, panel);
    add_pattern<8>(sums, counts[8], values, columns, panel);
    add_pattern<9>(sums, counts[9], values, columns, panel);
    add_pattern<10>(sums, counts[10], values, columns, panel);
    add_pattern<11>(sums, counts[11], values, columns, panel);
    add_pattern<12>(sums, counts[12], values, columns, panel);
    add_pattern<13>(sums, counts[13], values, columns, panel);
    add_pattern<14>(sums, counts[14], values, columns, panel);
    add_pattern<15>(sums, counts[15], values, columns, panel);
    sums.end(unit, tile);
  }
}

template <class A, int kRows, int kVectors>
void multiply_rows_together(const PanelUnit<A>& unit) {
  constexpr int64_t kWidth = Sums<A, kRows, kVectors>::kWidth;
  const PanelStream& stream = unit.stream;
  const A* const panel = unit.panel + unit.block * stream.block_columns * unit.width;
  A* tile = unit.tile;
  for (int64_t g = unit.group_begin; g < unit.group_end; ++g, tile += kRows * kWidth) {
    const int64_t at = unit.block * stream.groups + g;
    const A* values = unit.values + stream.starts[at].values;
    const int32_t* columns = stream.columns + stream.starts[at].columns;
    const uint16_t* counts = stream.counts + at * (kRows + 1);
    Sums<A, kRows, kVectors> sums;
    sums.begin(unit, g, tile);
    for (int i = counts[0]; i > 0; --i, values += kRows, columns += kRows) {
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        sums.add(r, values[r], panel + columns[r]);
      }
    }
    if constexpr (kRows > 1) {
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        for (int i = counts[1 + r]; i > 0; --i) {
          sums.add(r, *values++, panel + *columns++);
        }
      }
    }
    sums.end(unit, tile);
  }
}

template <class A>
void multiply_unit(const PanelUnit<A>& unit) {
  const auto vectors = static_cast<int>(unit.width / kLanes<A>);
  if (unit.stream.patterns) {
    switch (vectors) {
      case 1: return multiply_patterns<A, 1>(unit);
      case 2: return multiply_patterns<A, 2>(unit);
      case 3: return multiply_patterns<A, 3>(unit);
      default: return multiply_patterns<A, 4>(unit);
    }
  }
  switch (vectors) {  // rows as choose_panel_loop gives them: eight sums, or nearly
    case 1: return multiply_rows_together<A, 8, 1>(unit);
    case 2: return multiply_rows_together<A, 4, 2>(unit);
    case 3: return multiply_rows_together<A, 2, 3>(unit);
    case 4: return multiply_rows_together<A, 2, 4>(unit);
    case 5: return multiply_rows_together<A, 1, 5>(unit);
    case 6: return multiply_rows_together<A, 1, 6>(unit);
    case 7: return multiply_rows_together<A, 1, 7>(unit);
    default: return multiply_rows_together<A, 1, 8>(unit);
  }
}

}  // namespace
}  // namespace jouleprune::kernels::csr
