// A convolution's weight in the words of a table of kernels, with the places on a raster that it multiplies; with generated code
// where that exists.
#pragma once
#include <memory>
#include <vector>

#include "kernels/bsr_int8/bsr_int8_kernels.h"
#include "kernels/bsr_int8/conv_kernels.h"
#include "kernels/csr/raster.h"
#include "kernels/jit/pattern_code.h"

namespace jouleprune::kernels::bsr_int8 {

/// The raster's shape: the convolution's, with words of quads for channels.
csr::ConvShape word_shape(csr::ConvShape shape, int64_t words);

class ConvForm : public PackedForm {
 public:
  struct Spec {
    const csr::ConvShape& shape;    ///< of the convolution
    const csr::Raster& raster;      ///< of its word_shape()
    const ConvKernels& kernels;
    int64_t tile_width;             ///< words from one row of a tile to the next
    bool code;                      ///< make it if the system lets us
  };
  /// key: of the structure, for sharing the code among weights.
  ConvForm(const Weight& weight, const std::array<int64_t, 2>& key, const Spec& spec);

  int64_t bytes() const override;

  /// Rows come in groups that are multiplied at once; row_begin(groups()): all rows.
  int64_t groups() const;
  int64_t row_begin(int64_t group) const;
  /// Sums of the group's rows into the tile, for `vectors` vectors of pixels from x on.
  void run(const ConvKernels& kernels, int64_t group, const int32_t* x, int64_t vectors, int32_t* tile, int64_t width) const;

 private:
  void make_code(const Weight& weight, const std::array<int64_t, 2>& key, const Spec& spec);

  int64_t rows_;
  std::vector<uint32_t> values_;
  std::vector<int32_t> start_, columns_, row_offsets_;
  int64_t word_stride_;
  std::shared_ptr<const jit::PatternCode> code_;
};

/// The form for this raster, kept among the weight's forms.
std::shared_ptr<const ConvForm> conv_form(const Weight& weight, PackedForms* forms, Isa isa, const ConvForm::Spec& spec);

}  // namespace jouleprune::kernels::bsr_int8
