#include "kernels/bsr_int8/tile_form.h"

#include <algorithm>
#include <cstring>

#include "kernels/bsr_int8/weight_words.h"
#include "kernels/caches.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

// Cycles of a tile of weights for each tile of batch rows: loads, of a second-level cache, and the multiplication, which alone takes 16.
// Gathering reads and writes 16 lines besides, for both tiles of a band of 32 at once. (One core of a Xeon with AMX, 768 x 768 and
// 3072 x 768, as the other numbers here.)
constexpr double kCycles = 34, kGatheredCycles = 56, kGatheredCyclesOfTwo = 46;
// Starting and storing the sums of a tile.
constexpr double kSumsCycles = 100;
// Generated code: one multiply-add per kept quad and vector, whose instructions and values come from that cache, too.
constexpr double kCodeCycles = 0.8;
constexpr int64_t kCodeBytes = 12;
// A byte of weights from behind the second-level cache: 30 GB/s. Passes over them are shared by so many batch rows.
constexpr double kFarCycles = 0.13;
constexpr int64_t kTilePass = 256, kCodePass = 128;
// Measured sums of both came out up to this much apart where they were predicted to be equal.
constexpr double kDoubt = 0.9;
// Neighbours of which this many are used are multiplied as they lie; the others among them by zeros.
constexpr int64_t kDenseEnough = 12;

/// The steps of one band: visit(quads of a step, ascending; whether they are neighbours). A gathered step may have less than 16.
class BandSteps {
 public:
  explicit BandSteps(const formats::CsrView& quads) : quads_(quads), used_(static_cast<size_t>(quads.cols), 0) {}

  template <class Visit>
  void for_each(int64_t row_begin, int64_t row_end, const Visit& visit) {
    list_.clear();
    for (int64_t k = quads_.row_offsets[row_begin]; k < quads_.row_offsets[row_end]; ++k) {
      const int32_t quad = quads_.col_indices[k];
      if (used_[static_cast<size_t>(quad)] == 0) {
        used_[static_cast<size_t>(quad)] = 1;
        list_.push_back(quad);
      }
    }
    std::sort(list_.begin(), list_.end());
    for (const int32_t quad : list_) {
      used_[static_cast<size_t>(quad)] = 0;
    }
    split(visit);
  }

 private:
  template <class Visit>
  void split(const Visit& visit) {
    single_.clear();
    for (size_t i = 0; i < list_.size();) {
      const size_t end = static_cast<size_t>(std::lower_bound(list_.begin(), list_.end(), list_[i] + kTileSide) - list_.begin());
      if (static_cast<int64_t>(end - i) >= kDenseEnough) {
        visit(&list_[i], static_cast<int64_t>(end - i), true);
        i = end;
      } else {
        single_.push_back(list_[i++]);
      }
    }
    for (size_t i = 0; i < single_.size(); i += kTileSide) {
      visit(&single_[i], std::min<int64_t>(kTileSide, static_cast<int64_t>(single_.size() - i)), false);
    }
  }

  formats::CsrView quads_;
  std::vector<uint8_t> used_;
  std::vector<int32_t> list_, single_;
};

TileCounts count_bands(const formats::CsrView& quads, int64_t strips) {
  TileCounts counts{strips, (quads.rows + strips * kTileSide - 1) / (strips * kTileSide)};
  BandSteps steps(quads);
  for (int64_t row = 0; row < quads.rows; row += strips * kTileSide) {
    steps.for_each(row, std::min(quads.rows, row + strips * kTileSide),
                   [&](const int32_t*, int64_t, bool neighbours) { ++(neighbours ? counts.direct : counts.gathered); });
  }
  return counts;
}

struct CountsForm : PackedForm {
  TileCounts counts;
  int64_t bytes() const override { return static_cast<int64_t>(sizeof(*this)); }
};

}  // namespace

double TileCounts::cycles() const {
  const double gathering = strips == 2 ? kGatheredCyclesOfTwo : kGatheredCycles;
  const double steps = kCycles * static_cast<double>(direct) + gathering * static_cast<double>(gathered);
  return static_cast<double>(strips) * (steps + kSumsCycles * static_cast<double>(bands));
}

TileCounts count_tiles(const formats::CsrView& quads) {
  const TileCounts one = count_bands(quads, 1), two = count_bands(quads, 2);
  return two.cycles() <= one.cycles() ? two : one;
}

bool tiles_pay(const TileCounts& counts, int64_t kept_quads, int64_t batch_rows, int64_t second_level) {
  const auto vectors = static_cast<double>((batch_rows + kTileSide - 1) / kTileSide);
  const auto streaming = [&](int64_t bytes, int64_t shared) {
    return bytes <= second_level ? 0 : kFarCycles * static_cast<double>(bytes * ((batch_rows + shared - 1) / shared));
  };
  const double by_tiles = std::max(counts.cycles() * vectors, streaming(counts.tiles() * kTileBytes, kTilePass));
  const double by_code =
      std::max(kCodeCycles * static_cast<double>(kept_quads) * vectors, streaming(kept_quads * kCodeBytes, kCodePass));
  return by_tiles < kDoubt * by_code;
}

TileForm::TileForm(const Weight& weight, const TileCounts& counts) : strips_(counts.strips), offsets_{0} {
  const auto& quads = weight.quads;
  values_.reserve(static_cast<size_t>(counts.tiles() * kTileBytes));
  const int64_t strips = strips_, height = strips * kTileSide, bands = (quads.rows + height - 1) / height;
  start_.resize(static_cast<size_t>(bands * height * kTileSide), 0);
  for (int64_t r = 0; const int32_t start : starts_of_sums(weight, true)) {
    std::fill_n(start_.begin() + kTileSide * r++, kTileSide, start);
  }
  BandSteps steps(quads);
  std::vector<int32_t> column_of(static_cast<size_t>(quads.cols), 0);  // of each quad in this band: 16 * step + place in it
  for (int64_t row = 0; row < quads.rows; row += height) {
    const int64_t end = std::min(quads.rows, row + height), first = this->steps();
    steps.for_each(row, end, [&](const int32_t* list, int64_t count, bool neighbours) {
      const auto step = static_cast<int32_t>(this->steps() - first);
      places_.push_back(neighbours ? list[0] : -1 - static_cast<int32_t>(gathered_.size() / kTileSide));
      for (int32_t i = 0; i < count; ++i) {
        column_of[static_cast<size_t>(list[i])] = step * static_cast<int32_t>(kTileSide) + (neighbours ? list[i] - list[0] : i);
      }
      for (int64_t i = 0; !neighbours && i < kTileSide; ++i) {
        gathered_.push_back(list[std::min(i, count - 1)]);  // what is too many meets zeros
      }
    });
    values_.resize(static_cast<size_t>(this->steps() * strips * kTileBytes), 0);
    for (int64_t r = row; r < end; ++r) {
      const int64_t strip = (r - row) / kTileSide, i = (r - row) % kTileSide;
      for (int64_t k = quads.row_offsets[r]; k < quads.row_offsets[r + 1]; ++k) {
        const int64_t column = column_of[static_cast<size_t>(quads.col_indices[k])], step = first + column / kTileSide;
        std::memcpy(values_.data() + ((step * strips + strip) * kTileSide + i) * 64 + column % kTileSide * kQuad,
                    weight.blocks + k * kQuad, kQuad);
      }
    }
    offsets_.push_back(static_cast<int32_t>(this->steps()));
  }
}

int64_t TileForm::bytes() const {
  const size_t words = offsets_.size() + places_.size() + gathered_.size() + start_.size();
  return static_cast<int64_t>(words * 4 + values_.size());
}

TileWeight TileForm::view() const {
  return {strips_, offsets_.data(), places_.data(), gathered_.data(), values_.data(), start_.data()};
}

int64_t TileMultiplier::row_of(int64_t unit) const { return std::min(rows_, unit * kUnitRows); }

void TileMultiplier::multiply(int64_t unit, const int32_t* panel, int64_t width, int32_t* sums) const {
  kernels_.multiply(weight_, unit * unit_bands(), std::min(bands_, (unit + 1) * unit_bands()), panel, width, sums);
}

std::shared_ptr<const TileForm> tile_form(const Weight& weight, PackedForms* forms, int64_t batch_rows, bool always) {
  const auto counts = form_of<CountsForm>(forms, {"bsr_int8_tile_counts", {}, false}, [&] {
                        auto form = std::make_shared<CountsForm>();
                        form->counts = count_tiles(weight.quads);
                        return form;
                      })->counts;
  if (!always && !tiles_pay(counts, weight.quads.nnz, batch_rows, second_level_cache())) {
    return nullptr;
  }
  return form_of<TileForm>(forms, {"bsr_int8_tiles"}, [&] { return std::make_shared<const TileForm>(weight, counts); });
}

}  // namespace jouleprune::kernels::bsr_int8
