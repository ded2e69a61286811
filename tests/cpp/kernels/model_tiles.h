// Matrix tiles in plain C++: processors that have them are rare.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/scalar_types.h"

namespace jouleprune::kernels::testing {

/// Eight registers as Intel's manual describes TILELOADD, TILESTORED, TDPBF16PS (denormals aside) and TDPBSUD. What was never loaded is NaN;
/// reads and writes touch whole tiles, so that the address sanitizer sees one that reaches too far.
class ModelTiles {
 public:
  ModelTiles() {
    std::memset(tiles_.data(), 0xff, sizeof(tiles_));
    ++live;
  }
  ~ModelTiles() { --live; }

  template <int kTile>
  void load(const void* from, int64_t stride) {
    for (int64_t row = 0; row < kRows; ++row) {
      std::memcpy(tiles_[kTile].data() + row * 64, static_cast<const char*>(from) + row * stride, 64);
    }
  }
  template <int kTile>
  void store(void* to, int64_t stride) {
    for (int64_t row = 0; row < kRows; ++row) {
      std::memcpy(static_cast<char*>(to) + row * stride, tiles_[kTile].data() + row * 64, 64);
    }
  }
  template <int kSums, int kLeft, int kRight>
  void multiply() {
    static_assert(kSums != kLeft && kLeft != kRight && kRight != kSums);  // an illegal instruction otherwise
    for (int64_t m = 0; m < kRows; ++m) {
      for (int64_t n = 0; n < kRows; ++n) {
        float sum = at<float>(kSums, m, n);
        for (int64_t k = 0; k < kRows; ++k) {
          for (int64_t half = 0; half < 2; ++half) {
            sum = std::fma(widen(at<BFloat16>(kLeft, m, 2 * k + half)), widen(at<BFloat16>(kRight, k, 2 * n + half)), sum);
          }
        }
        std::memcpy(tiles_[kSums].data() + m * 64 + n * 4, &sum, sizeof(sum));
      }
    }
  }

  template <int kSums, int kLeft, int kRight>
  void multiply_bytes() {
    static_assert(kSums != kLeft && kLeft != kRight && kRight != kSums);
    for (int64_t m = 0; m < kRows; ++m) {
      for (int64_t n = 0; n < kRows; ++n) {
        auto sum = at<uint32_t>(kSums, m, n);
        for (int64_t k = 0; k < kRows; ++k) {
          for (int64_t i = 0; i < 4; ++i) {
            sum += static_cast<uint32_t>(at<int8_t>(kLeft, m, 4 * k + i) * at<uint8_t>(kRight, k, 4 * n + i));
          }
        }
        std::memcpy(tiles_[kSums].data() + m * 64 + n * 4, &sum, sizeof(sum));
      }
    }
  }

  static inline thread_local int live = 0;  // a thread has one set of registers

 private:
  static constexpr int64_t kRows = 16;
  template <class T>
  T at(int tile, int64_t row, int64_t column) const {
    T value;
    std::memcpy(&value, tiles_[static_cast<size_t>(tile)].data() + row * 64 + column * static_cast<int64_t>(sizeof(T)), sizeof(T));
    return value;
  }
  std::array<std::array<char, 1024>, 8> tiles_;
};

}  // namespace jouleprune::kernels::testing
