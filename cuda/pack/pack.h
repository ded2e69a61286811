// Packing of dense weights, as launchers take it. Pointers are of the device; knows neither torch nor CUDA.
#pragma once
#include "launch_kernel.h"
#include "pack/csr_entries.h"
#include "pack/nm_groups.h"

namespace jouleprune::cuda::pack {

/// Calls body with an unsigned number of that many bytes: of an element only its width matters.
template <class Body>
void with_width(int bytes, const Body& body) {
  switch (bytes) {
    case 2: return body(uint16_t{});
    case 4: return body(uint32_t{});
    default: return body(uint64_t{});
  }
}

template <class Launcher>
void launch(Launcher& launcher, const CsrRowsParams& p) {
  launch_kernel<CountRows>(launcher, p);
  launch_kernel<AddUpRows>(launcher, p);
}

struct CsrEntries {
  int element_bytes;
  CsrEntriesParams params;
};

template <class Launcher>
void launch(Launcher& launcher, const CsrEntries& p) {
  with_width(p.element_bytes, [&](auto element) {
    launch_kernel<WriteEntries<decltype(element)>>(launcher, p.params);
  });
}

struct NmGroups {
  int element_bytes;
  NmGroupsParams params;
};

template <class Launcher>
void launch(Launcher& launcher, const NmGroups& p) {
  with_width(p.element_bytes, [&](auto element) {
    launch_kernel<ChooseEntries<decltype(element)>>(launcher, p.params);
  });
}

}  // namespace jouleprune::cuda::pack
