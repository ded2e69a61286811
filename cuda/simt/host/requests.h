// Groups what lanes access into the requests of their warp, and counts sectors and bank conflicts as the machine does.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <source_location>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "simt/host/report.h"
#include "simt/platform.h"

namespace jouleprune::simt::host {

/// The n-th time that the lanes of a warp reach a place in the source is one request: bodies keep lanes together.
class Requests {
 public:
  /// `span`: the name of a span of global memory, with its address; or the kind of an access to shared memory ("load",
  /// "store", "cp.async"), with an offset.
  void add(int thread, bool global, bool write, const std::string& span, uint64_t at, size_t bytes,
           const std::source_location& site);
  void count(Counters& counters) const;

 private:
  struct Access {
    int thread;
    std::pair<uint64_t, size_t> place;
  };
  struct Request {
    bool global, write;
    std::string span;
    std::vector<Access> accesses;  // one per lane at most, in the order in which they came
  };
  using Place = std::tuple<uint32_t, uint32_t, int, bool>;  // line, column, thread or warp, global
  std::map<Place, uint32_t> seen_;
  std::map<std::pair<Place, uint32_t>, Request> requests_;
};

/// Passes that shared memory of 32 banks of 4 bytes needs for accesses of one size, beyond the least: 8 and 16 bytes
/// per lane go in half and quarter warps; lanes that read one word share it.
uint64_t bank_conflicts(const std::vector<std::pair<uint64_t, size_t>>& accesses);

}  // namespace jouleprune::simt::host
