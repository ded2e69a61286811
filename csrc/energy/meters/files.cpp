#include "energy/meters/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>

namespace jouleprune::energy::meters {
namespace {

constexpr size_t kMost = 4096;
constexpr const char* kWhite = " \t\r\n";

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(kWhite), end = text.find_last_not_of(kWhite);
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

}  // namespace

FileText read_small(const std::string& path) {
  // Not blocking: a pipe in a folder of one's own must not stop the program.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return {"", errno};
  std::string text(kMost, '\0');
  ssize_t got = 0;
  do {
    got = ::read(file, text.data(), text.size());
  } while (got < 0 && errno == EINTR);
  const int error = got < 0 ? errno : 0;
  ::close(file);
  if (error != 0) return {"", error};
  text.resize(static_cast<size_t>(got));
  return {trimmed(text), 0};
}

std::optional<uint64_t> number_of(const std::string& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

std::optional<double> decimal_of(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value) || value < 0)
    return std::nullopt;
  return value;
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  DIR* entries = ::opendir(folder.c_str());
  if (entries == nullptr) return names;
  while (const dirent* entry = ::readdir(entries)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  ::closedir(entries);
  std::sort(names.begin(), names.end());
  return names;
}

bool exists(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0;
}

std::string reason(int error) { return std::strerror(error); }

}  // namespace jouleprune::energy::meters
