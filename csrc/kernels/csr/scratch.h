// Uninitialised memory aligned for vectors, freed at the end of the scope.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace jouleprune::kernels::csr {

template <class A>
class Scratch {
 public:
  explicit Scratch(int64_t elements)
      : memory_(static_cast<A*>(std::aligned_alloc(kAlignment, round_up(elements * static_cast<int64_t>(sizeof(A)))))) {
    if (memory_ == nullptr) {
      throw std::bad_alloc();
    }
  }
  A* data() const { return memory_.get(); }

 private:
  static constexpr size_t kAlignment = 64;  // a cache line: loads that straddle two run at half the rate
  static size_t round_up(int64_t bytes) { return (static_cast<size_t>(bytes) / kAlignment + 1) * kAlignment; }
  struct Free {
    void operator()(A* memory) const { std::free(memory); }
  };
  std::unique_ptr<A, Free> memory_;
};

}  // namespace jouleprune::kernels::csr
