#include <gtest/gtest.h>
#include <jouleprune/plan.h>

#include <cmath>
#include <limits>

namespace jouleprune {
namespace {

TEST(Budget, Parses) {
  EXPECT_DOUBLE_EQ(Budget::parse("60%").resolve(2.0), 1.2);
  EXPECT_EQ(Budget::parse(" 100 % ").resolve(0.1), 0.1);
  EXPECT_EQ(Budget::parse("1.2e-3").resolve(2.0), 1.2e-3);
  EXPECT_EQ(Budget::joules(0.5).resolve(0.5), 0.5);
  EXPECT_EQ(Budget::percent(12.5).to_string(), "12.5%");
  EXPECT_EQ(Budget::parse("1.2e-3").to_string(), "0.0012");
}

TEST(Budget, RefusesWhatIsNone) {
  for (const char* text : {"",    " ",    "%",   "abc",   "12abc",  "0%",   "0",    "-3%",  "-1",  "120%",
                           "nan", "nan%", "inf", "1e400", "1e-400", "50%%", "5 0%", "0x10", "1,5", "--5"}) {
    try {
      Budget::parse(text);
      FAIL() << text;
    } catch (const core::BudgetError& error) {
      EXPECT_TRUE(std::isnan(error.minimum_j));
      EXPECT_NE(std::string(error.what()).find("budget"), std::string::npos);
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    }
  }
  for (const double value : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    EXPECT_THROW(Budget::joules(value), core::BudgetError);
    EXPECT_THROW(Budget::percent(value), core::BudgetError);
  }
  EXPECT_THROW(Budget::percent(100.1), core::BudgetError);
}

TEST(Budget, AboveDenseExplainsTheUnit) {
  try {
    Budget::joules(0.5).resolve(1e-3);
    FAIL();
  } catch (const core::BudgetError& error) {
    EXPECT_NE(std::string(error.what()).find("half a joule"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("50%"), std::string::npos);
  }
  EXPECT_THROW(Budget::percent(50).resolve(0.0), core::BudgetError);
}

}  // namespace
}  // namespace jouleprune
