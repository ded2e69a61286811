// What products with few batch rows make of a weight, and keep: the owners of views.h.
#pragma once
#include <cstdint>
#include <memory>

#include "formats/csr.h"
#include "kernels/csr/small/form_buffer.h"
#include "kernels/csr/small/views.h"
#include "kernels/packed_forms.h"

namespace jouleprune::kernels::csr::small {

template <class T>
struct BitmapForm : PackedForm {
  BitmapForm(const formats::CsrView& csr, const T* values);
  int64_t bytes() const override { return masks.bytes() + values.bytes() + starts.bytes(); }
  BitmapView<T> view() const { return {strips, columns, masks.data(), values.data(), starts.data()}; }

  int64_t strips, columns;
  FormBuffer<uint32_t> masks;
  FormBuffer<T> values;
  FormBuffer<int64_t> starts;
};

template <class T>
struct JaggedForm : PackedForm {
  JaggedForm(const formats::CsrView& csr, const T* values);
  int64_t bytes() const override { return blocks.bytes() + columns.bytes() + values.bytes() + starts.bytes() + heads.bytes(); }
  JaggedView<T> view() const {
    return {strips, blocks_per_strip, blocks.data(), columns.data(), values.data(), starts.data(), heads.data()};
  }

  int64_t strips, blocks_per_strip;
  FormBuffer<uint8_t> blocks, columns;
  FormBuffer<T> values;
  FormBuffer<int64_t> starts, heads;
};

/// The structure in the canonical order; Index uint16_t, half the bytes, for at most kMaxShortColumns columns, else int32_t. A copy
/// even then: the kernel reads no index that could have changed since it was checked.
template <class Index>
struct RowsForm : PackedForm {
  explicit RowsForm(const formats::CsrView& csr);
  int64_t bytes() const override { return columns.bytes() + row_offsets.bytes(); }

  FormBuffer<Index> columns;        ///< [nnz]
  FormBuffer<int32_t> row_offsets;  ///< [rows + 1]
};
inline constexpr int64_t kMaxShortColumns = 1 << 16;

}  // namespace jouleprune::kernels::csr::small
