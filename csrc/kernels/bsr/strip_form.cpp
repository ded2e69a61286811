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
  BlockOrder order{std::vector<int32_t>(static_cast<size_t>(bsr.across() + 1)), std::vector<int32_t>(static_cast<size_t>(bsr.blocks)),
                   std::vector<int32_t>(static_cast<size_t>(bsr.blocks))};
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
T flushed(T value) {
  using A = Accumulate<T>;
  return std::fabs(widen(value)) < std::numeric_limits<A>::min() ? narrow<T>(A{0}) : value;
}

template <class T>
std::shared_ptr<const StripForm<T>> make_form(const formats::BsrView& bsr, const T* blocks, Side side, bool pairs) {
  constexpr int64_t kRows = kStripRows<T>;
  const bool forward = side == Side::kForward;
  const int64_t outputs = forward ? bsr.rows : bsr.cols, inputs = forward ? bsr.cols : bsr.rows;
  const int64_t height = forward ? bsr.r : bsr.c, depth = forward ? bsr.c : bsr.r, step = pairs ? 2 : 1;
  const auto order = order_of(bsr, side);
  const int64_t strips = (outputs + kRows - 1) / kRows, strips_per_block = height / kRows;

  auto form = std::make_shared<StripForm<T>>();
  form->strips = strips;
  form->offsets = std::make_unique<int32_t[]>(static_cast<size_t>(strips + 1));
  const auto depth_at = [&](int64_t at) { return std::min(depth, inputs - order.inputs[at] * depth); };  // without padding
  const auto for_each_block = [&](int64_t strip, const auto& visit) {
    const int64_t block_row = strip / strips_per_block;
    for (int64_t at = order.offsets[block_row]; at < order.offsets[block_row + 1]; ++at) {
      visit(at);
    }
  };
  for (int64_t strip = 0; strip < strips; ++strip) {
    int64_t count = 0;
    for_each_block(strip, [&](int64_t at) { count += (depth_at(at) + step - 1) / step; });
    form->offsets[strip + 1] = static_cast<int32_t>(form->offsets[strip] + count);
  }
  form->entries = form->offsets[strips];
  form->columns = std::make_unique_for_overwrite<int32_t[]>(static_cast<size_t>(form->entries));
  const size_t bytes = static_cast<size_t>(form->entries * kRows * step) * sizeof(T);
  form->values = {static_cast<T*>(std::aligned_alloc(64, (bytes + 64) / 64 * 64)), std::free};
  if (form->values == nullptr) {
    throw std::bad_alloc();
  }
  form->held = static_cast<int64_t>(bytes) + 4 * (form->entries + strips + 1);

  T* to = form->values.get();
  int32_t* column = form->columns.get();
  for (int64_t strip = 0; strip < strips; ++strip) {
    const int64_t top = strip % strips_per_block * kRows, rows = outputs - strip * kRows;  // top: within the block
    for_each_block(strip, [&](int64_t at) {
      const T* const block = blocks + order.blocks[at] * bsr.r * bsr.c;
      const int64_t filled = depth_at(at);
      for (int64_t d = 0; d < filled; d += step) {
        *column++ = static_cast<int32_t>((order.inputs[at] * depth + d) / step);
        for (int64_t i = 0; i < kRows; ++i) {
          for (int64_t e = d; e < d + step; ++e) {
            const bool padding = i >= rows || e >= filled;
            *to++ = padding ? narrow<T>(Accumulate<T>{0}) : flushed(forward ? block[(top + i) * bsr.c + e] : block[e * bsr.c + top + i]);
          }
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

#define JOULEPRUNE_INSTANTIATE(T)                                                                                              \
  template std::shared_ptr<const StripForm<T>> strip_form(PackedForms*, const formats::BsrView&, const T*, Side, bool);
JOULEPRUNE_INSTANTIATE(float)
JOULEPRUNE_INSTANTIATE(double)
JOULEPRUNE_INSTANTIATE(BFloat16)
JOULEPRUNE_INSTANTIATE(Half)
#undef JOULEPRUNE_INSTANTIATE

}  // namespace jouleprune::kernels::bsr
