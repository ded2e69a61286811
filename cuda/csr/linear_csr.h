// linear_csr and its gradients, as launchers take them. Pointers are of the device; knows neither torch nor CUDA.
#pragma once
#include "csr/csr_params.h"
#include "csr/masked_params.h"
#include "csr/pack_tiles.h"
#include "csr/tile_params.h"
#include "element_type.h"

namespace jouleprune::cuda::csr {

/// output[j, i] = epilogue(sum over c of w[i, c] input[j, c]); the matrix may be the transpose of a weight. 16-bit
/// types are summed in float32.
struct Linear {
  ElementType type;
  Matrix matrix;
  int64_t nnz;
  const void* input;     // [n, cols]
  int64_t input_stride;  // elements from one batch row to the next
  int64_t n;
  void *turned_input,
      *turned_output;  // scratch of cols and rows features, feature-major; null: lanes go along the entries
  void* output;        // [n, rows], contiguous
  Epilogue epilogue;
};

/// Values in the order of tiles.
struct Pack {
  ElementType type;
  int64_t nnz;
  PackTilesParams params;
};

/// The same product in bitmap tiles, or of structure 2:4; `params` without x and pitch, which turning the input fills
/// in.
struct LinearTiles {
  ElementType type;
  bool pairs;  // pairs.h, else tiles.h
  TileParams params;
  int64_t packed;     // elements of params.values
  const void* input;  // [n, cols]
  int64_t input_stride;
  void* turned_input;
};

/// gradient[k] = sum over the batch of grad_output[., row(k)] input[., column(k)]; `params` without dy, x and pitch.
struct LinearValues {
  ElementType type;
  GradientParams params;
  int64_t rows, cols;
  const void* grad_output;  // [n, rows]
  int64_t grad_output_stride;
  const void* input;  // [n, cols]
  int64_t input_stride;
  void *turned_grad_output, *turned_input;
};

/// The same gradient by tiles, 16-bit types alone; `params` without dy, x and pitch.
struct LinearMasked {
  ElementType type;
  MaskedParams params;
  int64_t nnz;
  const void* grad_output;  // [n, rows]
  int64_t grad_output_stride;
  const void* input;  // [n, cols]
  int64_t input_stride;
  void *turned_grad_output, *turned_input;
};

/// From this many batch rows on, lanes go along the batch.
bool goes_by_tokens(int64_t n);
/// How the columns are split, and the floats of TileParams::partial then.
int32_t tile_splits(int64_t rows, int64_t cols, int64_t n, int multiprocessors);
int64_t tile_partial_sums(int64_t rows, int64_t n, int32_t splits);

}  // namespace jouleprune::cuda::csr
