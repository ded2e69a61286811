// Where the activations of a Linear lie, for kernels that gather them by rows: one *source* of such kernels. Another one
// is a convolution's (conv/images.h). A source says what a *line* of the inner index is, where eight (or one) of its
// batch rows stand, and where the results go.
#pragma once
#include "output_tile.h"
#include "simt/platform.h"

namespace jouleprune::cuda {

/// A row of activations; -1: zeros. `kernel_row`: of convolutions alone.
struct Line {
  int64_t row;
  int32_t kernel_row = 0;
};

/// A line found in a list of a weight's entries, and how many lines of the entry follow it, itself included: padding
/// comes behind them.
struct Found {
  Line line;
  int64_t left;
};

/// Outputs `first` .. `end - 1`, as far as a group has them.
struct OutputRange {
  int64_t first, end;
};

struct Rows {
  const void* data;  // [features, pitch], feature-major, zero beyond n
  int64_t pitch;     // a multiple of 8
  int64_t n;         // batch rows
  int64_t outputs;   // features of the result

  static constexpr bool kOftenFew = true;  // batch rows: worth kernels of their own
  using Cursor = int64_t;                  // batch row, or -1
  template <class T, int kRows, int kTokens>
  using Output = OutputTile<T, kRows, kTokens>;
  using Place = OutputPlace;

  JP_ANYWHERE int64_t tokens() const { return n; }
  JP_BODY Cursor cursor(int64_t token) const { return token < pitch ? token : -1; }
  /// Element of `data`, or -1.
  JP_BODY int64_t at(const Line& line, Cursor cursor) const {
    return line.row < 0 || cursor < 0 ? -1 : line.row * pitch + cursor;
  }
  JP_BODY int64_t list_base(int64_t) const { return 0; }
  /// Line `within` of the list entry at `place`, of `per` lines; `inner`: rows of the activations.
  template <class Ctx>
  JP_BODY Found locate(const Ctx&, int64_t inner, int64_t, int64_t place, int per, int within) const {
    const int64_t row = place * per + within;
    return {{row < inner ? row : -1}, inner - row};
  }
  JP_BODY OutputRange outputs_of(int64_t group, int size) const { return {group * size, outputs}; }
  JP_BODY Place place(const OutputRange& range, int64_t output, int64_t token) const {
    return {range.first + output, token, range.end, n};
  }
  /// Element of the result [n, outputs], or -1.
  JP_BODY int64_t result_at(int64_t output, int64_t token) const { return token < n ? token * outputs + output : -1; }
};

}  // namespace jouleprune::cuda
