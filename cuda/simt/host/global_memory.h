// Global memory of the emulator: named spans of the host's memory, with bounds, direction and written-once checks.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace jouleprune::simt::host {

enum class Access {
  kRead,
  kWriteOnce,  ///< each byte at most once by plain stores
  kWriteAll,   ///< each byte exactly once
  kReadWrite,  ///< scratch: anything
};

class GlobalMemory {
 public:
  struct Span {
    std::string name;
    const char* begin;
    size_t bytes;
    Access access;
    std::vector<bool> written;  // of each byte; for the spans that are written once
  };

  void add(std::string name, const void* begin, size_t bytes, Access access);
  /// The span that holds all of [at, at + bytes), or null.
  Span* find(const void* at, size_t bytes);
  /// Bytes of kWriteAll that nothing wrote: "name: N of M bytes", or empty.
  std::vector<std::string> unwritten() const;

 private:
  std::vector<Span> spans_;
  size_t last_ = 0;
};

}  // namespace jouleprune::simt::host
