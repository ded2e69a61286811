// linear_csr and its gradients by cuSPARSE, which a stand-in on the host plays (tests/cpp/cuda/fake_cusparse.cpp), and kernels by measured
// times.
#include <ATen/ATen.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <jouleprune/ops.h>
#include <torch/csrc/autograd/autograd.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "csr/choice.h"
#include "emulated_backend.h"
#include "plan/gpu_choice.h"
#include "plan/tuning.h"

namespace jouleprune {
namespace {

/// Sets variables of the environment, and takes them back.
class Environment {
 public:
  void set(const char* name, const std::string& value) {
    ::setenv(name, value.c_str(), 1);
    names_.push_back(name);
  }
  ~Environment() {
    for (const char* name : names_) ::unsetenv(name);
  }

 private:
  std::vector<const char*> names_;
};

/// What the stand-in was called for since `begin`, which may make a call fail.
class Fake {
 public:
  Fake() : library_(dlopen(JOULEPRUNE_FAKE_CUSPARSE, RTLD_NOW)) {}
  void begin(const char* failing = "") const { reinterpret_cast<void (*)(const char*)>(dlsym(library_, "fake_cusparse_begin"))(failing); }
  bool called(const std::string& what) const {
    const std::string calls = reinterpret_cast<const char* (*)()>(dlsym(library_, "fake_cusparse_calls"))();
    return calls.find(what) != std::string::npos;
  }

 private:
  void* library_;
};

struct Layer {
  at::Tensor dense, values, columns, offsets, key;
};
Layer layer_of(int64_t rows, int64_t cols, at::ScalarType dtype) {
  const auto dense = (at::randn({rows, cols}) * (at::rand({rows, cols}) < 0.3)).to(dtype);
  const auto [values, columns, offsets, key] = pack_csr(dense, std::nullopt);
  return {dense.to(at::kDouble), values, columns, offsets, key};
}
at::Tensor forward(const Layer& l, const at::Tensor& input, const at::Tensor& values, const std::optional<at::Tensor>& bias,
                   const std::string& activation) {
  return linear_csr(input, values, l.columns, l.offsets, l.key, std::nullopt, bias, input.size(-1), activation);
}

TEST(EmulatedCusparse, ServesTheProductAndItsGradients) {
  at::manual_seed(5);
  Environment environment;
  environment.set("JOULEPRUNE_CUSPARSE", JOULEPRUNE_FAKE_CUSPARSE);
  environment.set("JOULEPRUNE_CUDA_CSR", "cusparse");
  const Fake fake;
  for (const auto dtype : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16}) {
    const auto layer = layer_of(33, 50, dtype);
    auto input = at::randn({7, 50}).to(dtype).requires_grad_();
    auto values = layer.values.detach().clone().requires_grad_();
    const auto bias = at::randn({33}).to(dtype);
    const double near = dtype == at::kDouble ? 1e-9 : dtype == at::kFloat ? 1e-4 : dtype == at::kHalf ? 3e-2 : 2e-1;
    fake.begin();
    const auto before = emulated::runs();
    const auto output = forward(layer, input, values, bias, "relu");
    EXPECT_EQ(emulated::runs(), before);
    EXPECT_TRUE(fake.called("cusparseSpMM("));
    const auto exact = input.detach().to(at::kDouble).requires_grad_(), weight = layer.dense.clone().requires_grad_();
    const auto expected = at::linear(exact, weight, bias.to(at::kDouble)).relu();
    EXPECT_TRUE(at::allclose(output.to(at::kDouble), expected, near, near)) << dtype;
    const auto seed = at::randn({7, 33}).to(dtype);
    const auto grads = torch::autograd::grad({output}, {input, values}, {seed});
    const auto expected_grads = torch::autograd::grad({expected}, {exact, weight}, {seed.to(at::kDouble)});
    EXPECT_TRUE(fake.called("cusparseSDDMM("));
    EXPECT_TRUE(at::allclose(grads[0].to(at::kDouble), expected_grads[0], near, near)) << dtype;
    EXPECT_TRUE(at::allclose(unpack_csr(grads[1], layer.columns, layer.offsets, 50).to(at::kDouble),
                             expected_grads[1] * layer.dense.ne(0), near, near))
        << dtype;
  }
}

TEST(EmulatedCusparse, ServesBlocksThatDivideTheWeight) {
  at::manual_seed(8);
  Environment environment;
  environment.set("JOULEPRUNE_CUSPARSE", JOULEPRUNE_FAKE_CUSPARSE);
  environment.set("JOULEPRUNE_CUDA_BSR", "cusparse");
  const Fake fake;
  for (const auto& [r, c] : {std::pair<int64_t, int64_t>{16, 1}, {4, 8}}) {
    const auto mask = (at::rand({32 / r, 48 / c}) < 0.5).repeat_interleave(r, 0).repeat_interleave(c, 1);
    const auto dense = at::randn({32, 48}) * mask;
    const auto [blocks, columns, offsets, key] = pack_bsr(dense, mask, {r, c});
    const auto input = at::randn({5, 48}), bias = at::randn({32});
    fake.begin();
    const auto output = linear_bsr(input, blocks, columns, offsets, key, std::nullopt, bias, 32, 48, "gelu");
    EXPECT_TRUE(fake.called("cusparseSpMM(0 14)"));
    EXPECT_TRUE(at::allclose(output, at::gelu(at::linear(input, dense, bias)), 1e-4, 1e-4));
  }
  const auto [blocks, columns, offsets, key] = pack_bsr(at::randn({30, 48}), std::nullopt, {16, 1});
  EXPECT_THROW(linear_bsr(at::randn({5, 48}), blocks, columns, offsets, key, std::nullopt, std::nullopt, 30, 48, "none"), c10::ValueError);
}

// Without a prediction in their favour blocks run as torch's dense product, with the same results and gradients.
TEST(EmulatedChoice, BlocksThatDoNotPayRunDense) {
  at::manual_seed(9);
  const auto mask = (at::rand({2, 48}) < 0.5).repeat_interleave(16, 0);
  const auto dense = (at::randn({32, 48}, at::kDouble) * mask).requires_grad_();
  const auto [blocks, columns, offsets, key] = pack_bsr(dense.detach(), mask, {16, 1});
  const auto values = blocks.clone().requires_grad_(), input = at::randn({3, 48}, at::kDouble).requires_grad_();
  const auto before = emulated::runs();
  const auto output = linear_bsr(input, values, columns, offsets, key, std::nullopt, std::nullopt, 32, 48, "silu");
  EXPECT_EQ(emulated::runs(), before);
  const auto expected = at::silu(at::linear(input, dense));
  EXPECT_TRUE(at::allclose(output, expected));
  const auto grads = torch::autograd::grad({output.sum()}, {input, values});
  const auto expected_grads = torch::autograd::grad({expected.sum()}, {input, dense});
  EXPECT_TRUE(at::allclose(grads[0], expected_grads[0]));
  EXPECT_TRUE(at::allclose(unpack_bsr(grads[1], columns, offsets, 32, 48), expected_grads[1] * mask));
  Environment environment;
  environment.set("JOULEPRUNE_CUDA_BSR", "quickly");
  EXPECT_THROW(linear_bsr(input, values, columns, offsets, key, std::nullopt, std::nullopt, 32, 48, "none"), c10::ValueError);
}

TEST(EmulatedCusparse, AskedForByNameItsAbsenceIsAnError) {
  Environment environment;
  environment.set("JOULEPRUNE_CUSPARSE", "off");
  environment.set("JOULEPRUNE_CUDA_CSR", "cusparse");
  const auto layer = layer_of(4, 5, at::kFloat);
  try {
    forward(layer, at::randn({2, 5}), layer.values, std::nullopt, "none");
    FAIL() << "expected an error";
  } catch (const c10::Error& error) {
    EXPECT_NE(std::string(error.what()).find("linear_csr: JOULEPRUNE_CUDA_CSR=cusparse: cuSPARSE is not available: JOULEPRUNE_CUSPARSE is off"),
              std::string::npos)
        << error.what();
  }
}

/// A file that goes with its object.
struct TemporaryFile {
  std::string path;
  explicit TemporaryFile(const std::string& name)
      : path((std::filesystem::temp_directory_path() / ("jouleprune_" + name + std::to_string(::getpid()))).string()) {}
  ~TemporaryFile() { std::filesystem::remove(path); }
};

/// Fills it as a tuning file in which `quickest` takes the least time on this call, on the GPU of that identity.
void tune(const TemporaryFile& file, const std::string& identity, const cuda::csr::Shape& shape, const std::string& quickest) {
  plan::TuningTable table(identity);
  for (const char* kernel : {"dense", "by-entries", "by-tokens", "tiles", "cusparse"}) {
    table.put(plan::gpu_call(shape), kernel, kernel == quickest ? 1e-6 : 9e-6);
  }
  table.save(file.path);
}

TEST(EmulatedChoice, TimesOfThisGpuDecide) {
  at::manual_seed(6);
  const auto layer = layer_of(33, 50, at::kFloat);
  const cuda::csr::Shape shape{cuda::ElementType::kFloat32, 33, 50, layer.values.numel(), 3};
  const auto input = at::randn({3, 50});
  const auto expected = at::linear(input.to(at::kDouble), layer.dense);
  const Fake fake;
  const auto runs_by = [&](const std::string& name, const std::string& identity, const std::string& quickest) {
    const TemporaryFile file(name);
    tune(file, identity, shape, quickest);
    Environment environment;
    environment.set("JOULEPRUNE_TUNE", file.path);
    environment.set("JOULEPRUNE_CUSPARSE", JOULEPRUNE_FAKE_CUSPARSE);
    const auto before = emulated::runs();
    EXPECT_TRUE(at::allclose(forward(layer, input, layer.values, std::nullopt, "none").to(at::kDouble), expected, 1e-4, 1e-4));
    return emulated::runs() - before;
  };
  EXPECT_EQ(runs_by("dense", "emulated", "dense"), 0u);
  EXPECT_EQ(runs_by("entries", "emulated", "by-entries"), 1u);
  fake.begin();
  EXPECT_EQ(runs_by("cusparse", "emulated", "cusparse"), 0u);
  EXPECT_TRUE(fake.called("cusparseSpMM(0 12)"));
  // Of another GPU: the prediction decides, which for so little is the kernel by entries.
  fake.begin();
  runs_by("other", "another GPU", "cusparse");
  EXPECT_FALSE(fake.called("cusparseSpMM("));
}

// A release of the library may refuse a type: the next best runs, and the library is not asked again.
TEST(EmulatedChoice, WhatCusparseRefusesOthersDo) {
  at::manual_seed(7);
  const auto layer = layer_of(20, 30, at::kDouble);
  const cuda::csr::Shape shape{cuda::ElementType::kFloat64, 20, 30, layer.values.numel(), 2};
  const TemporaryFile tuning("refused"), link("fake.so");
  tune(tuning, "emulated", shape, "cusparse");
  Environment environment;
  environment.set("JOULEPRUNE_TUNE", tuning.path);
  // A path of its own: what is refused is remembered for the library by its name.
  std::filesystem::create_symlink(JOULEPRUNE_FAKE_CUSPARSE, link.path);
  environment.set("JOULEPRUNE_CUSPARSE", link.path);
  const Fake fake;
  fake.begin("cusparseSpMM_bufferSize");
  const auto input = at::randn({2, 30}, at::kDouble);
  for (int call = 0; call < 2; ++call) {
    EXPECT_TRUE(at::allclose(forward(layer, input, layer.values, std::nullopt, "none"), at::linear(input, layer.dense)));
    EXPECT_EQ(fake.called("cusparseSpMM_bufferSize"), call == 0);
    fake.begin("cusparseSpMM_bufferSize");
  }
  fake.begin();
}

TEST(EmulatedChoice, ADamagedFileCountsAsNone) {
  const TemporaryFile file("damaged");
  std::ofstream(file.path) << "{\"schema\": 1";
  Environment environment;
  environment.set("JOULEPRUNE_TUNE", file.path);
  const auto layer = layer_of(4, 5, at::kFloat);
  const auto input = at::randn({2, 5});
  EXPECT_TRUE(at::allclose(forward(layer, input, layer.values, std::nullopt, "none").to(at::kDouble), at::linear(input.to(at::kDouble), layer.dense),
                           1e-5, 1e-5));
}

}  // namespace
}  // namespace jouleprune
