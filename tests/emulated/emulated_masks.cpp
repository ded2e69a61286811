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

}  // namespace jouleprune::emulated
