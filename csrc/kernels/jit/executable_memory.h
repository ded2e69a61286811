// Memory for generated code. It is never writable and executable at once: bytes are written first, then the mapping is turned.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace jouleprune::kernels::jit {

/// Whether JOULEPRUNE_JIT allows generated code, as read by the first call. Throws std::invalid_argument when it is set to
/// something other than 0, 1 or nothing.
bool wanted();

/// Whether this process may run code it made: a supported processor, wanted(), and a system that allows it.
bool available();

/// A private copy of `code`, executable, read-only. Move-only; unmapped at the end. After fork both processes keep theirs.
class ExecutableMemory {
 public:
  ExecutableMemory() = default;
  /// Throws std::bad_alloc when there is no memory, std::system_error when the system refuses executable pages.
  explicit ExecutableMemory(std::span<const uint8_t> code);
  ExecutableMemory(ExecutableMemory&& other) noexcept;
  ExecutableMemory& operator=(ExecutableMemory&& other) noexcept;
  ~ExecutableMemory();

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }  ///< of the mapping

 private:
  void* mapping_ = nullptr;
  size_t mapped_ = 0;
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace jouleprune::kernels::jit
