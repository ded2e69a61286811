// What emulated threads do, told to ThreadSanitizer, where JOULEPRUNE_SIMT_THREAD_SANITIZER is defined: it then looks for
// races by vector clocks, a second opinion beside the shadow of shared memory. Nothing else of a program need be
// compiled for it, only linked with -fsanitize=thread: what emulated threads access is told by the functions below, and
// what the emulator itself does is none of its business. Elsewhere these functions do nothing.
#pragma once
#include <cstddef>
#include <cstdint>

#if defined(JOULEPRUNE_SIMT_THREAD_SANITIZER)
extern "C" {  // of the runtime; sanitizer/tsan_interface.h has a part of them
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* at);
void __tsan_release(void* at);
void __tsan_read_range(void* at, unsigned long bytes);
void __tsan_write_range(void* at, unsigned long bytes);
int __tsan_atomic32_fetch_add(volatile int* at, int value, int order);
void __tsan_ignore_thread_begin();
void __tsan_ignore_thread_end();
}
#endif

namespace jouleprune::simt::host::sanitizer {

#if defined(JOULEPRUNE_SIMT_THREAD_SANITIZER)

inline void* new_fiber() { return __tsan_create_fiber(0); }
inline void delete_fiber(void* fiber) { __tsan_destroy_fiber(fiber); }
inline void* current_fiber() { return __tsan_get_current_fiber(); }
/// The switch itself orders nothing: one thread of the system runs them all.
inline void switch_to(void* fiber) { __tsan_switch_to_fiber(fiber, 1); }
/// What happened before release(x) happens before what follows acquire(x).
inline void release(const void* x) { __tsan_release(const_cast<void*>(x)); }
inline void acquire(const void* x) { __tsan_acquire(const_cast<void*>(x)); }

/// Whether accesses are told: a test that has seen its race need not see the others.
inline bool watching = true;

/// While an emulated thread runs, only what is told counts.
inline void begin_thread() { __tsan_ignore_thread_begin(); }
inline void end_thread() { __tsan_ignore_thread_end(); }
template <class Access>
void told(const Access& access) {
  if (!watching) return;
  __tsan_ignore_thread_end();
  access();
  __tsan_ignore_thread_begin();
}
inline void read(const void* at, size_t bytes) {
  told([&] { __tsan_read_range(const_cast<void*>(at), bytes); });
}
inline void write(const void* at, size_t bytes) {
  told([&] { __tsan_write_range(const_cast<void*>(at), bytes); });
}
/// An atomic access to a 32-bit number, which stays as it is.
inline void touch_atomic(const void* at) {
  told([&] { __tsan_atomic32_fetch_add(static_cast<volatile int*>(const_cast<void*>(at)), 0, __ATOMIC_RELAXED); });
}

#else

inline void* new_fiber() { return nullptr; }
inline void delete_fiber(void*) {}
inline void* current_fiber() { return nullptr; }
inline void switch_to(void*) {}
inline void release(const void*) {}
inline void acquire(const void*) {}
inline void begin_thread() {}
inline void end_thread() {}
inline void read(const void*, size_t) {}
inline void write(const void*, size_t) {}
inline void touch_atomic(const void*) {}

#endif

}  // namespace jouleprune::simt::host::sanitizer
