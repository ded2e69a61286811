// What a run of the emulator is asked for, and what it tells.
#pragma once
#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <source_location>
#include <string>
#include <vector>

namespace jouleprune::simt::host {

/// Which of the threads that can run goes next; a thread runs until it waits for others.
enum class Schedule {
  kRandom,
  kForward,    ///< the first thread of the block
  kReverse,    ///< the last one
  kWarpAhead,  ///< one warp as far ahead as it can go
  kLaneLate,   ///< one lane of each warp behind all others
};

/// A place in a kernel body.
struct Site {
  std::string file;
  uint32_t line = 0, column = 0;

  explicit Site(const std::source_location& at) : file(at.file_name()), line(at.line()), column(at.column()) {}
  auto operator<=>(const Site&) const = default;
  std::string text() const { return file + ":" + std::to_string(line) + ":" + std::to_string(column); }
};

struct Options {
  Schedule schedule = Schedule::kRandom;
  uint64_t seed = 1;
  std::optional<Site>
      dropped;  ///< barriers, commits and waits written there do nothing: a kernel in which one was forgotten
  bool collect_requests =
      false;  ///< group what lanes access into requests of a warp, for the counters of sectors and conflicts
};

/// What a kernel did, in the machine's units.
struct Counters {
  uint64_t mma = 0;         ///< m16n8k16
  uint64_t mma_sparse = 0;  ///< m16n8k32 of structure 2:4
  uint64_t load_matrices = 0;
  uint64_t barriers = 0;                                      ///< of a whole block
  std::map<std::string, uint64_t> bytes_read, bytes_written;  ///< of each named span of global memory
  // With collect_requests:
  std::map<std::string, uint64_t> sectors_read, sectors_written;  ///< 32-byte sectors that requests touch
  std::map<std::string, uint64_t> sectors_needed;                 ///< the least that reads of as many bytes touch
  std::map<std::string, uint64_t>
      conflicts;  ///< passes beyond the least, by kind: "ldmatrix", "cp.async", "load", "store"
};

struct Report {
  std::vector<std::string> errors;  ///< the first of each kind and place; empty: nothing was found
  Counters counters;
  std::set<Site> barriers;  ///< where barriers, commits and waits stand that were reached

  std::string text() const {
    std::string all;
    for (const auto& error : errors) {
      all += error + "\n";
    }
    return all;
  }
};

}  // namespace jouleprune::simt::host
