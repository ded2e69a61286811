#include "kernels/bsr/strip_form.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <new>
#include <numeric>
#include <vector>

namespace jouleprune::kernels::bsr {
namespace {

/// Blocks in the order of the output: by block row, or by block column where the weight is transposed.
struct BlockOrder {
  std::vector<int32_t> offsets;  // [blocks down + 1]
  std::vector<int32_t> blocks;   // which block comes where
  std::vector<int32_t> inputs;   // its place along the inputs
};

BlockOrder order_of(const formats::BsrView& bsr, Side side) {
  const int64_t down = bsr.down();
  if (side == Side::kForward) {
    BlockOrder order{{bsr.block_row_offsets, bsr.block_row_offsets + down + 1},
                     std::vector<int32_t>(static_cast<size_t>(bsr.blocks)),
                     {bsr.block_columns, bsr.block_columns + bsr.blocks}};
    std::iota(order.blocks.begin(), order.blocks.end(), 0);
    return order;
  }
  const auto blocks = static_cast<size_t>(bsr.blocks);
  BlockOrder order{std::vector<int32_t>(static_cast<size_t>(bsr.across() + 1)), std::vector<int32_t>(blocks),
                   std::vector<int32_t>(blocks)};
  for (int64_t k = 0; k < bsr.blocks; ++k) {
    ++order.offsets[bsr.block_columns[k] + 1];
  }
  std::partial_sum(order.offsets.begin(), order.offsets.end(), order.offsets.begin());
  auto next = order.offsets;
  for (int64_t row = 0; row < down; ++row) {
    for (int64_t k = bsr.block_row_offsets[row]; k < bsr.block_row_offsets[row + 1]; ++k) {
      const int32_t to = next[bsr.block_columns[k]]++;
      order.blocks[to] = static_cast<int32_t>(k);
      order.inputs[to] = static_cast<int32_t>(row);
    }
  }
  return order;
}

/// Tiny weights make each multiplication many times slower; below the least normal number they count as zero.
template <class T>
T flushed_value(T value) {
  using A = Accumulate<T>;
  return std::fabs(widen(value)) < std::numeric_limits<A>::min() ? narrow<T>(A{0}) : value;
}

/// The strips of a structure and what each of their entries is made of.
class Layout {
 public:
  Layout(const formats::BsrView& bsr, Side side, int64_t strip_rows, int64_t step)
      : forward_(side == Side::kForward), outputs_(forward_ ? bsr.rows : bsr.cols), inputs_(forward_ ? bsr.cols : bsr.rows),
        depth_(forward_ ? bsr.c : bsr.r), step_(step), strip_rows_(strip_rows),
        strips_per_block_((forward_ ? bsr.r : bsr.c) / strip_rows), order_(order_of(bsr, side)) {}

  int64_t strips() const { return (outputs_ + strip_rows_ - 1) / strip_rows_; }
  int64_t rows_of(int64_t strip) const { return std::min(strip_rows_, outputs_ - strip * strip_rows_); }

  /// Calls visit(column, block, top, begin, end) for each entry of a strip: rows from `top` on of a block, at the places [begin,
  /// end) across it (more than one in pairs; padding excluded).
  template <class Visit>
  void for_each_entry(int64_t strip, const Visit& visit) const {
    const int64_t block_row = strip / strips_per_block_, top = strip % strips_per_block_ * strip_rows_;
    for (int64_t at = order_.offsets[block_row]; at < order_.offsets[block_row + 1]; ++at) {
      const int64_t first = order_.inputs[at] * depth_, filled = std::min(depth_, inputs_ - first);
      for (int64_t d = 0; d < filled; d += step_) {
        visit(static_cast<int32_t>((first + d) / step_), order_.blocks[at], top, d, std::min(filled, d + step_));
      }
    }
  }

 private:
  bool forward_;
  int64_t outputs_, inputs_, depth_, step_, strip_rows_, strips_per_block_;
  BlockOrder order_;
};

/// Offsets and columns; the values are left out.
template <class T>
std::shared_ptr<StripForm<T>> structure_of(const Layout& layout) {
  auto form = std::make_shared<StripForm<T>>();
  form->strips = layout.strips();
  form->offsets = std::make_unique<int32_t[]>(static_cast<size_t>(form->strips + 1));
  for (int64_t strip = 0; strip < form->strips; ++strip) {
    form->offsets[strip + 1] = form->offsets[strip];
    layout.for_each_entry(strip, [&](auto...) { ++form->offsets[strip + 1]; });
  }
  form->entries = form->offsets[form->strips];
  form->columns = std::make_unique_for_overwrite<int32_t[]>(static_cast<size_t>(form->entries));
  int32_t* to = form->columns.get();
  for (int64_t strip = 0; strip < form->strips; ++strip) {
    layout.for_each_entry(strip, [&](int32_t column, auto...) { *to++ = column; });
  }
  form->held = 4 * (form->entries + form->strips + 1);
  return form;
}

template <class T>
std::shared_ptr<const StripForm<T>> make_form(const formats::BsrView& bsr, const T* blocks, Side side, bool pairs) {
  constexpr int64_t kRows = kStripRows<T>;
  const int64_t step = pairs ? 2 : 1, across = side == Side::kForward ? 1 : bsr.c, down = side == Side::kForward ? bsr.c : 1;
  const Layout layout(bsr, side, kRows, step);
  auto form = structure_of<T>(layout);
  const size_t bytes = static_cast<size_t>(form->entries * kRows * step) * sizeof(T);
  form->values = {static_cast<T*>(std::aligned_alloc(64, (bytes + 64) / 64 * 64)), std::free};
  if (form->values == nullptr) {
    throw std::bad_alloc();
  }
  form->held += static_cast<int64_t>(bytes);
  T* to = form->values.get();
  for (int64_t strip = 0; strip < form->strips; ++strip) {
    const int64_t rows = layout.rows_of(strip);
    layout.for_each_entry(strip, [&](int32_t, int64_t block, int64_t top, int64_t begin, int64_t end) {
      const T* const entry = blocks + block * bsr.r * bsr.c + top * down;
      for (int64_t i = 0; i < kRows; ++i) {
        for (int64_t d = begin; d < begin + step; ++d) {
          const bool padding = i >= rows || d >= end;
          *to++ = padding ? narrow<T>(Accumulate<T>{0}) : flushed_value(entry[i * down + d * across]);
        }
      }
    });
  }
  return form;
}

}  // namespace

template <class T>
std::shared_ptr<const StripForm<T>> strip_form(PackedForms* forms, const formats::BsrView& bsr, const T* blocks, Side side,
                                               bool pairs) {
  const FormName name{"bsr strips", {static_cast<int64_t>(side), pairs, bsr.rows, bsr.cols, bsr.r, bsr.c}, true};
  return form_of<StripForm<T>>(forms, name, [&] { return make_form(bsr, blocks, side, pairs); });
}

template <class T>
std::shared_ptr<const StripForm<T>> strip_structure(const formats::BsrView& bsr) {
  return structure_of<T>(Layout(bsr, Side::kForward, kStripRows<T>, 1));
}

template <class T>
void store_strips(const formats::BsrView& bsr, const Accumulate<T>* sums, T* blocks) {
  const Layout layout(bsr, Side::kForward, kStripRows<T>, 1);
  std::fill_n(blocks, bsr.blocks * bsr.r * bsr.c, narrow<T>(Accumulate<T>{0}));
  for (int64_t strip = 0; strip < layout.strips(); ++strip) {
    layout.for_each_entry(strip, [&](int32_t, int64_t block, int64_t top, int64_t d, int64_t) {
      for (int64_t i = 0; i < layout.rows_of(strip); ++i) {
        blocks[(block * bsr.r + top + i) * bsr.c + d] = narrow<T>(sums[i]);
      }
      sums += kStripRows<T>;
    });
  }
}

#define JOULEPRUNE_INSTANTIATE(T)                                                                                              \
  template std::shared_ptr<const StripForm<T>> strip_form(PackedForms*, const formats::BsrView&, const T*, Side, bool);          \
  template std::shared_ptr<const StripForm<T>> strip_structure(const formats::BsrView&);                                         \
  template void store_strips(const formats::BsrView&, const Accumulate<T>*, T*);
JOULEPRUNE_INSTANTIATE(float)
JOULEPRUNE_INSTANTIATE(double)
JOULEPRUNE_INSTANTIATE(BFloat16)
JOULEPRUNE_INSTANTIATE(Half)
#undef JOULEPRUNE_INSTANTIATE

}  // namespace jouleprune::kernels::bsr
