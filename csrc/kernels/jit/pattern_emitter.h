// Machine code of one row group: see pattern_code.h for the loop. Registers: rdi activations, rsi values, rdx sums, rcx start.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/isa.h"
#include "kernels/jit/pattern_code.h"

namespace jouleprune::kernels::jit {

struct KeptValue {
  int32_t row;       ///< within the group
  int32_t position;  ///< among the values of the csr matrix
};

/// Every instruction that occurs once per weight is encoded beforehand by Xbyak and copied with its displacement patched: 10 to 30
/// ns per kept weight instead of ten times that.
class PatternEmitter {
 public:
  /// How far the base registers have been moved within a block.
  struct Cursor {
    int64_t activation_bytes = 0;
    int64_t value_bytes = 0, values = 0;
    int next_register = 0;
  };

  virtual ~PatternEmitter() = default;
  virtual int64_t max_rows() const = 0;
  /// Starts a block; returns where it begins in `code`. continues: sums come from memory instead of start values.
  virtual size_t begin(std::vector<uint8_t>& code, int64_t rows, bool continues, int64_t row_bytes) const = 0;
  virtual void column(std::vector<uint8_t>& code, Cursor& cursor, int64_t column_bytes,
                      std::span<const KeptValue> kept) const = 0;
  virtual void end(std::vector<uint8_t>& code, int64_t rows, int64_t row_bytes) const = 0;
};

/// Throws std::invalid_argument where there is none.
const PatternEmitter& pattern_emitter(Isa isa, MultiplyAdd multiply_add);

}  // namespace jouleprune::kernels::jit
