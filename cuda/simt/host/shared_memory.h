// Shared memory of an emulated block, with a shadow that knows who touched what since which barrier.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace jouleprune::simt::host {

/// A thread at a point of its run: how many barriers of its block and of its warp it has passed.
struct Moment {
  int thread, warp;
  uint32_t block_epoch, warp_epoch;
};

/// Bytes begin as NaN patterns. Two accesses of different threads to the same place, one of them a write, must have a
/// barrier between them: of the block, or of the warp if both are of one warp; else they are a race. Places that an
/// asynchronous copy will fill are poison until the copy was waited for.
class SharedMemory {
 public:
  explicit SharedMemory(size_t bytes);

  size_t size() const { return bytes_.size(); }
  /// Where bytes within its bounds lie on the host; null for others.
  const void* place(uint32_t at, size_t bytes) const { return at + bytes <= bytes_.size() ? &bytes_[at] : nullptr; }
  /// Each returns what is wrong, or an empty text; `out` is filled in any case.
  std::string read(uint32_t at, void* out, size_t bytes, const Moment& now);
  std::string write(uint32_t at, const void* from, size_t bytes, const Moment& now);
  /// Atomic addition: ordered with other atomics, not with plain accesses.
  std::string add(uint32_t at, uint32_t value, uint32_t& before, const Moment& now);
  /// A copy that is on its way, and its landing.
  std::string expect(uint32_t at, size_t bytes, const Moment& now);
  void land(uint32_t at, const void* from, size_t bytes, const Moment& now);

 private:
  static constexpr int kNobody = -1, kMany = -2;
  struct Touch {
    int thread = kNobody, warp = kNobody;
    uint32_t block_epoch = 0, warp_epoch = 0;
  };
  struct Shadow {
    Touch writer, readers;
    bool pending = false, written = false, atomic = false;
  };
  static constexpr size_t kGranule = 2;  // the smallest element

  std::string outside(uint32_t at, size_t bytes) const;
  static bool ordered(const Touch& before, const Moment& now);
  static void touch(Touch& t, const Moment& now);
  std::string check_write(Shadow& s, uint32_t at, const Moment& now, const char* what) const;

  std::vector<unsigned char> bytes_;
  std::vector<Shadow> shadow_;
};

}  // namespace jouleprune::simt::host
