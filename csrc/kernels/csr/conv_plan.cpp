#include "kernels/csr/conv_plan.h"

#include <algorithm>

#include "kernels/csr/raster.h"

namespace jouleprune::kernels::csr {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Blocks pay when few weights are left: the inputs of a block stay in L1 while the vectors of a tile take turns. 3x3, 50 %: one
/// block is 1-2 % faster; 90 %: 64 channels 338 us with blocks of 288, 377 with one; 256 channels 295 with 576, 303 with 288.
int64_t raster_block(const ConvShape& s, double density, bool code) {
  if (!code) {
    return density > 0.15 ? 96 : 256;  // sums of a few rows are in registers for a block only; loops lose less than code
  }
  if (density > 0.15) {
    return 0;
  }
  return s.out_channels > 150 || density < 0.03 ? 576 : 288;
}

/// Largest section whose raster is about kSectionBytes: whole images where possible, else rows of one, else parts of a row.
void choose_section(const ConvShape& s, ConvPlan& plan) {
  constexpr int64_t kWholeBytes = 2 << 20, kSectionBytes = 1 << 20;  // L2 is 1 to 2 MB
  plan.images = 1;
  plan.height = s.out_height();
  plan.width = s.out_width();
  const auto bytes_of = [&](int64_t height, int64_t width) {
    const int64_t rows = std::min(height * s.stride_h + s.dilation_h * (s.kernel_h - 1), s.height + 2 * s.padding_h);
    const int64_t columns = std::min(width * s.stride_w + s.dilation_w * (s.kernel_w - 1), s.width + 2 * s.padding_w);
    return 4 * s.in_channels * rows * columns;
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
/// multiply-add per kept weight, a load per group and vector (often across two cache lines on the raster), about 5 to gather a
/// vector. 512 channels of 7 x 7, batch 8: 25 vectors instead of 32; 1.3 to 1.5 times faster at any density.
bool panels_pay(const ConvShape& s, double density, const ConvMachine& m) {
  const Raster raster(ConvShape{1, s.groups, s.height, s.width, s.groups, s.kernel_h, s.kernel_w, s.stride_h, s.stride_w,
                                s.padding_h, s.padding_w, s.dilation_h, s.dilation_w, s.groups},
                      1, s.out_height(), s.out_width());
  const int64_t junk_too = (s.out_height() - 1) * raster.layout().pitch + s.out_width();
  const double on_raster = static_cast<double>(s.batch * ceil_div(junk_too, m.lanes));
  const double gathered = static_cast<double>(ceil_div(s.pixels(), m.lanes));
  const double rows = static_cast<double>(s.out_channels) / static_cast<double>(s.groups);
  const double loads = std::max(1.0, rows / static_cast<double>(m.group_rows));
  constexpr double kGather = 5, kUnaligned = 1.2, kWorthIt = 0.96;
  return gathered * (density * rows + loads + kGather) < kWorthIt * on_raster * (density * rows + kUnaligned * loads);
}

}  // namespace

bool is_pointwise(const ConvShape& s) {
  return s.taps() == 1 && s.stride_h == 1 && s.stride_w == 1 && s.padding_h == 0 && s.padding_w == 0;
}

ConvPlan plan_conv(const ConvShape& s, int64_t nnz, const ConvMachine& m) {
  const double cells = static_cast<double>(s.out_channels) * static_cast<double>(s.cols());
  const double density = cells > 0 ? static_cast<double>(nnz) / cells : 0;
  const int64_t plane = s.height * s.width;
  constexpr int64_t kMostElements = int64_t{1} << 28;  // offsets of columns are 32 bits, in bytes
  ConvPlan plan;
  plan.plain = is_pointwise(s) && m.in_place && s.groups == 1 && s.in_channels * plane < kMostElements;
  plan.panels = plan.plain ? plane < m.lanes : panels_pay(s, density, m);
  plan.column_block = raster_block(s, density, m.code);
  // Rows that take turns at the same pixels: their inputs come from L1. 3x3 of 64 channels at 95 %: 250 us, one group at a time 262.
  constexpr int64_t kPartRows = 150, kPlainPartRows = 300;
  plan.part_groups = std::max<int64_t>(1, (plan.plain ? kPlainPartRows : kPartRows) / m.group_rows);
  if (plan.panels) {
    // All pixels at once while code is large: it comes from L3 for each chunk. 512 channels of 7 x 7, batch 8: 80 % and below chunks
    // of 25 vectors, 90 %: 7 (6.5 against 6.0 times torch).
    plan.tile_vectors = m.code && density > 0.15 ? 32 : 8;
    plan.column_block = m.code ? 1152 : plan.column_block;
  }
  if (!plan.plain) {
    choose_section(s, plan);
    return plan;
  }
  plan.images = s.batch;
  plan.height = s.out_height();
  plan.width = s.out_width();
  if (m.code && !plan.panels && s.cols() <= 512) {
    plan.column_block = 0;  // 256 channels of 28 x 28 at 90 %: 144 us, with blocks of 128 169
    // A tile between costs 10 to 20 % of the time: 130 us without.
    plan.straight_out = m.out_in_place && plane % m.lanes == 0;
  }
  return plan;
}

}  // namespace jouleprune::kernels::csr
