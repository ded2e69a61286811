// Index tensors that change without torch's knowledge (.data in Python, raw pointers): no op may read outside of its arguments,
// whatever stands in them. Tensors created in inference mode change without its knowledge, too; there results are right.
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "kernels/isa.h"
#include "op_testing.h"

namespace jouleprune::testing {
namespace {

constexpr int64_t kRows = 96, kCols = 128;
constexpr int64_t kFarAway = 100'000'000;

/// Writes past torch's version counter. `position` from the end when negative.
void poke(const at::Tensor& indices, int64_t position, int64_t value) {
  auto* data = const_cast<int32_t*>(indices.const_data_ptr<int32_t>());
  data[position < 0 ? indices.numel() + position : position] = static_cast<int32_t>(value);
}

struct ForcedIsa {
  explicit ForcedIsa(const char* isa) { setenv("JOULEPRUNE_ISA", isa, 1); }
  ~ForcedIsa() { unsetenv("JOULEPRUNE_ISA"); }
};

/// A weight of which a call compares a sample (above 2048 kept) or everything.
Packed weight_of(double density, at::TensorOptions options = at::kFloat) { return pack(sparse_weight({kRows, kCols}, density, options)); }

at::Tensor linear(const Packed& p, const at::Tensor& x) {
  return linear_csr(x, p.values, p.col_indices, p.row_offsets, p.key, {}, {}, kCols);
}

struct Op {
  const char* name;
  std::function<at::Tensor(const Packed&)> call;
};

/// Each reads the indices of every call.
std::vector<Op> readers() {
  const auto grad = at::randn({3, kRows}), x = at::randn({3, kCols});
  const auto image = at::randn({2, 32, 5, 5}), grad_image = at::randn({2, kRows, 4, 4});  // kernels of 2 x 2: kCols columns
  return {
      {"linear_csr_backward_input",
       [=](const Packed& p) { return linear_csr_backward_input(grad, p.values, p.col_indices, p.row_offsets, p.key, kCols); }},
      {"linear_csr_backward_values",
       [=](const Packed& p) { return linear_csr_backward_values(grad, x, p.col_indices, p.row_offsets, p.key, kCols); }},
      {"conv2d_csr_backward_input",
       [=](const Packed& p) {
         return conv2d_csr_backward_input(grad_image, p.values, p.col_indices, p.row_offsets, p.key,
                                          c10::fromIntArrayRefSlow(image.sizes()), {2, 2}, {1, 1}, {0, 0}, {1, 1}, 1);
       }},
      {"conv2d_csr_backward_values",
       [=](const Packed& p) {
         return conv2d_csr_backward_values(grad_image, image, p.col_indices, p.row_offsets, p.key, {2, 2}, {1, 1}, {0, 0}, {1, 1}, 1);
       }},
      {"conv2d_csr in float64",
       [=](const Packed& p) {
         return conv2d_csr(image.to(at::kDouble), p.values.to(at::kDouble), p.col_indices, p.row_offsets, p.key, {}, {}, 32, {2, 2},
                           {1, 1}, {0, 0}, {1, 1}, 1);
       }},
      {"linear_csr, reference",
       [=](const Packed& p) {
         const ForcedIsa forced("reference");
         return linear(p, x);
       }},
  };
}

TEST(ChangedIndices, AreFoundByOpsThatReadThem) {
  const at::NoGradGuard no_grad;
  for (const double density : {0.1, 0.45, 0.9}) {
    for (const auto& op : readers()) {
      for (const int64_t position : {0, 3, 777, -1}) {
        SCOPED_TRACE(std::string(op.name) + ", density " + std::to_string(density) + ", index " + std::to_string(position));
        const auto packed = weight_of(density);
        op.call(packed);
        poke(packed.col_indices, position, kFarAway);
        expect_error<c10::ValueError>("unsound structure: col_indices", [&] { op.call(packed); });
      }
      const auto packed = weight_of(density);
      op.call(packed);
      poke(packed.row_offsets, 40, -kFarAway);
      expect_error<c10::ValueError>("unsound structure: row_offsets", [&] { op.call(packed); });
    }
  }
}

TEST(ChangedIndices, AreFoundByBackwardOpsOfBlocks) {
  const at::NoGradGuard no_grad;
  for (const auto& [r, c] : {std::pair<int64_t, int64_t>{16, 1}, {1, 1}, {4, 2}}) {
    const auto weight = sparse_weight({kRows, kCols}, 0.4);
    const auto grad = at::randn({3, kRows}), x = at::randn({3, kCols});
    const auto pack_it = [&] {
      auto [blocks, columns, offsets, key] = pack_bsr(weight, {}, {r, c});
      return Packed{blocks, columns, offsets, key};
    };
    const std::vector<Op> ops = {
        {"input",
         [&](const Packed& p) { return linear_bsr_backward_input(grad, p.values, p.col_indices, p.row_offsets, p.key, kRows, kCols); }},
        {"blocks",
         [&, r = r, c = c](const Packed& p) {
           const c10::SymInt size[] = {r, c};
           return linear_bsr_backward_values(grad, x, p.col_indices, p.row_offsets, p.key, size, kRows, kCols);
         }}};
    for (const auto& op : ops) {
      SCOPED_TRACE(std::string(op.name) + " of " + std::to_string(r) + "x" + std::to_string(c));
      const auto packed = pack_it();
      op.call(packed);
      poke(packed.col_indices, 3, kFarAway);
      expect_error<c10::ValueError>("unsound structure: block_columns[3]", [&] { op.call(packed); });
    }
  }
}

TEST(ChangedIndices, AreFoundInASmallWeightByEveryCall) {
  const at::NoGradGuard no_grad;
  const auto packed = pack(sparse_weight({40, 50}, 0.5));
  const auto call = [&] { return linear_csr(at::randn({1, 50}), packed.values, packed.col_indices, packed.row_offsets, packed.key, {}, {}, 50); };
  call();
  poke(packed.col_indices, 500, kFarAway);
  expect_error<c10::ValueError>("unsound structure: col_indices[500]", call);
}

TEST(ChangedIndices, AreNeverReadByForwardKernels) {
  const at::NoGradGuard no_grad;
  for (const char* isa : {"portable", "avx2", "avx512"}) {
    const ForcedIsa forced(isa);
    try {
      kernels::active_isa();
    } catch (const std::invalid_argument&) {
      continue;  // not on this processor
    }
    for (const auto dtype : {at::kFloat, at::kDouble}) {
      const auto packed = weight_of(0.5, dtype);
      for (const int64_t n : {1, 5, 40}) {
        SCOPED_TRACE(std::string(isa) + ", n = " + std::to_string(n));
        const auto x = at::randn({n, kCols}, dtype), expected = linear(packed, x);
        const auto column = packed.col_indices.const_data_ptr<int32_t>()[4];
        poke(packed.col_indices, 4, kFarAway);  // no part of the sample
        EXPECT_EQ(difference(linear(packed, x), expected), 0);
        poke(packed.col_indices, 4, column);
      }
    }
  }
}

TEST(ChangedIndices, MakeNoForm) {
  const at::NoGradGuard no_grad;
  const auto packed = weight_of(0.5);
  linear(packed, at::randn({1, kCols}));
  poke(packed.col_indices, 4, kFarAway);  // no part of the sample
  expect_error<c10::ValueError>("without torch's knowledge", [&] { linear(packed, at::randn({40, kCols})); });
  expect_error<c10::ValueError>("unsound structure: col_indices[4]", [&] { linear(packed, at::randn({40, kCols})); });
}

TEST(ChangedIndices, AnotherSoundStructureIsTaken) {
  const at::NoGradGuard no_grad;
  auto weight = at::zeros({2, 8}), other = at::zeros({2, 8});
  weight[1].slice(0, 0, 4).fill_(1);
  other[1].slice(0, 4, 8).fill_(1);
  const auto packed = pack(weight), wanted = pack(other);
  const auto call = [&] { return linear_csr(at::arange(8.0f), packed.values, packed.col_indices, packed.row_offsets, packed.key, {}, {}, 8); };
  EXPECT_EQ(call()[1].item<float>(), 0 + 1 + 2 + 3);
  for (int64_t i = 0; i < 4; ++i) {
    poke(packed.col_indices, i, 4 + i);
  }
  expect_error<c10::ValueError>("key of this structure", call);
  packed.key.copy_(wanted.key);
  EXPECT_EQ(call()[1].item<float>(), 4 + 5 + 6 + 7);
}

TEST(InferenceTensors, MayChangeTheirStructure) {
  const c10::InferenceMode guard;
  const auto weight = sparse_weight({kRows, kCols}, 0.5), other = weight.roll({1}, {1});
  const auto packed = pack(weight), wanted = pack(other);
  ASSERT_EQ(packed.values.numel(), wanted.values.numel());
  for (const int64_t n : {1, 40}) {
    linear(packed, at::randn({n, kCols}));
  }
  packed.values.copy_(wanted.values);
  packed.col_indices.copy_(wanted.col_indices);
  packed.row_offsets.copy_(wanted.row_offsets);
  packed.key.copy_(wanted.key);
  for (const int64_t n : {1, 40}) {
    const auto x = at::randn({n, kCols});
    EXPECT_EQ(difference(linear(packed, x), linear(wanted, x)), 0);
  }
}

TEST(InferenceTensors, MayChangeSingleValues) {
  const c10::InferenceMode guard;
  const auto packed = weight_of(0.5);
  for (const int64_t n : {1, 40}) {
    const auto x = at::randn({n, kCols});
    linear(packed, x);
    packed.values[4].add_(100);  // no part of a sample
    const auto fresh = packed.values.clone();
    EXPECT_EQ(difference(linear(packed, x), linear({fresh, packed.col_indices, packed.row_offsets, packed.key}, x)), 0);
  }
}

}  // namespace
}  // namespace jouleprune::testing
