#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

#include "formats/bits.h"

namespace jouleprune::formats {
namespace {

TEST(Bits, ElementIIsBitIOfByteIOver8) {
  const bool mask[] = {true, false, false, false, false, false, false, true, false, true};
  uint8_t bits[2] = {0xff, 0xff};
  pack_bits(mask, 10, 0, bit_bytes(10), bits);
  EXPECT_EQ(bits[0], 0x81);
  EXPECT_EQ(bits[1], 0x02);
}

TEST(Bits, RoundTripAndClear) {
  std::mt19937 random(3);
  for (int64_t count = 0; count < 70; ++count) {
    const auto mask = std::make_unique<bool[]>(static_cast<size_t>(count + 1));
    const auto again = std::make_unique<bool[]>(static_cast<size_t>(count + 1));
    for (int64_t i = 0; i < count; ++i) {
      mask[i] = random() % 2 == 0;
    }
    std::vector<uint8_t> bits(static_cast<size_t>(bit_bytes(count)), 0xaa);
    const int64_t middle = bit_bytes(count) / 2;  // in two parts, as two threads do
    pack_bits(mask.get(), count, 0, middle, bits.data());
    pack_bits(mask.get(), count, middle, bit_bytes(count), bits.data());
    unpack_bits(bits.data(), count, 0, bit_bytes(count), again.get());
    std::vector<float> data(static_cast<size_t>(count), -1.5f);
    clear_by_bits(bits.data(), count, 0, bit_bytes(count), data.data());
    for (int64_t i = 0; i < count; ++i) {
      EXPECT_EQ(again[i], mask[i]);
      EXPECT_EQ(data[i], mask[i] ? -1.5f : 0.0f);
    }
    for (int64_t i = count; i < bit_bytes(count) * 8; ++i) {
      EXPECT_EQ(bits[i / 8] >> (i % 8) & 1, 0) << "unused bit";
    }
  }
}

}  // namespace
}  // namespace jouleprune::formats
