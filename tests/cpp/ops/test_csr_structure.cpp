#include "ops/csr_structure.h"

#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include "op_testing.h"

namespace jouleprune::testing {
namespace {

void check(const Packed& p, int64_t cols) { ops::check_structure("test", p.col_indices, p.row_offsets, p.key, cols); }

TEST(CsrStructure, IsCheckedOnce) {
  const auto packed = pack(sparse_weight({40, 50}, 0.2));
  const auto before = ops::structure_checks();
  for (int i = 0; i < 5; ++i) {
    linear_csr(at::randn({2, 50}), packed.values, packed.col_indices, packed.row_offsets, packed.key, {}, {}, 50);
  }
  EXPECT_EQ(ops::structure_checks() - before, 1u);
}

TEST(CsrStructure, AWrongKeyIsRefusedAlsoWhenTheStructureIsKnown) {
  const auto packed = pack(sparse_weight({40, 50}, 0.2));
  expect_error<c10::ValueError>("key of this structure", [&] { check({{}, packed.col_indices, packed.row_offsets, packed.key + 1}, 50); });
  check(packed, 50);
  expect_error<c10::ValueError>("key of this structure", [&] { check({{}, packed.col_indices, packed.row_offsets, packed.key + 1}, 50); });
}

TEST(CsrStructure, AChangeInPlaceIsSeen) {
  const auto packed = pack(sparse_weight({40, 50}, 0.9));
  check(packed, 50);
  packed.col_indices.fill_(77);
  expect_error<c10::ValueError>("unsound structure: col_indices[0]: expected a column in [0, 50), got 77", [&] { check(packed, 50); });
}

TEST(CsrStructure, AnotherNumberOfColumnsIsAnotherStructure) {
  const auto packed = pack(sparse_weight({40, 50}, 0.9));
  check(packed, 50);
  expect_error<c10::ValueError>("unsound structure", [&] { check(packed, 10); });
  expect_error<c10::ValueError>("key of this structure", [&] { check(packed, 51); });
}

TEST(CsrStructure, AReusedStorageIsNotTrusted) {
  // As an allocator does that gives the memory of the freed indices to the next tensor of that size: same address, other
  // contents. The memory is the test's own, because the allocator of a sanitizer build keeps freed memory aside.
  std::vector<int32_t> memory;
  const auto indices_in_memory = [&] { return at::from_blob(memory.data(), {static_cast<int64_t>(memory.size())}, at::kInt); };
  for (int round = 0; round < 50; ++round) {
    auto packed = pack(sparse_weight({40, 50}, 0.2));
    const auto* columns = packed.col_indices.const_data_ptr<int32_t>();
    memory.assign(columns, columns + packed.col_indices.numel());
    packed.col_indices = indices_in_memory();
    check(packed, 50);
    packed.col_indices = at::Tensor();
    memory.assign(memory.size(), 1000);
    packed.col_indices = indices_in_memory();
    expect_error<c10::ValueError>("unsound structure", [&] { check(packed, 50); });
  }
}

TEST(CsrStructure, InferenceTensorsAreComparedAsAWhole) {
  const c10::InferenceMode guard;
  const auto packed = pack(sparse_weight({40, 500}, 0.5));
  const auto before = ops::structure_checks();
  check(packed, 500);
  check(packed, 500);
  EXPECT_EQ(ops::structure_checks() - before, 1u) << "comparing is no check";
  packed.col_indices[4].fill_(500);  // torch counts no version of it
  expect_error<c10::ValueError>("unsound structure: col_indices[4]", [&] { check(packed, 500); });
}

TEST(CsrStructure, MemoryIsBounded) {
  const auto first = pack(sparse_weight({4, 5}, 0.5));
  check(first, 5);
  std::vector<Packed> alive;
  for (size_t i = 0; i < ops::kMaxKnownStructures + 10; ++i) {
    alive.push_back({{}, first.col_indices.clone(), first.row_offsets.clone(), first.key});
    check(alive.back(), 5);
  }
  const auto before = ops::structure_checks();
  check(alive.back(), 5);
  EXPECT_EQ(ops::structure_checks() - before, 0u) << "the newest is remembered";
  check(first, 5);
  EXPECT_EQ(ops::structure_checks() - before, 1u) << "the oldest was forgotten, and is checked again";
}

}  // namespace
}  // namespace jouleprune::testing
