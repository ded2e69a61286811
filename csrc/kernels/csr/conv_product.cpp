#include "kernels/csr/conv_product.h"

#include <algorithm>
#include <new>
#include <system_error>
#include <type_traits>
#include <vector>

#include "formats/ceil_div.h"
#include "kernels/csr/code_form.h"
#include "kernels/denormals.h"
#include "kernels/jit/pattern_code.h"

namespace jouleprune::kernels::csr {
namespace {

/// Columns of all groups of a convolution side by side: the weight as one matrix with blocks along its diagonal.
std::vector<int32_t> diagonal_columns(const formats::CsrView& csr, int64_t groups) {
  std::vector<int32_t> out(csr.col_indices, csr.col_indices + csr.nnz);
  const int64_t rows_per_group = std::max<int64_t>(csr.rows / groups, 1);
  for (int64_t row = 0; row < csr.rows && groups > 1; ++row) {
    for (int64_t k = csr.row_offsets[row]; k < csr.row_offsets[row + 1]; ++k) {
      out[k] += static_cast<int32_t>(row / rows_per_group * csr.cols);
    }
  }
  return out;
}

class CodeProduct : public ConvProduct<float> {
 public:
  template <class T>
  CodeProduct(const formats::CsrView& csr, const T* values, const ProductSpec& spec, PackedForms* forms, const FormName& name)
      : rows_(csr.rows), lanes_(jit::lanes_of(spec.isa)) {
    std::vector<int32_t> diagonal;
    const auto pattern = [&] {
      diagonal = diagonal_columns(csr, spec.groups);
      jit::PatternSpec out;
      out.csr = csr;
      out.csr.cols = csr.cols * spec.groups;
      out.csr.col_indices = diagonal.data();
      out.row_end = csr.rows;
      out.column_bytes.assign(spec.columns.begin(), spec.columns.end());
      std::for_each(out.column_bytes.begin(), out.column_bytes.end(), [](int64_t& at) { at *= sizeof(float); });
      out.column_block = spec.column_block;
      out.output_row_bytes = spec.tile_width * static_cast<int64_t>(sizeof(float));
      out.isa = spec.isa;
      return out;
    };
    code_ = code_of_structure(forms, "convolution code", name.details, pattern);
    const auto& order = code_->value_order();
    values_.reserve(order.size());
    for (const int32_t at : order) {
      values_.push_back(stream_value(values[at]));
    }
  }

  int64_t groups() const override { return code_->groups(); }
  int64_t blocks() const override { return code_->column_blocks(); }
  int64_t row_begin(int64_t group) const override { return group < groups() ? code_->block(group, 0).row_begin : rows_; }
  int64_t bytes() const override { return static_cast<int64_t>(values_.size() * sizeof(uint32_t)); }

  void run(int64_t group, int64_t block, const float* x, int64_t vectors, const float* start, float* tile) const override {
    const jit::PatternBlock& code = code_->block(group, block);
    if (block > 0 && code.values_begin == end_of(group, block)) {
      return;  // no kept weights: many blocks of a grouped convolution
    }
    const auto* first = reinterpret_cast<const uint32_t*>(start + code.row_begin);
    for (int64_t v = 0; v < vectors; ++v) {
      code.run(x + v * lanes_, values_.data(), tile + v * lanes_, first);
    }
  }

 private:
  int64_t end_of(int64_t group, int64_t block) const {
    if (block + 1 < blocks()) {
      return code_->block(group, block + 1).values_begin;
    }
    return group + 1 < groups() ? code_->block(group + 1, 0).values_begin : static_cast<int64_t>(values_.size());
  }

  int64_t rows_, lanes_;
  std::shared_ptr<const jit::PatternCode> code_;
  std::vector<uint32_t> values_;
};

template <class T>
class LoopProduct : public ConvProduct<Accumulate<T>> {
  using A = Accumulate<T>;

 public:
  LoopProduct(const formats::CsrView& csr, const T* values, const ProductSpec& spec)
      : kernels_(raster_kernels<T>(spec.isa)), rows_(csr.rows), tile_width_(spec.tile_width),
        blocks_(std::max<int64_t>(1, ceil_div(csr.cols * spec.groups, std::max<int64_t>(1, spec.column_block)))) {
    const auto diagonal = diagonal_columns(csr, spec.groups);
    std::vector<int64_t> next(static_cast<size_t>(kernels_.loop_rows));
    for (int64_t row = 0; row < rows_; row += kernels_.loop_rows) {
      const int64_t rows = std::min(kernels_.loop_rows, rows_ - row);
      std::copy_n(csr.row_offsets + row, rows, next.begin());
      for (int64_t block = 0; block < blocks_; ++block) {
        add_block(csr, diagonal, values, spec, row, rows, (block + 1) * spec.column_block, next);
      }
    }
    starts_.push_back({static_cast<int64_t>(columns_.size()), static_cast<int64_t>(values_.size())});
  }

  int64_t groups() const override { return ceil_div(rows_, kernels_.loop_rows); }
  int64_t blocks() const override { return blocks_; }
  int64_t row_begin(int64_t group) const override { return std::min(rows_, group * kernels_.loop_rows); }
  int64_t bytes() const override {
    return static_cast<int64_t>((columns_.size() + counts_.size()) * sizeof(int32_t) + values_.size() * sizeof(A) +
                                starts_.size() * sizeof(Start));
  }

  void run(int64_t group, int64_t block, const A* x, int64_t vectors, const A* start, A* tile) const override {
    const size_t index = static_cast<size_t>(group * blocks_ + block);
    if (block > 0 && starts_[index].columns == starts_[index + 1].columns) {
      return;
    }
    const int64_t first = row_begin(group);
    const LoopBlock<A> loop{counts_.data() + static_cast<int64_t>(index) * patterns(), columns_.data() + starts_[index].columns,
                            values_.data() + starts_[index].values, block == 0 ? start + first : nullptr,
                            row_begin(group + 1) - first};
    kernels_.multiply(loop, x, vectors, tile, tile_width_);
  }

 private:
  struct Start {
    int64_t columns, values;
  };

  int64_t patterns() const { return (int64_t{1} << kernels_.loop_rows) - 1; }

  /// Appends the kept weights of rows [row, row + rows) from next[] on, as far as columns below `col_end`.
  void add_block(const formats::CsrView& csr, const std::vector<int32_t>& diagonal, const T* values, const ProductSpec& spec,
                 int64_t row, int64_t rows, int64_t col_end, std::vector<int64_t>& next) {
    struct Column {
      int32_t column;
      int32_t pattern;
      std::array<int64_t, 4> kept;  ///< positions among the values, of the rows that keep it, in turn
    };
    std::vector<Column> found;
    for (;;) {
      int32_t column = std::numeric_limits<int32_t>::max();
      for (int64_t r = 0; r < rows; ++r) {
        if (next[r] < csr.row_offsets[row + r + 1]) {
          column = std::min(column, diagonal[next[r]]);
        }
      }
      if (column >= col_end) {
        break;
      }
      Column entry{column, 0, {}};
      for (int64_t r = 0, count = 0; r < rows; ++r) {
        if (next[r] < csr.row_offsets[row + r + 1] && diagonal[next[r]] == column) {
          entry.pattern |= 1 << r;
          entry.kept[count++] = next[r]++;
        }
      }
      found.push_back(entry);
    }
    std::stable_sort(found.begin(), found.end(), [](const Column& a, const Column& b) { return a.pattern < b.pattern; });
    starts_.push_back({static_cast<int64_t>(columns_.size()), static_cast<int64_t>(values_.size())});
    counts_.resize(counts_.size() + static_cast<size_t>(patterns()));
    for (const Column& entry : found) {
      ++counts_[counts_.size() - static_cast<size_t>(patterns()) + static_cast<size_t>(entry.pattern) - 1];
      columns_.push_back(spec.columns[entry.column]);
      for (int count = 0; count < __builtin_popcount(entry.pattern); ++count) {
        values_.push_back(flushed(widen(values[entry.kept[count]])));
      }
    }
  }

  const RasterKernels<T>& kernels_;
  int64_t rows_, tile_width_, blocks_;
  std::vector<int32_t> columns_, counts_;
  std::vector<A> values_;
  std::vector<Start> starts_;
};

}  // namespace

int64_t balanced_block(int64_t cols, int64_t wanted) {
  const int64_t blocks = wanted <= 0 ? 1 : std::max<int64_t>(1, ceil_div(cols, wanted));
  return std::max<int64_t>(1, ceil_div(cols, blocks));
}

template <class T>
bool has_conv_code(Isa isa) {
  return std::is_same_v<Accumulate<T>, float> && (isa == Isa::kAvx512 || isa == Isa::kAvx2) && jit::available();
}

template <class T>
std::shared_ptr<const ConvProduct<Accumulate<T>>> conv_product(const formats::CsrView& csr, const T* values,
                                                               const ProductSpec& spec, PackedForms* forms,
                                                               const FormName& name) {
  using Product = ConvProduct<Accumulate<T>>;
  return form_of<Product>(forms, name, [&]() -> std::shared_ptr<const Product> {
    if constexpr (std::is_same_v<Accumulate<T>, float>) {
      if (spec.code && has_conv_code<T>(spec.isa)) {
        try {
          return std::make_shared<const CodeProduct>(csr, values, spec, forms, name);
        } catch (const std::bad_alloc&) {     // no memory for code,
        } catch (const std::system_error&) {  // or none that may be executed: loops serve
        }
      }
    }
    return std::make_shared<const LoopProduct<T>>(csr, values, spec);
  });
}

#define JOULEPRUNE_INSTANTIATE(T)                                                                                            \
  template bool has_conv_code<T>(Isa);                                                                                       \
  template std::shared_ptr<const ConvProduct<Accumulate<T>>> conv_product(const formats::CsrView&, const T*, const ProductSpec&, \
                                                                          PackedForms*, const FormName&);
JOULEPRUNE_INSTANTIATE(float)
JOULEPRUNE_INSTANTIATE(double)
JOULEPRUNE_INSTANTIATE(BFloat16)
JOULEPRUNE_INSTANTIATE(Half)
#undef JOULEPRUNE_INSTANTIATE

}  // namespace jouleprune::kernels::csr
