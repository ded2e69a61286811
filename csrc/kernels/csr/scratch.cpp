#include "kernels/csr/scratch.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <vector>

namespace jouleprune::kernels::csr {
namespace {

constexpr size_t kAlignment = 64;  // a cache line: loads that straddle two run at half the rate
constexpr size_t kMaxKept = size_t{32} << 20;  // bytes a thread keeps between calls

struct Header {
  size_t bytes;  // usable
};

size_t usable_bytes(void* memory) { return static_cast<Header*>(static_cast<void*>(static_cast<char*>(memory) - kAlignment))->bytes; }
void free_block(void* memory) { std::free(static_cast<char*>(memory) - kAlignment); }

/// The blocks a thread keeps, smallest first.
class KeptBlocks {
 public:
  ~KeptBlocks() { std::for_each(blocks_.begin(), blocks_.end(), free_block); }

  void* take(size_t bytes) {
    const auto fits = std::find_if(blocks_.begin(), blocks_.end(), [&](void* block) { return usable_bytes(block) >= bytes; });
    if (fits == blocks_.end()) {
      return nullptr;
    }
    void* const block = *fits;
    blocks_.erase(fits);
    total_ -= usable_bytes(block);
    return block;
  }

  void keep(void* block) {
    while (!blocks_.empty() && total_ + usable_bytes(block) > kMaxKept) {
      total_ -= usable_bytes(blocks_.front());
      free_block(blocks_.front());
      blocks_.erase(blocks_.begin());
    }
    if (usable_bytes(block) > kMaxKept) {
      return free_block(block);
    }
    const auto larger = std::find_if(blocks_.begin(), blocks_.end(),
                                     [&](void* other) { return usable_bytes(other) >= usable_bytes(block); });
    total_ += usable_bytes(block);
    blocks_.insert(larger, block);
  }

 private:
  std::vector<void*> blocks_;
  size_t total_ = 0;
};

KeptBlocks& kept_blocks() {
  thread_local KeptBlocks blocks;
  return blocks;
}

}  // namespace

void* acquire_scratch(size_t bytes) {
  const size_t rounded = (bytes / kAlignment + 1) * kAlignment;
  if (void* const kept = kept_blocks().take(rounded)) {
    return kept;
  }
  void* const memory = std::aligned_alloc(kAlignment, rounded + kAlignment);
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  static_cast<Header*>(memory)->bytes = rounded;
  return static_cast<char*>(memory) + kAlignment;
}

void release_scratch(void* memory) { kept_blocks().keep(memory); }

}  // namespace jouleprune::kernels::csr
