// Structures of weights that were already checked. Checking is O(nnz); a call on a known structure costs a look-up.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace jouleprune::ops {

/// Checks the structure (formats::csr_defect) and that `key` is its key, unless this very structure was checked before. Known
/// structures are found by the storages of the two index tensors, held weakly so that a storage which was freed and whose memory
/// was given to another is never trusted, and by data pointers, sizes and in-place version counters.
/// `col_indices` [nnz] and `row_offsets` [rows + 1]: contiguous int32 on one device; `key`: int64 [2], there or on the CPU. `op`
/// opens messages. Returns the key as computed from the structure. Throws c10::ValueError.
std::array<int64_t, 2> check_structure(const char* op, const at::Tensor& col_indices, const at::Tensor& row_offsets,
                                       const at::Tensor& key, int64_t cols);

/// The same for any layout whose structure is a list of indices and one of offsets.
struct StructureKind {
  const char* pack_op;           ///< what makes such structures, for messages
  std::array<int64_t, 4> sizes;  ///< what the structure depends on besides the two tensors; another layout has other sizes
  /// Given their data on the CPU: empty and `key` set when the structure is sound, else what is wrong.
  std::function<std::string(const int32_t* indices, const int32_t* offsets, std::array<int64_t, 2>& key)> examine;
};
std::array<int64_t, 2> check_structure(const char* op, const at::Tensor& indices, const at::Tensor& offsets, const at::Tensor& key,
                                       const StructureKind& kind);

/// Most structures remembered; beyond, the oldest is forgotten (and checked again when seen again).
inline constexpr size_t kMaxKnownStructures = 4096;

/// How many checks of cost O(nnz) were done so far in this process.
uint64_t structure_checks();

}  // namespace jouleprune::ops
