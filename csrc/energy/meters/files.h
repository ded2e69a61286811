// Small files of sysfs: a line of text each, and honest reasons when they cannot be read.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace jouleprune::energy::meters {

struct FileText {
  std::string text;  ///< without white space at the ends
  int error = 0;     ///< errno; 0 = read
};

/// At most 4 KiB: whatever is longer is no value of sysfs.
FileText read_small(const std::string& path);
/// A whole decimal number; empty for anything else.
std::optional<uint64_t> number_of(const std::string& text);
/// A finite number that is not negative.
std::optional<double> decimal_of(const std::string& text);
/// Names in a folder, sorted; empty when there is none.
std::vector<std::string> names_in(const std::string& folder);
bool exists(const std::string& path);
/// "permission denied", "no such file or directory".
std::string reason(int error);

}  // namespace jouleprune::energy::meters
