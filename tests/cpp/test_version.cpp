#include <gtest/gtest.h>
#include <jouleprune/version.h>

#include <regex>
#include <string>

TEST(Version, HasThreeNumbers) {
  EXPECT_TRUE(std::regex_match(std::string(jouleprune::version()), std::regex("[0-9]+[.][0-9]+[.][0-9]+")));
}
