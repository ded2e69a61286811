#include "kernels/bsr/linear_tiles.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "kernels/csr/panels.h"
#include "kernels/csr/scratch.h"
#include "kernels/denormals.h"
#include "kernels/large_pages.h"

namespace jouleprune::kernels::bsr {
namespace {

using csr::Scratch;

struct TileForm : PackedForm {
  int64_t strips = 1, bands = 0;
  std::vector<int32_t> offsets, columns;
  std::vector<BFloat16, LargePages<BFloat16>> values;  // tiles on whole cache lines

  int64_t bytes() const override {
    return static_cast<int64_t>(values.size() * sizeof(BFloat16) + (offsets.size() + columns.size()) * sizeof(int32_t));
  }
};

/// One tile of a block, whose row `top` and column `left` lie at [row, column] of the weight; what is padding becomes 0.
void pack_tile(const formats::BsrView& bsr, const BFloat16* block, int64_t top, int64_t left, int64_t row, int64_t column,
               BFloat16* to) {
  for (int64_t k = 0; k < kTileInputs; ++k) {
    for (int64_t i = 0; i < kTileRows; ++i) {
      const bool padding = row + i >= bsr.rows || column + k >= bsr.cols;
      to[(k / 2 * kTileRows + i) * 2 + k % 2] = padding ? BFloat16{0} : narrow<BFloat16>(flushed(widen(block[(top + i) * bsr.c + left + k])));
    }
  }
}

std::shared_ptr<const TileForm> make_form(const formats::BsrView& bsr, const BFloat16* blocks) {
  auto form = std::make_shared<TileForm>();
  form->strips = bsr.r % (2 * kTileRows) == 0 ? 2 : 1;
  const int64_t height = form->strips * kTileRows, across = bsr.c / kTileInputs;
  form->bands = (bsr.rows + height - 1) / height;
  form->offsets.push_back(0);
  for (int64_t band = 0; band < form->bands; ++band) {
    const int64_t row = band * height, block_row = row / bsr.r, top = row % bsr.r;
    for (int64_t at = bsr.block_row_offsets[block_row]; at < bsr.block_row_offsets[block_row + 1]; ++at) {
      for (int64_t tile = 0; tile < across; ++tile) {
        const int64_t column = bsr.block_columns[at] * bsr.c + tile * kTileInputs;
        if (column >= bsr.cols) {
          break;
        }
        form->columns.push_back(static_cast<int32_t>(column / kTileInputs));
        for (int64_t strip = 0; strip < form->strips; ++strip) {
          form->values.resize(form->values.size() + kTileValues);
          pack_tile(bsr, blocks + at * bsr.r * bsr.c, top + strip * kTileRows, tile * kTileInputs, row + strip * kTileRows, column,
                    form->values.data() + form->values.size() - kTileValues);
        }
      }
    }
    form->offsets.push_back(static_cast<int32_t>(form->columns.size()));
  }
  return form;
}

/// Batch rows as tiles may read them: up to whole tiles of rows and inputs. Those of the call where they are that already.
class TileInput {
 public:
  TileInput(const LinearParams<BFloat16>& p, int64_t batch_rows)
      : p_(p), cols_((p.bsr.cols + kTileInputs - 1) / kTileInputs * kTileInputs), copy_(batch_rows * cols_) {}

  struct Rows {
    const BFloat16* data;
    int64_t stride;
  };
  Rows rows(int64_t first, int64_t count) {
    const BFloat16* const from = p_.input + first * p_.input_stride;
    if (count % kTileRows == 0 && cols_ == p_.bsr.cols) {
      return {from, p_.input_stride};
    }
    const int64_t whole = (count + kTileRows - 1) / kTileRows * kTileRows;
    for (int64_t j = 0; j < whole; ++j) {
      BFloat16* const to = copy_.data() + j * cols_;
      const int64_t filled = j < count ? p_.bsr.cols : 0;
      std::copy_n(from + j * p_.input_stride, filled, to);
      std::fill_n(to + filled, cols_ - filled, BFloat16{0});
    }
    return {copy_.data(), cols_};
  }

 private:
  const LinearParams<BFloat16>& p_;
  int64_t cols_;
  Scratch<BFloat16> copy_;
};

}  // namespace

void linear_tiles(const LinearParams<BFloat16>& p, const TileKernels& kernels, const ParallelFor& parallel) {
  if (p.bsr.rows == 0 || p.n == 0) {
    return;
  }
  const FormName name{"bsr tiles", {p.bsr.rows, p.bsr.cols, p.bsr.r, p.bsr.c}, true};
  const auto form = form_of<TileForm>(p.forms, name, [&] { return make_form(p.bsr, p.blocks); });
  Scratch<float> start(form->bands * form->strips * kTileRows);
  std::fill_n(start.data(), form->bands * form->strips * kTileRows, 0.0f);
  if (p.bias != nullptr) {
    std::transform(p.bias, p.bias + p.bsr.rows, start.data(), [](BFloat16 x) { return widen(x); });
  }
  const TileBands bands{p.bsr.rows,           form->strips, form->offsets.data(), form->columns.data(), form->values.data(),
                        start.data(), p.activation};
  // Batch rows outside: a group of them stays in L1 or L2 while the weight streams by.
  constexpr int64_t kEntryWork = 16;  // starting and storing sums costs about as much as this many entries
  const int64_t group = batch_rows_of(form->strips), groups = (p.n + group - 1) / group;
  const auto entries = static_cast<int64_t>(form->columns.size());
  const int64_t work = (entries + kEntryWork * form->bands) * form->strips * kTileValues * std::min(p.n, group);
  const int64_t chunks = std::clamp<int64_t>(work / 1'000'000, 1, form->bands);
  const auto bounds = csr::balanced_rows(form->offsets.data(), 0, form->bands, chunks);
  parallel(0, groups * chunks, csr::grain_of(work / chunks / 16), [&](int64_t begin, int64_t end) {
    const FlushDenormals flush;
    TileInput input(p, std::min(group, (p.n + kTileRows - 1) / kTileRows * kTileRows));
    for (int64_t unit = begin; unit < end;) {
      const int64_t at = unit / chunks, last = std::min(end, (at + 1) * chunks), first = at * group;
      const int64_t count = std::min(group, p.n - first);
      const auto rows = input.rows(first, count);
      kernels.multiply(bands, rows.data, rows.stride, count, bounds[unit - at * chunks], bounds[last - at * chunks],
                       p.output + first * p.bsr.rows);
      unit = last;
    }
  });
}

}  // namespace jouleprune::kernels::bsr
