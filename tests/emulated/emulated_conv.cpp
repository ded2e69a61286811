// The kernels of convolutions in the emulator, with their memory as the launchers' parameters tell it.
#include "conv/conv_csr_launch.h"
#include "emulated_backend.h"
#include "emulated_memory.h"

namespace jouleprune::emulated {
namespace {

namespace conv = cuda::conv;

void add_matrix(Memory& memory, const cuda::csr::Matrix& m, int64_t nnz) {
  memory.add_elements("values", m.values, nnz);
  memory.add_int32("columns", m.columns, nnz);
  memory.add_int32("sources", m.sources, nnz);
  memory.add_int32("offsets", m.offsets, m.rows + 1);
  memory.add_int32("order", m.order, m.rows);
}

}  // namespace

std::string run(const conv::Conv& p) {
  const auto& s = p.params.shape;
  const auto& e = p.params.epilogue;
  Memory memory(p.type);
  add_matrix(memory, p.params.matrix, p.nnz);
  memory.add_elements("input", p.params.input, s.batch * s.padded_image());
  memory.add_elements("output", p.params.output, s.batch * s.out_image(), Access::kWriteAll);
  memory.add_elements("bias", e.bias, s.out_channels);
  memory.add_elements("residual", e.residual, s.batch * s.out_image());
  return launched(memory, p.type, p);
}

std::string run(const conv::ConvGradInput& p) {
  const auto& s = p.params.shape;
  Memory memory(p.type);
  add_matrix(memory, p.params.matrix, p.nnz);
  memory.add_elements("grad_output", p.params.grad_output, s.batch * s.out_image());
  memory.add_elements("grad_input", p.params.grad_input, s.batch * s.in_channels * s.height * s.width, Access::kWriteAll);
  return launched(memory, p.type, p);
}

std::string run(const conv::ConvGradValues& p) {
  const auto& v = p.params;
  Memory memory(p.type);
  memory.add_int32("entry rows", v.entry_rows, v.nnz);
  memory.add_int32("columns", v.columns, v.nnz);
  memory.add_elements("grad_output", v.grad_output, v.shape.batch * v.shape.out_image());
  memory.add_elements("input", v.input, v.shape.batch * v.shape.padded_image());
  memory.add_elements("gradient", v.gradient, v.nnz, Access::kWriteAll);
  return launched(memory, p.type, p);
}

}  // namespace jouleprune::emulated
