#include "kernels/csr/conv_plan.h"

#include <algorithm>

#include "formats/ceil_div.h"
#include "kernels/csr/raster.h"

namespace jouleprune::kernels::csr {
namespace {

/// Where density counts as low: then code and values of a weight are small beside its activations.
constexpr double kSparse = 0.15, kVerySparse = 0.07;

/// Columns per block of generated code on a raster. Blocks pay when few weights are left: the inputs of a block stay in L1
/// while the vectors of a tile take turns; but each block reads and writes all sums. 3x3 at 90 %: 64 channels 338 us with
/// blocks of 288, 377 with one; 128 channels 305 and 326; 256 channels 297 and 291; 7x7 of 64 channels 508 and 479; 1x5 of 128
/// channels 353 and 338. At 50 % one block is always 1-2 % faster.
int64_t code_block(const ConvShape& s, double density) {
  constexpr int64_t kManyRows = 128;     // of the raster that a vector of pixels reads
  constexpr int64_t kManyColumns = 1152;
  if (density > kSparse || s.in_channels * s.kernel_h <= kManyRows) {
    return 0;
  }
  if (s.cols() > kManyColumns) {
    return density > kVerySparse ? 0 : 576;  // 256 channels at 95 %: 207 us, 210 with one block
  }
  return density < 0.03 ? 576 : 288;
}

/// Loops keep the sums of few rows: their inputs must come from L1. 3x3 of 64 channels at 50 %: 1232 us with blocks of 192,
/// 1243 with 384; at 90 %: 456 and 442.
int64_t loop_block(double density) { return density > 0.3 ? 192 : 384; }

/// The same geometry with a single channel.
ConvShape one_channel(ConvShape s) {
  s.batch = s.in_channels = s.out_channels = s.groups = 1;
  return s;
}

/// Largest section whose raster is about kSectionBytes: whole images where possible, else rows of one, else parts of a row.
void choose_section(const ConvShape& s, ConvPlan& plan) {
  constexpr int64_t kWholeBytes = 2 << 20, kSectionBytes = 1 << 20;  // L2 is 1 to 2 MB
  plan.images = 1;
  plan.height = s.out_height();
  plan.width = s.out_width();
  const auto bytes_of = [&](int64_t height, int64_t width) {
    return 4 * s.in_channels * Raster(one_channel(s), 1, height, width).elements();
  };
  const int64_t whole = bytes_of(plan.height, plan.width);
  if (whole <= kWholeBytes) {
    if (plan.panels) {
      plan.images = std::clamp<int64_t>(kWholeBytes / std::max<int64_t>(whole, 1), 1, s.batch);
    }
    return;
  }
  const auto largest = [&](int64_t size, const auto& bytes) {
    while (size > 1 && bytes(size) > kSectionBytes) {
      size = ceil_div(size, 2);
    }
    return size;
  };
  plan.height = largest(plan.height, [&](int64_t height) { return bytes_of(height, plan.width); });
  constexpr int64_t kLeastWidth = 256;  // shorter ones read their neighbours' pixels again too often
  if (plan.height == 1 && plan.width > kLeastWidth) {
    plan.width = std::max(kLeastWidth, largest(plan.width, [&](int64_t width) { return bytes_of(1, width); }));
  }
}

/// Whether gathering pixels without the junk between rows costs less than it saves, in cycles for one column of the weight: a
/// multiply-add per kept weight, a load per group and vector (dearer when it crosses cache lines), about 5 to gather a vector.
/// 512 channels of 7 x 7, batch 8: 25 vectors instead of 32; 1.3 to 1.5 times faster at any density. 1x1, 1024 to 256 channels of
/// 14 x 14 at 90 %: 147 us, on the unaligned planes 196.
bool panels_pay(const ConvShape& s, double density, const ConvMachine& m, bool plain) {
  int64_t junk_too = s.height * s.width;
  double load = 1.2;  // some taps are aligned, and part of the cost is hidden
  if (plain) {
    load = junk_too % m.lanes == 0 ? 1 : 2;
  } else {
    junk_too = (s.out_height() - 1) * Raster(one_channel(s), 1, s.out_height(), s.out_width()).layout().pitch + s.out_width();
  }
  const double in_place = static_cast<double>(s.batch * ceil_div(junk_too, m.lanes));
  const double gathered = static_cast<double>(ceil_div(s.pixels(), m.lanes));
  const double rows = static_cast<double>(s.out_channels) / static_cast<double>(s.groups);
  const double loads = std::max(1.0, rows / static_cast<double>(m.group_rows));
  constexpr double kGather = 5, kWorthIt = 0.96;
  return gathered * (density * rows + loads + kGather) < kWorthIt * in_place * (density * rows + load * loads);
}

}  // namespace

bool is_pointwise(const ConvShape& s) {
  return s.taps() == 1 && s.stride_h == 1 && s.stride_w == 1 && s.padding_h == 0 && s.padding_w == 0;
}

ConvShape flattened(ConvShape s) {
  if (is_pointwise(s)) {
    s.width *= s.height;
    s.height = 1;
  }
  return s;
}

ConvPlan plan_conv(const ConvShape& s, int64_t nnz, const ConvMachine& m) {
  const double cells = static_cast<double>(s.out_channels) * static_cast<double>(s.cols());
  const double density = cells > 0 ? static_cast<double>(nnz) / cells : 0;
  const int64_t plane = s.height * s.width;
  constexpr int64_t kMostElements = int64_t{1} << 28;  // offsets of columns are 32 bits, in bytes
  // Loops over single rows load inputs with every multiply-add, and unaligned ones at half the rate (3x3 of 128 channels at 50
  // %, AVX2: 1894 us, on the raster 2091).
  const bool aligned_only = !m.code && m.group_rows == 1 && density > 0.3;
  ConvPlan plan;
  plan.plain = is_pointwise(s) && m.in_place && s.groups == 1 && s.in_channels * plane < kMostElements;
  plan.panels = (plan.plain ? plane < m.lanes : aligned_only) || panels_pay(s, density, m, plan.plain);
  plan.column_block = m.code ? code_block(s, density) : loop_block(density);
  plan.tile_vectors = m.code ? 8 : 16;
  // Rows that take turns at the same pixels: their inputs come from L1.
  constexpr int64_t kPartRows = 150, kPlainPartRows = 300;
  plan.part_groups = std::max<int64_t>(1, (plan.plain || !m.code ? kPlainPartRows : kPartRows) / m.group_rows);
  if (plan.panels && m.code) {
    // All pixels at once while code is large: it comes from L3 for each chunk. 512 channels of 7 x 7, batch 8: 80 % and below
    // chunks of 25 vectors, 90 %: 7 (6.5 against 6.0 times torch).
    plan.tile_vectors = density > kSparse ? 32 : 8;
    plan.column_block = 1152;
  } else if (plan.panels) {
    plan.tile_vectors = 8;
    plan.column_block = aligned_only ? 96 : 192;
  }
  if (!plan.plain) {
    choose_section(s, plan);
    return plan;
  }
  plan.images = s.batch;
  plan.height = s.out_height();
  plan.width = s.out_width();
  constexpr int64_t kFewColumns = 512;
  if (!plan.panels && s.cols() <= kFewColumns) {
    // Code, 256 channels of 28 x 28 at 90 %: 144 us, with blocks of 128 169. Loops, at 80 %: 289 us with blocks of 96, 302 with
    // 192; at 95 %: 113 with one.
    plan.column_block = m.code || density < 0.08 ? 0 : 96;
    // A tile between costs 10 to 20 % of the time: 144 us, 130 without.
    plan.straight_out = plan.column_block == 0 && m.out_in_place && plane % m.lanes == 0;
  }
  return plan;
}

}  // namespace jouleprune::kernels::csr
