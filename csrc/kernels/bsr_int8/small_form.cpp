#include "kernels/bsr_int8/small_form.h"

#include <algorithm>
#include <cstring>

#include "formats/ceil_div.h"
#include "kernels/bsr_int8/quantise.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

constexpr size_t kSpare = 64;  // elements: the loads of a register

uint32_t word_of(const Weight& weight, int64_t k) {
  uint32_t word = 0;
  std::memcpy(&word, weight.blocks + k * kQuad, sizeof(word));
  return word;
}

/// Calls visit(block, counts) for each group of rows and block of kSellQuads quads in which any row keeps one. counts: [16]
template <class Visit>
void each_sell_block(const formats::CsrView& quads, int64_t group, const Visit& visit) {
  const int64_t first = group * kRowGroup, last = std::min(quads.rows, first + kRowGroup);
  int64_t next[kRowGroup] = {};
  for (int64_t r = first; r < last; ++r) {
    next[r - first] = quads.row_offsets[r];
  }
  for (int64_t block = 0; block * kSellQuads < quads.cols; ++block) {
    int64_t counts[kRowGroup] = {}, most = 0;
    for (int64_t r = first; r < last; ++r) {
      int64_t end = next[r - first];
      while (end < quads.row_offsets[r + 1] && quads.col_indices[end] < (block + 1) * kSellQuads) {
        ++end;
      }
      counts[r - first] = end - next[r - first];
      most = std::max(most, counts[r - first]);
    }
    if (most > 0) {
      visit(block, most, next, counts);
    }
    for (int64_t i = 0; i < kRowGroup; ++i) {
      next[i] += counts[i];
    }
  }
}

}  // namespace

SmallCounts count_small(const formats::CsrView& quads) {
  SmallCounts counts{quads.rows, quads.cols, quads.nnz, 0};
  for (int64_t group = 0; group * kRowGroup < quads.rows; ++group) {
    int64_t steps = 0;
    each_sell_block(quads, group, [&](int64_t, int64_t most, const int64_t*, const int64_t*) { steps += most; });
    counts.sell_steps += round_up(steps, kSellUnroll);
  }
  return counts;
}

SmallOrder choose_small_order(const SmallCounts& counts) {
  // 4096 x 4096, one batch row, in cache / from DRAM, us at 50, 70, 80, 90, 95 % zeros:
  //   bitmap 253 / 604, 236 / 446, 234 / 410, 233 / 325, 233 / 311;  sell 333 / 820, 190 / 454, 137 / 425, 75 / 225, 49 / 166;
  //   csr 833 / 1017, 495 / 608, 340 / 410, 181 / 251, 89 / 150.  Work and traffic are added, which weighs both cases.
  constexpr double kGigabytes = 20;                             // a second, of one core from DRAM
  constexpr double kMaskNs = 0.9, kStepNs = 1.3, kQuadNs = 0.45;  // of the loops when everything is in cache
  const auto cost = [&](double steps, double ns, double bytes) { return steps * ns + bytes / kGigabytes; };
  const auto nnz = static_cast<double>(counts.nnz), steps = static_cast<double>(counts.sell_steps);
  const double masks = static_cast<double>(counts.rows * ((counts.quads + kBitmapQuads - 1) / kBitmapQuads));
  const double bitmap = cost(masks, kMaskNs, 4 * nnz + 2 * masks), sell = cost(steps, kStepNs, steps * (16 * 5 + 2));
  const bool columns_fit = counts.quads <= 65'536;  // sell counts blocks of 32 in 16 bits: always enough
  const double csr = columns_fit ? cost(nnz, kQuadNs, 6 * nnz) : sell + 1;
  return bitmap <= sell && bitmap <= csr ? SmallOrder::kBitmap : sell <= csr ? SmallOrder::kSell : SmallOrder::kCsr;
}

SmallForm::SmallForm(const Weight& weight, SmallOrder order)
    : order_(order), rows_(weight.quads.rows), quads_(weight.quads.cols) {
  add_rows(weight);
  if (order_ == SmallOrder::kSell) {
    add_sell_steps(weight);
  } else {
    begins_.assign(weight.quads.row_offsets, weight.quads.row_offsets + rows_ + 1);
  }
  values_.resize(values_.size() + kSpare, 0);
  columns_.resize(columns_.size() + kSpare, 0);
  lanes_.resize(lanes_.size() + kSpare, 0);
  start_.resize(static_cast<size_t>(round_up(rows_, kRowGroup)), 0);
}

/// What rows begin with, and for bitmap and csr their quads.
void SmallForm::add_rows(const Weight& weight) {
  const auto& csr = weight.quads;
  const int64_t masks = (quads_ + kBitmapQuads - 1) / kBitmapQuads;
  if (order_ == SmallOrder::kBitmap) {
    columns_.assign(static_cast<size_t>(rows_ * masks), 0);
  }
  for (int64_t r = 0; r < rows_; ++r) {
    int64_t sum = 0;
    for (int64_t k = csr.row_offsets[r]; k < csr.row_offsets[r + 1]; ++k) {
      for (int64_t i = 0; i < kQuad; ++i) {
        sum += weight.blocks[k * kQuad + i];
      }
      if (order_ == SmallOrder::kBitmap) {
        auto& mask = columns_[static_cast<size_t>(r * masks + csr.col_indices[k] / kBitmapQuads)];
        mask = static_cast<uint16_t>(mask | 1u << csr.col_indices[k] % kBitmapQuads);
      } else if (order_ == SmallOrder::kCsr) {
        columns_.push_back(static_cast<uint16_t>(csr.col_indices[k]));
      }
      if (order_ != SmallOrder::kSell) {
        values_.push_back(word_of(weight, k));
      }
    }
    start_.push_back(start_of_sum(sum));
  }
}

void SmallForm::add_sell_steps(const Weight& weight) {
  const auto& csr = weight.quads;
  begins_.push_back(0);
  for (int64_t group = 0; group * kRowGroup < rows_; ++group) {
    each_sell_block(csr, group, [&](int64_t block, int64_t most, const int64_t* next, const int64_t* counts) {
      for (int64_t step = 0; step < most; ++step) {
        columns_.push_back(static_cast<uint16_t>(block));
        for (int64_t i = 0; i < kRowGroup; ++i) {
          const bool kept = step < counts[i];
          lanes_.push_back(static_cast<uint8_t>(kept ? csr.col_indices[next[i] + step] - block * kSellQuads : 0));
          values_.push_back(kept ? word_of(weight, next[i] + step) : 0);
        }
      }
    });
    columns_.resize(static_cast<size_t>(round_up(static_cast<int64_t>(columns_.size()), kSellUnroll)), 0);
    lanes_.resize(columns_.size() * kRowGroup, 0);
    values_.resize(columns_.size() * kRowGroup, 0);
    begins_.push_back(static_cast<int64_t>(columns_.size()));
  }
}

SmallWeight SmallForm::view() const {
  return {order_, rows_, quads_, values_.data(), begins_.data(), columns_.data(), lanes_.data(), start_.data()};
}

int64_t SmallForm::bytes() const {
  return static_cast<int64_t>(values_.size() * 4 + begins_.size() * 8 + columns_.size() * 2 + lanes_.size() + start_.size() * 4);
}

std::shared_ptr<const SmallForm> small_form(const Weight& weight, PackedForms* forms) {
  return form_of<SmallForm>(forms, {"bsr_int8_small", {}}, [&] {
    return std::make_shared<const SmallForm>(weight, choose_small_order(count_small(weight.quads)));
  });
}

}  // namespace jouleprune::kernels::bsr_int8
