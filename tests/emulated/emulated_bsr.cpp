// The bsr kernels in the emulator, with their memory as the launchers' parameters tell it.
#include <atomic>

#include "bsr/linear_bsr_launch.h"
#include "emulated_backend.h"
#include "emulated_memory.h"

namespace jouleprune::cuda::bsr {

int64_t turned_elements(int64_t features, int64_t n) { return features * feature_major_pitch(n); }

}  // namespace jouleprune::cuda::bsr

namespace jouleprune::emulated {
std::string run(const cuda::bsr::Linear& p) {
  const auto& w = p.weight;
  Memory memory(w.type);
  add_structure(memory, w);
  memory.add_elements("values", w.values, w.blocks * w.r * w.c);
  memory.add_rows("input", p.input, p.input_stride, p.n, w.cols);
  memory.add_elements("turned", p.turned_input, cuda::bsr::turned_elements(w.cols, p.n), Access::kReadWrite);
  memory.add_elements("bias", p.epilogue.bias, w.rows);
  memory.add_elements("residual", p.epilogue.residual, p.n * w.rows);
  memory.add_elements("output", p.output, p.n * w.rows, Access::kWriteAll);
  return launched(memory, w.type, p);
}

std::string run(const cuda::bsr::LinearInput& p) {
  const auto& w = p.weight;
  Memory memory(w.type);
  add_structure(memory, w);
  memory.add_elements("values", w.values, w.blocks * w.r * w.c);
  memory.add_int32("index", p.transposed.offsets, p.transposed.groups + 1);
  memory.add_int32("index", p.transposed.places, p.transposed.entries);
  memory.add_int32("index", p.transposed.sources, p.transposed.entries * (w.c == 1 ? cuda::bsr::kVectorGroup : 1));
  memory.add_rows("grad_output", p.grad_output, p.grad_output_stride, p.n, w.rows);
  memory.add_elements("turned", p.turned_grad_output, cuda::bsr::turned_elements(w.rows, p.n), Access::kReadWrite);
  memory.add_elements("grad_input", p.grad_input, p.n * w.cols, Access::kWriteAll);
  return launched(memory, w.type, p);
}

std::string run(const cuda::bsr::LinearBlocks& p) {
  const auto& w = p.weight;
  Memory memory(w.type);
  add_structure(memory, w);
  memory.add_rows("grad_output", p.grad_output, p.grad_output_stride, p.n, w.rows);
  memory.add_rows("input", p.input, p.input_stride, p.n, w.cols);
  memory.add_elements("turned", p.turned_grad_output, cuda::bsr::turned_elements(w.rows, p.n), Access::kReadWrite);
  memory.add_elements("turned", p.turned_input, cuda::bsr::turned_elements(w.cols, p.n), Access::kReadWrite);
  memory.add_elements("grad_blocks", p.grad_blocks, w.blocks * w.r * w.c, Access::kWriteAll);
  return launched(memory, w.type, p);
}

namespace {
std::atomic<uint64_t> all_runs = 0;
}

simt::host::Options next_options() {
  simt::host::Options options;
  options.seed = ++all_runs;
  return options;
}
uint64_t runs() { return all_runs; }

}  // namespace jouleprune::emulated
