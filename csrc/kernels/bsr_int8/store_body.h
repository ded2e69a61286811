// The way out of a panel, and between 16-bit types and float32: written once over the vectors of csr/vector.h, compiled once per
// instruction set. Internal linkage throughout. Compile without contraction of multiply and add: each is rounded by itself.
#pragma once
#include "kernels/bsr_int8/panel_kernels.h"
#include "kernels/csr/vector.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

using csr::kLanes;
using csr::load;
using csr::splat;
using csr::store;
using csr::transpose;
using csr::Vector;

/// The first of the ascending columns [begin, end) that is not below `column`.
[[gnu::always_inline]] inline int64_t first_beyond(const int32_t* columns, int64_t begin, int64_t end, int64_t column) {
  while (begin < end) {
    const int64_t middle = begin + (end - begin) / 2;
    if (columns[middle] < column) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

template <class T>
void widen_all(const T* x, int64_t count, float* to) {
  constexpr int kStep = kLanes<float>;
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    store(to + i, csr::load_wide(x + i));
  }
  for (; i < count; ++i) {
    to[i] = widen(x[i]);
  }
}

template <class T>
void narrow_all(const float* x, int64_t count, T* to) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = narrow<T>(x[i]);
  }
}

/// Finished sums, put(vector, j, r) for kLanes outputs of a batch row from r on, and put(one, j, r) for those that are left. Blocks of
/// kLanes x kLanes are turned in registers.
template <class Put>
[[gnu::always_inline]] inline void finish_panel(const int32_t* sums, int64_t rows, int64_t width, const PanelOutput& out,
                                                const Put& put) {
  constexpr int kSide = kLanes<float>;
  int64_t r = 0;
  for (; r + kSide <= rows; r += kSide) {
    const Vector<float> scales = load(out.scales + r);
    const Vector<float> bias = out.bias == nullptr ? Vector<float>{} : load(out.bias + r);
    for (int64_t j = 0; j < out.count; j += kSide) {
      Vector<float> block[kSide];
      for (int i = 0; i < kSide; ++i) {
        block[i] = __builtin_convertvector(load(sums + (r + i) * width + j), Vector<float>);
      }
      transpose<float>(block);
      const int64_t present = out.count - j < kSide ? out.count - j : kSide;
      for (int64_t i = 0; i < present; ++i) {
        const Vector<float> product = block[i] * (scales * splat(out.input_scales[j + i]));
        Vector<float> y = product + bias;
        if (out.relu) {
          y = y < Vector<float>{} ? Vector<float>{} : y;
        }
        put(y, j + i, r);
      }
    }
  }
  for (; r < rows; ++r) {
    for (int64_t j = 0; j < out.count; ++j) {
      const float scale = out.scales[r] * out.input_scales[j];
      const float product = static_cast<float>(sums[r * width + j]) * scale;
      const float y = product + (out.bias == nullptr ? 0.0f : out.bias[r]);
      put(out.relu && y < 0 ? 0.0f : y, j, r);
    }
  }
}

struct PutFloats {
  float* y;
  int64_t stride;

  [[gnu::always_inline]] void operator()(Vector<float> v, int64_t j, int64_t r) const { store(y + j * stride + r, v); }
  [[gnu::always_inline]] void operator()(float v, int64_t j, int64_t r) const { y[j * stride + r] = v; }
};

void store_panel(const int32_t* sums, int64_t rows, int64_t width, const PanelOutput& out) {
  finish_panel(sums, rows, width, out, PutFloats{out.y, out.stride});
}

}  // namespace
}  // namespace jouleprune::kernels::bsr_int8
