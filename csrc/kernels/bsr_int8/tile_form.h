// A weight in matrix tiles (tile_kernels.h).
#pragma once
#include <memory>
#include <vector>

#include "kernels/bsr_int8/bsr_int8_kernels.h"
#include "kernels/large_pages.h"
#include "kernels/bsr_int8/panel_multiplier.h"
#include "kernels/bsr_int8/tile_kernels.h"

namespace jouleprune::kernels::bsr_int8 {

/// The steps that a structure takes in bands of one height.
struct TileCounts {
  int64_t strips = 1, bands = 0;
  int64_t direct = 0, gathered = 0;  ///< steps whose 16 quads are neighbours, and others

  int64_t tiles() const { return strips * (direct + gathered); }
  /// For one tile of 16 batch rows.
  double cycles() const;
};

/// Bands of 16 or of 32 rows, whichever take less time.
TileCounts count_tiles(const formats::CsrView& quads);

/// Whether tiles are faster than one multiply-add per kept quad and vector of batch rows; `second_level`: bytes of that cache. Pure.
bool tiles_pay(const TileCounts& counts, int64_t kept_quads, int64_t batch_rows, int64_t second_level);

class TileForm : public PackedForm {
 public:
  TileForm(const Weight& weight, const TileCounts& counts);
  int64_t bytes() const override;
  TileWeight view() const;
  int64_t bands() const { return static_cast<int64_t>(offsets_.size()) - 1; }
  int64_t strips() const { return strips_; }
  int64_t steps() const { return static_cast<int64_t>(places_.size()); }

 private:
  int64_t strips_;
  std::vector<int32_t> offsets_, places_, gathered_;
  std::vector<int32_t, LargePages<int32_t>> start_;
  std::vector<int8_t, LargePages<int8_t>> values_;
};

class TileMultiplier final : public PanelMultiplier {
 public:
  TileMultiplier(const Weight& weight, const TileForm& form, const TileKernels& kernels)
      : kernels_(kernels), weight_(form.view()), rows_(weight.quads.rows), quads_(weight.quads.cols), bands_(form.bands()),
        steps_(form.steps()), bytes_(form.bytes()) {}

  /// The panel of 768 inputs is half of a first-level cache: a multiplication takes 5.3 ns; at twice the width, from the second level, 8.
  int64_t widest() const override { return 2 * kTileSide; }
  int64_t quads() const override { return quads_ + kTileSide - 1; }
  int64_t units() const override { return (bands_ + unit_bands() - 1) / unit_bands(); }
  int64_t row_of(int64_t unit) const override;
  int64_t unit_rows() const override { return kUnitRows; }
  int64_t pass_bytes() const override { return bytes_; }
  int64_t vector_work() const override { return steps_ * weight_.strips * kTileSide; }
  void multiply(int64_t unit, const int32_t* panel, int64_t width, int32_t* sums) const override;

 private:
  static constexpr int64_t kUnitRows = 128;  // the registers are configured once for so many: 4 % faster than 64
  int64_t unit_bands() const { return kUnitRows / (weight_.strips * kTileSide); }

  const TileKernels& kernels_;
  TileWeight weight_;
  int64_t rows_, quads_, bands_, steps_, bytes_;
};

/// The form in tiles, kept among the weight's forms, if it is to serve: `always`, or where it pays. Null: it is not.
std::shared_ptr<const TileForm> tile_form(const Weight& weight, PackedForms* forms, int64_t batch_rows, bool always);

}  // namespace jouleprune::kernels::bsr_int8
