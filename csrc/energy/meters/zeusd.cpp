// zeusd: a daemon with privileges that reads RAPL for others, over HTTP on a Unix socket
// (https://ml.energy/zeus: GET /cpu/get_cumulative_energy?cpu=true&dram=true -> {"0": {"cpu_energy_uj": n,
// "dram_energy_uj": n or null}}).
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "energy/meters/backends.h"
#include "energy/meters/files.h"

namespace jouleprune::energy::meters {
namespace {

using Json = nlohmann::json;

constexpr size_t kMostAnswer = 1 << 16;
constexpr int kTimeoutMs = 500;

struct Answer {
  Json json;
  std::string error;
};

/// Closes itself.
struct Socket {
  int file = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  Socket() = default;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() {
    if (file >= 0) ::close(file);
  }
};

std::string received(int file) {
  std::string text;
  char part[4096];
  while (text.size() < kMostAnswer) {
    const ssize_t got = ::recv(file, part, sizeof part, 0);
    if (got <= 0) break;
    text.append(part, static_cast<size_t>(got));
  }
  return text;
}

/// The JSON object of an answer: whatever stands around it is HTTP's.
Json object_in(const std::string& text) {
  const size_t body = text.find("\r\n\r\n");
  const size_t begin = text.find('{', body == std::string::npos ? 0 : body), end = text.rfind('}');
  if (!text.starts_with("HTTP/1.1 200") || begin == std::string::npos || end == std::string::npos || end < begin)
    return nullptr;
  return Json::parse(text.substr(begin, end - begin + 1), nullptr, false);
}

Answer ask(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return {nullptr, path + ": the path is too long for a socket"};
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const Socket socket;
  const timeval timeout{0, kTimeoutMs * 1000};
  ::setsockopt(socket.file, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  ::setsockopt(socket.file, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  if (socket.file < 0 || ::connect(socket.file, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return {nullptr, path + ": " + reason(errno)};
  }
  const std::string request =
      "GET /cpu/get_cumulative_energy?cpu=true&dram=true HTTP/1.1\r\nHost: zeusd\r\nConnection: close\r\n\r\n";
  if (::send(socket.file, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) {
    return {nullptr, path + ": " + reason(errno)};
  }
  Json json = object_in(received(socket.file));
  if (!json.is_object()) return {nullptr, path + ": expected the joules of each package as JSON, got something else"};
  return {std::move(json), ""};
}

class ZeusdCounter : public EnergySource {
 public:
  ZeusdCounter(std::string path, std::string cpu, std::string field)
      : path_(std::move(path)), cpu_(std::move(cpu)), field_(std::move(field)) {}
  Reading read() override {
    const Answer answer = ask(path_);
    if (!answer.error.empty()) return {0, 0, "zeusd: " + answer.error};
    const auto package = answer.json.find(cpu_);
    if (package == answer.json.end() || !package->is_object() || !package->contains(field_) ||
        !(*package)[field_].is_number_unsigned()) {
      return {0, 0, "zeusd: no " + field_ + " of package " + cpu_};
    }
    return {(*package)[field_].get<uint64_t>(), 0, ""};
  }

 private:
  std::string path_, cpu_, field_;
};

}  // namespace

void find_zeusd(const MeterOptions& options, Found& found) {
  if (options.zeusd_socket.empty() || !exists(options.zeusd_socket)) return;
  const Answer answer = ask(options.zeusd_socket);
  if (!answer.error.empty()) {
    found.notes.push_back("zeusd: " + answer.error);
    return;
  }
  for (const auto& [cpu, energies] : answer.json.items()) {
    if (!number_of(cpu) || !energies.is_object()) continue;
    for (const auto& [field, name] :
         {std::pair<std::string, std::string>{"cpu_energy_uj", "package-"}, {"dram_energy_uj", "dram-"}}) {
      if (!energies.contains(field) || !energies[field].is_number_unsigned()) continue;
      found.sources.push_back(std::make_shared<ZeusdCounter>(options.zeusd_socket, cpu, field));
      found.sources.back()->domain.name = name + cpu;
      found.sources.back()->domain.meter = "zeusd";
    }
  }
}

}  // namespace jouleprune::energy::meters
