#include "ops/device_windows.h"

#include "conv/windows.h"
#include "ops/cuda_adapters.h"
#include "ops/device_forms.h"

namespace jouleprune::ops {
namespace {

/// The weight on the host; borrows from its tensors.
struct OnHost {
  at::Tensor columns, offsets;
  cuda::conv::HostWeight weight;

  explicit OnHost(const ConvBsr& conv) : columns(conv.weight.block_columns.cpu()), offsets(conv.weight.block_row_offsets.cpu()) {
    const auto& bsr = conv.weight.bsr;
    const auto& s = conv.shape;
    weight = {{bsr.rows, bsr.cols, bsr.r, bsr.c, columns.const_data_ptr<int32_t>(), offsets.const_data_ptr<int32_t>()},
              s.in_channels,
              s.groups,
              static_cast<int32_t>(s.kernel_h),
              static_cast<int32_t>(s.kernel_w)};
  }
};

at::Tensor windows_on_device(const std::vector<cuda::conv::Window>& windows, const at::Tensor& like) {
  std::vector<int32_t> numbers;
  for (const auto& window : windows) {
    numbers.insert(numbers.end(), {window.plane, window.kernel_row, window.left, 0});
  }
  return on_device(numbers, like);
}

const cuda::conv::Window* as_windows(const at::Tensor& numbers) {
  return reinterpret_cast<const cuda::conv::Window*>(numbers.const_data_ptr<int32_t>());
}

/// All that a form depends on beside the structure's tensors; each is less than 2^31.
std::array<int64_t, 4> sizes_of(const ConvBsr& conv) {
  const auto pair = [](int64_t a, int64_t b) { return a << 32 | b; };
  const auto& s = conv.shape;
  return {pair(s.in_channels, s.out_channels), pair(s.kernel_h, s.kernel_w), s.groups, pair(conv.weight.bsr.r, conv.weight.bsr.c)};
}

}  // namespace

const cuda::conv::Window* DeviceWindows::data() const { return as_windows(windows); }
const cuda::conv::Window* DeviceTransposedWindows::data() const { return as_windows(windows); }
cuda::bsr::Transposed DeviceTransposedWindows::view() const {
  return {offsets.numel() - 1, places.numel(), offsets.const_data_ptr<int32_t>(), places.const_data_ptr<int32_t>(),
          sources.const_data_ptr<int32_t>()};
}

std::shared_ptr<const DeviceWindows> device_windows(const ConvBsr& conv) {
  const auto& w = conv.weight;
  return device_form<DeviceWindows>("bsr windows", {w.block_columns, w.block_row_offsets}, sizes_of(conv), [&] {
    const OnHost host(conv);
    return DeviceWindows{windows_on_device(cuda::conv::forward_windows(host.weight), w.block_columns),
                         cuda::bsr::longest(host.weight.structure.block_row_offsets, w.bsr.down())};
  });
}

std::shared_ptr<const DeviceTransposedWindows> device_transposed_windows(const ConvBsr& conv) {
  const auto& w = conv.weight;
  return device_form<DeviceTransposedWindows>("bsr transposed windows", {w.block_columns, w.block_row_offsets}, sizes_of(conv), [&] {
    const OnHost host(conv);
    const auto lists = cuda::conv::transposed_lists(host.weight);
    const auto& like = w.block_columns;
    return DeviceTransposedWindows{windows_on_device(cuda::conv::transposed_windows(host.weight), like), on_device(lists.offsets, like),
                                   on_device(lists.places, like), on_device(lists.sources, like)};
  });
}

}  // namespace jouleprune::ops
