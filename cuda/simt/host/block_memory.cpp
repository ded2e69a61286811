// What the threads of an emulated block read, write and copy: checked, counted, and told to ThreadSanitizer.
#include "simt/host/block.h"
#include "simt/host/thread_sanitizer.h"

namespace jouleprune::simt::host {

void Block::copy(int t, uint32_t to, const void* from, bool present, const std::source_location& at) {
  if (auto wrong = shared_.expect(to, sizeof(Chunk), now(t)); !wrong.empty()) {
    error(wrong, at);
  }
  if (present) {
    Chunk unused;
    read_global(t, from, &unused, sizeof(unused), at);
  }
  if (options_.collect_requests) {
    requests_.add(t, false, true, "cp.async", to, sizeof(Chunk), at);
  }
  states_[static_cast<size_t>(t)].open.push_back({to, from, present});
}

void Block::commit(int t, const std::source_location& at) {
  if (!dropped(at)) {
    auto& state = states_[static_cast<size_t>(t)];
    state.groups.push_back(std::move(state.open));
    state.open.clear();
  }
}

void Block::wait(int t, size_t pending, const std::source_location& at) {
  if (dropped(at)) {
    return;
  }
  auto& groups = states_[static_cast<size_t>(t)].groups;
  while (groups.size() > pending) {
    land(t, groups.front());
    groups.erase(groups.begin());
  }
}

void Block::land(int t, const std::vector<Copy>& group) {
  for (const auto& copy : group) {
    Chunk bytes{};
    if (copy.present && memory_.find(copy.from, sizeof(bytes)) != nullptr) {
      std::memcpy(&bytes, copy.from, sizeof(bytes));
    }
    shared_.land(copy.to, &bytes, sizeof(bytes), now(t));
    if (const void* place = shared_.place(copy.to, sizeof(bytes)); place != nullptr) {
      sanitizer::write(place, sizeof(bytes));
    }
  }
}

void Block::read_global(int t, const void* from, void* out, size_t bytes, const std::source_location& at) {
  auto* span = memory_.find(from, bytes);
  if (span == nullptr) {
    std::memset(out, 0xff, bytes);
    error("read of global memory outside of every span, of " + std::to_string(bytes) + " bytes by thread " +
              std::to_string(t),
          at);
    return;
  }
  if (reinterpret_cast<uintptr_t>(from) % bytes != 0) {
    error("read of " + span->name + " that is not aligned to " + std::to_string(bytes), at);
  }
  if (span->access == Access::kWriteOnce || span->access == Access::kWriteAll) {
    error("read of " + span->name + ", which is an output", at);
  }
  std::memcpy(out, from, bytes);
  sanitizer::read(from, bytes);
  report_.counters.bytes_read[span->name] += bytes;
  if (options_.collect_requests) {
    requests_.add(t, true, false, span->name, reinterpret_cast<uintptr_t>(from), bytes, at);
  }
}

void Block::write_global(int t, void* to, const void* from, size_t bytes, const std::source_location& at) {
  auto* span = memory_.find(to, bytes);
  if (span == nullptr) {
    error("write to global memory outside of every span, of " + std::to_string(bytes) + " bytes by thread " +
              std::to_string(t),
          at);
    return;
  }
  if (span->access == Access::kRead) {
    error("write to " + span->name + ", which is an input", at);
    return;
  }
  if (reinterpret_cast<uintptr_t>(to) % bytes != 0) {
    error("write to " + span->name + " that is not aligned to " + std::to_string(bytes), at);
  }
  if (!span->written.empty()) {
    const auto first = static_cast<size_t>(static_cast<char*>(to) - span->begin);
    for (size_t i = first; i < first + bytes; ++i) {
      if (span->written[i]) {
        error("second write to " + span->name + " at byte " + std::to_string(i), at);
      }
      span->written[i] = true;
    }
  }
  std::memcpy(to, from, bytes);
  sanitizer::write(to, bytes);
  report_.counters.bytes_written[span->name] += bytes;
  if (options_.collect_requests) {
    requests_.add(t, true, true, span->name, reinterpret_cast<uintptr_t>(to), bytes, at);
  }
}

uint32_t Block::add_global(int, uint32_t* to, uint32_t value, const std::source_location& at) {
  const auto* span = memory_.find(to, sizeof(value));
  if (span == nullptr || span->access != Access::kReadWrite) {
    error("atomic addition outside of every span that is read and written", at);
    return 0;
  }
  const uint32_t before = *to;
  *to = before + value;
  sanitizer::touch_atomic(to);
  return before;
}

void Block::read_shared(int t, uint32_t from, void* out, size_t bytes, const std::source_location& at) {
  if (auto wrong = shared_.read(from, out, bytes, now(t)); !wrong.empty()) {
    error(wrong, at);
  }
  if (const void* place = shared_.place(from, bytes); place != nullptr) {
    sanitizer::read(place, bytes);
  }
  if (options_.collect_requests) {
    requests_.add(t, false, false, "load", from, bytes, at);
  }
}

void Block::write_shared(int t, uint32_t to, const void* from, size_t bytes, const std::source_location& at) {
  if (auto wrong = shared_.write(to, from, bytes, now(t)); !wrong.empty()) {
    error(wrong, at);
  }
  if (const void* place = shared_.place(to, bytes); place != nullptr) {
    sanitizer::write(place, bytes);
  }
  if (options_.collect_requests) {
    requests_.add(t, false, true, "store", to, bytes, at);
  }
}

uint32_t Block::add_shared(int t, uint32_t at_byte, uint32_t value, const std::source_location& at) {
  uint32_t before = 0;
  if (auto wrong = shared_.add(at_byte, value, before, now(t)); !wrong.empty()) {
    error(wrong, at);
  }
  if (const void* place = shared_.place(at_byte, sizeof(value)); place != nullptr) {
    sanitizer::touch_atomic(place);
  }
  return before;
}

void Block::tell_matrix_row(uint32_t at) const {
  if (const void* place = shared_.place(at, sizeof(Chunk)); place != nullptr) {
    sanitizer::read(place, sizeof(Chunk));
  }
}

void Block::read_matrix_rows(const std::array<uint32_t, kLanes>& rows, void* out, int first_thread,
                             const std::source_location& at) {
  ++report_.counters.load_matrices;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    // Every lane of the warp comes to hold a part of every row; the one that names the row stands for them.
    if (auto wrong = shared_.read(rows[lane], static_cast<char*>(out) + lane * sizeof(Chunk), sizeof(Chunk),
                                  now(first_thread + static_cast<int>(lane)));
        !wrong.empty()) {
      error(wrong, at);
    }
  }
  std::vector<std::pair<uint64_t, size_t>> accesses;
  for (const auto row : rows) {
    accesses.emplace_back(row, sizeof(Chunk));
  }
  report_.counters.conflicts["ldmatrix"] += bank_conflicts(accesses);
}

}  // namespace jouleprune::simt::host
