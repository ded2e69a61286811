// The hash behind structure keys. Files hold such keys: it must never change within schema 1.
#pragma once
#include <array>
#include <cstdint>

namespace jouleprune::formats {

// Two lanes of multiply and xor-shift mixing over 64-bit words; words are made by arithmetic, not by reinterpreting memory, so
// that the key does not depend on byte order. The constants are odd and unrelated (golden ratio, sqrt(3) - 1 in 64 bits).
class Mixer {
 public:
  void add(uint64_t word) {
    low_ = (low_ ^ word) * 0x9e3779b97f4a7c15u;
    low_ ^= low_ >> 32;
    high_ = (high_ ^ (word * 0xbb67ae8584caa73bu)) * 0xd6e8feb86659fd93u;
    high_ ^= high_ >> 29;
  }

  /// Adds a list of int32, two to a word.
  void add(const int32_t* items, int64_t count) {
    int64_t i = 0;
    for (; i + 1 < count; i += 2) {
      add(static_cast<uint64_t>(static_cast<uint32_t>(items[i])) |
          static_cast<uint64_t>(static_cast<uint32_t>(items[i + 1])) << 32);
    }
    if (i < count) {
      add(static_cast<uint64_t>(static_cast<uint32_t>(items[i])));
    }
  }

  std::array<int64_t, 2> finish() {
    add(0x6a6f756c65707275u);  // so that the last word is mixed as well as the others
    add(high_);
    return {static_cast<int64_t>(low_), static_cast<int64_t>(high_)};
  }

 private:
  uint64_t low_ = 0x243f6a8885a308d3u, high_ = 0x13198a2e03707344u;  // pi
};

}  // namespace jouleprune::formats
