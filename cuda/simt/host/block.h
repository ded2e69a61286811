// One block of threads in the emulator: its fibers, barriers, warps, shared memory and copies.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "simt/host/fiber.h"
#include "simt/host/global_memory.h"
#include "simt/host/report.h"
#include "simt/host/requests.h"
#include "simt/host/shared_memory.h"
#include "simt/platform.h"

namespace jouleprune::simt::host {

/// Stacks, used again by one block after the other.
class FiberPool {
 public:
  Fiber& operator[](size_t i) {
    while (fibers_.size() <= i) {
      fibers_.emplace_back();
    }
    return fibers_[i];
  }
  void reserve(size_t count) {
    if (count > 0) {
      (*this)[count - 1];
    }
  }

 private:
  std::vector<Fiber> fibers_;
};

class Block {
 public:
  Block(int threads, size_t shared_bytes, int64_t x, int64_t y, int64_t blocks_y, const Options& options,
        GlobalMemory& memory, FiberPool& fibers, Report& report);

  /// Runs `body(thread)` on every thread to its end, or reports a deadlock.
  void run(const std::function<void(int thread)>& body);

  // What threads ask for; `t` is who asks.
  void barrier(int t, const std::source_location& at);
  void warp_barrier(int t, const std::source_location& at);
  void copy(int t, uint32_t to, const void* from, bool present, const std::source_location& at);
  void commit(int t, const std::source_location& at);
  void wait(int t, size_t pending, const std::source_location& at);
  void read_global(int t, const void* from, void* out, size_t bytes, const std::source_location& at);
  void write_global(int t, void* to, const void* from, size_t bytes, const std::source_location& at);
  uint32_t add_global(int t, uint32_t* to, uint32_t value, const std::source_location& at);
  void read_shared(int t, uint32_t from, void* out, size_t bytes, const std::source_location& at);
  void write_shared(int t, uint32_t to, const void* from, size_t bytes, const std::source_location& at);
  uint32_t add_shared(int t, uint32_t at_byte, uint32_t value, const std::source_location& at);
  /// Reads eight bytes rows for ldmatrix: no thread's own access, counted apart.
  void read_matrix_rows(const std::array<uint32_t, kLanes>& rows, void* out, int first_thread,
                        const std::source_location& at);

  /// A lane's row of the same, to ThreadSanitizer: the lanes' rows are read by the last of them to come.
  void tell_matrix_row(uint32_t at) const;

  /// All 32 lanes of the warp of `t` bring an `In`; the last one to come computes every lane's `Out` of them.
  template <class In, class Out, class Compute>
  Out meet(int t, const char* what, const In& in, const Compute& compute, const std::source_location& at) {
    static_assert(sizeof(In) <= kOperandBytes && sizeof(Out) <= kOperandBytes);
    auto& warp = warps_[static_cast<size_t>(t / kLanes)];
    const auto lane = static_cast<size_t>(t % kLanes);
    std::memcpy(warp.in[lane].data(), &in, sizeof(in));
    if (arrive(t, what, at)) {
      std::array<In, kLanes> ins;
      std::array<Out, kLanes> outs{};
      for (size_t l = 0; l < kLanes; ++l) {
        std::memcpy(&ins[l], warp.in[l].data(), sizeof(In));
      }
      compute(ins, outs);
      for (size_t l = 0; l < kLanes; ++l) {
        std::memcpy(warp.out[l].data(), &outs[l], sizeof(Out));
      }
      release_warp(t / kLanes);
    } else {
      block_until_released(t);
    }
    Out out;
    std::memcpy(&out, warp.out[lane].data(), sizeof(out));
    return out;
  }

  void error(const std::string& what, const std::source_location& at);
  Counters& counters() { return report_.counters; }
  int64_t x() const { return x_; }
  int64_t y() const { return y_; }
  int64_t blocks_y() const { return blocks_y_; }

 private:
  static constexpr size_t kOperandBytes = 64;
  enum class State : uint8_t { kReady, kWaiting, kEnded };
  struct Copy {
    uint32_t to;
    const void* from;
    bool present;
  };
  struct Thread {
    State state = State::kReady;
    const char* waits_for = "";
    std::string where;
    std::vector<Copy> open;                 // copies of no group yet
    std::vector<std::vector<Copy>> groups;  // committed, oldest first
  };
  struct Warp {
    std::array<std::array<unsigned char, kOperandBytes>, kLanes> in, out;
    int arrived = 0;
    const char* what = "";
    std::string where;
    uint32_t epoch = 0;
    std::array<char, 2> meeting_points{};
  };

  bool dropped(const std::source_location& at);
  bool arrive(int t, const char* what, const std::source_location& at);
  void release_warp(int warp);
  void block_until_released(int t);
  Moment now(int t) const;
  int choose();
  void report_deadlock();
  void land(int t, const std::vector<Copy>& group);

  int threads_;
  int64_t x_, y_, blocks_y_;
  const Options& options_;
  GlobalMemory& memory_;
  FiberPool& fibers_;
  Report& report_;
  SharedMemory shared_;
  Requests requests_;
  std::vector<Thread> states_;
  std::vector<Warp> warps_;
  std::vector<int> ready_;
  std::mt19937_64 random_;
  int late_lane_, ahead_warp_;
  int at_barrier_ = 0;
  std::string barrier_site_;
  uint32_t epoch_ = 0;
  std::array<char, 2> meeting_points_{};  // by the parity of the epoch: who is late for one barrier is not early for the next
};

}  // namespace jouleprune::simt::host
