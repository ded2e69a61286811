#include "kernels/bsr_int8/conv_form.h"

#include <algorithm>
#include <new>
#include <system_error>

#include "kernels/bsr_int8/panel_kernels.h"
#include "kernels/bsr_int8/weight_words.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

int64_t two(int64_t a, int64_t b) { return a << 32 | b; }

/// Of each kept quad its place among all quads of all groups, taps of a quad side by side (they share cache lines): the order of
/// csr::PlaneLayout's columns. Sums of whole numbers have no order that matters.
std::vector<int32_t> quads_by_plane(const formats::CsrView& quads, const csr::ConvShape& s) {
  const int64_t taps = s.taps(), per_tap = quads_of(s.in_channels / s.groups);
  const int64_t rows_per_group = std::max<int64_t>(quads.rows / s.groups, 1);
  std::vector<int32_t> places;
  places.reserve(static_cast<size_t>(quads.nnz));
  for (int64_t row = 0; row < quads.rows; ++row) {
    const int64_t first = row / rows_per_group * per_tap;
    for (int64_t k = quads.row_offsets[row]; k < quads.row_offsets[row + 1]; ++k) {
      const int64_t tap = quads.col_indices[k] / per_tap, quad = quads.col_indices[k] % per_tap;
      places.push_back(static_cast<int32_t>((first + quad) * taps + tap));
    }
  }
  return places;
}

}  // namespace

csr::ConvShape word_shape(csr::ConvShape s, int64_t words) {
  s.in_channels = s.groups * quads_of(s.in_channels / s.groups) * words;
  return s;
}

ConvForm::ConvForm(const Weight& weight, const std::array<int64_t, 2>& key, const Spec& spec)
    : rows_(weight.quads.rows), start_(starts_of_sums(weight, spec.kernels.words == 1)),
      columns_(quads_by_plane(weight.quads, spec.shape)), word_stride_(spec.raster.phases() * spec.raster.plane()) {
  if (spec.code) {
    make_code(weight, key, spec);
  }
  append_words(weight.blocks, weight.quads.nnz, code_ ? code_->value_order().data() : nullptr, spec.kernels.words, values_);
  if (code_) {
    columns_ = {};
    return;
  }
  row_offsets_.assign(weight.quads.row_offsets, weight.quads.row_offsets + rows_ + 1);
  const int64_t taps = spec.shape.taps();
  for (int32_t& column : columns_) {  // the first of a quad's words
    column = spec.raster.layout().columns[static_cast<size_t>(column / taps * taps * spec.kernels.words + column % taps)];
  }
}

void ConvForm::make_code(const Weight& weight, const std::array<int64_t, 2>& key, const Spec& spec) {
  constexpr int64_t kInt8Conv = 0x636f6e76;  // tells this code from those of other kernels with the same structure
  const csr::ConvShape& s = spec.shape;
  const std::vector<int32_t>& places = spec.raster.layout().columns;
  const auto cols = static_cast<int64_t>(places.size());
  const jit::CodeName name{key,
                           {kInt8Conv, rows_, weight.quads.cols, weight.quads.nnz, s.groups, spec.raster.plane(),
                            spec.raster.layout().pitch, two(s.kernel_h, s.kernel_w), two(s.stride_h, s.stride_w),
                            two(s.dilation_h, s.dilation_w), spec.tile_width}};
  try {
    code_ = jit::shared_code(name, [&] {
      const formats::CsrView by_plane{rows_, cols, weight.quads.nnz, columns_.data(), weight.quads.row_offsets};
      jit::PatternSpec made{by_plane, 0, rows_, {}, 0, spec.tile_width * 4, Isa::kAvx512, jit::MultiplyAdd::kInt8Quads};
      for (const int32_t place : places) {
        made.column_bytes.push_back(int64_t{place} * 4);
      }
      return made;
    });
  } catch (const std::system_error&) {  // no executable pages, or no memory for them: the table's kernel serves
  } catch (const std::bad_alloc&) {
  }
}

int64_t ConvForm::bytes() const {
  const size_t words = values_.size() + start_.size() + columns_.size() + row_offsets_.size();
  return static_cast<int64_t>(words * 4) + (code_ ? code_->bytes() : 0);
}

int64_t ConvForm::groups() const { return code_ ? code_->groups() : (rows_ + kUnitRows - 1) / kUnitRows; }

int64_t ConvForm::row_begin(int64_t group) const {
  if (!code_) {
    return std::min(rows_, group * kUnitRows);
  }
  return group < code_->groups() ? code_->block(group, 0).row_begin : rows_;
}

void ConvForm::run(const ConvKernels& kernels, int64_t group, const int32_t* x, int64_t vectors, int32_t* tile,
                   int64_t width) const {
  if (!code_) {
    const RasterWeight weight{row_offsets_.data(), columns_.data(), values_.data(), start_.data(), word_stride_};
    return kernels.multiply(weight, row_begin(group), row_begin(group + 1), x, vectors, tile, width);
  }
  const auto* start = reinterpret_cast<const uint32_t*>(start_.data() + row_begin(group));
  const auto& block = code_->block(group, 0);
  for (int64_t v = 0; v < vectors; ++v) {
    block.run(x + v * kernels.lanes, values_.data(), tile + v * kernels.lanes, start);
  }
}

std::shared_ptr<const ConvForm> conv_form(const Weight& weight, PackedForms* forms, Isa isa, const ConvForm::Spec& spec) {
  const csr::ConvShape& s = spec.shape;
  const FormName name{"bsr_int8_conv2d",
                      {static_cast<int64_t>(isa) * 2 + spec.code, s.groups, spec.raster.plane(), spec.raster.layout().pitch,
                       two(s.kernel_h, s.kernel_w), two(s.stride_h, s.stride_w), two(s.dilation_h, s.dilation_w),
                       spec.tile_width}};
  return form_of<ConvForm>(forms, name, [&] {
    const auto key = forms != nullptr ? forms->structure_key() : formats::csr_key(weight.quads);
    return std::make_shared<const ConvForm>(weight, key, spec);
  });
}

}  // namespace jouleprune::kernels::bsr_int8
