#include "kernels/jit/executable_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <exception>
#include <new>
#include <system_error>
#include <utility>

#include "kernels/switches.h"

namespace jouleprune::kernels::jit {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kHugePage = size_t{2} << 20;

size_t whole_pages(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

[[noreturn]] void refuse(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

/// Hardened systems (SELinux execmem) refuse to turn private pages executable, but let a file in memory be mapped that way.
void* map_through_file(std::span<const uint8_t> code, size_t bytes) {
  const int file = memfd_create("jouleprune-code", MFD_CLOEXEC);
  if (file < 0) refuse("memfd_create");
  void* mapping = MAP_FAILED;
  if (ftruncate(file, static_cast<off_t>(bytes)) == 0) {
    size_t written = 0;
    while (written < code.size()) {
      const ssize_t now = pwrite(file, code.data() + written, code.size() - written, static_cast<off_t>(written));
      if (now <= 0) break;
      written += static_cast<size_t>(now);
    }
    if (written == code.size()) {
      mapping = mmap(nullptr, bytes, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);
    }
  }
  const int error = errno;
  close(file);
  errno = error;
  if (mapping == MAP_FAILED) refuse("mapping executable memory");
  return mapping;
}


bool can_execute() {
  if (!wanted()) {
    return false;
  }
#if defined(__x86_64__) && defined(JOULEPRUNE_HAS_XBYAK)
  try {
    const uint8_t code[] = {0xb8, 0x2a, 0, 0, 0, 0xc3};  // mov eax, 42; ret
    const ExecutableMemory memory(code);
    int (*function)();
    const uint8_t* entry = memory.data();
    std::memcpy(&function, &entry, sizeof(function));
    return function() == 42;
  } catch (const std::exception&) {
    return false;
  }
#else
  return false;
#endif
}

}  // namespace

bool wanted() {
  static const bool value = switched_on("JOULEPRUNE_JIT", true);
  return value;
}

bool available() {
  static const bool can = can_execute();
  return can;
}

ExecutableMemory::ExecutableMemory(std::span<const uint8_t> code) : size_(code.size()) {
  // Huge pages for large code: straight-line code would miss the instruction TLB once per 4 KB.
  const bool huge = code.size() >= kHugePage / 2;
  mapped_ = huge ? whole_pages(code.size(), kHugePage) + kHugePage : whole_pages(code.size(), kPage);
  mapping_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping_ == MAP_FAILED) {
    mapping_ = nullptr;
    throw std::bad_alloc();
  }
  auto* start = static_cast<uint8_t*>(mapping_);
  if (huge) {
    start = reinterpret_cast<uint8_t*>(whole_pages(reinterpret_cast<size_t>(start), kHugePage));
    madvise(start, whole_pages(code.size(), kHugePage), MADV_HUGEPAGE);
  }
  std::memcpy(start, code.data(), code.size());
  data_ = start;
  if (mprotect(mapping_, mapped_, PROT_READ | PROT_EXEC) != 0) {
    munmap(std::exchange(mapping_, nullptr), mapped_);
    mapped_ = whole_pages(code.size(), kPage);
    mapping_ = map_through_file(code, mapped_);
    data_ = static_cast<const uint8_t*>(mapping_);
  }
}

ExecutableMemory::ExecutableMemory(ExecutableMemory&& other) noexcept { *this = std::move(other); }

ExecutableMemory& ExecutableMemory::operator=(ExecutableMemory&& other) noexcept {
  std::swap(mapping_, other.mapping_);
  std::swap(mapped_, other.mapped_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

ExecutableMemory::~ExecutableMemory() {
  if (mapping_ != nullptr) {
    munmap(mapping_, mapped_);
  }
}

}  // namespace jouleprune::kernels::jit
