// The inner loops of int8 products for a few batch rows (AVX-512 VNNI). What counts is how fast the weight comes from memory:
// batch rows are not along the vector, and the inputs, as bytes, stay in the first-level cache. Three orders of the weight:
//
//   bitmap  per row and 16 quads of inputs a mask of 16 bits and the kept quads, expanded in a register (vpexpandd)
//   sell    16 rows along the vector; per 32 quads of inputs, which two registers hold, as many steps as the fullest row has
//           quads: an index byte and a quad for each row, the inputs picked by a permute of two registers
//   csr     one quad at a time, 16-bit columns
#pragma once
#include <cstdint>

namespace jouleprune::kernels::bsr_int8 {

/// Most batch rows of these kernels. Panels take 16 whatever the batch: above half of that they win.
inline constexpr int64_t kSmallBatch = 8;
/// Rows that are worked on together, along the vector or one after the other.
inline constexpr int64_t kRowGroup = 16;
inline constexpr int64_t kBitmapQuads = 16, kSellQuads = 32;
/// Steps of a row group are a multiple of this: sums in flight.
inline constexpr int64_t kSellUnroll = 4;
/// A row of quantised inputs, and its readable memory, is a multiple of this: a block of sell.
inline constexpr int64_t kInputBytes = kSellQuads * 4;

enum class SmallOrder { kBitmap, kSell, kCsr };

/// A weight in one of the orders, borrowed. Arrays reach beyond their end by a register.
struct SmallWeight {
  SmallOrder order = SmallOrder::kBitmap;
  int64_t rows = 0, quads = 0;
  const uint32_t* values = nullptr;   ///< quads as words, in the order of the kernel
  const int64_t* begins = nullptr;    ///< bitmap, csr: first value of each row [rows + 1]; sell: first step of each group
  const uint16_t* columns = nullptr;  ///< bitmap: masks [rows, ceil(quads / 16)]; sell: block of each step; csr: of each value
  const uint8_t* lanes = nullptr;     ///< sell: [steps, 16] place within the block
  const int32_t* start = nullptr;     ///< [rows, rounded up to groups] what the sums begin with
};

/// `count` rows of quantised inputs (128 added), each `x_stride` bytes.
struct SmallCall {
  SmallWeight weight;
  const uint8_t* x = nullptr;
  int64_t x_stride = 0, count = 0;
};

/// sums[j * stride + r - group_begin * kRowGroup] for row groups [group_begin, group_end); stride: their rows, rounded up to
/// whole groups.
void multiply_small(const SmallCall& call, int64_t group_begin, int64_t group_end, int32_t* sums, int64_t stride);
/// y[r] = relu?(sums[r] * (scales[r] * input_scale) + bias[r]) for r < rows; sums are readable up to a whole group.
void finish_small(const int32_t* sums, int64_t rows, float input_scale, const float* scales, const float* bias, bool relu,
                  float* y);

}  // namespace jouleprune::kernels::bsr_int8
