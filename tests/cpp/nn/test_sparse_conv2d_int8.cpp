// SparseConv2d in int8, and Conv2d switched to it.
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <jouleprune/nn.h>
#include <jouleprune/value_errors.h>

#include <sstream>
#include <vector>

#include "nn/layers.h"

namespace jouleprune::tests {
namespace {

using Options = torch::nn::Conv2dOptions;

torch::nn::Conv2d pruned(const Options& options) {
  torch::manual_seed(7);
  torch::nn::Conv2d dense(options);
  sprinkle_zeros(dense->weight, 0.6);
  dense->eval();
  return dense;
}

std::vector<Options> shapes() {
  return {Options(16, 20, 3).padding(1),
          Options(7, 5, {2, 3}).padding({0, 2}).bias(false),
          Options(9, 33, 3).stride(2),
          Options(8, 4, 3).dilation({2, 1}).padding({2, 1}),
          Options(18, 9, 3).groups(3).padding(torch::kSame),
          Options(6, 6, 3).groups(6),
          Options(70, 40, 1)};
}

TEST(SparseConv2dInt8, EqualsTheWeightThatItHolds) {
  const at::NoGradGuard no_grad;
  for (const auto& options : shapes()) {
    const auto dense = pruned(options);
    auto sparse = nn::SparseConv2d::from_dense(dense, {.dtype = "int8"});
    EXPECT_TRUE(sparse->is_int8());
    EXPECT_TRUE(sparse->named_parameters().is_empty());
    std::vector<std::string> names = {"blocks", "block_columns", "block_row_offsets", "key", "scales", "input_scale"};
    if (options.bias()) names.emplace_back("bias");
    EXPECT_EQ(sparse->named_buffers().keys(), names);
    const auto held = sparse->to_dense();
    EXPECT_TRUE(held.is_contiguous());
    EXPECT_TRUE(at::allclose(held, dense->weight, 0, dense->weight.abs().max().item<double>() / 250));
    EXPECT_TRUE(held.ne(0).logical_and(dense->weight.eq(0)).sum().item<int64_t>() == 0);
    auto exact = pruned(options);
    exact->weight.copy_(held);
    const auto steps = at::randn({2, options.in_channels(), 9, 8}).mul(50).round().clamp(-127, 127);
    const auto by_image = sparse(steps), expected = exact(steps);
    EXPECT_LT((by_image - expected).norm().item<double>(), 0.02 * expected.norm().item<double>());
    sparse->fix_input_scale(1.0);  // the inputs are whole numbers: nothing is rounded
    expect_close(sparse(steps), expected);
    expect_close(sparse(steps[1]), expected[1]);
    expect_close(sparse(steps.to(at::MemoryFormat::ChannelsLast)), expected);
    sparse->fix_input_scale(std::nullopt);
    EXPECT_TRUE(at::equal(sparse(steps), by_image));
  }
}

TEST(SparseConv2dInt8, AMaskKeepsWholeQuads) {
  const at::NoGradGuard no_grad;
  torch::nn::Conv2d dense(Options(6, 3, 2));
  auto mask = at::zeros(dense->weight.sizes(), at::kBool);
  mask[1][5][0][1] = true;  // channels 4 and 5 at the tap (0, 1)
  const auto sparse = nn::SparseConv2d::from_dense(dense, {.mask = mask, .dtype = "int8"});
  EXPECT_EQ(sparse->nnz(), 4);
  EXPECT_EQ(sparse->block_columns.item<int>(), 1 * 2 + 1);  // two quads a tap
  EXPECT_EQ(sparse->to_dense().ne(0).sum().item<int64_t>(), 1);
  EXPECT_NE(sparse->to_dense()[1][5][0][1].item<float>(), 0);
  EXPECT_THROW(nn::SparseConv2d::from_dense(dense, {.mask = at::ones({3, 6}), .dtype = "int8"}), c10::ValueError);
}

TEST(SparseConv2dInt8, KeepsItsDtypes) {
  const at::NoGradGuard no_grad;
  auto sparse = nn::SparseConv2d::from_dense(pruned(shapes()[0]), {.dtype = "int8"});
  sparse->to(at::kBFloat16);
  EXPECT_EQ(sparse->blocks.scalar_type(), at::kChar);
  EXPECT_EQ(sparse->scales.scalar_type(), at::kFloat);
  EXPECT_EQ(sparse->bias.scalar_type(), at::kFloat);
  EXPECT_EQ(sparse(at::randn({1, 16, 5, 5}, at::kBFloat16)).scalar_type(), at::kBFloat16);
}

std::vector<nn::SparseConv2d> both(const Options& options) {
  return {nn::SparseConv2d::from_dense(pruned(options)), nn::SparseConv2d::from_dense(pruned(options), {.dtype = "int8"})};
}

TEST(SparseConv2dInt8, LoadsAndClonesEitherIntoEither) {
  const at::NoGradGuard no_grad;
  for (const auto& options : shapes()) {
    const auto x = at::randn({1, options.in_channels(), 6, 7});
    for (auto& saved : both(options)) {
      auto targets = both(options);
      targets.emplace_back(options);
      for (auto& target : targets) {
        target->eval();
        save_and_load(saved, target);
        EXPECT_EQ(target->named_parameters().keys(), saved->named_parameters().keys());
        EXPECT_EQ(target->named_buffers().keys(), saved->named_buffers().keys());
        EXPECT_EQ(target->dtype, saved->dtype);
        EXPECT_TRUE(at::equal(target(x), saved(x)));
        EXPECT_FALSE(target->is_training());
        auto copy = std::dynamic_pointer_cast<nn::SparseConv2dImpl>(target->clone());
        EXPECT_TRUE(at::equal(copy->forward(x), saved(x)));
        EXPECT_FALSE(copy->key.is_same(target->key));
      }
      nn::Conv2d switching(options);
      save_and_load(saved, switching);
      ASSERT_TRUE(switching->is_sparse());
      EXPECT_EQ(switching->sparse()->dtype, saved->dtype);
      EXPECT_TRUE(at::equal(switching(x), saved(x)));
    }
  }
}

TEST(SparseConv2dInt8, RefusesUnsoundBlocksAndStaysAsItWas) {
  const auto options = Options(8, 6, 3).groups(2);
  const at::NoGradGuard no_grad;
  auto saved = both(options)[1], target = both(options)[1];
  const auto before = target->to_dense().clone();
  nn::SparseConv2d wider(Options(12, 6, 3).groups(2)), taller(Options(8, 8, 3).groups(2)), bare(Options(8, 6, 3).groups(2).bias(false));
  saved->block_columns.fill_(8);  // the last place for a quad of four channels at nine taps
  EXPECT_THROW(save_and_load(saved, target), c10::ValueError);
  saved = both(options)[1];
  EXPECT_THROW(save_and_load(saved, taller), c10::ValueError);
  EXPECT_THROW(save_and_load(saved, wider), c10::ValueError);
  EXPECT_THROW(save_and_load(saved, bare), c10::ValueError);
  EXPECT_FALSE(wider->is_int8() || taller->is_int8() || bare->is_int8());
  EXPECT_TRUE(at::equal(target->to_dense(), before));
}

TEST(SparseConv2dInt8, NamesWhatThereIsNot) {
  const auto dense = pruned(shapes()[0]);
  const auto refuses = [&](const nn::PackOptions& options, const std::string& words) {
    try {
      nn::SparseConv2d::from_dense(dense, options);
      ADD_FAILURE() << words;
    } catch (const PatternError& error) {
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
  };
  refuses({.layout = "bsr"}, "layout: expected one of csr, got \"bsr\"");
  refuses({.layout = "csr", .dtype = "int8"}, "layout: expected one of bsr");
  refuses({.dtype = "int4"}, "dtype: expected");
  refuses({.block_size = nn::BlockSize{2, 2}, .dtype = "int8"}, "block_size: expected none, or of int8 1 x 4, got 2 x 2");
  refuses({.block_size = nn::BlockSize{1, 4}}, "block_size");
  EXPECT_THROW(nn::SparseConv2d::from_dense(dense)->fix_input_scale(1), c10::ValueError);
  auto int8 = nn::SparseConv2d::from_dense(dense, {.dtype = "int8"});
  EXPECT_THROW(int8->fix_input_scale(0), c10::ValueError);
  const auto x = at::randn({1, 16, 5, 5});
  EXPECT_THROW(int8->forward(x, at::ones({1, 20, 5, 5})), c10::ValueError);
  EXPECT_ANY_THROW(int8->forward(x.clone().requires_grad_()).sum().backward());
}

TEST(SparseConv2dInt8, PrintsItsDtype) {
  std::ostringstream out;
  out << nn::SparseConv2d::from_dense(pruned(shapes()[0]), {.dtype = "int8"});
  EXPECT_NE(out.str().find("layout=bsr, dtype=int8, nnz="), std::string::npos) << out.str();
}

TEST(Conv2dInt8, SwitchesThereAndBack) {
  const at::NoGradGuard no_grad;
  for (const auto& options : shapes()) {
    nn::Conv2d layer(options);
    layer->weight.copy_(pruned(options)->weight);
    const auto x = at::randn({2, options.in_channels(), 7, 6});
    layer->eval();
    layer->switch_to_sparse({.dtype = "int8"});
    EXPECT_TRUE(layer->sparse()->is_int8() && !layer->sparse()->is_training());
    EXPECT_TRUE(layer->named_buffers().contains("blocks"));
    EXPECT_TRUE(layer->named_parameters().is_empty());
    EXPECT_THROW(layer->switch_to_sparse({.dtype = "int8"}), c10::ValueError);
    layer->to(at::kBFloat16);
    EXPECT_EQ(layer->sparse()->scales.scalar_type(), at::kFloat);
    const auto copy = std::dynamic_pointer_cast<nn::Conv2dImpl>(layer->clone());
    EXPECT_TRUE(at::equal(copy->forward(x), layer(x)));
    const auto held = layer->to_dense().clone(), before = layer(x);
    layer->switch_to_dense();
    EXPECT_TRUE(at::equal(layer->weight, held));
    EXPECT_LT((layer(x) - before).norm().item<double>(), 0.02 * before.norm().item<double>());
  }
  nn::Conv2d other(Options(4, 4, 3));
  EXPECT_THROW(other->switch_to_sparse(nn::SparseConv2d::from_dense(pruned(shapes()[0]))), c10::ValueError);
  EXPECT_FALSE(other->is_sparse());
}

}  // namespace
}  // namespace jouleprune::tests
