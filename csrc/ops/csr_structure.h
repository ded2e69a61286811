// Structures of weights that were already checked. Checking is O(nnz); a call on a known structure costs a look-up and comparing a
// sample.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace jouleprune::ops {

/// A structure that was found sound.
struct CheckedStructure {
  std::array<int64_t, 2> key{};  ///< as computed from it
  uint64_t contents = 0;         ///< hash of both index tensors as they were checked; 0 where they are not on the CPU
  std::array<int64_t, 4> sizes{};
  bool compared = false;  ///< in this call, as a whole
};

/// How much of a known structure is compared with what was checked; indices of inference tensors always are as a whole, for torch
/// counts no changes of theirs. Off the CPU nothing is compared: reading would stall the device on every call.
enum class Compare {
  kSample,  ///< what stands in contents.h: for ops that read forms, which were made of checked indices
  kWhole,   ///< everything: for ops that read the indices themselves, which must never read outside of their arguments
};

/// Checks the structure (formats::csr_defect) and that `key` is its key, unless this very structure was checked before. Known
/// structures are found by the storages of the two index tensors, held weakly so that a storage which was freed and whose memory
/// was given to another is never trusted, and by data pointers, sizes, in-place version counters and contents (Compare).
/// `col_indices` [nnz] and `row_offsets` [rows + 1]: contiguous int32 on one device; `key`: int64 [2], there or on the CPU. `op`
/// opens messages. Throws c10::ValueError.
CheckedStructure check_structure(const char* op, const at::Tensor& col_indices, const at::Tensor& row_offsets,
                                 const at::Tensor& key, int64_t cols, Compare compare = Compare::kSample);

/// The same for any layout whose structure is a list of indices and one of offsets.
struct StructureKind {
  const char* pack_op;           ///< what makes such structures, for messages
  std::array<int64_t, 4> sizes;  ///< what the structure depends on besides the two tensors; another layout has other sizes
  /// Given their data on the CPU: empty and `key` set when the structure is sound, else what is wrong.
  std::function<std::string(const int32_t* indices, const int32_t* offsets, std::array<int64_t, 2>& key)> examine;
};
CheckedStructure check_structure(const char* op, const at::Tensor& indices, const at::Tensor& offsets, const at::Tensor& key,
                                 const StructureKind& kind, Compare compare = Compare::kSample);

/// Compares the indices as a whole with those that were checked, before something is made of them. Throws c10::ValueError when they
/// changed without torch's knowledge; the next call then checks them as if they were new.
void expect_unchanged(const CheckedStructure& structure, const at::Tensor& indices, const at::Tensor& offsets);

/// Most structures remembered; beyond, the oldest is forgotten (and checked again when seen again).
inline constexpr size_t kMaxKnownStructures = 4096;

/// How many checks of cost O(nnz) were done so far in this process.
uint64_t structure_checks();

}  // namespace jouleprune::ops
