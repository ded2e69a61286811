#include "kernels/csr/conv_work.h"

#include <algorithm>
#include <array>
#include <type_traits>

#include "formats/ceil_div.h"

namespace jouleprune::kernels::csr {
namespace {

int64_t pair_of(int64_t a, int64_t b) { return a << 32 | b; }

}  // namespace

template <class T>
ConvWork<T>::ConvWork(const ConvParams<T>& conv, const ConvPlan& chosen, Isa isa)
    : params(conv), shape(conv.shape), plan(chosen), kernels(raster_kernels<T>(isa)), vectors(vector_kernels<T>(isa)),
      out_plane(shape.out_height() * shape.out_width()), start(static_cast<size_t>(shape.out_channels)) {
  for (size_t row = 0; row < start.size(); ++row) {
    start[row] = params.bias == nullptr ? A{0} : widen(params.bias[row]);
  }
  if (plan.plain) {  // a plane is one long row
    plan.width = shape.width *= shape.height;
    plan.height = shape.height = 1;
    layout = plain_layout(shape);
  } else {
    raster.emplace(shape, plan.images, plan.height, plan.width);
    layout = raster->layout();
  }
  make_product(isa);
}

template <class T>
void ConvWork<T>::make_product(Isa isa) {
  const bool code = params.generated_code && has_conv_code<T>(isa);
  step = code ? 1 : kernels.loop_vectors;
  const int64_t cols = shape.groups * params.csr.cols;
  block = balanced_block(cols, plan.column_block);
  tile_width = ceil_div(plan.tile_vectors, step) * step * kernels.lanes;
  const int64_t row_stride = plan.straight_out ? out_plane : tile_width;
  ProductSpec spec{shape.groups, layout.columns, block, row_stride, code, isa};
  std::vector<int32_t> panel_columns;
  FormName name{"conv2d", {static_cast<int64_t>(isa) * 2 + code, shape.groups, block, row_stride}, true};
  if (plan.panels) {
    for (int64_t col = 0; col < cols; ++col) {
      panel_columns.push_back(static_cast<int32_t>(col % block * panel_width()));
    }
    spec.columns = panel_columns;
    name.details[4] = panel_width();
  } else {
    const int64_t plane = plan.plain ? layout.pitch : raster->plane();
    const std::array<int64_t, 6> rest = {plan.plain, plane, layout.pitch, pair_of(shape.kernel_h, shape.kernel_w),
                                         pair_of(shape.stride_h, shape.stride_w), pair_of(shape.dilation_h, shape.dilation_w)};
    std::copy(rest.begin(), rest.end(), name.details.begin() + 5);
  }
  // Doubles are for checking gradients, which changes single values without a trace (torch.autograd.gradcheck, through .data): no
  // form of them is kept.
  PackedForms* const forms = std::is_same_v<T, double> ? nullptr : params.forms;
  product = conv_product(params.csr, params.values, spec, forms, name);
}

#define JOULEPRUNE_INSTANTIATE(T) template struct ConvWork<T>;
JOULEPRUNE_INSTANTIATE(float)
JOULEPRUNE_INSTANTIATE(double)
JOULEPRUNE_INSTANTIATE(BFloat16)
JOULEPRUNE_INSTANTIATE(Half)
#undef JOULEPRUNE_INSTANTIATE

}  // namespace jouleprune::kernels::csr
