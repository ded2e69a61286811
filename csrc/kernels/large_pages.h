// An allocator for arrays that are streamed from memory: on pages of 2 MB where the system grants them, so that reading ahead does
// not stop at every 4 KB.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <new>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace jouleprune::kernels {

template <class T>
struct LargePages {
  using value_type = T;
  LargePages() = default;
  template <class U>
  explicit LargePages(const LargePages<U>&) {}

  T* allocate(size_t count) {
    const size_t bytes = count * sizeof(T), alignment = bytes >= kPage ? kPage : kLine;
    const size_t whole = (bytes + alignment - 1) / alignment * alignment;
    void* memory = std::aligned_alloc(alignment, whole);
    if (memory == nullptr) {
      throw std::bad_alloc();
    }
#if defined(__linux__)
    if (bytes >= kPage) {
      madvise(memory, whole, MADV_HUGEPAGE);  // a wish: small pages do as well
    }
#endif
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t) { std::free(memory); }

  template <class U>
  bool operator==(const LargePages<U>&) const { return true; }

 private:
  static constexpr size_t kPage = size_t{2} << 20, kLine = 64;
};

}  // namespace jouleprune::kernels
