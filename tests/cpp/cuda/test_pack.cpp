// Packing of dense weights on the device, in the emulator: bit for bit what csrc/formats makes of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "cuda/mutants.h"
#include "cuda/sweep.h"
#include "cuda/values.h"
#include "formats/csr_pack.h"
#include "formats/nm.h"
#include "pack/pack.h"
#include "simt/host/launcher.h"

namespace jouleprune::cuda::pack {
namespace {

using simt::host::Access;
using simt::host::GlobalMemory;
using simt::host::Launcher;
using simt::host::Options;
using simt::host::Site;

template <class T>
Array<T> filled(int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  Array<T> numbers(count);
  for (int64_t i = 0; i < count; ++i) numbers[i] = static_cast<T>(random());
  return numbers;
}

/// Of every `of` entries about `kept`.
Array<bool> mask_of(int64_t count, uint64_t kept, uint64_t of, uint64_t seed) {
  std::mt19937_64 random(seed);
  Array<bool> mask(count);
  for (int64_t i = 0; i < count; ++i) mask[i] = random() % of < kept;
  return mask;
}

bool alike(const void* a, const void* b, size_t bytes) { return bytes == 0 || std::memcmp(a, b, bytes) == 0; }

/// Packs on the emulated device; what is wrong, or nothing.
template <class T>
std::string pack_csr(int64_t rows, int64_t cols, const Array<bool>& kept, const Options& options, std::set<Site>* sites = nullptr) {
  const auto weight = filled<T>(rows * cols, 7);
  std::vector<int32_t> expected_offsets(static_cast<size_t>(rows + 1));
  const int64_t nnz = formats::csr_offsets(kept.data(), rows, cols, expected_offsets.data());
  std::vector<int32_t> expected_columns(static_cast<size_t>(nnz));
  formats::csr_columns(kept.data(), rows, cols, expected_columns.data());
  std::vector<T> expected_values;
  for (int64_t i = 0; i < rows * cols; ++i) {
    if (kept[i]) expected_values.push_back(weight[i]);
  }
  Array<int32_t> counts(rows), offsets(rows + 1), columns(nnz);
  Array<int64_t> total(1);
  Array<T> values(nnz);
  GlobalMemory memory;
  memory.add("kept", kept.data(), kept.bytes(), Access::kRead);
  memory.add("weight", weight.data(), weight.bytes(), Access::kRead);
  memory.add("counts", counts.data(), counts.bytes(), Access::kReadWrite);
  memory.add("total", total.data(), total.bytes(), Access::kWriteAll);
  memory.add("offsets", offsets.data(), offsets.bytes(), Access::kReadWrite);
  memory.add("columns", columns.data(), columns.bytes(), Access::kWriteAll);
  memory.add("values", values.data(), values.bytes(), Access::kWriteAll);
  Launcher launcher(memory, options);
  launch(launcher, CsrRowsParams{kept.data(), rows, cols, counts.data(), offsets.data(), total.data()});
  if (sites != nullptr) sites->insert(launcher.report.barriers.begin(), launcher.report.barriers.end());
  if (total[0] != nnz || !alike(offsets.data(), expected_offsets.data(), offsets.bytes())) return "offsets";
  launch(launcher, CsrEntries{sizeof(T), {kept.data(), weight.data(), offsets.data(), rows, cols, nnz, columns.data(), values.data()}});
  if (auto problems = launcher.problems(); !problems.empty()) return problems;
  if (!alike(columns.data(), expected_columns.data(), columns.bytes())) return "columns";
  return alike(values.data(), expected_values.data(), values.bytes()) ? "" : "values";
}

TEST(PackBodies, CsrIsThatOfTheCpu) {
  size_t turn = 0;
  for (const int64_t rows : {0, 1, 9, 300}) {
    for (const int64_t cols : {0, 1, 31, 32, 33, 100}) {
      for (const uint64_t kept : {0, 3, 10}) {
        const auto mask = mask_of(rows * cols, kept, 10, turn);
        for (const auto& options : schedules(turn)) {
          const auto found = turn % 3 == 0   ? pack_csr<uint16_t>(rows, cols, mask, options)
                             : turn % 3 == 1 ? pack_csr<uint32_t>(rows, cols, mask, options)
                                             : pack_csr<uint64_t>(rows, cols, mask, options);
          ASSERT_EQ(found, "") << rows << " x " << cols << ", " << kept << " of 10";
        }
        ++turn;
      }
    }
  }
}

TEST(PackBodies, EveryBarrierIsNeeded) {
  const auto mask = mask_of(300 * 20, 1, 2, 1);
  expect_every_barrier_needed(
      [&](const Options& options, std::set<Site>& sites) { return pack_csr<uint32_t>(300, 20, mask, options, &sites); });
}

template <class T>
void check_nm(const formats::NmShape& shape, uint64_t kept, const Options& options) {
  const auto weight = filled<T>(shape.rows * shape.cols, 3);
  auto mask = mask_of(shape.rows * shape.cols, kept, 10, 5);
  Array<uint8_t> indices(shape.nnz()), expected(shape.nnz());
  Array<T> values(shape.nnz());
  Array<bool> over(shape.rows * shape.groups());
  GlobalMemory memory;
  memory.add("kept", mask.data(), mask.bytes(), Access::kRead);
  memory.add("weight", weight.data(), weight.bytes(), Access::kRead);
  memory.add("indices", indices.data(), indices.bytes(), Access::kWriteAll);
  memory.add("values", values.data(), values.bytes(), Access::kWriteAll);
  memory.add("over", over.data(), over.bytes(), Access::kWriteAll);
  Launcher launcher(memory, options);
  launch(launcher, NmGroups{sizeof(T), {mask.data(), weight.data(), shape.rows, shape.cols, shape.n, shape.m, indices.data(), values.data(), over.data()}});
  ASSERT_EQ(launcher.problems(), "");
  // The first group that keeps too much, as the CPU names it; where there is none, the same entries.
  const int64_t wrong = formats::nm_choose(shape, mask.data(), expected.data());
  const bool* const first = std::find(over.data(), over.data() + over.size(), true);
  ASSERT_EQ(wrong, first == over.data() + over.size() ? -1 : first - over.data());
  if (wrong >= 0) return;
  ASSERT_TRUE(alike(indices.data(), expected.data(), indices.bytes()));
  std::vector<int32_t> columns(static_cast<size_t>(shape.nnz()));
  formats::nm_columns(shape, expected.data(), columns.data());
  for (int64_t i = 0; i < shape.nnz(); ++i) {
    const int64_t from = i / shape.kept() * shape.cols + columns[static_cast<size_t>(i)];
    ASSERT_EQ(values[i], mask[from] ? weight[from] : T{}) << "entry " << i;
  }
}

TEST(PackBodies, NmIsThatOfTheCpu) {
  size_t turn = 0;
  for (const auto& [n, m] : {std::pair<int64_t, int64_t>{2, 4}, {1, 2}, {1, 32}, {31, 32}, {3, 7}}) {
    for (const int64_t rows : {0, 1, 5, 67}) {
      for (const int64_t cols : {0, 1, 4, 33, 70}) {
        for (const uint64_t kept : {0, 2, 4}) {
          for (const auto& options : schedules(turn)) {
            if (turn % 3 == 0) {
              check_nm<uint16_t>({rows, cols, n, m}, kept, options);
            } else if (turn % 3 == 1) {
              check_nm<uint32_t>({rows, cols, n, m}, kept, options);
            } else {
              check_nm<uint64_t>({rows, cols, n, m}, kept, options);
            }
            ASSERT_FALSE(HasFatalFailure()) << rows << " x " << cols << ", " << n << ":" << m << ", " << kept << " of 10";
          }
          ++turn;
        }
      }
    }
  }
}

}  // namespace
}  // namespace jouleprune::cuda::pack
