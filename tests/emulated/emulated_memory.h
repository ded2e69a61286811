// Spans of global memory, counted in elements.
#pragma once
#include <cstdint>
#include <string>

#include "bsr/linear_bsr.h"
#include "element_type.h"
#include "simt/host/launcher.h"

namespace jouleprune::emulated {

using simt::host::Access;

struct Memory : simt::host::GlobalMemory {
  size_t element;

  explicit Memory(cuda::ElementType type) : element(cuda::size_of(type)) {}

  void add_int32(const char* name, const int32_t* data, int64_t count) {
    if (data != nullptr) {
      add(name, data, static_cast<size_t>(count) * 4, Access::kRead);
    }
  }
  void add_elements(const char* name, const void* data, int64_t count, Access access = Access::kRead) {
    if (data != nullptr) {
      add(name, data, static_cast<size_t>(count) * element, access);
    }
  }
  void add_rows(const char* name, const void* data, int64_t stride, int64_t n, int64_t features) {
    add_elements(name, data, n == 0 ? 0 : (n - 1) * stride + features);
  }
};

inline void add_structure(Memory& memory, const cuda::bsr::Weight& w) {
  memory.add_int32("offsets", w.offsets, simt::ceil_div<int64_t>(w.rows, w.r) + 1);
  memory.add_int32("columns", w.columns, w.blocks);
}

/// A schedule of its own for each run.
simt::host::Options next_options();

/// What the emulator finds wrong with the launches of an op, launch<T>(launcher, params) beside the parameters' type.
template <class Params>
std::string launched(Memory& memory, cuda::ElementType type, const Params& params) {
  simt::host::Launcher launcher(memory, next_options());
  cuda::with_type(type, [&](auto element) { launch<decltype(element)>(launcher, params); });
  return launcher.problems();
}

}  // namespace jouleprune::emulated
