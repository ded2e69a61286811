// The mask kernels in the emulator.
#include "emulated_backend.h"
#include "emulated_memory.h"

namespace jouleprune::emulated {

std::string run(const cuda::masks::Apply& p) {
  simt::host::GlobalMemory memory;
  memory.add("data", p.params.data, static_cast<size_t>(p.params.count * p.element_bytes), Access::kWriteOnce);
  memory.add("bits", p.params.bits, static_cast<size_t>((p.params.count + 7) / 8), Access::kRead);
  simt::host::Launcher launcher(memory, next_options());
  cuda::masks::launch(launcher, p);
  return launcher.problems();
}

std::string run(const cuda::masks::SmallestParams& p) {
  simt::host::GlobalMemory memory;
  memory.add("scores", p.scores, static_cast<size_t>(p.count) * 4, Access::kRead);
  memory.add("state", p.state, sizeof(*p.state), Access::kReadWrite);
  memory.add("counts", p.counts, cuda::masks::kDigits * 4, Access::kReadWrite);
  memory.add("ties", p.ties, static_cast<size_t>(cuda::masks::blocks_of(p)) * 4, Access::kReadWrite);
  memory.add("bits", p.bits, static_cast<size_t>((p.count + 7) / 8), Access::kWriteAll);
  simt::host::Launcher launcher(memory, next_options());
  cuda::masks::launch_smallest(launcher, p);
  return launcher.problems();
}

namespace {

void add_left(simt::host::GlobalMemory& memory, const bool* left, int64_t count) {
  if (left != nullptr) memory.add("left", left, static_cast<size_t>(count), Access::kRead);
}

template <class Params>
std::string launched(simt::host::GlobalMemory& memory, const Params& p) {
  simt::host::Launcher launcher(memory, next_options());
  cuda::masks::launch(launcher, p);
  return launcher.problems();
}

}  // namespace

std::string run(const cuda::masks::Norms& p) {
  const auto& units = p.params.units;
  const auto count = static_cast<size_t>(cuda::masks::units_of(units));
  simt::host::GlobalMemory memory;
  memory.add("scores", p.params.scores, static_cast<size_t>(units.rows * units.cols) * cuda::size_of(p.type), Access::kRead);
  add_left(memory, units.left, units.rows * units.cols);
  memory.add("norms", p.params.norms, count * 8, Access::kWriteAll);
  memory.add("units left", p.params.units_left, count, Access::kWriteAll);
  return launched(memory, p);
}

std::string run(const cuda::masks::SpreadUnitsParams& p) {
  const int64_t count = p.units.rows * p.units.cols;
  simt::host::GlobalMemory memory;
  memory.add("kept", p.kept, static_cast<size_t>(cuda::masks::units_of(p.units)), Access::kRead);
  add_left(memory, p.units.left, count);
  memory.add("mask", p.mask, static_cast<size_t>(count), Access::kWriteAll);
  return launched(memory, p);
}

std::string run(const cuda::masks::NOfM& p) {
  const int64_t count = p.params.outer * p.params.length * p.params.inner;
  simt::host::GlobalMemory memory;
  memory.add("scores", p.params.scores, static_cast<size_t>(count) * cuda::size_of(p.type), Access::kRead);
  add_left(memory, p.params.left, count);
  memory.add("kept", p.params.kept, static_cast<size_t>(count), Access::kWriteAll);
  return launched(memory, p);
}

}  // namespace jouleprune::emulated
