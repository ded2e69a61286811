// Which kernel a convolution with a pruned weight should run, by what each has to move and to multiply. Predicted, not measured: no kernel
// of this folder was timed on a GPU yet. Knows neither torch nor CUDA.
#pragma once
#include <cstdint>

#include "csr/choice.h"
#include "element_type.h"

namespace jouleprune::cuda::conv {

enum class ConvKernel {
  kBlocks,   ///< StripProduct or StripFma on shifted planes: layout bsr
  kEntries,  ///< ConvProduct: layout csr
  kDense,    ///< torch's convolution of the dense weight
};

/// A convolution or one of its gradients, which move and multiply the same.
struct ConvWork {
  ElementType type;
  int64_t out_channels, cols;  // of the weight, [out_channels, in_channels / groups * taps]
  int64_t kept;                // its kept entries, or those of its kept blocks
  int64_t pixels;              // of the output, all images
  int64_t input, padded;       // elements of the input, and with the convolution's zeros around it
  int64_t planes;              // elements of its shifted planes; 0 where it is read as it lies
  int32_t block_rows;          // outputs that share what is read; 1 of csr
  bool tensor_cores;           // whether the blocks are such that tensor cores take (bsr/launch.h)
};

/// Seconds, all launches included.
double predicted_s(ConvKernel kernel, const ConvWork& work, const csr::Machine& machine);

/// The quickest of the sparse kernel of a layout and the dense one; sparse only where it beats dense.
bool runs_sparse(ConvKernel sparse, const ConvWork& work, const csr::Machine& machine);

}  // namespace jouleprune::cuda::conv
