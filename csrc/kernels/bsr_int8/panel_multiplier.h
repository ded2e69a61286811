// One weight times one panel of quantised activations, by whichever kernel: what the loops over panels (linear.cpp) need of it.
#pragma once
#include <cstdint>

namespace jouleprune::kernels::bsr_int8 {

/// Rows of the weight come in units that are multiplied at once.
class PanelMultiplier {
 public:
  virtual ~PanelMultiplier() = default;
  virtual int64_t widest() const = 0;                ///< batch rows of a panel, at most
  virtual int64_t quads() const = 0;                 ///< of inputs that a panel has room for
  virtual int64_t units() const = 0;
  virtual int64_t row_of(int64_t unit) const = 0;    ///< the first; of units(): the rows of the weight
  virtual int64_t unit_rows() const = 0;             ///< of which `multiply` writes sums, at most: padding included
  virtual int64_t pass_bytes() const = 0;            ///< what one pass over the weight reads
  virtual int64_t vector_work() const = 0;           ///< multiply-adds of vectors of 16 sums, roughly, for one vector of batch rows
  /// sums[(r - row_of(unit)) * width + j]
  virtual void multiply(int64_t unit, const int32_t* panel, int64_t width, int32_t* sums) const = 0;
};

}  // namespace jouleprune::kernels::bsr_int8
