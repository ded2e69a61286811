// The kept values of a weight in the order in which the loops over panels (vector_panels.h) read them: blocks of columns whose part
// of a panel stays in the L1 cache, in each block groups of a few rows. The structure is a form of its own, so that new values are
// only moved, not sorted anew.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "formats/csr.h"
#include "kernels/csr/packed_values.h"
#include "kernels/csr/vector_kernels.h"
#include "kernels/isa.h"
#include "kernels/packed_forms.h"

namespace jouleprune::kernels::csr {

/// How the loops run over a weight.
struct PanelChoice {
  bool patterns = false;     ///< columns of four rows sorted by which of the four keep them; else rows side by side
  int64_t rows = 1;          ///< rows of a group: 4 with patterns; else 1, 2, 4 or 8
  int64_t column_block = 0;  ///< columns of a block, at most
  int64_t width = 1;         ///< elements of a row of the panel: what a column is multiplied by to give its place
  bool operator==(const PanelChoice&) const = default;
};

/// `density`: kept share of the weight; panels of `vectors` vectors with `lanes` elements, each of `element_bytes`.
PanelChoice choose_panel_loop(double density, int64_t vectors, int64_t lanes, int64_t element_bytes, Isa isa);

/// Rows [row_begin, row_end) of a weight in the order of a choice. In the streams, block by block and group by group (columns count
/// from the block's first, times the width):
///   patterns: 15 counts, of the columns kept by exactly the rows whose bits are set in 1 to 15; `columns` has one entry per column
///             with its values (lowest row first), ascending within a pattern;
///   else:     1 + rows counts: the entries that all rows have (interleaved: first of each row, second of each row, ...), then
///             the surplus of each row; `columns` has one entry per value, ascending for each row.
class PanelOrder : public PackedForm {
 public:
  /// `positions`: [nnz] what to give as positions of values instead of their places in `csr`, or null.
  PanelOrder(const formats::CsrView& csr, int64_t row_begin, int64_t row_end, const PanelChoice& choice,
             const int32_t* positions);

  const PanelChoice& choice() const { return choice_; }
  int64_t groups() const { return groups_; }
  int64_t blocks() const { return blocks_; }
  int64_t rows() const { return rows_; }
  /// Position in the stream of values -> position among the values of the csr matrix.
  const std::vector<int32_t>& value_order() const { return value_order_; }
  PanelStream stream() const {
    return {columns_.data(), counts_.data(), starts_.data(), groups_, block_columns_, choice_.patterns, choice_.rows};
  }
  int64_t bytes() const override;

 private:
  using Positions = std::vector<int32_t>;
  void add_patterns(const formats::CsrView& csr, const Positions& from, const Positions& to, int64_t first_column);
  void add_rows(const formats::CsrView& csr, const Positions& from, const Positions& to, int64_t first_column);
  int32_t place(int64_t column) const { return static_cast<int32_t>(column * choice_.width); }

  PanelChoice choice_;
  int64_t rows_, groups_, blocks_, block_columns_;
  std::vector<int32_t> columns_, value_order_;
  std::vector<uint16_t> counts_;
  std::vector<PanelStart> starts_;  // [blocks x groups]
};

/// Rows of a weight with the values they multiply: what multiply_panels takes. The values may belong to another structure, of which
/// `csr` is the transposed one.
template <class T>
struct PanelWeight {
  formats::CsrView csr;
  const T* values = nullptr;
  const int32_t* positions = nullptr;  ///< [nnz] where in `values` each entry's value is; null: in order
  const T* bias = nullptr;             ///< [rows] or null
  Activation activation = Activation::kNone;
  PackedForms* forms = nullptr;        ///< of the weight that `values` belong to, or null
};

/// Order and values of rows [row_begin, row_end), kept among the weight's forms.
template <class T>
struct OrderedWeight {
  std::shared_ptr<const PanelOrder> order;
  std::shared_ptr<const PackedValues<Accumulate<T>>> values;

  OrderedWeight(const PanelWeight<T>& weight, int64_t row_begin, int64_t row_end, const PanelChoice& choice);
};

}  // namespace jouleprune::kernels::csr
