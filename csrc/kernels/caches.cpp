#include "kernels/caches.h"

#include <unistd.h>

namespace jouleprune::kernels {
namespace {

[[maybe_unused]] int64_t told_or(int64_t told, int64_t usual) { return told > 0 ? told : usual; }

}  // namespace

int64_t second_level_cache() {
  constexpr int64_t kUsual = 1 << 20;
#if defined(_SC_LEVEL2_CACHE_SIZE)
  static const int64_t bytes = told_or(sysconf(_SC_LEVEL2_CACHE_SIZE), kUsual);
  return bytes;
#else
  return kUsual;
#endif
}

int64_t last_level_cache() {
  constexpr int64_t kUsual = 32 << 20;
#if defined(_SC_LEVEL3_CACHE_SIZE)
  static const int64_t bytes = told_or(sysconf(_SC_LEVEL3_CACHE_SIZE), kUsual);
  return bytes;
#else
  return kUsual;
#endif
}

}  // namespace jouleprune::kernels
