#include <algorithm>
#include <cstring>
#include <type_traits>

#include "kernels/bsr_int8/bsr_int8_kernels.h"
#include "kernels/bsr_int8/lost_rows.h"
#include "kernels/bsr_int8/panel_form.h"
#include "kernels/bsr_int8/panel_kernels.h"
#include "kernels/bsr_int8/reference.h"
#include "kernels/bsr_int8/small_batch.h"
#include "kernels/bsr_int8/tile_form.h"
#include "kernels/bsr_int8/waves.h"
#include "kernels/csr/panels.h"
#include "kernels/csr/scratch.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

using csr::Scratch;

/// One product over panels: what a thread needs to work on any part of it.
template <class In, class Out>
class PanelProduct {
 public:
  PanelProduct(const LinearParams<In, Out>& p, const PanelKernels& kernels, const PanelMultiplier& multiplier)
      : p_(p), kernels_(kernels), multiplier_(multiplier), widest_(multiplier.widest()),
        words_per_row_(multiplier.quads() * kernels.words) {}

  int64_t panels() const { return (p_.n + widest_ - 1) / widest_; }
  int64_t units() const { return multiplier_.units(); }
  int64_t panel_words() const { return words_per_row_ * widest_; }
  int64_t widest() const { return widest_; }
  /// Multiply-adds of vectors, roughly, that one panel takes.
  int64_t panel_work() const {
    return (multiplier_.vector_work() + 2 * (p_.weight.quads.rows + p_.weight.quads.cols)) * widest_;
  }

  void quantise(int64_t panel, int32_t* words, float* scales) const {
    const int64_t first = panel * widest_, count = count_of(panel), width = width_of(panel);
    const In* input = p_.input + first * p_.input_stride;
    if constexpr (std::is_same_v<In, float>) {
      kernels_.quantise({input, p_.input_stride, count, p_.in_features, p_.input_scale}, width, words, scales);
    } else if constexpr (kBytesIn) {
      kernels_.spread({input, p_.input_stride, count, p_.in_features}, width, words);
      std::copy_n(p_.input_scales + first, count, scales);
      std::fill(scales + count, scales + width, 1.0f);  // read with whole vectors
    } else {
      Scratch<float> wide(count * p_.in_features);
      for (int64_t j = 0; j < count; ++j) {
        widen_row(input + j * p_.input_stride, wide.data() + j * p_.in_features);
      }
      kernels_.quantise({wide.data(), p_.in_features, count, p_.in_features, p_.input_scale}, width, words, scales);
    }
  }

  /// Units [unit_begin, unit_end) of `count` quantised panels from `panel` on, the weight passing by once. sums: count times
  /// sums_words(). Sums wait in cache until there are enough of them for whole lines of the output.
  void multiply(int64_t panel, int64_t count, int64_t unit_begin, int64_t unit_end, const int32_t* words, const float* scales,
                int32_t* sums) const {
    const auto row_of = [&](int64_t unit) { return multiplier_.row_of(unit); };
    int64_t first = row_of(unit_begin);  // rows [first, row_of(unit)) wait
    for (int64_t unit = unit_begin; unit < unit_end; ++unit) {
      const int64_t end = row_of(unit + 1);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t width = width_of(panel + i);
        prefetch_input(panel + count + i, unit);
        multiplier_.multiply(unit, words + i * panel_words(), width, sums + i * sums_words() + (row_of(unit) - first) * width);
      }
      if (unit + 1 < unit_end && end - first < kWaitingRows) {
        continue;
      }
      const int64_t ready = unit + 1 < unit_end ? (end - first) / kLineElements * kLineElements : end - first;
      for (int64_t i = 0; i < count; ++i) {
        int32_t* waiting = sums + i * sums_words();
        const int64_t width = width_of(panel + i);
        store(panel + i, first, ready, waiting, scales + i * widest_);
        std::memmove(waiting, waiting + ready * width, static_cast<size_t>((end - first - ready) * width * 4));
      }
      first += ready;
    }
  }

  int64_t sums_words() const { return (kWaitingRows + multiplier_.unit_rows() + kLineElements) * widest_; }

 private:
  static constexpr bool kBytesIn = std::is_same_v<In, uint8_t>, kBytesOut = std::is_same_v<Out, uint8_t>;
  static constexpr int64_t kLineElements = kBytesOut ? 64 : 16;  // of a cache line (two of them for 16-bit types)
  static constexpr int64_t kWaitingRows = 128;  // 8 KB of sums, in a first-level cache

  int64_t count_of(int64_t panel) const { return std::min(widest_, p_.n - panel * widest_); }
  int64_t width_of(int64_t panel) const { return (count_of(panel) + kernels_.lanes - 1) / kernels_.lanes * kernels_.lanes; }

  /// A share of the next panel's inputs, for the kernel reads no memory of its own: 1-3 % on Zen 4. (Fetching the lines of the
  /// output for writing costs more than it saves.)
  void prefetch_input(int64_t panel, int64_t unit) const {
    if (panel >= panels()) {
      return;
    }
    constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(In));
    const int64_t begin = p_.in_features * unit / units(), end = p_.in_features * (unit + 1) / units();
    for (int64_t j = 0; j < count_of(panel); ++j) {
      const In* x = p_.input + (panel * widest_ + j) * p_.input_stride;
      for (int64_t c = begin; c < end; c += kLine) {
        __builtin_prefetch(x + c, 0, 2);
      }
    }
  }

  void store(int64_t panel, int64_t row, int64_t rows, const int32_t* sums, const float* scales) const {
    const auto& weight = p_.weight;
    const int64_t first = panel * widest_, stride = weight.quads.rows;
    PanelOutput out{nullptr, stride, count_of(panel), scales, weight.scales + row, weight.bias ? weight.bias + row : nullptr,
                    weight.relu};
    Out* y = p_.output + first * stride + row;
    if constexpr (std::is_same_v<Out, float>) {
      out.y = y;
      kernels_.store(sums, rows, width_of(panel), out);
    } else if constexpr (kBytesOut) {
      uint8_t lost[kMostLanes] = {};
      kernels_.store_bytes(sums, rows, width_of(panel), out, {y, stride, 1 / p_.output_scale, lost});
      mark_lost(p_.output_scales + first, lost, out.count);
    } else {
      Scratch<float> wide(out.count * rows);
      out.y = wide.data();
      out.stride = rows;
      kernels_.store(sums, rows, width_of(panel), out);
      for (int64_t j = 0; j < out.count; ++j) {
        narrow_row(wide.data() + j * rows, rows, y + j * stride);
      }
    }
  }

  void widen_row(const BFloat16* x, float* to) const { kernels_.widen_bfloat16(x, p_.in_features, to); }
  void widen_row(const Half* x, float* to) const { kernels_.widen_half(x, p_.in_features, to); }
  void narrow_row(const float* x, int64_t count, BFloat16* to) const { kernels_.narrow_bfloat16(x, count, to); }
  void narrow_row(const float* x, int64_t count, Half* to) const { kernels_.narrow_half(x, count, to); }

  static constexpr int64_t kMostLanes = kMaxVectors * 16;  // of a panel, whatever the instruction set

  const LinearParams<In, Out>& p_;
  const PanelKernels& kernels_;
  const PanelMultiplier& multiplier_;
  int64_t widest_, words_per_row_;
};

/// Many panels: each thread takes its own from quantising to storing, a wave at a time.
template <class In, class Out>
void split_panels(const PanelProduct<In, Out>& product, int64_t wave, const ParallelFor& parallel) {
  parallel(0, product.panels(), csr::grain_of(product.panel_work()), [&](int64_t begin, int64_t end) {
    const int64_t most = std::min(wave, end - begin);
    Scratch<int32_t> words(most * product.panel_words()), sums(most * product.sums_words());
    Scratch<float> scales(most * product.widest());
    for (int64_t panel = begin; panel < end; panel += most) {
      const int64_t count = std::min(most, end - panel);
      for (int64_t i = 0; i < count; ++i) {
        product.quantise(panel + i, words.data() + i * product.panel_words(), scales.data() + i * product.widest());
      }
      product.multiply(panel, count, 0, product.units(), words.data(), scales.data(), sums.data());
    }
  });
}

/// Few panels: all are quantised first, then the rows of the weight are split.
template <class In, class Out>
void split_rows(const PanelProduct<In, Out>& product, const ParallelFor& parallel) {
  const int64_t panels = product.panels();
  Scratch<int32_t> words(panels * product.panel_words());
  Scratch<float> scales(panels * product.widest());
  parallel(0, panels, csr::grain_of(product.panel_words()), [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      product.quantise(panel, words.data() + panel * product.panel_words(), scales.data() + panel * product.widest());
    }
  });
  const int64_t units = product.units();
  parallel(0, units, csr::grain_of(product.panel_work() * panels / std::max<int64_t>(units, 1)), [&](int64_t begin, int64_t end) {
    Scratch<int32_t> sums(panels * product.sums_words());
    product.multiply(0, panels, begin, end, words.data(), scales.data(), sums.data());
  });
}

template <class In, class Out>
void multiply_panels(const LinearParams<In, Out>& p, const PanelKernels& kernels, const PanelMultiplier& multiplier,
                     const ParallelFor& parallel) {
  const PanelProduct<In, Out> product(p, kernels, multiplier);
  constexpr int64_t kFewPanels = 4;
  if (product.panels() < kFewPanels) {
    return split_rows(product, parallel);
  }
  split_panels(product, panels_per_wave(multiplier.pass_bytes(), (product.panel_words() + product.sums_words()) * 4), parallel);
}

}  // namespace

template <class In, class Out>
void linear(const LinearParams<In, Out>& p, const ParallelFor& parallel, Isa isa) {
  if (isa == Isa::kReference) {
    return reference::linear(p);
  }
  if constexpr (std::is_same_v<Out, uint8_t>) {
    std::fill_n(p.output_scales, p.n, p.output_scale);
  }
  if (p.n == 0 || p.weight.quads.rows == 0) {
    return;
  }
  if (p.small_kernels && small_batch_serves(p.n, isa)) {
    return linear_small(p, parallel);
  }
  const TileKernels* const tiles = p.tile_kernels != nullptr ? p.tile_kernels : p.tiles && isa == Isa::kAvx512 ? tile_kernels() : nullptr;
  if (tiles != nullptr) {
    if (const auto form = tile_form(p.weight, p.forms, p.n, p.tile_kernels != nullptr)) {
      return multiply_panels(p, panel_kernels(isa), TileMultiplier(p.weight, *form, *tiles), parallel);
    }
  }
  const auto form = panel_form(p.weight, p.forms, isa, p.with_code);
  multiply_panels(p, panel_kernels(isa), FormMultiplier(p.weight, panel_kernels(isa), *form), parallel);
}

template void linear(const LinearParams<float>&, const ParallelFor&, Isa);
template void linear(const LinearParams<BFloat16>&, const ParallelFor&, Isa);
template void linear(const LinearParams<Half>&, const ParallelFor&, Isa);
template void linear(const LinearParams<uint8_t, float>&, const ParallelFor&, Isa);
template void linear(const LinearParams<float, uint8_t>&, const ParallelFor&, Isa);
template void linear(const LinearParams<uint8_t, uint8_t>&, const ParallelFor&, Isa);

}  // namespace jouleprune::kernels::bsr_int8
