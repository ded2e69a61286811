// The csr kernels in the emulator, with their memory as the launchers' parameters tell it.
#include "csr/linear_csr_launch.h"
#include "emulated_backend.h"
#include "emulated_memory.h"

namespace jouleprune::emulated {
namespace {

namespace csr = cuda::csr;

void add_epilogue(Memory& memory, const cuda::Epilogue& e, int64_t rows, int64_t n) {
  memory.add_elements("bias", e.bias, rows);
  memory.add_elements("residual", e.residual, rows * n);
}

}  // namespace

std::string run(const csr::Linear& p) {
  const auto& m = p.matrix;
  Memory memory(p.type);
  memory.add_elements("values", m.values, p.nnz);
  memory.add_int32("columns", m.columns, p.nnz);
  memory.add_int32("sources", m.sources, p.nnz);
  memory.add_int32("offsets", m.offsets, m.rows + 1);
  memory.add_int32("order", m.order, m.rows);
  memory.add_rows("input", p.input, p.input_stride, p.n, m.cols);
  memory.add_elements("turned input", p.turned_input, m.cols * cuda::feature_major_pitch(p.n), Access::kReadWrite);
  memory.add_elements("turned output", p.turned_output, m.rows * cuda::feature_major_pitch(p.n), Access::kReadWrite);
  memory.add_elements("output", p.output, p.n * m.rows, Access::kWriteAll);
  add_epilogue(memory, p.epilogue, m.rows, p.n);
  return launched(memory, p.type, p);
}

std::string run(const csr::Pack& p) {
  Memory memory(p.type);
  memory.add_elements("values", p.params.values, p.nnz);
  memory.add_int32("order", p.params.order, p.params.count);
  memory.add_elements("packed", p.params.packed, p.params.count, Access::kWriteAll);
  return launched(memory, p.type, p);
}

std::string run(const csr::LinearTiles& p) {
  const auto& t = p.params;
  const int64_t groups = csr::strips_of(t.rows) * csr::groups_per_strip(t.cols);
  Memory memory(p.type);
  memory.add("headers", t.headers, static_cast<size_t>(groups) * (p.pairs ? csr::kPairHeaderBytes : csr::kHeaderBytes),
             Access::kRead);
  memory.add_int32("starts", t.starts, groups + 1);
  memory.add_elements("packed", t.values, p.packed);
  memory.add_rows("input", p.input, p.input_stride, t.n, t.cols);
  memory.add_elements("turned", p.turned_input, t.cols * cuda::feature_major_pitch(t.n), Access::kReadWrite);
  memory.add("partial", t.partial, static_cast<size_t>(csr::partial_sums(t.rows, t.n, t.splits)) * 4,
             Access::kReadWrite);
  memory.add_elements("output", t.y, t.n * t.rows, Access::kWriteAll);
  add_epilogue(memory, t.epilogue, t.rows, t.n);
  return launched(memory, p.type, p);
}

std::string run(const csr::LinearValues& p) {
  const auto& g = p.params;
  Memory memory(p.type);
  memory.add_int32("entry rows", g.entry_rows, g.nnz);
  memory.add_int32("columns", g.columns, g.nnz);
  memory.add_rows("grad_output", p.grad_output, p.grad_output_stride, g.n, p.rows);
  memory.add_rows("input", p.input, p.input_stride, g.n, p.cols);
  memory.add_elements("turned", p.turned_grad_output, p.rows * cuda::feature_major_pitch(g.n), Access::kReadWrite);
  memory.add_elements("turned", p.turned_input, p.cols * cuda::feature_major_pitch(g.n), Access::kReadWrite);
  memory.add_elements("gradient", g.gradient, g.nnz, Access::kWriteAll);
  return launched(memory, p.type, p);
}

std::string run(const csr::LinearMasked& p) {
  const auto& g = p.params;
  Memory memory(p.type);
  memory.add_int32("tiles", g.tiles, 2 * g.count);
  memory.add_int32("masks", reinterpret_cast<const int32_t*>(g.masks), 128 * g.count);
  memory.add_int32("firsts", g.firsts, 64 * g.count);
  memory.add_rows("grad_output", p.grad_output, p.grad_output_stride, g.n, g.rows);
  memory.add_rows("input", p.input, p.input_stride, g.n, g.cols);
  memory.add_elements("turned", p.turned_grad_output, g.rows * cuda::feature_major_pitch(g.n), Access::kReadWrite);
  memory.add_elements("turned", p.turned_input, g.cols * cuda::feature_major_pitch(g.n), Access::kReadWrite);
  memory.add_elements("gradient", g.gradient, p.nnz, Access::kWriteAll);
  return launched(memory, p.type, p);
}

}  // namespace jouleprune::emulated
