// Packing of dense weights, as launchers take it. Pointers are of the device; knows neither torch nor CUDA.
#pragma once
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
  launcher.template launch<CountRows>(CountRows::grid(p), CountRows::kShared, p);
  launcher.template launch<AddUpRows>(AddUpRows::grid(p), AddUpRows::kShared, p);
}

struct CsrEntries {
  int element_bytes;
  CsrEntriesParams params;
};

template <class Launcher>
void launch(Launcher& launcher, const CsrEntries& p) {
  with_width(p.element_bytes, [&](auto element) {
    using Kernel = WriteEntries<decltype(element)>;
    launcher.template launch<Kernel>(Kernel::grid(p.params), Kernel::kShared, p.params);
  });
}

struct NmGroups {
  int element_bytes;
  NmGroupsParams params;
};

template <class Launcher>
void launch(Launcher& launcher, const NmGroups& p) {
  with_width(p.element_bytes, [&](auto element) {
    using Kernel = ChooseEntries<decltype(element)>;
    launcher.template launch<Kernel>(Kernel::grid(p.params), Kernel::kShared, p.params);
  });
}

}  // namespace jouleprune::cuda::pack
