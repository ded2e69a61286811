// Uninitialised memory aligned for vectors, for the duration of a scope. Freed blocks stay with the thread for the next call: fresh
// pages from the system would cost more than a small product.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

namespace jouleprune::kernels::csr {

/// At least `bytes`, 64-byte aligned; from this thread's kept blocks where one is large enough. Throws std::bad_alloc.
void* acquire_scratch(size_t bytes);
/// Gives a block back, on the thread that acquired it.
void release_scratch(void* memory);

template <class A>
class Scratch {
 public:
  explicit Scratch(int64_t elements) : memory_(acquire_scratch(static_cast<size_t>(elements) * sizeof(A))) {}
  Scratch(Scratch&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)) {}
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch() {
    if (memory_ != nullptr) release_scratch(memory_);
  }
  A* data() const { return static_cast<A*>(memory_); }

 private:
  void* memory_;
};

}  // namespace jouleprune::kernels::csr
