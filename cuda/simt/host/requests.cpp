#include "simt/host/requests.h"

#include <algorithm>
#include <set>

namespace jouleprune::simt::host {
namespace {

constexpr uint64_t kSector = 32, kBanks = 32, kBankBytes = 4;

uint64_t sectors_of(const std::vector<std::pair<uint64_t, size_t>>& accesses) {
  std::set<uint64_t> sectors;
  for (const auto& [at, bytes] : accesses) {
    for (uint64_t s = at / kSector; s <= (at + bytes - 1) / kSector; ++s) {
      sectors.insert(s);
    }
  }
  return sectors.size();
}

// Of the distinct bytes: lanes may read the same ones.
uint64_t sectors_needed(const std::vector<std::pair<uint64_t, size_t>>& accesses) {
  std::set<std::pair<uint64_t, size_t>> distinct(accesses.begin(), accesses.end());
  uint64_t bytes = 0;
  for (const auto& access : distinct) {
    bytes += access.second;
  }
  return ceil_div(bytes, kSector);
}

}  // namespace

uint64_t bank_conflicts(const std::vector<std::pair<uint64_t, size_t>>& accesses) {
  uint64_t extra = 0;
  const size_t bytes = accesses.empty() ? kBankBytes : std::max<size_t>(accesses.front().second, kBankBytes);
  const size_t together = kBanks * kBankBytes / bytes;
  for (size_t first = 0; first < accesses.size(); first += together) {
    std::array<std::set<uint64_t>, kBanks> words;
    for (size_t i = first; i < std::min(accesses.size(), first + together); ++i) {
      for (uint64_t w = accesses[i].first / kBankBytes; w <= (accesses[i].first + accesses[i].second - 1) / kBankBytes;
           ++w) {
        words[w % kBanks].insert(w);
      }
    }
    const auto most =
        std::max_element(words.begin(), words.end(), [](const auto& a, const auto& b) { return a.size() < b.size(); });
    extra += most->size() > 1 ? most->size() - 1 : 0;
  }
  return extra;
}

void Requests::add(int thread, bool global, bool write, const std::string& span, uint64_t at, size_t bytes,
                   const std::source_location& site) {
  const uint32_t ordinal = seen_[{site.line(), site.column(), thread, global}]++;
  auto& request = requests_[{{site.line(), site.column(), thread / kLanes, global}, ordinal}];
  request.global = global;
  request.write = write;
  request.span = span;
  request.accesses.push_back({thread, {at, bytes}});
}

void Requests::count(Counters& counters) const {
  for (const auto& [place, request] : requests_) {
    auto by_lane = request.accesses;
    std::sort(by_lane.begin(), by_lane.end(), [](const Access& a, const Access& b) { return a.thread < b.thread; });
    std::vector<std::pair<uint64_t, size_t>> accesses;
    for (const auto& access : by_lane) {
      accesses.push_back(access.place);
    }
    if (request.global) {
      (request.write ? counters.sectors_written : counters.sectors_read)[request.span] += sectors_of(accesses);
      if (!request.write) {
        counters.sectors_needed[request.span] += sectors_needed(accesses);
      }
    } else {
      counters.conflicts[request.span] += bank_conflicts(accesses);
    }
  }
}

}  // namespace jouleprune::simt::host
