#include "kernels/csr/panel_order.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "formats/ceil_div.h"

namespace jouleprune::kernels::csr {
namespace {

constexpr int64_t kPatternRows = 4;
constexpr int64_t kMaxColumnBlock = 1 << 15;  // counts have 16 bits

}  // namespace

// Whole linear layer, batch-major, over torch's dense float32 on one core of an AMD Zen 4; rows "1" and "2" are rows side by side:
//   kept share                        0.5    0.3    0.2    0.1    0.05
//   768 x 768, 192 columns:
//   4 zmm, patterns, block 96 / 128   1.95 / 2.02   2.93 / 3.01   3.33 / 3.77   4.88 / 5.66   7.4 / 7.9
//   4 zmm, patterns, block 192        2.01   2.92   3.73   5.81   8.75
//   4 zmm, 2 rows, block 128 / 256    1.50 / 1.20   2.47 / 2.04   3.36 / 3.08   5.39 / 5.43   7.97 / 8.53
//   8 ymm, 1 row, block 96 / 192      1.57 / 1.20   -             3.29 / 3.14   5.02 / 5.33   6.98 / 8.08
//   3 ymm, patterns, block 192        1.60   -      2.94   5.07   7.56
//   768 x 768, 16 columns:
//   1 zmm, patterns, block 256        1.94   2.32   2.73   5.45   8.4
//   1 zmm, 8 rows, block 384          1.38   2.14   2.98   5.50   9.05
//   2 ymm, patterns, block 256        1.77   2.03   2.56   4.10   8.9
//   2 ymm, 4 rows, block 384          1.47   2.13   2.92   4.87   9.0
// At 0.05 the two kinds tie on 768 x 768; on 3072 x 768 and 768 x 3072 rows win by 4 %.
PanelChoice choose_panel_loop(double density, int64_t vectors, int64_t lanes, int64_t element_bytes, Isa isa) {
  // 4 x 4 sums and four activations fit 32 registers; with 16, wider panels and single rows are as good from three vectors on.
  const bool avx512 = isa == Isa::kAvx512;
  const double patterns_from = avx512 && vectors > 1 ? 0.075 : avx512 ? 0.25 : isa == Isa::kAvx2 && vectors <= 2 ? 0.4 : 2;
  if (density >= patterns_from) {
    // Fifteen short loops per group and block: few columns for each mean many mispredicted ends.
    return {true, kPatternRows, vectors <= 2 ? 256 : density >= 0.25 ? 128 : 192, vectors * lanes};
  }
  // Eight independent sums hide the latency of the multiply-add.
  const auto rows = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(std::max<int64_t>(1, 8 / vectors))));
  // Three quarters of the L1 cache; but a row should keep sixteen columns of a block: its sums are read and written once per block.
  constexpr int64_t kBlockBytes = 24 << 10;
  constexpr double kKeptPerBlock = 16;
  const double enough = density > 0 ? std::min<double>(kKeptPerBlock / density, kMaxColumnBlock) : 1;
  return {false, rows, std::max(kBlockBytes / (vectors * lanes * element_bytes), static_cast<int64_t>(enough)), vectors * lanes};
}

PanelOrder::PanelOrder(const formats::CsrView& csr, int64_t row_begin, int64_t row_end, const PanelChoice& choice,
                       const int32_t* positions)
    : choice_(choice), rows_(row_end - row_begin), groups_(ceil_div(rows_, choice.rows)) {
  blocks_ = std::max<int64_t>(1, ceil_div(csr.cols, std::min(choice.column_block, kMaxColumnBlock)));
  block_columns_ = ceil_div(csr.cols, blocks_);  // blocks of about equal size
  const auto nnz = static_cast<size_t>(csr.row_offsets[row_end] - csr.row_offsets[row_begin]);
  value_order_.reserve(nnz);
  columns_.reserve(nnz);
  counts_.reserve(static_cast<size_t>(blocks_ * groups_ * (choice.patterns ? 15 : choice.rows + 1)));
  starts_.reserve(static_cast<size_t>(blocks_ * groups_));
  // Where each row stands, and where its part of the block ends; rows that fill up the last group keep nothing.
  std::vector<int32_t> at(csr.row_offsets + row_begin, csr.row_offsets + row_end);
  at.resize(static_cast<size_t>(groups_ * choice.rows), csr.row_offsets[row_end]);
  std::vector<int32_t> from(static_cast<size_t>(choice.rows)), to(from);
  for (int64_t block = 0; block < blocks_; ++block) {
    const auto last = static_cast<int32_t>(std::min(csr.cols, (block + 1) * block_columns_));
    for (int64_t group = 0; group < groups_; ++group) {
      for (int64_t q = 0; q < choice.rows; ++q) {
        const int64_t row = group * choice.rows + q;
        int32_t end = at[row];
        while (row < rows_ && end < csr.row_offsets[row_begin + row + 1] && csr.col_indices[end] < last) {
          ++end;
        }
        from[q] = at[row];
        to[q] = at[row] = end;
      }
      starts_.push_back({static_cast<uint32_t>(value_order_.size()), static_cast<uint32_t>(columns_.size())});
      choice.patterns ? add_patterns(csr, from, to, block * block_columns_) : add_rows(csr, from, to, block * block_columns_);
    }
  }
  columns_.shrink_to_fit();
  if (positions != nullptr) {
    for (int32_t& position : value_order_) {
      position = positions[position];
    }
  }
}

void PanelOrder::add_patterns(const formats::CsrView& csr, const Positions& from, const Positions& to, int64_t first_column) {
  struct Column {
    int32_t col;
    std::array<int32_t, kPatternRows> values;
  };
  std::array<std::vector<Column>, 16> by_pattern;
  auto at = from;
  for (;;) {  // merge the four ascending rows
    int32_t col = std::numeric_limits<int32_t>::max();
    for (int64_t q = 0; q < kPatternRows; ++q) {
      col = at[q] < to[q] ? std::min(col, csr.col_indices[at[q]]) : col;
    }
    if (col == std::numeric_limits<int32_t>::max()) {
      break;
    }
    Column column{col, {}};
    size_t pattern = 0, count = 0;
    for (int64_t q = 0; q < kPatternRows; ++q) {
      if (at[q] < to[q] && csr.col_indices[at[q]] == col) {
        pattern |= size_t{1} << q;
        column.values[count++] = at[q]++;
      }
    }
    by_pattern[pattern].push_back(column);
  }
  for (size_t pattern = 1; pattern < 16; ++pattern) {
    counts_.push_back(static_cast<uint16_t>(by_pattern[pattern].size()));
    for (const Column& column : by_pattern[pattern]) {
      columns_.push_back(place(column.col - first_column));
      value_order_.insert(value_order_.end(), column.values.begin(), column.values.begin() + std::popcount(pattern));
    }
  }
}

void PanelOrder::add_rows(const formats::CsrView& csr, const Positions& from, const Positions& to, int64_t first_column) {
  int32_t shared = to[0] - from[0];
  for (size_t q = 1; q < from.size(); ++q) {
    shared = std::min(shared, to[q] - from[q]);
  }
  const auto add = [&](int32_t k) {
    columns_.push_back(place(csr.col_indices[k] - first_column));
    value_order_.push_back(k);
  };
  counts_.push_back(static_cast<uint16_t>(shared));
  for (int32_t i = 0; i < shared; ++i) {
    for (const int32_t first : from) {
      add(first + i);
    }
  }
  for (size_t q = 0; q < from.size(); ++q) {
    counts_.push_back(static_cast<uint16_t>(to[q] - from[q] - shared));
    for (int32_t k = from[q] + shared; k < to[q]; ++k) {
      add(k);
    }
  }
}

int64_t PanelOrder::bytes() const {
  return static_cast<int64_t>((columns_.capacity() + value_order_.capacity()) * sizeof(int32_t) +
                              counts_.capacity() * sizeof(uint16_t) + starts_.capacity() * sizeof(PanelStart));
}

template <class T>
OrderedWeight<T>::OrderedWeight(const PanelWeight<T>& weight, int64_t row_begin, int64_t row_end, const PanelChoice& choice) {
  FormName name{"csr panel order",
                {choice.patterns, choice.rows, choice.column_block, choice.width, row_begin, row_end,
                 weight.positions != nullptr},
                /*of_values=*/false};
  order = form_of<PanelOrder>(weight.forms, name, [&] {
    return std::make_shared<const PanelOrder>(weight.csr, row_begin, row_end, choice, weight.positions);
  });
  name.kernel = "csr panel values";
  name.of_values = true;
  values = packed_values(weight.forms, name, weight.values, order->value_order());
}

template struct OrderedWeight<float>;
template struct OrderedWeight<double>;
template struct OrderedWeight<BFloat16>;
template struct OrderedWeight<Half>;

}  // namespace jouleprune::kernels::csr
