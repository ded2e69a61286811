// A weight in layout bsr, its blocks cut into strips of rows that lie along the vector.
#pragma once
#include <memory>

#include "kernels/bsr/bsr_kernels.h"
#include "kernels/bsr/strip_kernels.h"

namespace jouleprune::kernels::bsr {

enum class Side {
  kForward,     ///< rows of the weight along the vector
  kTransposed,  ///< its columns: for the gradient of the input
};

template <class T>
struct StripForm : PackedForm {
  std::unique_ptr<int32_t[]> offsets, columns;
  std::unique_ptr<T[], void (*)(void*)> values{nullptr, nullptr};
  int64_t strips = 0, entries = 0, held = 0;

  int64_t bytes() const override { return held; }
};

/// Whether the blocks consist of whole strips.
template <class T>
bool has_strips(const formats::BsrView& bsr, Side side) {
  return (side == Side::kForward ? bsr.r : bsr.c) % kStripRows<T> == 0;
}

/// Requires has_strips; `pairs` (BFloat16) that the other side of a block is even.
template <class T>
std::shared_ptr<const StripForm<T>> strip_form(PackedForms* forms, const formats::BsrView& bsr, const T* blocks, Side side,
                                               bool pairs);

/// The form without values; requires has_strips for Side::kForward.
template <class T>
std::shared_ptr<const StripForm<T>> strip_structure(const formats::BsrView& bsr);

/// sums [entries, kStripRows] in the order of strip_structure -> blocks; 0 in the padding.
template <class T>
void store_strips(const formats::BsrView& bsr, const Accumulate<T>* sums, T* blocks);

}  // namespace jouleprune::kernels::bsr
