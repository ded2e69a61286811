// linear_bsr and its gradients, as launchers take them. Pointers are of the device; knows neither torch nor CUDA.
#pragma once
#include <cstdint>

#include "element_type.h"
#include "epilogue.h"

namespace jouleprune::cuda::bsr {

/// Block sizes that tensor cores take: strips of 16 outputs, chunks of 8 elements along both sides (or vectors).
constexpr bool fits_tensor_cores(int64_t r, int64_t c) { return r % 16 == 0 && (c == 1 || c % 16 == 0); }

/// A weight [rows, cols] in the canonical tensors of layout bsr. Padding of the blocks is not looked at.
struct Weight {
  ElementType type;
  int64_t rows, cols;
  int32_t r, c;
  int64_t blocks;          // kept
  int64_t longest;         // most blocks of a block row
  const void* values;      // [blocks, r, c], at a multiple of 16 bytes
  const int32_t* columns;  // [blocks]
  const int32_t* offsets;  // [ceil(rows / r) + 1]
};

/// Its TransposedIndex (index.h), on the device.
struct Transposed {
  int64_t groups, entries;
  const int32_t *offsets, *places, *sources;
};

/// output[j, i] = epilogue(sum over c of w[i, c] input[j, c]); 16-bit types are summed in float32.
struct Linear {
  Weight weight;
  const void* input;     // [n, cols]
  int64_t input_stride;  // elements from one batch row to the next
  int64_t n;
  void* turned_input;  // scratch of turned_elements(cols, n) elements, at a multiple of 16 bytes
  void* output;        // [n, rows], contiguous
  Epilogue epilogue;
};

/// grad_input[j, c] = sum over i of w[i, c] grad_output[j, i].
struct LinearInput {
  Weight weight;
  Transposed transposed;
  const void* grad_output;  // [n, rows]
  int64_t grad_output_stride;
  int64_t n;
  void* turned_grad_output;  // turned_elements(rows, n)
  void* grad_input;          // [n, cols], contiguous
};

/// grad_blocks[k, i, j] = sum over the batch of grad_output[., row(k, i)] input[., column(k, j)]; 0 for padding.
/// weight.values is not read.
struct LinearBlocks {
  Weight weight;
  const void* grad_output;  // [n, rows]
  int64_t grad_output_stride;
  const void* input;  // [n, cols]
  int64_t input_stride;
  int64_t n;
  void *turned_grad_output, *turned_input;
  void* grad_blocks;  // [blocks, r, c], at a multiple of 16 bytes
};

/// Elements of the scratch that holds `features` of n batch rows, feature-major.
int64_t turned_elements(int64_t features, int64_t n);

}  // namespace jouleprune::cuda::bsr
