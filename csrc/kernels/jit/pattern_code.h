// A pruned weight as straight-line code. For a group of output rows and one vector of columns ("lanes" batch rows or pixels) the
// code loads each used activation vector once and issues one multiply-add per kept weight, whose value comes from a stream of its
// own: new values need no new code, only a new structure does. No index is read and no branch taken.
//
//   for each group of at most R rows        R = 30 with 32 vector registers (AVX-512), 13 with 16 (AVX2)
//     sums of the rows = start values (bias, or what an earlier block of columns left)
//     for each column that a row of the group uses
//       x = load(activations + column_bytes[column])
//       for each row that keeps it: sum[row] += broadcast(next value) * x
//     store the sums
//
// Sums run over ascending columns from the start value: the same order, and so the same bits, as the kernels without code where
// those run over rows side by side (csr/panel_order.h).
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "formats/csr.h"
#include "kernels/isa.h"
#include "kernels/jit/executable_memory.h"

namespace jouleprune::kernels::jit {

/// The multiply-add of the code. A "value" is 4 bytes: one float32, two bfloat16 or four int8 neighbours along the inputs.
enum class MultiplyAdd {
  kFloat32,        ///< vfmadd231ps
  kBFloat16Pairs,  ///< vdpbf16ps (AVX-512 with avx512_bf16)
  kInt8Quads,      ///< vpdpbusd, unsigned activations times signed values (AVX-512 with avx512_vnni)
};

struct PatternSpec {
  formats::CsrView csr;                    ///< one column per 4-byte value; rows [row_begin, row_end) take part
  int64_t row_begin = 0, row_end = 0;
  std::vector<int64_t> column_bytes;       ///< [cols] where the activation vector of a column begins, from the panel's start
  int64_t column_block = 0;                ///< columns per block, 0 = all: sums go through memory between blocks
  int64_t output_row_bytes = 0;            ///< from one row's vector of sums to the next
  Isa isa = Isa::kAvx512;                  ///< kAvx512 or kAvx2
  MultiplyAdd multiply_add = MultiplyAdd::kFloat32;
};

/// One row group times one block of columns.
struct PatternBlock {
  int64_t row_begin = 0, rows = 0;  ///< absolute rows of the weight
  int64_t values_begin = 0;         ///< first of its values in the stream
  int64_t value_count = 0, code_bytes = 0;
  const uint8_t* entry = nullptr;

  /// start: one 4-byte start value per row for the first block of columns (later blocks read `sums`); x: the panel; values: the
  /// whole stream; sums: the group's first row of sums.
  void run(const void* x, const uint32_t* values, void* sums, const uint32_t* start) const {
    using Function = void (*)(const void*, const uint32_t*, void*, const uint32_t*);
    reinterpret_cast<Function>(const_cast<uint8_t*>(entry))(x, values + values_begin, sums, start);
  }

  /// Asks the second-level cache for part `part` of `parts` of the code and of its values.
  void prefetch(const uint32_t* values, int64_t part, int64_t parts) const {
    const auto lines = [&](const void* begin, int64_t bytes) {
      const char* const from = static_cast<const char*>(begin);
      for (int64_t at = bytes * part / parts; at < bytes * (part + 1) / parts; at += 64) {
        __builtin_prefetch(from + at, 0, 2);
      }
    };
    lines(entry, code_bytes);
    lines(values + values_begin, value_count * static_cast<int64_t>(sizeof(uint32_t)));
  }
};

class PatternCode {
 public:
  /// Throws std::invalid_argument for an instruction set without an emitter, std::bad_alloc, std::system_error.
  explicit PatternCode(const PatternSpec& spec);

  int64_t groups() const { return groups_; }
  int64_t column_blocks() const { return column_blocks_; }
  const PatternBlock& block(int64_t group, int64_t column_block) const {
    return blocks_[static_cast<size_t>(group * column_blocks_ + column_block)];
  }
  /// Stream position -> position among the values of the csr matrix.
  const std::vector<int32_t>& value_order() const { return value_order_; }
  int64_t code_bytes() const { return static_cast<int64_t>(memory_.size()); }
  int64_t bytes() const;

 private:
  int64_t groups_ = 0, column_blocks_ = 0;
  std::vector<PatternBlock> blocks_;
  std::vector<int32_t> value_order_;
  ExecutableMemory memory_;
};

/// Lanes of a vector of 4-byte elements: 16 or 8.
int64_t lanes_of(Isa isa);

/// What tells generated codes apart: the structure's content key (formats::csr_key, checked by the caller) and everything else
/// that shaped the code.
struct CodeName {
  std::array<int64_t, 2> key{};
  std::array<int64_t, 14> details{};
  bool operator==(const CodeName&) const = default;
};

/// The code of spec(), shared among all weights of the same name that are alive. Sizes are compared on each call, so that a key
/// that collides is never unsafe. Thread-safe.
std::shared_ptr<const PatternCode> shared_code(const CodeName& name, const std::function<PatternSpec()>& spec);

}  // namespace jouleprune::kernels::jit
