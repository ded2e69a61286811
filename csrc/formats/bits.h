// Masks as bits: element i at byte i / 8, bit i % 8; unused bits of the last byte are 0. Torch-free.
#pragma once
#include <cstdint>
#include <type_traits>

namespace jouleprune::formats {

inline int64_t bit_bytes(int64_t count) { return (count + 7) / 8; }

/// Bytes [begin, end) of the bits of `mask` [count].
inline void pack_bits(const bool* mask, int64_t count, int64_t begin, int64_t end, uint8_t* bits) {
  for (int64_t byte = begin; byte < end; ++byte) {
    const int64_t left = count - byte * 8;
    uint8_t packed = 0;
    for (int64_t i = 0; i < (left < 8 ? left : 8); ++i) {
      packed = static_cast<uint8_t>(packed | (mask[byte * 8 + i] ? 1u << i : 0u));
    }
    bits[byte] = packed;
  }
}

/// The elements of `mask` [count] that lie in bytes [begin, end) of the bits.
inline void unpack_bits(const uint8_t* bits, int64_t count, int64_t begin, int64_t end, bool* mask) {
  for (int64_t i = begin * 8; i < end * 8 && i < count; ++i) {
    mask[i] = (bits[i / 8] >> (i % 8) & 1) != 0;
  }
}

/// Sets to zero the elements of `data` [count] that lie in bytes [begin, end) of the bits and whose bit is 0.
template <class T>
void clear_by_bits(const uint8_t* bits, int64_t count, int64_t begin, int64_t end, T* data) {
  for (int64_t byte = begin; byte < end; ++byte) {
    if (bits[byte] == 0xff) {
      continue;
    }
    const int64_t first = byte * 8, left = count - first;
    if constexpr (std::is_unsigned_v<T>) {
      if (left >= 8) {  // without branches: random bits would miss every other one
        for (int i = 0; i < 8; ++i) {
          data[first + i] &= static_cast<T>(-static_cast<T>(bits[byte] >> i & 1));
        }
        continue;
      }
    }
    for (int64_t i = 0; i < (left < 8 ? left : 8); ++i) {
      if ((bits[byte] >> i & 1) == 0) {
        data[first + i] = T{};
      }
    }
  }
}

}  // namespace jouleprune::formats
