// Runs each wrapped instruction on a GPU and in the emulator, on the same random operands, and compares all bits. Operands of products are
// small whole numbers: every sum is exact, whatever the order in which a GPU adds.
//
//   Built and run by examples/benchmarks/gpu.sh; with -DJOULEPRUNE_NO_GPU the emulator's half alone.
#include <cstdio>
#include <random>

#include "instructions.h"

namespace {

using namespace jouleprune;
using namespace jouleprune::instructions;

constexpr const char* kNames[kCases] = {"mma float16",           "mma bfloat16",         "mma.sp float16, selector 0", "mma.sp float16, selector 1",
                                        "mma.sp bfloat16, selector 0", "mma.sp bfloat16, selector 1", "ldmatrix", "ldmatrix.trans", "movmatrix",
                                        "cp.async",              "shuffles and ballot",  "conversions",                "atomics",
                                        "loads"};
constexpr int kRounds = 64;

bool is_bfloat16(int which) { return which == kMmaBFloat16 || which == kSparseBFloat160 || which == kSparseBFloat161; }

/// Operands of one warp.
std::vector<uint32_t> operands(int which, std::mt19937& random) {
  std::vector<uint32_t> in(32 * kWords);
  for (auto& word : in) word = random();
  if (which <= kSparseBFloat161) {
    const auto element = [&]() -> uint32_t {
      const auto x = static_cast<float>(static_cast<int>(random() % 17) - 8);
      return is_bfloat16(which) ? simt::narrow<simt::BFloat16>(x).bits : simt::narrow<simt::Half>(x).bits;
    };
    for (int lane = 0; lane < 32; ++lane) {
      uint32_t* const mine = in.data() + lane * kWords;
      for (int i = 0; i < 8; ++i) mine[i] = element() | element() << 16;
      mine[8] = 0;  // codes of two ascending places each
      for (int nibble = 0; nibble < 8; ++nibble) {
        const uint32_t first = random() % 3, second = first + 1 + random() % (3 - first);
        mine[8] |= (first | second << 2) << (4 * nibble);
      }
      for (int i = 12; i < 16; ++i) mine[i] = bits_of(static_cast<float>(static_cast<int>(random() % 101) - 50));
    }
  } else if (which == kConversions) {  // no NaN: which one comes out is each side's own affair
    for (int lane = 0; lane < 32; ++lane) {
      uint32_t* const mine = in.data() + lane * kWords;
      for (int i = 0; i < 4; ++i) mine[i] &= 0xbb7fu;  // exponents of neither type are full
      for (int i = 12; i < 16; ++i) mine[i] &= 0xff7fffffu;
    }
  }
  return in;
}

}  // namespace

int main() {
  std::mt19937 random(1);
  int wrong = 0;
  for (int which = 0; which < kCases; ++which) {
    std::string found;
    for (int round = 0; round < kRounds && found.empty(); ++round) {
      const auto in = operands(which, random);
      const Results here = emulated(which, in);
      if (!here.problem.empty()) found = "emulator: " + here.problem;
#if !defined(JOULEPRUNE_NO_GPU)
      const Results there = on_device(which, in);
      if (!there.problem.empty()) found = "GPU: " + there.problem;
      for (size_t i = 0; i < in.size() && found.empty(); ++i) {
        if (here.out[i] == there.out[i]) continue;
        char text[128];
        std::snprintf(text, sizeof(text), "lane %zu, word %zu: emulator %08x, GPU %08x", i / kWords, i % kWords, here.out[i], there.out[i]);
        found = text;
      }
      if (found.empty() && here.sum != there.sum) found = "sum: emulator " + std::to_string(here.sum) + ", GPU " + std::to_string(there.sum);
#endif
    }
    std::printf("%-28s %s\n", kNames[which], found.empty() ? "same" : found.c_str());
    wrong += !found.empty();
  }
#if defined(JOULEPRUNE_NO_GPU)
  std::printf("the emulator's half alone: compared with nothing\n");
#endif
  return wrong == 0 ? 0 : 1;
}
