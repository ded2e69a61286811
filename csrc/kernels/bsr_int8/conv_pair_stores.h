// Where the sums of conv_pairs_body.h go. Internal linkage throughout.
#pragma once
#include "kernels/bsr_int8/conv_kernels.h"
#include "kernels/bsr_int8/pair_words.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

/// Finished sums, put(sum, y, image) at the place y of the output: kWords pixels of a channel as a vector, or one.
template <class Out, class Put>
[[gnu::always_inline]] inline void finish_planes(const int32_t* tile, int64_t width, int64_t rows, const OutputRun* runs,
                                                 int64_t run_count, const TileOutput& o, Out* first, const Put& put) {
  for (int64_t r = 0; r < rows; ++r, tile += width) {
    const float bias = o.bias == nullptr ? 0.0f : o.bias[r];
    for (const OutputRun* run = runs; run != runs + run_count; ++run) {
      const float scale = o.scales[r] * run->input_scale;
      const int32_t* sums = tile + run->at;
      Out* y = first + run->to + r * o.channel_stride;
      int64_t i = 0;
      for (; i + kWords <= run->count; i += kWords) {
        const Vector<float> product = __builtin_convertvector(load(sums + i), Vector<float>) * splat(scale);
        const Vector<float> sum = product + splat(bias);
        put(o.relu ? (sum < Vector<float>{} ? Vector<float>{} : sum) : sum, y + i, run->image);
      }
      for (; i < run->count; ++i) {
        const float product = static_cast<float>(sums[i]) * scale;
        const float sum = product + bias;
        put(o.relu && sum < 0 ? 0.0f : sum, y + i, run->image);
      }
    }
  }
}

struct PutPixels {
  [[gnu::always_inline]] void operator()(Vector<float> v, float* y, int64_t) const { store(y, v); }
  [[gnu::always_inline]] void operator()(float v, float* y, int64_t) const { *y = v; }
};

struct PutPixelBytes {
  const TileBytes& out;

  [[gnu::always_inline]] void operator()(Vector<float> v, uint8_t* y, int64_t image) const {
    if (any_nan(v)) {
      out.lost[image] = 1;
    }
    store_bytes(y, quantise_vector(v, splat(out.inverse)));
  }
  [[gnu::always_inline]] void operator()(float v, uint8_t* y, int64_t image) const {
    if (v != v) {
      out.lost[image] = 1;
    }
    *y = static_cast<uint8_t>(quantise(v, out.inverse) + 128);
  }
};

void store_planes(const int32_t* tile, int64_t width, int64_t rows, const OutputRun* runs, int64_t run_count, const TileOutput& o) {
  finish_planes(tile, width, rows, runs, run_count, o, o.y, PutPixels{});
}

void store_byte_planes(const int32_t* tile, int64_t width, int64_t rows, const OutputRun* runs, int64_t run_count,
                       const TileOutput& o, const TileBytes& bytes) {
  finish_planes(tile, width, rows, runs, run_count, o, bytes.y, PutPixelBytes{bytes});
}

/// Calls store(sums, output, at) for up to kWords pixels of a run, which `output` takes for the batch rows of a panel; `at`: elements
/// from the start of the output to the first of them.
template <class Store>
[[gnu::always_inline]] inline void in_panels(const int32_t* tile, const OutputRun& run, const TileOutput& o, const Store& store) {
  float scales[kWords];
  for (float& scale : scales) {
    scale = run.input_scale;
  }
  for (int64_t i = 0; i < run.count; i += kWords) {
    const int64_t count = run.count - i < kWords ? run.count - i : kWords;
    store(tile + run.at + i, PanelOutput{nullptr, o.channel_stride, count, scales, o.scales, o.bias, o.relu},
          run.to + i * o.channel_stride);
  }
}

void store_pixels(const int32_t* tile, int64_t width, int64_t rows, const OutputRun* runs, int64_t run_count, const TileOutput& o) {
  for (const OutputRun* run = runs; run != runs + run_count; ++run) {
    in_panels(tile, *run, o, [&](const int32_t* sums, PanelOutput panel, int64_t at) {
      panel.y = o.y + at;
      store_panel(sums, rows, width, panel);
    });
  }
}

void store_byte_pixels(const int32_t* tile, int64_t width, int64_t rows, const OutputRun* runs, int64_t run_count,
                       const TileOutput& o, const TileBytes& bytes) {
  for (const OutputRun* run = runs; run != runs + run_count; ++run) {
    in_panels(tile, *run, o, [&](const int32_t* sums, const PanelOutput& panel, int64_t at) {
      uint8_t lost[kWords] = {};
      const PanelByteOutput out{bytes.y + at, o.channel_stride, bytes.inverse, lost};
      finish_panel(sums, rows, width, panel, PutBytes{out});
      for (const uint8_t pixel : lost) {
        bytes.lost[run->image] |= pixel;
      }
    });
  }
}

}  // namespace
}  // namespace jouleprune::kernels::bsr_int8
