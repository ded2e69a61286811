// The packing kernels in the emulator.
#include "emulated_backend.h"
#include "emulated_memory.h"

namespace jouleprune::emulated {
namespace {

namespace pack = cuda::pack;

template <class Params>
std::string launched(simt::host::GlobalMemory& memory, const Params& p) {
  simt::host::Launcher launcher(memory, next_options());
  pack::launch(launcher, p);
  return launcher.problems();
}

size_t bytes(int64_t count, int each) { return static_cast<size_t>(count) * static_cast<size_t>(each); }

}  // namespace

std::string run(const pack::CsrRowsParams& p) {
  simt::host::GlobalMemory memory;
  memory.add("kept", p.kept, bytes(p.rows * p.cols, 1), Access::kRead);
  memory.add("counts", p.counts, bytes(p.rows, 4), Access::kReadWrite);
  memory.add("offsets", p.offsets, bytes(p.rows + 1, 4), Access::kWriteAll);
  memory.add("total", p.total, 8, Access::kWriteAll);
  return launched(memory, p);
}

std::string run(const pack::CsrEntries& p) {
  const auto& e = p.params;
  simt::host::GlobalMemory memory;
  memory.add("kept", e.kept, bytes(e.rows * e.cols, 1), Access::kRead);
  memory.add("weight", e.weight, bytes(e.rows * e.cols, p.element_bytes), Access::kRead);
  memory.add("offsets", e.offsets, bytes(e.rows + 1, 4), Access::kRead);
  memory.add("columns", e.columns, bytes(e.nnz, 4), Access::kWriteAll);
  memory.add("values", e.values, bytes(e.nnz, p.element_bytes), Access::kWriteAll);
  return launched(memory, p);
}

std::string run(const pack::NmGroups& p) {
  const auto& g = p.params;
  simt::host::GlobalMemory memory;
  memory.add("kept", g.kept, bytes(g.rows * g.cols, 1), Access::kRead);
  memory.add("weight", g.weight, bytes(g.rows * g.cols, p.element_bytes), Access::kRead);
  memory.add("indices", g.indices, bytes(g.rows * pack::nm_entries(g), 1), Access::kWriteAll);
  memory.add("values", g.values, bytes(g.rows * pack::nm_entries(g), p.element_bytes), Access::kWriteAll);
  memory.add("over", g.over, bytes(g.rows * pack::nm_groups(g), 1), Access::kWriteAll);
  return launched(memory, p);
}

}  // namespace jouleprune::emulated
