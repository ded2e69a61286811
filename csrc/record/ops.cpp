// record_begin and record_end as torch ops, so that Python, scripts and programs reach the recorder alike.
#include <torch/library.h>

#include <string>
#include <utility>

#include "record/record.h"

namespace jouleprune::record {
namespace {

void record_begin(const c10::List<std::string>& names, at::TensorList tensors, int64_t batch, bool count_zeros,
                  bool measure_activations) {
  TORCH_CHECK_VALUE(names.size() == tensors.size(), "record_begin: expected one name per tensor, got ", names.size(),
                    " names and ", tensors.size(), " tensors");
  TORCH_CHECK_VALUE(batch >= 0, "record_begin: batch: expected 0 (dim 0 of the first tensor) or more, got ", batch);
  NamedTensors weights;
  for (size_t i = 0; i < tensors.size(); ++i) weights.emplace_back(names.get(i), tensors[i]);
  begin(std::move(weights), {batch, count_zeros, measure_activations});
}

std::string record_end() { return end().to_json(); }

}  // namespace

TORCH_LIBRARY_IMPL(jouleprune, CompositeImplicitAutograd, m) {
  m.impl("record_begin", record_begin);
  m.impl("record_end", record_end);
}

// Fake tensors and modes bring these keys: the recorder wants the tensors themselves, not a fake run of its own op.
TORCH_LIBRARY_IMPL(jouleprune, Python, m) {
  m.impl("record_begin", record_begin);
  m.impl("record_end", record_end);
}

}  // namespace jouleprune::record
