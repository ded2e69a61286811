// The thread context of kernel bodies in the emulator: the members of simt::Device (device.h), checked. Every member
// ends with the place in the source that called it, which tells barriers apart and names errors.
#pragma once
#include <bit>
#include <source_location>
#include <type_traits>

#include "simt/host/block.h"
#include "simt/host/warp_math.h"

namespace jouleprune::simt::host {

using At = std::source_location;

class Lane {
 public:
  Lane(Block& block, int thread) : block_(&block), thread_(thread) {}

  int thread() const { return thread_; }
  int lane() const { return thread_ % kLanes; }
  int warp() const { return thread_ / kLanes; }
  int64_t block_x() const { return block_->x(); }
  int64_t block_y() const { return block_->y(); }
  int64_t blocks_y() const { return block_->blocks_y(); }

  template <class T>
  T load(const T* from, const At& at = At::current()) const {
    T value;
    block_->read_global(thread_, from, &value, sizeof(T), at);
    return value;
  }
  template <class T>
  T load_once(const T* from, const At& at = At::current()) const {
    return load(from, at);
  }
  template <class T>
  void store(T* to, T value, const At& at = At::current()) const {
    block_->write_global(thread_, to, &value, sizeof(T), at);
  }
  uint32_t add(uint32_t* to, uint32_t value, const At& at = At::current()) const {
    return block_->add_global(thread_, to, value, at);
  }

  template <class T>
  T load_shared(uint32_t from, const At& at = At::current()) const {
    T value;
    block_->read_shared(thread_, from, &value, sizeof(T), at);
    return value;
  }
  template <class T>
  void store_shared(uint32_t to, T value, const At& at = At::current()) const {
    block_->write_shared(thread_, to, &value, sizeof(T), at);
  }
  uint32_t add_shared(uint32_t at_byte, uint32_t value, const At& at = At::current()) const {
    return block_->add_shared(thread_, at_byte, value, at);
  }

  void copy_async(uint32_t to, const void* from, bool present, const At& at = At::current()) const {
    block_->copy(thread_, to, from, present, at);
  }
  void copy_commit(const At& at = At::current()) const { block_->commit(thread_, at); }
  template <int kPending>
  void copy_wait(const At& at = At::current()) const {
    block_->wait(thread_, kPending, at);
  }

  void sync(const At& at = At::current()) const { block_->barrier(thread_, at); }
  void sync_warp(const At& at = At::current()) const { block_->warp_barrier(thread_, at); }

  template <class T>
  T shuffle(T value, int from_lane, const At& at = At::current()) const {
    struct In {
      T value;
      int from;
    };
    return block_->meet<In, T>(
        thread_, "shuffle", In{value, from_lane},
        [](const Lanes<In>& in, Lanes<T>& out) {
          for (size_t l = 0; l < kLanes; ++l) {
            out[l] = in[static_cast<size_t>(in[l].from) % kLanes].value;
          }
        },
        at);
  }
  template <class T>
  T shuffle_xor(T value, int mask, const At& at = At::current()) const {
    return shuffle(value, lane() ^ mask, at);
  }
  uint32_t ballot(bool predicate, const At& at = At::current()) const {
    return block_->meet<bool, uint32_t>(
        thread_, "ballot", predicate,
        [](const Lanes<bool>& in, Lanes<uint32_t>& out) {
          uint32_t bits = 0;
          for (size_t l = 0; l < kLanes; ++l) {
            bits |= static_cast<uint32_t>(in[l]) << l;
          }
          out.fill(bits);
        },
        at);
  }

  template <bool kTransposed>
  Fragment load_matrices(uint32_t row_at, const At& at = At::current()) const {
    block_->tell_matrix_row(row_at);
    return block_->meet<uint32_t, Fragment>(
        thread_, "load_matrices", row_at,
        [&](const Lanes<uint32_t>& in, Lanes<Fragment>& out) {
          Lanes<Chunk> rows;
          block_->read_matrix_rows(in, rows.data(), thread_ / kLanes * kLanes, at);
          spread_matrices(rows, kTransposed, out);
        },
        at);
  }
  uint32_t transpose_matrix(uint32_t r, const At& at = At::current()) const {
    return block_->meet<uint32_t, uint32_t>(
        thread_, "transpose_matrix", r, [](const auto& in, auto& out) { out = transposed_matrix(in); }, at);
  }

  template <class T>
  void mma(Sums& d, const Fragment& a, uint32_t b0, uint32_t b1, const At& at = At::current()) const {
    d = block_->meet<MmaIn, Sums>(
        thread_, "mma", MmaIn{d, a, {b0, b1}},
        [&](const auto& in, auto& out) {
          ++block_->counters().mma;
          multiply<T>(in, out);
        },
        at);
  }
  template <class T, int kSelector>
  void mma_sparse(Sums& d, const Fragment& a, const Fragment& b, uint32_t metadata,
                  const At& at = At::current()) const {
    d = block_->meet<SparseIn, Sums>(
        thread_, "mma_sparse", SparseIn{d, a, b, metadata},
        [&](const auto& in, auto& out) {
          ++block_->counters().mma_sparse;
          if (!multiply_sparse<T>(in, kSelector, out)) {
            block_->error("mma_sparse: a code of the metadata is not two ascending places", at);
          }
        },
        at);
  }

  int popcount(uint32_t x) const { return std::popcount(x); }

 private:
  Block* block_;
  int thread_;
};

}  // namespace jouleprune::simt::host
