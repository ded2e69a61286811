#include "kernels/csr/conv_plan.h"

#include <algorithm>

namespace jouleprune::kernels::csr {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

ConvPlan plan_conv(const ConvShape& s, int64_t nnz, const ConvMachine& m) {
  ConvPlan plan;
  const int64_t plane = s.height * s.width;
  const bool pointwise = s.taps() == 1 && s.stride_h == 1 && s.stride_w == 1 && s.padding_h == 0 && s.padding_w == 0;
  plan.plain = pointwise && m.in_place && s.in_channels * plane < (int64_t{1} << 28);
  plan.height = s.out_height();
  plan.width = s.out_width();
  plan.column_block = 288;
  plan.tile_vectors = 8;
  if (plan.plain) {
    plan.images = s.batch;
    plan.panels = plane < m.lanes;
  }
  (void)nnz;
  (void)ceil_div;
  return plan;
}

}  // namespace jouleprune::kernels::csr
