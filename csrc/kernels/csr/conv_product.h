// A weight times activations that lie at a constant offset per column: as generated code where that exists, else as loops over
// kept weights. What a convolution's raster and its panels have in common.
#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "kernels/csr/csr_kernels.h"
#include "kernels/csr/raster_kernels.h"

namespace jouleprune::kernels::csr {

/// Rows are cut into groups, columns into blocks; one call computes the sums of a group times a block for a few vectors of
/// pixels.
template <class A>
class ConvProduct : public PackedForm {
 public:
  virtual int64_t groups() const = 0;
  virtual int64_t row_begin(int64_t group) const = 0;  ///< row_begin(groups()): all rows
  virtual int64_t blocks() const = 0;

  /// Sums of the group's rows: tile[(row - row_begin) * tile_width + lane], for `vectors` vectors from x on.
  /// Block 0 starts them from start[row], the others go on from the tile; blocks must come in ascending order.
  virtual void run(int64_t group, int64_t block, const A* x, int64_t vectors, const A* start, A* tile) const = 0;
};

/// What shapes a product besides the weight.
struct ProductSpec {
  int64_t groups = 1;                  ///< of the convolution: row r reads columns [g * cols, (g + 1) * cols), g its group
  std::span<const int32_t> columns;    ///< [groups * cols] elements from the start of the activations
  int64_t column_block = 0;            ///< columns per block, as balanced_block() gives them
  int64_t tile_width = 0;              ///< elements from one row of a tile to the next
  bool code = true;                    ///< generated code is welcome
  Isa isa = Isa::kPortable;
};

/// The least even share of `cols` columns in blocks of at most `wanted` (0: one block).
int64_t balanced_block(int64_t cols, int64_t wanted);

/// Whether generated code would serve: element type, instruction set, machine.
template <class T>
bool has_conv_code(Isa isa);

/// Generated code if `spec.code` and has_conv_code, else loops; also loops when the system gives no memory for code. `name` tells
/// the form apart, all of `spec` included.
template <class T>
std::shared_ptr<const ConvProduct<Accumulate<T>>> conv_product(const formats::CsrView& csr, const T* values,
                                                               const ProductSpec& spec, PackedForms* forms, const FormName& name);

}  // namespace jouleprune::kernels::csr
