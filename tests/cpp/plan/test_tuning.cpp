#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

#include "plan/tuning.h"

namespace jouleprune::plan {
namespace {

namespace fs = std::filesystem;

class Tuning : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("jouleprune-tuning-" + std::to_string(getpid()));
    fs::remove_all(folder_);
    path_ = (folder_ / "cache" / "tuning.json").string();
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const std::string& text) const {
    fs::create_directories(fs::path(path_).parent_path());
    std::ofstream(path_) << text;
  }
  std::string written() const {
    std::stringstream text;
    text << std::ifstream(path_).rdbuf();
    return text.str();
  }

  fs::path folder_;
  std::string path_;
  const TunedCall call_{"linear", "float32", 768, 512, 192, 1, "", 0.1, 1};
};

TEST_F(Tuning, KeepsTimesOfThisMachineAndOfOthers) {
  TuningTable here("A"), there("B");
  here.put(call_, "csr", 1e-4);
  here.put(call_, "dense", 3e-4);
  there.put(call_, "csr", 5e-4);
  here.save(path_);
  there.save(path_);
  TuningTable again("A");
  again.load(path_);
  EXPECT_EQ(again.size(), 2u);
  EXPECT_EQ(again.find(call_, "csr"), 1e-4);
  EXPECT_EQ(again.find(call_, "bsr"), std::nullopt);
  EXPECT_EQ(again.hash(), here.hash());
  EXPECT_NE(again.hash(), there.hash());
  TuningTable third("C");
  third.load(path_);
  EXPECT_EQ(third.size(), 0u);
}

TEST_F(Tuning, WhatTimeDependsOnTellsCallsApart) {
  const auto differs = [&](auto change) {
    TunedCall other = call_;
    change(other);
    return other.key() != call_.key();
  };
  EXPECT_TRUE(differs([](TunedCall& c) { c.op = "conv2d"; }));
  EXPECT_TRUE(differs([](TunedCall& c) { c.dtype = "bfloat16"; }));
  EXPECT_TRUE(differs([](TunedCall& c) { c.rows = 769; }));
  EXPECT_TRUE(differs([](TunedCall& c) { c.cols = 769; }));
  EXPECT_TRUE(differs([](TunedCall& c) { c.n = 191; }));
  EXPECT_TRUE(differs([](TunedCall& c) { c.groups = 2; }));
  EXPECT_TRUE(differs([](TunedCall& c) { c.geometry = "3x3"; }));
  EXPECT_TRUE(differs([](TunedCall& c) { c.density = 0.11; }));
  EXPECT_TRUE(differs([](TunedCall& c) { c.threads = 2; }));
  EXPECT_FALSE(differs([](TunedCall& c) { c.density = 0.1004; }));
}

TEST_F(Tuning, MeasuredSinceCountsMoreThanTheFile) {
  TuningTable old("A"), fresh("A");
  old.put(call_, "csr", 1e-4);
  old.save(path_);
  fresh.put(call_, "csr", 2e-4);
  fresh.load(path_);
  EXPECT_EQ(fresh.find(call_, "csr"), 2e-4);
}

TEST_F(Tuning, DamagedFilesNameThePlaceAndAreReplaced) {
  const std::pair<const char*, const char*> cases[] = {
      {"{", "tuning file"},
      {R"({"schema": 2, "machines": {}})", "/schema: expected 1, got 2"},
      {R"({"schema": 1})", "machines"},
      {R"({"schema": 1, "machines": [], "x": 1})", "x"},
      {R"({"schema": 1, "machines": {"A": {"k": {"csr": -1}}}})", "/machines/A/k/csr: expected seconds above 0, got -1"},
      {R"({"schema": 1, "machines": {"A": {"k": 3}}})", "/machines/A/k"},
  };
  for (const auto& [text, place] : cases) {
    write(text);
    TuningTable table("A");
    try {
      table.load(path_);
      ADD_FAILURE() << text;
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find(place), std::string::npos) << error.what();
    }
    EXPECT_EQ(table.size(), 0u);
    table.put(call_, "csr", 1e-4);
    table.save(path_);
    TuningTable again("A");
    again.load(path_);
    EXPECT_EQ(again.size(), 1u) << written();
  }
}

TEST_F(Tuning, RefusesWhatIsNoTime) {
  TuningTable table("A");
  for (const double seconds : {0.0, -1.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THROW(table.put(call_, "csr", seconds), std::invalid_argument);
  }
}

TEST_F(Tuning, UnwritableFoldersAreAnError) {
  fs::create_directories(folder_);
  std::ofstream(folder_ / "cache") << "a file where the folder should be";
  EXPECT_THROW(TuningTable("A").save(path_), std::system_error);
}

TEST_F(Tuning, PathFollowsTheEnvironment) {
  const char* before = std::getenv("JOULEPRUNE_TUNE");
  const std::string saved = before == nullptr ? "" : before;
  setenv("JOULEPRUNE_TUNE", "off", 1);
  EXPECT_EQ(tuning_path(), "");
  setenv("JOULEPRUNE_TUNE", "/somewhere/t.json", 1);
  EXPECT_EQ(tuning_path(), "/somewhere/t.json");
  unsetenv("JOULEPRUNE_TUNE");
  EXPECT_TRUE(tuning_path().empty() || tuning_path().ends_with("/jouleprune/tuning.json"));
  if (!saved.empty()) setenv("JOULEPRUNE_TUNE", saved.c_str(), 1);
}

}  // namespace
}  // namespace jouleprune::plan
