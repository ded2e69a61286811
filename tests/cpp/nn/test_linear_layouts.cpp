// SparseLinear in layouts bsr, vector and int8, and Linear switched to them.
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <jouleprune/nn.h>
#include <jouleprune/ops_int8.h>
#include <jouleprune/value_errors.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/optim/sgd.h>

#include "nn/layers.h"

namespace jouleprune::tests {
namespace {

using nn::BlockSize;
using nn::PackOptions;

/// About 60 % of the r x c blocks are zero, the first among them; those at the edges are cut off.
torch::nn::Linear block_pruned(int64_t in, int64_t out, int64_t r, int64_t c, bool bias = true) {
  torch::manual_seed(3);
  torch::nn::Linear dense(torch::nn::LinearOptions(in, out).bias(bias));
  auto blocks = at::rand({(out + r - 1) / r, (in + c - 1) / c}).gt(0.6);
  blocks[0][0] = false;
  const at::NoGradGuard no_grad;
  dense->weight.mul_(blocks.repeat_interleave(r, 0).repeat_interleave(c, 1).slice(0, 0, out).slice(1, 0, in));
  return dense;
}

struct Case {
  PackOptions options;
  int64_t r, c;
};

std::vector<Case> block_cases() {
  return {{{.layout = "bsr", .block_size = BlockSize{4, 4}}, 4, 4},
          {{.layout = "bsr", .block_size = BlockSize{3, 5}}, 3, 5},
          {{.layout = "vector"}, 16, 1},
          {{.layout = "vector", .block_size = BlockSize{8, 1}}, 8, 1}};
}

TEST(SparseLinearBsr, EqualsTheDenseLayer) {
  for (const auto& [options, r, c] : block_cases()) {
    for (const bool bias : {true, false}) {
      auto dense = block_pruned(37, 35, r, c, bias);
      auto sparse = nn::SparseLinear::from_dense(dense, options);
      EXPECT_EQ(sparse->options.layout, "bsr");
      EXPECT_EQ(sparse->options.block_size, (nn::BlockSize{r, c}));
      EXPECT_LT(sparse->nnz(), 37 * 35);
      EXPECT_TRUE(at::equal(sparse->to_dense(), dense->weight));
      for (const auto& sizes : std::vector<std::vector<int64_t>>{{5, 37}, {1, 37}, {0, 37}, {2, 3, 37}}) {
        const auto x = at::randn(sizes);
        expect_close(sparse->forward(x), dense->forward(x));
      }
    }
  }
}

TEST(SparseLinearBsr, FindsTheBlockSize) {
  for (const auto& [r, c] : std::vector<std::pair<int64_t, int64_t>>{{16, 16}, {8, 8}, {4, 4}, {1, 4}, {32, 1}}) {
    auto dense = block_pruned(64, 64, r, c);
    EXPECT_EQ(nn::SparseLinear::from_dense(dense, "bsr")->options.block_size, (nn::BlockSize{r, c}));
  }
  auto dense = block_pruned(32, 32, 1, 1);
  try {
    nn::SparseLinear::from_dense(dense, "bsr");
    FAIL() << "no block size covers single zeros";
  } catch (const PatternError& error) {
    EXPECT_NE(std::string(error.what()).find("comes closest"), std::string::npos) << error.what();
  }
}

TEST(SparseLinearBsr, TrainsItsBlocks) {
  auto dense = block_pruned(11, 12, 4, 4);
  auto sparse = nn::SparseLinear::from_dense(dense, {.layout = "bsr", .block_size = BlockSize{4, 4}});
  EXPECT_EQ(sparse->named_parameters().keys(), (std::vector<std::string>{"blocks", "bias"}));
  EXPECT_EQ(sparse->named_buffers().keys(), (std::vector<std::string>{"block_columns", "block_row_offsets", "key"}));
  const auto x = at::randn({6, 11});
  dense->forward(x).square().sum().backward();
  sparse->forward(x).square().sum().backward();
  torch::optim::SGD(sparse->parameters(), 1e-3).step();
  torch::optim::SGD(dense->parameters(), 1e-3).step();
  const auto kept = sparse->to_dense().ne(0);
  expect_close(sparse->to_dense(), dense->weight * kept);
}

TEST(SparseLinearInt8, EqualsTheWeightThatItHolds) {
  auto dense = block_pruned(37, 19, 1, 1);
  auto sparse = nn::SparseLinear::from_dense(dense, {.dtype = "int8"});
  EXPECT_TRUE(sparse->is_int8());
  EXPECT_TRUE(sparse->named_parameters().is_empty());
  EXPECT_EQ(sparse->named_buffers().keys(), (std::vector<std::string>{"blocks", "block_columns", "block_row_offsets", "key", "scales",
                                                                      "input_scale", "bias"}));
  const auto held = sparse->to_dense();
  EXPECT_TRUE(at::allclose(held, dense->weight.detach(), 0, dense->weight.abs().max().item<double>() / 127));
  const auto steps = at::randn({5, 37}).mul(50).round().clamp(-127, 127);
  const at::NoGradGuard no_grad;
  const auto by_row = sparse->forward(steps), expected = at::linear(steps, held, dense->bias).detach();
  EXPECT_LT((by_row - expected).norm().item<double>(), 0.02 * expected.norm().item<double>());
  sparse->fix_input_scale(1.0);  // the inputs are whole numbers: nothing is rounded
  expect_close(sparse->forward(steps), expected);
  sparse->fix_input_scale(std::nullopt);
  EXPECT_TRUE(at::equal(sparse->forward(steps), by_row));
}

TEST(SparseLinearInt8, KeepsItsDtypes) {
  auto sparse = nn::SparseLinear::from_dense(block_pruned(8, 4, 1, 1), {.dtype = "int8"});
  sparse->to(at::kBFloat16);
  EXPECT_EQ(sparse->blocks.scalar_type(), at::kChar);
  EXPECT_EQ(sparse->scales.scalar_type(), at::kFloat);
  EXPECT_EQ(sparse->bias.scalar_type(), at::kFloat);
  const at::NoGradGuard no_grad;
  EXPECT_EQ(sparse->forward(at::randn({2, 8}, at::kBFloat16)).scalar_type(), at::kBFloat16);
}

std::vector<nn::SparseLinear> every_layout() {
  return {nn::SparseLinear::from_dense(block_pruned(12, 8, 4, 4)),
          nn::SparseLinear::from_dense(block_pruned(12, 8, 4, 4), {.layout = "bsr", .block_size = BlockSize{4, 4}}),
          nn::SparseLinear::from_dense(block_pruned(12, 8, 4, 4), {.layout = "bsr", .block_size = BlockSize{2, 4}}),
          nn::SparseLinear::from_dense(block_pruned(12, 8, 4, 4), {.dtype = "int8"})};
}

TEST(SparseLinear, LoadsAndClonesEveryLayoutIntoEveryOther) {
  const at::NoGradGuard no_grad;
  const auto x = at::randn({3, 12});
  for (auto& saved : every_layout()) {
    auto targets = every_layout();
    targets.push_back(nn::SparseLinear(12, 8));
    for (auto& target : targets) {
      target->eval();
      save_and_load(saved, target);
      EXPECT_EQ(target->named_parameters().keys(), saved->named_parameters().keys());
      EXPECT_EQ(target->named_buffers().keys(), saved->named_buffers().keys());
      EXPECT_EQ(target->options.block_size, saved->options.layout == "csr" ? (nn::BlockSize{1, 1}) : saved->options.block_size);
      EXPECT_TRUE(at::equal(target(x), saved(x)));
      EXPECT_FALSE(target->is_training());
      auto copy = std::dynamic_pointer_cast<nn::SparseLinearImpl>(target->clone());
      EXPECT_TRUE(at::equal(copy->forward(x), saved(x)));
      EXPECT_FALSE(copy->key.is_same(target->key));
    }
  }
}

TEST(SparseLinear, ParametersStayTheSameObjectsWhenTheLayoutDoes) {
  auto saved = nn::SparseLinear::from_dense(block_pruned(12, 8, 4, 4), {.layout = "bsr", .block_size = BlockSize{4, 4}});
  auto target = nn::SparseLinear::from_dense(block_pruned(12, 8, 2, 2), {.layout = "bsr", .block_size = BlockSize{4, 4}});
  const auto before = target->blocks;
  save_and_load(saved, target);
  EXPECT_TRUE(before.is_same(target->blocks));
  EXPECT_TRUE(before.is_same(*target->named_parameters().find("blocks")));
}

TEST(SparseLinear, RefusesUnsoundBlocksAndStaysAsItWas) {
  for (size_t kind : {1u, 3u}) {
    auto saved = every_layout()[kind], target = every_layout()[kind];
    const at::NoGradGuard no_grad;
    const auto before = target->to_dense().clone();
    nn::SparseLinear wider(40, 8), taller(12, 9), bare(nn::SparseLinearOptions(12, 8, false));
    EXPECT_THROW(save_and_load(saved, wider), c10::ValueError);
    EXPECT_THROW(save_and_load(saved, taller), c10::ValueError);
    EXPECT_THROW(save_and_load(saved, bare), c10::ValueError);
    EXPECT_EQ(wider->options.layout, "csr");
    saved->block_columns.fill_(100);
    EXPECT_THROW(save_and_load(saved, target), c10::ValueError);
    EXPECT_TRUE(at::equal(target->to_dense(), before));
  }
}

TEST(SparseLinear, NamesLayoutsThatThereAreNot) {
  auto dense = block_pruned(12, 8, 4, 4);
  const auto refuses = [&](const nn::PackOptions& options, const std::string& words) {
    try {
      nn::SparseLinear::from_dense(dense, options);
      ADD_FAILURE() << words;
    } catch (const PatternError& error) {
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
  };
  refuses({.layout = "coo"}, "layout: expected one of csr, bsr");
  refuses({.dtype = "int4"}, "dtype: expected");
  refuses({.layout = "csr", .dtype = "int8"}, "layout: expected one of bsr");
  refuses({.layout = "csr", .block_size = BlockSize{4, 4}}, "layout \"csr\" has none");
  refuses({.layout = "bsr", .block_size = BlockSize{0, 4}}, "at least 1, got 0 x 4");
  refuses({.layout = "vector", .block_size = BlockSize{4, 4}}, "expected r x 1");
  refuses({.block_size = BlockSize{2, 2}, .dtype = "int8"}, "int8 has blocks of 1 x 4, got 2 x 2");
  EXPECT_THROW(nn::SparseLinear::from_dense(dense, {.layout = "bsr", .mask = at::ones({12, 8})}), c10::ValueError);
  EXPECT_THROW(nn::SparseLinear::from_dense(dense)->fix_input_scale(1), c10::ValueError);
  auto int8 = nn::SparseLinear::from_dense(dense, {.dtype = "int8"});
  EXPECT_THROW(int8->fix_input_scale(0), c10::ValueError);
  EXPECT_ANY_THROW(int8->forward(at::randn({2, 12}).requires_grad_()).sum().backward());
}

TEST(SparseLinear, PrintsItsLayout) {
  std::ostringstream out;
  out << nn::SparseLinear(nn::SparseLinearOptions(12, 8)) << '\n' << every_layout()[2] << '\n' << every_layout()[3];
  EXPECT_NE(out.str().find("layout=csr, nnz=0"), std::string::npos) << out.str();
  EXPECT_NE(out.str().find("layout=bsr, block_size=2x4, nnz="), std::string::npos) << out.str();
  EXPECT_NE(out.str().find("block_size=1x4, dtype=int8, nnz="), std::string::npos) << out.str();
}

TEST(Linear, SwitchesToEveryLayoutAndLoadsIt) {
  const at::NoGradGuard no_grad;
  const auto x = at::randn({3, 12});
  for (const nn::PackOptions& options : {nn::PackOptions{.layout = "bsr", .block_size = BlockSize{4, 4}}, nn::PackOptions{.dtype = "int8"}}) {
    nn::Linear layer(12, 8);
    layer->weight.copy_(block_pruned(12, 8, 4, 4)->weight);
    layer->switch_to_sparse(options);
    EXPECT_EQ(layer->named_buffers().contains("blocks"), options.dtype == "int8");
    nn::Linear loaded(12, 8);
    save_and_load(layer, loaded);
    EXPECT_EQ(loaded->sparse()->options.dtype, options.dtype);
    EXPECT_TRUE(at::equal(loaded(x), layer(x)));
    EXPECT_TRUE(at::equal(std::dynamic_pointer_cast<nn::LinearImpl>(loaded->clone())->forward(x), layer(x)));
    const auto held = layer->to_dense().clone();
    loaded->switch_to_dense();
    EXPECT_TRUE(at::equal(loaded->weight, held));
  }
}

}  // namespace
}  // namespace jouleprune::tests
