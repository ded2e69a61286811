#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <numeric>

#include "kernels/csr/code_form.h"
#include "kernels/csr/linear_code.h"
#include "kernels/jit/executable_memory.h"
#include "kernels/jit/pattern_code.h"
#include "products.h"

namespace jouleprune::kernels::csr::testing {
namespace {

using jit::PatternCode;
using jit::PatternSpec;

#define SKIP_WITHOUT_CODE() \
  if (!jit::available()) GTEST_SKIP() << "no generated code: built without Xbyak, JOULEPRUNE_JIT=0, or refused by the system"

std::vector<Isa> isas_with_code() {
  std::vector<Isa> isas;
  for (const Isa isa : supported_isas()) {
    if (isa == Isa::kAvx2 || isa == Isa::kAvx512) isas.push_back(isa);
  }
  return isas;
}

PatternSpec spec_of(const Structure& structure, Isa isa, int64_t column_block) {
  const int64_t lanes = jit::lanes_of(isa);
  PatternSpec spec{structure.view(), 0, structure.rows, {}, column_block, lanes * 4, isa, jit::MultiplyAdd::kFloat32};
  for (int64_t col = 0; col < structure.cols; ++col) {
    spec.column_bytes.push_back(col * lanes * 4);
  }
  return spec;
}

TEST(PatternCode, EveryKeptValueIsStreamedOnce) {
  SKIP_WITHOUT_CODE();
  std::mt19937 random(1);
  for (const Isa isa : isas_with_code()) {
    for (const auto& [rows, cols, density, block] : std::vector<std::tuple<int, int, double, int>>{
             {1, 1, 1, 0}, {3, 5, 0, 0}, {64, 300, 0.3, 0}, {64, 300, 0.3, 96}, {31, 7, 1, 3}, {200, 1000, 0.05, 384}}) {
      const auto structure = random_structure(rows, cols, density, random);
      const PatternCode code(spec_of(structure, isa, block));
      auto order = code.value_order();
      std::sort(order.begin(), order.end());
      std::vector<int32_t> all(structure.col_indices.size());
      std::iota(all.begin(), all.end(), 0);
      EXPECT_EQ(order, all) << rows << "x" << cols << " on " << isa_name(isa);
    }
  }
}

/// The sums of one vector of columns by the code, against plain loops; columns lie anywhere, not only one vector apart.
TEST(PatternCode, SumsMatchForAnyPlaceOfTheColumns) {
  SKIP_WITHOUT_CODE();
  std::mt19937 random(2);
  for (const Isa isa : isas_with_code()) {
    const int64_t lanes = jit::lanes_of(isa);
    for (const int64_t step : {lanes * 4, int64_t{4}, int64_t{196}, int64_t{100'000}, int64_t{-60}}) {
      for (const int64_t column_block : {0, 50}) {
        const auto structure = random_structure(70, 130, 0.4, random);
        const auto csr = structure.view();
        PatternSpec spec = spec_of(structure, isa, column_block);
        for (int64_t col = 0; col < csr.cols; ++col) {
          spec.column_bytes[col] = (step < 0 ? csr.cols - 1 - col : col) * std::abs(step);
        }
        const PatternCode code(spec);
        const auto panel = random_vector<float>((csr.cols * std::abs(step)) / 4 + lanes, random);
        const auto values = random_vector<float>(csr.nnz, random), start = random_vector<float>(csr.rows, random);
        std::vector<uint32_t> stream;
        for (const int32_t position : code.value_order()) stream.push_back(stream_value(values[position]));
        std::vector<float> sums(csr.rows * lanes);
        for (int64_t block = 0; block < code.column_blocks(); ++block) {
          for (int64_t group = 0; group < code.groups(); ++group) {
            const auto& b = code.block(group, block);
            b.run(panel.data(), stream.data(), sums.data() + b.row_begin * lanes,
                  reinterpret_cast<const uint32_t*>(start.data()) + b.row_begin);
          }
        }
        for (int64_t row = 0; row < csr.rows; ++row) {
          for (int64_t lane = 0; lane < lanes; ++lane) {
            float sum = start[row];  // the code's own order: ascending columns, fused
            for (int64_t k = csr.row_offsets[row]; k < csr.row_offsets[row + 1]; ++k) {
              sum = std::fma(values[k], panel[spec.column_bytes[csr.col_indices[k]] / 4 + lane], sum);
            }
            ASSERT_EQ(sums[row * lanes + lane], sum) << isa_name(isa) << " step " << step << " row " << row;
          }
        }
      }
    }
  }
}

TEST(PatternCode, OrdersOfTheLoopsAgreeToTheBit) {
  SKIP_WITHOUT_CODE();
  std::mt19937 random(3);
  const auto structure = random_structure(97, 211, 0.3, random);
  const auto values = random_vector<float>(structure.view().nnz, random), bias = random_vector<float>(97, random);
  const int64_t n = 45;
  const auto input = random_vector<float>(n * 211, random);
  for (const Isa isa : isas_with_code()) {
    std::vector<std::vector<float>> results;
    for (const auto order : {CodeOrder::kPanelOuter, CodeOrder::kGroupOuter}) {
      for (const int64_t column_block : {0, 64}) {
        results.push_back(unwritten<float>(n * 97));
        linear_code<float>({structure.view(), values.data(), bias.data(), Activation::kSilu, n, input.data(), 211,
                            results.back().data()},
                           {order, column_block}, threads(3), isa);
      }
    }
    for (const auto& result : results) {
      EXPECT_EQ(std::memcmp(result.data(), results[0].data(), result.size() * sizeof(float)), 0) << isa_name(isa);
    }
  }
}

/// A data race here is what the build with ThreadSanitizer looks for.
TEST(PatternCode, ManyThreadsMakeRunAndDropTheSameCodes) {
  SKIP_WITHOUT_CODE();
  std::mt19937 random(6);
  const Isa isa = isas_with_code().front();
  const auto structure = random_structure(40, 50, 0.3, random);
  const auto values = random_vector<float>(structure.view().nnz, random), input = random_vector<float>(20 * 50, random);
  std::vector<std::vector<float>> results(8, unwritten<float>(20 * 40));
  std::vector<std::thread> running;
  for (auto& result : results) {
    running.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        const auto code = jit::shared_code({{5, 6}, {i % 3}}, [&] { return spec_of(structure, isa, 0); });
        linear<float>({structure.view(), values.data(), nullptr, Activation::kNone, 20, input.data(), 50, result.data()}, serial, isa);
      }
    });
  }
  for (auto& thread : running) {
    thread.join();
  }
  for (const auto& result : results) {
    EXPECT_EQ(std::memcmp(result.data(), results[0].data(), result.size() * sizeof(float)), 0);
  }
}

TEST(PatternCode, IsSharedWhileAliveAndNamedByStructure) {
  SKIP_WITHOUT_CODE();
  std::mt19937 random(4);
  const auto structure = random_structure(20, 30, 0.5, random);
  const Isa isa = isas_with_code().front();
  int made = 0;
  const auto spec = [&] {
    ++made;
    return spec_of(structure, isa, 0);
  };
  const jit::CodeName name{{1, 2}, {3}};
  auto first = jit::shared_code(name, spec);
  const auto second = jit::shared_code(name, spec);
  EXPECT_EQ(first, second);
  EXPECT_EQ(made, 1);
  EXPECT_NE(jit::shared_code({{1, 2}, {4}}, spec), first);
  EXPECT_EQ(made, 2);
}

TEST(PatternCode, NoPageIsWritableAndExecutable) {
  SKIP_WITHOUT_CODE();
  std::mt19937 random(5);
  const auto small = random_structure(20, 30, 0.5, random), large = random_structure(600, 1500, 0.5, random);
  const Isa isa = isas_with_code().back();
  const PatternCode a(spec_of(small, isa, 0)), b(spec_of(large, isa, 0));
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    EXPECT_EQ(line.find(" rwx"), std::string::npos) << line;
  }
}

TEST(PatternCode, RunsAfterFork) {
  SKIP_WITHOUT_CODE();
  std::mt19937 random(6);
  const auto structure = random_structure(20, 30, 0.5, random);
  const auto values = random_vector<float>(structure.view().nnz, random), input = random_vector<float>(16 * 30, random);
  auto form = std::make_shared<std::vector<float>>(unwritten<float>(16 * 20));
  const auto run = [&](std::vector<float>& output) {
    linear<float>({structure.view(), values.data(), nullptr, Activation::kNone, 16, input.data(), 30, output.data()}, serial,
                  isas_with_code().back());
  };
  run(*form);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto again = unwritten<float>(16 * 20);
    run(again);
    _exit(std::memcmp(again.data(), form->data(), again.size() * sizeof(float)) == 0 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

/// Prints; a time is no criterion on a shared machine.
TEST(PatternCode, EmissionTime) {
  SKIP_WITHOUT_CODE();
  std::mt19937 random(7);
  for (const double density : {0.5, 0.1, 0.05}) {
    const auto structure = random_structure(768, 768, density * 1.5, random);  // each third row is empty
    double best = 1;
    for (int round = 0; round < 3; ++round) {
      const auto start = std::chrono::steady_clock::now();
      const PatternCode code(spec_of(structure, isas_with_code().back(), 0));
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      ASSERT_EQ(code.value_order().size(), structure.col_indices.size());
    }
    std::printf("768 x 768, density %.2f: %.1f ns per kept weight\n", density,
                best * 1e9 / static_cast<double>(structure.col_indices.size()));
  }
}

TEST(PatternCode, DenormalsAndNegativeZerosStreamAsZero) {
  EXPECT_EQ(stream_value(-0.0f), 0u);
  EXPECT_EQ(stream_value(1e-40f), 0u);
  EXPECT_EQ(stream_value(-1e-40f), 0u);
  EXPECT_EQ(stream_value(0x1p-126f), __builtin_bit_cast(uint32_t, 0x1p-126f));
  EXPECT_TRUE(std::isnan(__builtin_bit_cast(float, stream_value(NAN))));
}

}  // namespace
}  // namespace jouleprune::kernels::csr::testing
