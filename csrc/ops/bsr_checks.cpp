#include "ops/bsr_checks.h"

#include <c10/util/Exception.h>

#include <string>
#include <utility>

#include "ops/csr_checks.h"
#include "ops/limits.h"

namespace jouleprune::ops {
namespace {


void check_list(const char* op, const char* name, const at::Tensor& tensor, const at::Tensor& like, const char* like_name) {
  check_strided(op, name, tensor);
  TORCH_CHECK_TYPE(tensor.scalar_type() == at::kInt, op, ": ", name, ": expected int32, got ", tensor.scalar_type());
  TORCH_CHECK_VALUE(tensor.dim() == 1, op, ": ", name, ": expected 1 dimension, got ", tensor.sizes());
  check_device(op, name, tensor, like, like_name);
}

void check_blocks(const char* op, const at::Tensor& blocks, int64_t count, const at::Tensor& like, const char* like_name) {
  check_element_type(op, "blocks", blocks);
  TORCH_CHECK_VALUE(blocks.dim() == 3 && blocks.size(0) == count, op, ": blocks: expected [", count,
                    ", r, c] as block_columns, got ", blocks.sizes());
  check_device(op, "blocks", blocks, like, like_name);
  TORCH_CHECK_TYPE(blocks.scalar_type() == like.scalar_type(), op, ": blocks: expected the dtype of ", like_name, ", ",
                   like.scalar_type(), ", got ", blocks.scalar_type());
}

void check_key(const char* op, const at::Tensor& key, const at::Tensor& like, const char* like_name) {
  check_strided(op, "key", key);
  TORCH_CHECK_TYPE(key.scalar_type() == at::kLong, op, ": key: expected int64, got ", key.scalar_type());
  TORCH_CHECK_VALUE(key.dim() == 1 && key.numel() == 2, op, ": key: expected [2], got ", key.sizes());
  if (!key.is_cpu()) {
    check_device(op, "key", key, like, like_name);
  }
}

std::string examine(formats::BsrView view, const int32_t* columns, const int32_t* offsets, std::array<int64_t, 2>& key) {
  view.block_columns = columns;
  view.block_row_offsets = offsets;
  auto defect = formats::bsr_defect(view);
  if (defect.empty()) {
    key = formats::bsr_key(view);
  }
  return defect;
}

}  // namespace

void check_block_size(const char* op, at::IntArrayRef block_size) {
  TORCH_CHECK_VALUE(block_size.size() == 2 && block_size[0] >= 1 && block_size[1] >= 1 && block_size[0] <= kLimit &&
                        block_size[1] <= kLimit,
                    op, ": block_size: expected two numbers of at least 1, got ", block_size);
}

BsrWeight check_bsr_weight(const char* op, const BsrArguments& a, const at::Tensor& like, const char* like_name) {
  check_element_type(op, like_name, like);
  check_list(op, "block_columns", a.block_columns, like, like_name);
  check_list(op, "block_row_offsets", a.block_row_offsets, like, like_name);
  for (const auto& [name, size] : {std::pair{a.rows_name, a.rows}, std::pair{a.cols_name, a.cols}}) {
    TORCH_CHECK_VALUE(size >= 0 && size <= kLimit, op, ": ", name, ": expected 0 to ", kLimit, ", got ", size);
  }
  if (a.blocks != nullptr) {
    check_blocks(op, *a.blocks, a.block_columns.numel(), like, like_name);
  }
  const auto block_size = a.blocks != nullptr ? a.blocks->sizes().slice(1) : a.block_size;
  check_block_size(op, block_size);
  BsrWeight weight{a.blocks == nullptr ? at::Tensor() : a.blocks->contiguous(), a.block_columns.contiguous(),
                   a.block_row_offsets.contiguous(), {}, {}};
  auto& bsr = weight.bsr;
  bsr = {a.rows, a.cols, block_size[0], block_size[1], a.block_columns.numel(), nullptr, nullptr};
  TORCH_CHECK_VALUE(a.block_row_offsets.numel() == bsr.down() + 1, op, ": block_row_offsets: expected [ceil(", a.rows, " / ",
                    bsr.r, ") + 1 = ", bsr.down() + 1, "], got ", a.block_row_offsets.sizes());
  TORCH_CHECK_VALUE(bsr.blocks <= kLimit / (bsr.r * bsr.c), op, ": expected at most ", kLimit, " entries in blocks, got ",
                    bsr.blocks, " of ", bsr.r, " x ", bsr.c);
  if (a.key != nullptr) {
    check_key(op, *a.key, like, like_name);
    weight.structure = check_structure(op, weight.block_columns, weight.block_row_offsets, *a.key,
                                       {"pack_bsr", {bsr.rows, bsr.cols, bsr.r, bsr.c},
                                        [&](const int32_t* columns, const int32_t* offsets, std::array<int64_t, 2>& key) {
                                          return examine(bsr, columns, offsets, key);
                                        }},
                                       a.compare);
  } else {
    const auto host_columns = weight.block_columns.cpu(), host_offsets = weight.block_row_offsets.cpu();
    const auto defect = examine(bsr, host_columns.const_data_ptr<int32_t>(), host_offsets.const_data_ptr<int32_t>(),
                                weight.structure.key);
    TORCH_CHECK_VALUE(defect.empty(), op, ": unsound structure: ", defect);
  }
  bsr.block_columns = weight.block_columns.const_data_ptr<int32_t>();
  bsr.block_row_offsets = weight.block_row_offsets.const_data_ptr<int32_t>();
  return weight;
}

}  // namespace jouleprune::ops
