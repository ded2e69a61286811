#include "ops/device_index.h"

#include "bsr/index.h"
#include "ops/cuda_adapters.h"
#include "ops/device_forms.h"

namespace jouleprune::ops {

cuda::bsr::Transposed DeviceIndex::view() const {
  return {offsets.numel() - 1, places.numel(), offsets.const_data_ptr<int32_t>(), places.const_data_ptr<int32_t>(),
          sources.const_data_ptr<int32_t>()};
}

std::shared_ptr<const DeviceIndex> device_index(const BsrWeight& weight) {
  const auto& bsr = weight.bsr;
  return device_form<DeviceIndex>(
      "bsr index", {weight.block_columns, weight.block_row_offsets}, {bsr.rows, bsr.cols, bsr.r, bsr.c}, [&] {
        const auto columns = weight.block_columns.cpu(), offsets = weight.block_row_offsets.cpu();
        const cuda::bsr::HostStructure structure{
            bsr.rows, bsr.cols, bsr.r, bsr.c, columns.const_data_ptr<int32_t>(), offsets.const_data_ptr<int32_t>()};
        const auto made =
            bsr.c == 1 ? cuda::bsr::transposed_vectors(structure) : cuda::bsr::transposed_blocks(structure);
        const auto& like = weight.block_columns;
        return DeviceIndex{on_device(made.offsets, like), on_device(made.places, like), on_device(made.sources, like),
                           cuda::bsr::longest(structure.block_row_offsets, bsr.down())};
      });
}

cuda::bsr::Weight launch_weight(const BsrWeight& weight, const DeviceIndex& index, const at::Tensor& like) {
  return launch_weight(weight, index.longest, like);
}

cuda::bsr::Weight launch_weight(const BsrWeight& weight, int64_t longest, const at::Tensor& like) {
  const auto& bsr = weight.bsr;
  return {cuda_element_type(like.scalar_type()),
          bsr.rows,
          bsr.cols,
          static_cast<int32_t>(bsr.r),
          static_cast<int32_t>(bsr.c),
          bsr.blocks,
          longest,
          pointer_or_null(weight.blocks),
          bsr.block_columns,
          bsr.block_row_offsets};
}

}  // namespace jouleprune::ops
