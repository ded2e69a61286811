#include "kernels/bsr/linear_gathered.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "kernels/caches.h"
#include "kernels/csr/panels.h"
#include "kernels/csr/scratch.h"
#include "kernels/denormals.h"
#include "kernels/large_pages.h"

namespace jouleprune::kernels::bsr {
namespace {

using csr::Scratch;

struct GatheredForm : PackedForm {
  int64_t strips = 1, bands = 0;
  std::vector<int32_t> offsets, columns;
  std::vector<BFloat16, LargePages<BFloat16>> values;  // tiles on whole cache lines

  int64_t steps() const { return static_cast<int64_t>(columns.size()) / kTileInputs; }
  int64_t bytes() const override {
    return static_cast<int64_t>(values.size() * sizeof(BFloat16) + (offsets.size() + columns.size()) * sizeof(int32_t));
  }
};

/// The values of one band: rows from `row` on, which begin at `top` of their blocks, into `to`, [steps, strips, 16, 32] of zeros.
void fill_band(const formats::BsrView& bsr, const BFloat16* blocks, int64_t row, int64_t strips, BFloat16* to) {
  const int64_t block_row = row / bsr.r, top = row % bsr.r, rows = std::min(strips * kTileRows, bsr.rows - row);
  int64_t k = 0;
  for (int64_t at = bsr.block_row_offsets[block_row]; at < bsr.block_row_offsets[block_row + 1]; ++at) {
    const int64_t filled = std::min(bsr.c, bsr.cols - bsr.block_columns[at] * bsr.c);
    for (int64_t d = 0; d < filled; ++d, ++k) {
      for (int64_t i = 0; i < rows; ++i) {
        to[((k / kTileInputs * strips + i / kTileRows) * kTileRows + i % kTileRows) * kTileInputs + k % kTileInputs] =
            narrow<BFloat16>(flushed(widen(blocks[(at * bsr.r + top + i) * bsr.c + d])));
      }
    }
  }
}

std::shared_ptr<const GatheredForm> make_form(const formats::BsrView& bsr, const BFloat16* blocks) {
  auto form = std::make_shared<GatheredForm>();
  form->strips = bsr.r % (2 * kTileRows) == 0 ? 2 : 1;
  const int64_t height = form->strips * kTileRows;
  form->bands = (bsr.rows + height - 1) / height;
  form->offsets.push_back(0);
  for (int64_t band = 0; band < form->bands; ++band) {
    const int64_t block_row = band * height / bsr.r;
    for (int64_t at = bsr.block_row_offsets[block_row]; at < bsr.block_row_offsets[block_row + 1]; ++at) {
      const int64_t first = bsr.block_columns[at] * bsr.c, end = std::min(bsr.cols, first + bsr.c);
      for (int64_t column = first; column < end; ++column) {
        form->columns.push_back(static_cast<int32_t>(column));
      }
    }
    while (form->columns.size() % kTileInputs != 0) {
      form->columns.push_back(static_cast<int32_t>(zero_column(bsr.cols)));
    }
    form->offsets.push_back(static_cast<int32_t>(form->steps()));
  }
  form->values.assign(static_cast<size_t>(form->steps() * form->strips * kTileValues), BFloat16{0});
  for (int64_t band = 0; band < form->bands; ++band) {
    fill_band(bsr, blocks, band * height, form->strips, form->values.data() + form->offsets[band] * form->strips * kTileValues);
  }
  return form;
}

/// Panels that the weight passes by once for: one where it stays in the second-level cache, else as many as fill a quarter of that.
int64_t panels_at_once(int64_t weight_bytes, int64_t panel_bytes) {
  constexpr int64_t kMost = 8;
  const int64_t cache = second_level_cache();
  return weight_bytes <= cache / 2 ? 1 : std::clamp<int64_t>(cache / 4 / panel_bytes, 1, kMost);
}

/// One product: what a thread needs to work on a part of it.
struct Call {
  const LinearParams<BFloat16>& p;
  const GatheredKernels& kernels;
  GatheredBands bands;

  int64_t panel_elements() const { return panel_columns(p.bsr.cols) * kPanelRows; }

  /// Bands [begin, end) of the batch rows [first, last).
  void run(int64_t first, int64_t last, int64_t begin, int64_t end, BFloat16* panels) const {
    const auto count = [&](int64_t row) { return std::min(kPanelRows, last - row); };
    const auto panel = [&](int64_t row) { return panels + (row - first) / kPanelRows * panel_elements(); };
    for (int64_t row = first; row < last; row += kPanelRows) {
      kernels.pack(p.input + row * p.input_stride, p.input_stride, count(row), p.bsr.cols, panel(row));
    }
    // Bands that stay in a first-level cache for the next panel.
    const int64_t together = last - first <= kPanelRows ? end - begin : 4 / bands.strips;
    for (int64_t band = begin; band < end; band += together) {
      for (int64_t row = first; row < last; row += kPanelRows) {
        kernels.multiply(bands, panel(row), count(row), band, std::min(end, band + together), p.output + row * p.bsr.rows);
      }
    }
  }
};

}  // namespace

void linear_gathered(const LinearParams<BFloat16>& p, const GatheredKernels& kernels, const ParallelFor& parallel) {
  if (p.bsr.rows == 0 || p.n == 0) {
    return;
  }
  const FormName name{"bsr gathered tiles", {p.bsr.rows, p.bsr.cols, p.bsr.r, p.bsr.c}, true};
  const auto form = form_of<GatheredForm>(p.forms, name, [&] { return make_form(p.bsr, p.blocks); });
  Scratch<float> start(form->bands * form->strips * kTileRows);
  std::fill_n(start.data(), form->bands * form->strips * kTileRows, 0.0f);
  if (p.bias != nullptr) {
    std::transform(p.bias, p.bias + p.bsr.rows, start.data(), [](BFloat16 x) { return widen(x); });
  }
  const Call call{p, kernels, {p.bsr.rows, form->strips, form->offsets.data(), form->columns.data(), form->values.data(), start.data(),
                               p.activation}};
  const int64_t at_once = panels_at_once(form->bytes(), call.panel_elements() * static_cast<int64_t>(sizeof(BFloat16)));
  const int64_t group = at_once * kPanelRows, groups = (p.n + group - 1) / group;
  constexpr int64_t kBandWork = 16;  // starting and storing sums costs about as much as this many steps
  const int64_t work = (form->steps() + kBandWork * form->bands) * form->strips * kTileValues * std::min(p.n, group);
  const int64_t chunks = std::clamp<int64_t>(work / 1'000'000, 1, form->bands);
  const auto bounds = csr::balanced_rows(form->offsets.data(), 0, form->bands, chunks);
  // Units are chunks of groups; where a thread's share begins or ends within a group, two threads pack it.
  parallel(0, groups * chunks, csr::grain_of(work / chunks / 16), [&](int64_t begin, int64_t end) {
    const FlushDenormals flush;
    Scratch<BFloat16> panels(at_once * call.panel_elements());
    for (int64_t unit = begin; unit < end;) {
      const int64_t at = unit / chunks, last = std::min(end, (at + 1) * chunks);
      call.run(at * group, std::min(p.n, (at + 1) * group), bounds[unit - at * chunks], bounds[last - at * chunks], panels.data());
      unit = last;
    }
  });
}

}  // namespace jouleprune::kernels::bsr
