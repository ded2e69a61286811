// The published cases, and damage to them.
#pragma once
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace jouleprune::test {

struct CaseFile {
  std::string name, text;
};

/// Files of a folder below tests/data whose name starts so; sorted.
inline std::vector<CaseFile> case_files(const std::vector<std::string>& prefixes,
                                        const std::string& folder = "energy") {
  std::vector<CaseFile> files;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(JOULEPRUNE_TEST_DATA "/") + folder)) {
    const std::string name = entry.path().stem().string();
    const bool wanted = std::any_of(prefixes.begin(), prefixes.end(),
                                    [&](const std::string& prefix) { return name.starts_with(prefix); });
    if (!wanted || entry.path().extension() != ".json") continue;
    std::ifstream file(entry.path(), std::ios::binary);
    files.push_back({name, {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()}});
  }
  std::sort(files.begin(), files.end(), [](const CaseFile& a, const CaseFile& b) { return a.name < b.name; });
  return files;
}

inline std::vector<CaseFile> all_cases() { return case_files({"tl", "sl_", "hyang_"}); }

}  // namespace jouleprune::test
