// Which kernel a product with a csr weight runs on a GPU: by prediction (cuda/csr/choice.h), and by the times that a benchmark on that GPU
// left in the tuning table. Explains itself. Torch-free, and without a GPU.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "csr/choice.h"
#include "plan/tuning.h"

namespace jouleprune::plan {

/// A GPU as the tuning table knows it: "NVIDIA H200, 9.0, 132 multiprocessors, jouleprune 0.1.0". Times of another GPU, or of another
/// version of the kernels, are not used.
std::string gpu_identity(std::string_view name, int major, int minor, int multiprocessors);

struct GpuCandidate {
  std::string name;                    ///< as JOULEPRUNE_CUDA_CSR has it, or "dense int8", "dense fp8", "dense 16-bit"
  double predicted_s = 0;              ///< infinite: does not serve this type or GPU
  std::optional<double> measured_s;    ///< from the table, brought to this shape
  std::string why_not;                 ///< why it cannot be chosen; empty: it can
};

struct GpuDecision {
  cuda::csr::Kernel kernel = cuda::csr::Kernel::kDense;
  std::vector<GpuCandidate> candidates;
  std::string reason;  ///< one sentence

  /// A line for each candidate, and the reason.
  std::string to_string() const;
};

/// Times decide where dense was measured, then among what was measured; elsewhere predictions do. A sparse kernel is chosen only where it
/// beats dense. `times`: null for predictions alone. `no_cusparse`: why cuSPARSE cannot run; empty: it can, and is chosen where it was measured to win.
GpuDecision choose_on_gpu(const cuda::csr::Shape& shape, const cuda::csr::Machine& machine, const TuningTable* times,
                          const std::string& no_cusparse);

/// The call under which the table keeps times of that product.
TunedCall gpu_call(const cuda::csr::Shape& shape);

}  // namespace jouleprune::plan
