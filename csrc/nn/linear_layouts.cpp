#include "nn/linear_layouts.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <jouleprune/ops.h>
#include <jouleprune/ops_int8.h>
#include <jouleprune/value_errors.h>

#include "formats/bsr.h"
#include "kernels/bsr_int8/bsr_int8_kernels.h"
#include "nn/csr_weight.h"
#include "nn/int8_members.h"

namespace jouleprune::nn {
namespace {

constexpr BlockSize kInt8Block = {1, 4};

at::Tensor key_tensor(const std::array<int64_t, 2>& key) { return at::tensor({key[0], key[1]}, at::kLong); }

void empty_as_csr(SparseLinearImpl& layer) {
  auto csr = empty_csr(layer.options.out_features, layer.options.in_features);
  layer.values = csr.values, layer.col_indices = csr.col_indices, layer.row_offsets = csr.row_offsets, layer.key = csr.key;
}

void pack_as_csr(SparseLinearImpl& layer, const at::Tensor& weight, const std::optional<at::Tensor>& mask) {
  std::tie(layer.values, layer.col_indices, layer.row_offsets, layer.key) = pack_csr(weight, mask);
}

at::Tensor multiply_plain_csr(const SparseLinearImpl& layer, const at::Tensor& input, const std::optional<at::Tensor>& bias) {
  return multiply_csr(layer, input, bias, /*residual=*/std::nullopt);
}

at::Tensor unpacked_csr(const SparseLinearImpl& layer) {
  return unpack_csr(layer.values, layer.col_indices, layer.row_offsets, layer.options.in_features);
}

void empty_as_bsr(SparseLinearImpl& layer) {
  const auto& [r, c] = layer.options.block_size;
  formats::BsrView bsr{layer.options.out_features, layer.options.in_features, r, c, 0, nullptr, nullptr};
  layer.blocks = at::empty({0, r, c});
  layer.block_columns = at::empty({0}, at::kInt);
  layer.block_row_offsets = at::zeros({bsr.down() + 1}, at::kInt);
  bsr.block_row_offsets = layer.block_row_offsets.const_data_ptr<int32_t>();
  layer.key = key_tensor(formats::bsr_key(bsr));
}

void pack_as_bsr(SparseLinearImpl& layer, const at::Tensor& weight, const std::optional<at::Tensor>& mask) {
  std::tie(layer.blocks, layer.block_columns, layer.block_row_offsets, layer.key) = pack_bsr(weight, mask, layer.options.block_size);
}

at::Tensor multiply_bsr(const SparseLinearImpl& layer, const at::Tensor& input, const std::optional<at::Tensor>& bias) {
  return linear_bsr(input, layer.blocks, layer.block_columns, layer.block_row_offsets, layer.key, /*prepacked=*/std::nullopt, bias,
                    layer.options.out_features, layer.options.in_features, layer.activation);
}

at::Tensor unpacked_bsr(const SparseLinearImpl& layer) {
  return unpack_bsr(layer.blocks, layer.block_columns, layer.block_row_offsets, layer.options.out_features,
                    layer.options.in_features);
}

void empty_as_int8(SparseLinearImpl& layer) {
  start_empty_int8(layer, layer.options.out_features, kernels::bsr_int8::quads_of(layer.options.in_features));
}

void pack_as_int8(SparseLinearImpl& layer, const at::Tensor& weight, const std::optional<at::Tensor>& mask) {
  pack_int8(layer, weight, mask);
}

at::Tensor multiply_int8(const SparseLinearImpl& layer, const at::Tensor& input, const std::optional<at::Tensor>& bias) {
  return linear_bsr_int8(input, layer.blocks, layer.block_columns, layer.block_row_offsets, layer.key, layer.scales,
                         layer.input_scale, /*prepacked=*/std::nullopt, bias, layer.options.in_features, layer.activation);
}

at::Tensor unpacked_int8(const SparseLinearImpl& layer) {
  return unpack_bsr_int8(layer.blocks, layer.block_columns, layer.block_row_offsets, layer.scales, layer.options.in_features);
}

using Layer = SparseLinearImpl;

const LinearLayout kCsr{{{"values", &Layer::values, true},
                         {"col_indices", &Layer::col_indices, false},
                         {"row_offsets", &Layer::row_offsets, false},
                         {"key", &Layer::key, false}},
                        true, empty_as_csr, pack_as_csr, multiply_plain_csr, unpacked_csr};

const LinearLayout kBsr{{{"blocks", &Layer::blocks, true},
                         {"block_columns", &Layer::block_columns, false},
                         {"block_row_offsets", &Layer::block_row_offsets, false},
                         {"key", &Layer::key, false}},
                        true, empty_as_bsr, pack_as_bsr, multiply_bsr, unpacked_bsr};

const LinearLayout kInt8{{{"blocks", &Layer::blocks, false},
                          {"block_columns", &Layer::block_columns, false},
                          {"block_row_offsets", &Layer::block_row_offsets, false},
                          {"key", &Layer::key, false},
                          {"scales", &Layer::scales, false},
                          {"input_scale", &Layer::input_scale, false}},
                         false, empty_as_int8, pack_as_int8, multiply_int8, unpacked_int8};

}  // namespace

at::Tensor multiply_csr(const SparseLinearImpl& layer, const at::Tensor& input, const std::optional<at::Tensor>& bias,
                        const std::optional<at::Tensor>& residual) {
  return linear_csr(input, layer.values, layer.col_indices, layer.row_offsets, layer.key, /*prepacked=*/std::nullopt, bias,
                    layer.options.in_features, layer.activation, residual);
}

const LinearLayout& layout_of(const std::string& op, const SparseLinearOptions& options) {
  if (!options.dtype.empty() && options.dtype != "int8") {
    throw PatternError(op + ": dtype: expected \"\" or \"int8\", got \"" + options.dtype + "\"");
  }
  const bool known = options.layout == "bsr" || (options.dtype.empty() && options.layout == "csr");
  if (!known) {
    throw PatternError(op + ": layout: expected one of " + (options.dtype.empty() ? "csr, bsr" : "bsr") + ", got \"" +
                       options.layout + "\"");
  }
  const auto [r, c] = options.block_size;
  if (options.layout == "bsr" && (r < 1 || c < 1)) {
    throw PatternError(op + ": block_size: expected two numbers of at least 1, got " + std::to_string(r) + " x " + std::to_string(c));
  }
  return options.dtype == "int8" ? kInt8 : options.layout == "bsr" ? kBsr : kCsr;
}

SparseLinearOptions resolved(const std::string& op, const at::Tensor& weight, bool bias, const PackOptions& options) {
  SparseLinearOptions made(weight.size(1), weight.size(0), bias);
  made.dtype = options.dtype;
  const bool vector = options.layout == "vector" && options.dtype.empty();
  made.layout = !options.layout.empty() ? (vector ? "bsr" : options.layout) : options.dtype == "int8" ? "bsr" : "csr";
  layout_of(op, made);  // throws for what there is not
  const auto given = [&] { return std::to_string((*options.block_size)[0]) + " x " + std::to_string((*options.block_size)[1]); };
  if (made.dtype == "int8") {
    made.block_size = kInt8Block;
    if (options.block_size.value_or(kInt8Block) != kInt8Block) {
      throw PatternError(op + ": block_size: int8 has blocks of 1 x 4, got " + given());
    }
  } else if (made.layout == "csr") {
    if (options.block_size.has_value()) {
      throw PatternError(op + ": block_size: layout \"csr\" has none, got " + given());
    }
  } else if (options.block_size.has_value()) {
    made.block_size = *options.block_size;
  } else {
    made.block_size = vector ? BlockSize{16, 1} : detect_block_size(op, options.mask.has_value() ? *options.mask : weight.ne(0));
  }
  if (vector && made.block_size[1] != 1) {
    throw PatternError(op + ": block_size: expected r x 1 for layout \"vector\", got " + given());
  }
  layout_of(op, made);
  return made;
}

SparseLinearOptions layout_in(const std::string& op, torch::serialize::InputArchive& archive, const SparseLinearOptions& sizes) {
  SparseLinearOptions made(sizes.in_features, sizes.out_features, sizes.bias);
  at::Tensor found;
  if (!archive.try_read("blocks", found)) {
    return made;
  }
  TORCH_CHECK_VALUE(found.dim() == 3 && found.size(1) >= 1 && found.size(2) >= 1, op, ": blocks: expected [blocks, r, c], got ",
                    found.sizes());
  made.layout = "bsr";
  made.block_size = {found.size(1), found.size(2)};
  at::Tensor scales;
  made.dtype = archive.try_read("scales", scales, /*is_buffer=*/true) ? "int8" : "";
  return made;
}

}  // namespace jouleprune::nn
