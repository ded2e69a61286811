// The emulator itself: that each kind of mistake in a kernel is found.
#include <gtest/gtest.h>

#include <bit>
#include <functional>
#include <random>

#include "cuda/values.h"
#include "simt/fragments.h"
#include "simt/host/launcher.h"

namespace jouleprune::simt::host {
namespace {

// A kernel of one block whose body is a function of the test.
struct Body {
  std::function<void(const Lane&)> function;
};
struct Kernel {
  using Params = Body;
  static constexpr int kThreads = 64;
  static void run(const Lane& ctx, const Params& p) { p.function(ctx); }
};

std::string problems_of(GlobalMemory& memory, const std::function<void(const Lane&)>& body, Options options = {}) {
  Launcher launcher(memory, options);
  launcher.launch<Kernel>({1, 1}, 4096, {body});
  return launcher.problems();
}
std::string problems_of(const std::function<void(const Lane&)>& body) {
  GlobalMemory memory;
  return problems_of(memory, body);
}

::testing::AssertionResult tells(const std::string& problems, const std::string& what) {
  return problems.find(what) != std::string::npos
             ? ::testing::AssertionSuccess()
             : ::testing::AssertionFailure() << "expected '" << what << "' in '" << problems << "'";
}

// Matrices that go through shared memory and ldmatrix come out of mma as their product.
TEST(WarpMath, MatricesFromSharedMemoryMultiply) {
  std::mt19937_64 random(1);
  const auto a = cuda::random_values<Half>(random, 16 * 16), b = cuda::random_values<Half>(random, 16 * 8);
  cuda::Array<float> d(16 * 8);
  GlobalMemory memory;
  memory.add("a", a.data(), a.bytes(), Access::kRead);
  memory.add("b", b.data(), b.bytes(), Access::kRead);
  memory.add("d", d.data(), d.bytes(), Access::kWriteAll);
  EXPECT_EQ(problems_of(memory,
                        [&](const Lane& ctx) {
                          if (ctx.warp() == 1) {
                            return;
                          }
                          for (int i = ctx.lane(); i < 256; i += kLanes) {
                            ctx.store_shared(static_cast<uint32_t>(i * 2), ctx.load(a.data() + i));
                          }
                          for (int i = ctx.lane(); i < 128; i += kLanes) {
                            ctx.store_shared(static_cast<uint32_t>(512 + i * 2), ctx.load(b.data() + i));
                          }
                          ctx.sync_warp();
                          const int lane = ctx.lane();
                          const auto left =
                              ctx.load_matrices<false>(static_cast<uint32_t>((lane % 16) * 32 + 16 * (lane / 16)));
                          const auto right = ctx.load_matrices<true>(static_cast<uint32_t>(512 + (lane % 16) * 16));
                          Sums sums{};
                          ctx.mma<Half>(sums, left, right.r[0], right.r[1]);
                          for (int i = 0; i < 4; ++i) {
                            const auto p = place_in_sums(lane, i);
                            ctx.store(d.data() + p.row * 8 + p.column, sums.v[i]);
                          }
                        }),
            "");
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      double expected = 0;
      for (int k = 0; k < 16; ++k) {
        expected += static_cast<double>(widen(a[row * 16 + k])) * widen(b[k * 8 + column]);
      }
      EXPECT_NEAR(d[row * 8 + column], expected, 1e-5);
    }
  }
}

TEST(Emulator, ShufflesAndBallots) {
  EXPECT_EQ(problems_of([](const Lane& ctx) {
              if (ctx.shuffle(ctx.lane() * 3, (ctx.lane() + 5) % 32) != (ctx.lane() + 5) % 32 * 3 ||
                  ctx.shuffle_xor(ctx.lane(), 7) != (ctx.lane() ^ 7) ||
                  ctx.ballot(ctx.lane() % 3 == 0) != 0x49249249u) {
                ctx.store_shared<uint32_t>(1u << 20, 0);  // an error of its own
              }
            }),
            "");
}

TEST(Emulator, FindsRaces) {
  EXPECT_TRUE(tells(problems_of([](const Lane& ctx) { ctx.store_shared(0, ctx.thread()); }), "race of two writes"));
  const auto exchange = [](bool block_barrier, bool warp_barrier, int distance) {
    return problems_of([=](const Lane& ctx) {
      ctx.store_shared(static_cast<uint32_t>(ctx.thread()) * 4, ctx.thread());
      if (block_barrier) {
        ctx.sync();
      }
      if (warp_barrier) {
        ctx.sync_warp();
      }
      ctx.load_shared<int>(static_cast<uint32_t>((ctx.thread() + distance) % 64) * 4);
    });
  };
  EXPECT_NE(exchange(false, false, 1), "");
  EXPECT_EQ(exchange(true, false, 33), "");
  EXPECT_NE(exchange(false, true, 33), "");  // another warp
  EXPECT_EQ(exchange(false, true, 0), "");
  EXPECT_TRUE(tells(problems_of([](const Lane& ctx) {
                      ctx.store_shared(static_cast<uint32_t>(ctx.thread()) * 4, ctx.thread());
                      ctx.sync();
                      ctx.load_shared<int>(static_cast<uint32_t>(63 - ctx.thread()) * 4);
                      ctx.store_shared(static_cast<uint32_t>(ctx.thread()) * 4, 1);
                    }),
                    "race of a"));
}

TEST(Emulator, FindsWhatWasNeverWritten) {
  EXPECT_TRUE(tells(problems_of([](const Lane& ctx) { ctx.load_shared<float>(64); }), "that nothing wrote"));
}

TEST(Emulator, FindsBoundsAndAlignment) {
  cuda::Array<float> in(8), out(4);
  const auto problems = [&](const std::function<void(const Lane&)>& body) {
    GlobalMemory memory;
    memory.add("in", in.data(), in.bytes(), Access::kRead);
    memory.add("out", out.data(), out.bytes(), Access::kWriteOnce);
    return problems_of(memory, [&](const Lane& ctx) {
      if (ctx.thread() == 40) {
        body(ctx);
      }
    });
  };
  EXPECT_EQ(problems([&](const Lane& ctx) { ctx.store(out.data(), ctx.load(in.data() + 7)); }), "");
  EXPECT_TRUE(tells(problems([&](const Lane& ctx) { ctx.load(in.data() + 8); }), "outside of every span"));
  EXPECT_TRUE(tells(problems([&](const Lane& ctx) { ctx.load(reinterpret_cast<const Chunk*>(in.data() + 1)); }),
                    "not aligned"));
  EXPECT_TRUE(tells(problems([&](const Lane& ctx) { ctx.store(in.data(), 1.f); }), "which is an input"));
  EXPECT_TRUE(tells(problems([&](const Lane& ctx) { ctx.load(out.data()); }), "which is an output"));
  EXPECT_TRUE(tells(problems([&](const Lane& ctx) {
                      ctx.store(out.data(), 1.f);
                      ctx.store(out.data(), 1.f);
                    }),
                    "second write"));
  EXPECT_TRUE(tells(problems([&](const Lane& ctx) { ctx.store_shared(4095u, 1.f); }), "shared bytes"));
  EXPECT_TRUE(tells(problems([&](const Lane& ctx) { ctx.store_shared(2u, 1.f); }), "not aligned"));
}

TEST(Emulator, FindsOutputsThatNobodyWrote) {
  cuda::Array<float> out(65);
  GlobalMemory memory;
  memory.add("out", out.data(), out.bytes(), Access::kWriteAll);
  EXPECT_TRUE(tells(problems_of(memory, [&](const Lane& ctx) { ctx.store(out.data() + ctx.thread(), 1.f); }),
                    "out: 4 of 260 bytes"));
}

TEST(Emulator, CopiesLandWhenTheyWereWaitedFor) {
  cuda::Array<uint32_t> in(4 * 64);
  for (int i = 0; i < 4 * 64; ++i) {
    in[i] = static_cast<uint32_t>(i);
  }
  enum class Mistake { kNone, kNoCommit, kNoWait, kNoBarrier, kWaitsForFewer };
  const auto run = [&](Mistake mistake) {
    GlobalMemory memory;
    memory.add("in", in.data(), in.bytes(), Access::kRead);
    return problems_of(memory, [&](const Lane& ctx) {
      const auto to = static_cast<uint32_t>(ctx.thread()) * 16;
      ctx.copy_async(to, in.data() + 4 * ctx.thread(), ctx.thread() != 9);
      if (mistake != Mistake::kNoCommit) {
        ctx.copy_commit();
      }
      if (mistake == Mistake::kWaitsForFewer) {
        ctx.copy_wait<1>();
      } else if (mistake != Mistake::kNoWait) {
        ctx.copy_wait<0>();
      }
      if (mistake != Mistake::kNoBarrier) {
        ctx.sync();
      }
      const int other = (ctx.thread() + 40) % 64;
      const auto got = ctx.load_shared<uint32_t>(static_cast<uint32_t>(other) * 16 + 4);
      if (got != (other == 9 ? 0u : static_cast<uint32_t>(other) * 4 + 1)) {
        ctx.store_shared<uint32_t>(1u << 20, 0);  // an error of its own
      }
    });
  };
  EXPECT_EQ(run(Mistake::kNone), "");
  EXPECT_TRUE(tells(run(Mistake::kNoCommit), "copy under way"));
  EXPECT_TRUE(tells(run(Mistake::kNoWait), "copy under way"));
  EXPECT_TRUE(tells(run(Mistake::kWaitsForFewer), "copy under way"));
  EXPECT_NE(run(Mistake::kNoBarrier), "");
}

TEST(Emulator, FindsDeadlocksAndDivergence) {
  EXPECT_TRUE(tells(problems_of([](const Lane& ctx) {
                      if (ctx.thread() != 5) {
                        ctx.sync();
                      }
                    }),
                    "deadlock: 63 threads wait for a barrier of the block"));
  EXPECT_TRUE(tells(problems_of([](const Lane& ctx) {
                      if (ctx.lane() < 16) {
                        ctx.ballot(true);
                      } else {
                        ctx.shuffle(1, 0);
                      }
                    }),
                    "different instructions"));
}

TEST(Emulator, AtomicAdditionsCommute) {
  EXPECT_EQ(problems_of([](const Lane& ctx) {
              if (ctx.thread() == 0) {
                ctx.store_shared(0, 0u);
              }
              ctx.sync();
              ctx.add_shared(0, 2);
              ctx.sync();
              if (ctx.load_shared<uint32_t>(0) != 128u) {
                ctx.store_shared<uint32_t>(1u << 20, 0);
              }
            }),
            "");
  EXPECT_TRUE(tells(problems_of([](const Lane& ctx) {
                      if (ctx.thread() == 0) {
                        ctx.store_shared(0, 0u);
                      }
                      ctx.sync();
                      ctx.add_shared(0, 2);
                      ctx.load_shared<uint32_t>(0);
                    }),
                    "race"));
}

TEST(Emulator, CountsConflictsAndSectors) {
  EXPECT_EQ(bank_conflicts({{0, 4}, {4, 4}, {8, 4}}), 0u);
  EXPECT_EQ(bank_conflicts({{0, 4}, {128, 4}, {256, 4}}), 2u);
  EXPECT_EQ(bank_conflicts({{0, 4}, {0, 4}}), 0u);                // one word for both
  EXPECT_EQ(bank_conflicts({{0, 16}, {16, 16}, {128, 16}}), 1u);  // within a quarter of a warp
  cuda::Array<uint32_t> in(64 * 8);
  GlobalMemory memory;
  memory.add("in", in.data(), in.bytes(), Access::kRead);
  Options options;
  options.collect_requests = true;
  Launcher launcher(memory, options);
  launcher.launch<Kernel>({1, 1}, 0, {[&](const Lane& ctx) {
                            ctx.load(in.data() + ctx.thread());      // 128 bytes per warp: 4 sectors each
                            ctx.load(in.data() + ctx.thread() * 8);  // a sector per lane
                          }});
  EXPECT_EQ(launcher.report.counters.sectors_read.at("in"), 2u * 4 + 64);
  EXPECT_EQ(launcher.report.counters.sectors_needed.at("in"), 4u * 4);
}

// Conversions of all bit patterns, against the machine's own arithmetic.
TEST(Elements, BFloat16RoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const BFloat16 x{static_cast<uint16_t>(bits)};
    const float wide = widen(x);
    if (wide != wide) {
      EXPECT_NE(widen(narrow<BFloat16>(wide)), widen(narrow<BFloat16>(wide)));
      continue;
    }
    EXPECT_EQ(narrow<BFloat16>(wide).bits, bits);
    const float next = std::bit_cast<float>((bits << 16) + 0x8000u);  // halfway to the next one: to the even one
    if ((bits & 0x7f80u) != 0x7f80u && (bits & 0x7fffu) != 0x7f7fu) {
      EXPECT_EQ(narrow<BFloat16>(next).bits, bits + (bits & 1u));
    }
  }
}

}  // namespace
}  // namespace jouleprune::simt::host
