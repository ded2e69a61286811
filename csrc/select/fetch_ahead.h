// What passes over many scores ask of memory.
#pragma once

namespace jouleprune::select {

/// Asks for scores far ahead of those that are looked at: what a pass does with each keeps the processor from seeing that far by itself.
template <class Score>
inline void fetch_ahead(const Score* scores) {
  __builtin_prefetch(reinterpret_cast<const char*>(scores) + 2048);
}

}  // namespace jouleprune::select
