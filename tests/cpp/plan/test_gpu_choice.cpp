// Which kernel a product runs on a GPU: predictions and times, as pure functions.
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "plan/gpu_choice.h"

namespace jouleprune::plan {
namespace {

using cuda::ElementType;
using cuda::csr::Kernel;
using cuda::csr::Machine;
using cuda::csr::Shape;

const Machine kA100 = cuda::csr::machine_of(8, 0, 108, 1.41e9, 2.0e12), kH100 = cuda::csr::machine_of(9, 0, 132, 1.83e9, 3.35e12);
const std::string kThis = gpu_identity("GPU", 8, 0, 108);

Shape shape(double density, int64_t n, ElementType type = ElementType::kFloat16) {
  return {type, 4096, 4096, static_cast<int64_t>(density * 4096 * 4096), n};
}

const GpuCandidate& named(const GpuDecision& decision, const std::string& name) {
  for (const auto& each : decision.candidates) {
    if (each.name == name) return each;
  }
  throw std::out_of_range(name);
}

TEST(GpuChoice, WithoutTimesItIsThePrediction) {
  for (const auto type : {ElementType::kFloat16, ElementType::kFloat32, ElementType::kFloat64}) {
    for (const double density : {0.5, 0.1, 0.01}) {
      for (const int64_t n : {1, 16, 64, 1024}) {
        const auto s = shape(density, n, type);
        EXPECT_EQ(choose_on_gpu(s, kA100, nullptr, "").kernel, cuda::csr::choose(s, kA100));
      }
    }
  }
  EXPECT_EQ(named(choose_on_gpu(shape(0.5, 1), kA100, nullptr, ""), "cusparse").why_not, "not measured");
}

TEST(GpuChoice, TimesDecideAmongWhatWasMeasured) {
  TuningTable times(kThis);
  const auto s = shape(0.5, 16);
  ASSERT_EQ(choose_on_gpu(s, kA100, &times, "").kernel, Kernel::kTiles);
  times.put(gpu_call(s), "dense", 20e-6);
  auto decision = choose_on_gpu(s, kA100, &times, "");  // tiles were not measured: dense stays
  EXPECT_EQ(decision.kernel, Kernel::kDense);
  EXPECT_EQ(named(decision, "tiles").why_not, "not measured, dense is");
  times.put(gpu_call(s), "tiles", 25e-6);
  EXPECT_EQ(choose_on_gpu(s, kA100, &times, "").kernel, Kernel::kDense);
  times.put(gpu_call(s), "tiles", 15e-6);
  EXPECT_EQ(choose_on_gpu(s, kA100, &times, "").kernel, Kernel::kTiles);
  times.put(gpu_call(s), "cusparse", 10e-6);
  decision = choose_on_gpu(s, kA100, &times, "");
  EXPECT_EQ(decision.kernel, Kernel::kCusparse);
  EXPECT_EQ(decision.reason, "cusparse: measured to take 10.0 us, dense 20.0 us");
  decision = choose_on_gpu(s, kA100, &times, "cuSPARSE is not available: no file");
  EXPECT_EQ(decision.kernel, Kernel::kTiles);
  EXPECT_EQ(named(decision, "cusparse").why_not, "cuSPARSE is not available: no file");
}

TEST(GpuChoice, NearTimesAreScaledAsPredictionsScale) {
  TuningTable times(kThis);
  const auto near = shape(0.5, 16);
  times.put(gpu_call(near), "dense", 40e-6);
  times.put(gpu_call(near), "tiles", 30e-6);
  const auto s = shape(0.45, 20);
  const auto decision = choose_on_gpu(s, kA100, &times, "");
  const auto expected = [&](Kernel kernel, double seconds) {
    return seconds * predicted_s(kernel, s, kA100) / predicted_s(kernel, near, kA100);
  };
  EXPECT_NEAR(named(decision, "tiles").measured_s.value(), expected(Kernel::kTiles, 30e-6), 1e-8);
  EXPECT_NEAR(named(decision, "dense").measured_s.value(), expected(Kernel::kDense, 40e-6), 1e-8);
  // Dense times hold for every density, those of sparse kernels do not.
  const auto sparse = choose_on_gpu(shape(0.1, 16), kA100, &times, "");
  EXPECT_TRUE(named(sparse, "dense").measured_s.has_value());
  EXPECT_FALSE(named(sparse, "tiles").measured_s.has_value());
  // Neither is a batch four times as large near.
  EXPECT_FALSE(named(choose_on_gpu(shape(0.5, 64), kA100, &times, ""), "dense").measured_s.has_value());
}

TEST(GpuChoice, TimesOfAnotherGpuOrVersionAreNotUsed) {
  EXPECT_NE(gpu_identity("GPU", 8, 0, 108), gpu_identity("GPU", 8, 0, 107));
  EXPECT_NE(gpu_identity("GPU", 8, 0, 108), gpu_identity("GPU", 8, 6, 108));
  EXPECT_NE(kThis.find("jouleprune"), std::string::npos);  // the version follows
}

TEST(GpuChoice, DenseInOtherTypesIsPredictedBesideIt) {
  const auto decision = choose_on_gpu(shape(0.5, 1024), kH100, nullptr, "");
  EXPECT_NEAR(named(decision, "dense").predicted_s / named(decision, "dense int8").predicted_s, 2, 0.2);
  EXPECT_EQ(named(decision, "dense fp8").why_not, "the model is not in that type");
  EXPECT_TRUE(std::isinf(named(choose_on_gpu(shape(0.5, 1024), kA100, nullptr, ""), "dense fp8").predicted_s));
  const auto wide = choose_on_gpu(shape(0.5, 1024, ElementType::kFloat32), kA100, nullptr, "");
  EXPECT_LT(named(wide, "dense 16-bit").predicted_s, named(wide, "dense").predicted_s);
  EXPECT_THROW(named(decision, "dense 16-bit"), std::out_of_range);
}

TEST(GpuChoice, SaysWhatItWeighed) {
  const auto text = choose_on_gpu(shape(0.5, 1), kA100, nullptr, "cuSPARSE is not available: off").to_string();
  EXPECT_NE(text.find("dense        predicted 23.5 us\n"), std::string::npos) << text;
  EXPECT_NE(text.find("cusparse     predicted "), std::string::npos) << text;
  EXPECT_NE(text.find("(cuSPARSE is not available: off)"), std::string::npos) << text;
  EXPECT_NE(text.find("-> tiles: predicted to take 17.3 us, dense 23.5 us"), std::string::npos) << text;
}

}  // namespace
}  // namespace jouleprune::plan
