#include "simt/host/global_memory.h"

#include <algorithm>
#include <utility>

namespace jouleprune::simt::host {

void GlobalMemory::add(std::string name, const void* begin, size_t bytes, Access access) {
  const bool once = access == Access::kWriteOnce || access == Access::kWriteAll;
  spans_.push_back(
      {std::move(name), static_cast<const char*>(begin), bytes, access, std::vector<bool>(once ? bytes : 0)});
}

GlobalMemory::Span* GlobalMemory::find(const void* at, size_t bytes) {
  const auto holds = [&](const Span& span) {
    const auto* byte = static_cast<const char*>(at);
    return byte >= span.begin && byte + bytes <= span.begin + span.bytes;
  };
  if (last_ < spans_.size() && holds(spans_[last_])) {
    return &spans_[last_];
  }
  const auto found = std::find_if(spans_.begin(), spans_.end(), holds);
  if (found == spans_.end()) {
    return nullptr;
  }
  last_ = static_cast<size_t>(found - spans_.begin());
  return &*found;
}

std::vector<std::string> GlobalMemory::unwritten() const {
  std::vector<std::string> found;
  for (const auto& span : spans_) {
    const auto missing =
        span.access == Access::kWriteAll ? std::count(span.written.begin(), span.written.end(), false) : 0;
    if (missing != 0) {
      found.push_back(span.name + ": " + std::to_string(missing) + " of " + std::to_string(span.bytes) +
                      " bytes were not written");
    }
  }
  return found;
}

}  // namespace jouleprune::simt::host
