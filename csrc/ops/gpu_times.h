// Times of kernels on a GPU, as a benchmark left them in the tuning file (plan/tuning.h): read once for each file and GPU.
#pragma once
#include <functional>
#include <string>

#include "csr/choice.h"
#include "plan/tuning.h"

namespace jouleprune::ops {

/// Null where the file holds none of this GPU (plan::gpu_identity). A damaged file counts as none, with a warning that says so.
const plan::TuningTable* times_of_gpu(const std::string& identity);

/// plan::choose_on_gpu with these times; decisions by times are kept. `no_cusparse`: asked where
/// there are times; gives why it cannot run, or nothing.
cuda::csr::Kernel choose_by_times(const cuda::csr::Shape& shape, const cuda::csr::Machine& machine, const std::string& identity,
                                  const std::function<std::string()>& no_cusparse);

}  // namespace jouleprune::ops
