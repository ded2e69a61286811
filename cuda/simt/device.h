// The thread context of kernel bodies on a GPU: every member is an intrinsic or one instruction. Its twin for the host,
// with the same members, is host/lane.h.
#pragma once
#include "elements.h"
#include "platform.h"

namespace jouleprune::simt {

extern __shared__ __align__(128) unsigned char shared_bytes[];

class Device {
 public:
  JP_BODY int thread() const { return static_cast<int>(threadIdx.x); }
  JP_BODY int lane() const { return static_cast<int>(threadIdx.x) % kLanes; }
  JP_BODY int warp() const { return static_cast<int>(threadIdx.x) / kLanes; }
  JP_BODY int64_t block_x() const { return blockIdx.x; }
  JP_BODY int64_t block_y() const { return blockIdx.y; }
  JP_BODY int64_t blocks_y() const { return gridDim.y; }

  // Global memory. load: nothing writes it during the launch. load_once: as load, and this launch reads it once.
  template <class T>
  JP_BODY T load(const T* from) const {
    if constexpr (sizeof(T) == sizeof(uint4)) {
      return cast<T>(__ldg(reinterpret_cast<const uint4*>(from)));
    } else if constexpr (sizeof(T) == sizeof(uint2)) {
      return cast<T>(__ldg(reinterpret_cast<const uint2*>(from)));
    } else if constexpr (sizeof(T) == sizeof(uint32_t)) {
      return cast<T>(__ldg(reinterpret_cast<const uint32_t*>(from)));
    } else {
      static_assert(sizeof(T) == sizeof(uint16_t) || sizeof(T) == 1, "loads are of 1, 2, 4, 8 or 16 bytes");
      if constexpr (sizeof(T) == 1) {
        return cast<T>(__ldg(reinterpret_cast<const unsigned char*>(from)));
      } else {
        return cast<T>(__ldg(reinterpret_cast<const uint16_t*>(from)));
      }
    }
  }
  template <class T>
  JP_BODY T load_once(const T* from) const {
    if constexpr (sizeof(T) == sizeof(uint4)) {
      uint4 x;
      asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
          : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
          : "l"(from));
      return cast<T>(x);
    } else {
      return load(from);
    }
  }
  template <class T>
  JP_BODY void store(T* to, T value) const {
    *to = value;
  }
  /// Atomic; returns what was there.
  JP_BODY uint32_t add(uint32_t* to, uint32_t value) const { return atomicAdd(to, value); }

  // Shared memory, by offset in bytes.
  template <class T>
  JP_BODY T load_shared(uint32_t at) const {
    return *reinterpret_cast<const T*>(shared_bytes + at);
  }
  template <class T>
  JP_BODY void store_shared(uint32_t at, T value) const {
    *reinterpret_cast<T*>(shared_bytes + at) = value;
  }
  JP_BODY uint32_t add_shared(uint32_t at, uint32_t value) const {
    return atomicAdd(reinterpret_cast<uint32_t*>(shared_bytes + at), value);
  }

  // 16 bytes from global to shared memory, or 16 zero bytes where not `present` (then `from` is not read). Groups as
  // cp.async has them.
  JP_BODY void copy_async(uint32_t to, const void* from, bool present) const {
#if __CUDA_ARCH__ >= 800
    const int bytes = present ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address(to)), "l"(from), "r"(bytes) : "memory");
#else
    store_shared(to, present ? load(static_cast<const Chunk*>(from)) : Chunk{});
#endif
  }
  JP_BODY void copy_commit() const {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
  }
  /// Until at most `kPending` of this thread's latest groups are under way.
  template <int kPending>
  JP_BODY void copy_wait() const {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
  }

  JP_BODY void sync() const { __syncthreads(); }
  JP_BODY void sync_warp() const { __syncwarp(); }

  // Of a whole warp.
  template <class T>
  JP_BODY T shuffle(T value, int from_lane) const {
    return __shfl_sync(0xffffffffu, value, from_lane);
  }
  template <class T>
  JP_BODY T shuffle_xor(T value, int mask) const {
    return __shfl_xor_sync(0xffffffffu, value, mask);
  }
  JP_BODY uint32_t ballot(bool predicate) const { return __ballot_sync(0xffffffffu, predicate); }

  /// Four 8 x 8 matrices of 16-bit elements; lane 8 m + r gives the offset of row r (16 bytes, aligned) of matrix m.
  template <bool kTransposed>
  JP_BODY Fragment load_matrices(uint32_t row_at) const {
    Fragment f;
    if constexpr (kTransposed) {
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                   : "=r"(f.r[0]), "=r"(f.r[1]), "=r"(f.r[2]), "=r"(f.r[3])
                   : "r"(address(row_at))
                   : "memory");
    } else {
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                   : "=r"(f.r[0]), "=r"(f.r[1]), "=r"(f.r[2]), "=r"(f.r[3])
                   : "r"(address(row_at))
                   : "memory");
    }
    return f;
  }
  /// An 8 x 8 matrix held one register per lane, transposed.
  JP_BODY uint32_t transpose_matrix(uint32_t r) const {
    uint32_t transposed;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(transposed) : "r"(r));
    return transposed;
  }

  /// sums += A [16 x 16] B [16 x 8].
  template <class T>
  JP_BODY void mma(Sums& d, const Fragment& a, uint32_t b0, uint32_t b1) const;
  /// sums += A [16 x 32] B [32 x 8], A of structure 2:4 with its kept half in `a`; places as place_of_metadata has
  /// them.
  template <class T, int kSelector>
  JP_BODY void mma_sparse(Sums& d, const Fragment& a, const Fragment& b, uint32_t metadata) const;

  JP_BODY int popcount(uint32_t x) const { return __popc(x); }

 private:
  template <class To, class From>
  static JP_BODY To cast(const From& from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof(to));
    return to;
  }
  static JP_BODY uint32_t address(uint32_t at) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(shared_bytes)) + at;
  }
};

}  // namespace jouleprune::simt

#include "device_mma.h"
