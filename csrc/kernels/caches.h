// Sizes of this processor's caches.
#pragma once
#include <cstdint>

namespace jouleprune::kernels {

/// Bytes of a core's second-level cache; 1 MiB where the system does not tell.
int64_t second_level_cache();
/// Bytes of the last level, shared or not; 32 MiB where the system does not tell.
int64_t last_level_cache();

}  // namespace jouleprune::kernels
