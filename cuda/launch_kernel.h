// A launch of one kernel whose grid and shared memory follow from its parameters.
#pragma once

namespace jouleprune::cuda {

/// Launcher: simt::DeviceLauncher or simt::host::Launcher.
template <class Kernel, class Launcher>
void launch_kernel(Launcher& launcher, const typename Kernel::Params& p) {
  launcher.template launch<Kernel>(Kernel::grid(p), Kernel::kShared, p);
}

}  // namespace jouleprune::cuda
