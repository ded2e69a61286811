// Memory of a packed form: aligned to cache lines, and on huge pages when it is large.
#pragma once
#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace jouleprune::kernels::csr::small {

/// `size` elements; kernels may also read (not use) a whole vector from any place within.
template <class T>
class FormBuffer {
 public:
  FormBuffer() = default;
  explicit FormBuffer(int64_t size) : bytes_((size * static_cast<int64_t>(sizeof(T)) / kLine + 2) * kLine) {
    // Streams of many megabytes: with 4 KB pages the hardware prefetcher stops at each page.
    const bool large = bytes_ >= 2 * kHugePage;
    bytes_ = large ? (bytes_ + kHugePage - 1) / kHugePage * kHugePage : bytes_;
    const auto alignment = static_cast<size_t>(large ? kHugePage : kLine);
    memory_.reset(static_cast<T*>(std::aligned_alloc(alignment, static_cast<size_t>(bytes_))));
    if (memory_ == nullptr) {
      throw std::bad_alloc();
    }
#if defined(MADV_HUGEPAGE)
    if (large) {
      madvise(memory_.get(), static_cast<size_t>(bytes_), MADV_HUGEPAGE);  // advice: a refusal changes nothing
    }
#endif
  }

  T* data() { return memory_.get(); }
  const T* data() const { return memory_.get(); }
  T& operator[](int64_t i) { return memory_.get()[i]; }
  const T& operator[](int64_t i) const { return memory_.get()[i]; }
  int64_t bytes() const { return bytes_; }

 private:
  static constexpr int64_t kLine = 64, kHugePage = 2 << 20;
  struct Free {
    void operator()(T* memory) const { std::free(memory); }
  };
  int64_t bytes_ = 0;
  std::unique_ptr<T, Free> memory_;
};

}  // namespace jouleprune::kernels::csr::small
