#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>

#include "kernels/isa.h"

namespace jouleprune::kernels {
namespace {

class IsaVariable : public testing::Test {
 protected:
  void SetUp() override {
    if (const char* value = std::getenv("JOULEPRUNE_ISA")) {
      before_ = value;
    }
  }
  void TearDown() override { set(before_ ? before_->c_str() : nullptr); }
  static void set(const char* value) {
    if (value == nullptr) {
      unsetenv("JOULEPRUNE_ISA");
    } else {
      setenv("JOULEPRUNE_ISA", value, 1);
    }
  }

 private:
  std::optional<std::string> before_;
};

TEST_F(IsaVariable, ForcesEverySupportedIsa) {
  for (const Isa isa : supported_isas()) {
    set(isa_name(isa));
    EXPECT_EQ(active_isa(), isa);
  }
}

TEST_F(IsaVariable, UnsetOrEmptyMeansTheBest) {
  set(nullptr);
  EXPECT_EQ(active_isa(), supported_isas().back());
  set("");
  EXPECT_EQ(active_isa(), supported_isas().back());
}

TEST_F(IsaVariable, RefusesUnknownNames) {
  set("avx3");
  try {
    active_isa();
    FAIL() << "expected an error";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(), "JOULEPRUNE_ISA: expected one of reference, portable, avx2, avx512, got 'avx3'");
  }
}

TEST_F(IsaVariable, RefusesWhatTheMachineLacks) {
  const auto supported = supported_isas();
  for (const Isa isa : {Isa::kAvx2, Isa::kAvx512}) {
    if (std::find(supported.begin(), supported.end(), isa) == supported.end()) {
      set(isa_name(isa));
      EXPECT_THROW(active_isa(), std::invalid_argument);
    }
  }
  EXPECT_TRUE(isa_supported(Isa::kReference) && isa_supported(Isa::kPortable));
}

}  // namespace
}  // namespace jouleprune::kernels
