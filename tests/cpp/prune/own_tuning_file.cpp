// Each test starts with a file of measured times of its own, which does not exist yet: none reads or writes the user's.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace jouleprune::tests {
namespace {

class OwnTuningFile : public ::testing::EmptyTestEventListener {
  void OnTestStart(const ::testing::TestInfo&) override {
    const auto path = std::filesystem::temp_directory_path() / ("jouleprune-tuning-" + std::to_string(getpid()) + ".json");
    std::filesystem::remove(path);
    setenv("JOULEPRUNE_TUNE", path.c_str(), 1);
  }
  void OnTestEnd(const ::testing::TestInfo&) override {
    std::filesystem::remove(std::filesystem::temp_directory_path() / ("jouleprune-tuning-" + std::to_string(getpid()) + ".json"));
  }
};

[[maybe_unused]] const bool installed = [] {
  ::testing::UnitTest::GetInstance()->listeners().Append(new OwnTuningFile);  // gtest owns it
  return true;
}();

}  // namespace
}  // namespace jouleprune::tests
