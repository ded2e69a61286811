#include "instructions.h"
#include "simt/host/launcher.h"

namespace jouleprune::instructions {

Results emulated(int which, const std::vector<uint32_t>& in) {
  Results results{std::vector<uint32_t>(in.size()), 0, ""};
  simt::host::GlobalMemory memory;
  memory.add("in", in.data(), in.size() * 4, simt::host::Access::kRead);
  memory.add("out", results.out.data(), results.out.size() * 4, simt::host::Access::kWriteAll);
  memory.add("sum", &results.sum, 4, simt::host::Access::kReadWrite);
  simt::host::Launcher launcher(memory);
  with_case(which, [&](auto kernel) {
    using Case = decltype(kernel);
    launcher.launch<Case>({1, 1}, Case::kShared, {in.data(), results.out.data(), &results.sum});
  });
  results.problem = launcher.problems();
  return results;
}

}  // namespace jouleprune::instructions
