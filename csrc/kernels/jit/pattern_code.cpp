#include "kernels/jit/pattern_code.h"

#include <algorithm>
#include <mutex>
#include <span>
#include <stdexcept>
#include <unordered_map>

#include "formats/ceil_div.h"
#include "kernels/jit/pattern_emitter.h"

namespace jouleprune::kernels::jit {
namespace {

/// The kept values of a group of rows, column by column.
struct ColumnLists {
  std::vector<int32_t> begin;      // [cols + 1]
  std::vector<KeptValue> entries;  // [values of the group]

  void fill(const formats::CsrView& csr, int64_t row_begin, int64_t row_end) {
    begin.assign(static_cast<size_t>(csr.cols) + 1, 0);
    const int64_t first = csr.row_offsets[row_begin], last = csr.row_offsets[row_end];
    entries.resize(static_cast<size_t>(last - first));
    for (int64_t k = first; k < last; ++k) {
      ++begin[csr.col_indices[k] + 1];
    }
    for (int64_t col = 0; col < csr.cols; ++col) {
      begin[col + 1] += begin[col];
    }
    next_.assign(begin.begin(), begin.end() - 1);
    for (int64_t row = row_begin; row < row_end; ++row) {
      for (int64_t k = csr.row_offsets[row]; k < csr.row_offsets[row + 1]; ++k) {
        entries[next_[csr.col_indices[k]]++] = {static_cast<int32_t>(row - row_begin), static_cast<int32_t>(k)};
      }
    }
  }

  std::span<const KeptValue> of(int64_t col) const {
    return std::span(entries).subspan(static_cast<size_t>(begin[col]), static_cast<size_t>(begin[col + 1] - begin[col]));
  }

 private:
  std::vector<int32_t> next_;
};

}  // namespace

int64_t lanes_of(Isa isa) { return isa == Isa::kAvx512 ? 16 : 8; }

PatternCode::PatternCode(const PatternSpec& spec) {
  const PatternEmitter& emitter = pattern_emitter(spec.isa, spec.multiply_add);
  const int64_t rows = spec.row_end - spec.row_begin, cols = spec.csr.cols;
  groups_ = ceil_div(rows, emitter.max_rows());
  const int64_t wanted = spec.column_block > 0 ? spec.column_block : std::max<int64_t>(cols, 1);
  column_blocks_ = std::max<int64_t>(1, ceil_div(cols, wanted));
  const int64_t column_block = ceil_div(cols, column_blocks_);  // blocks of about equal width
  value_order_.reserve(static_cast<size_t>(spec.csr.row_offsets[spec.row_end] - spec.csr.row_offsets[spec.row_begin]));

  std::vector<uint8_t> code;
  code.reserve(value_order_.capacity() * 12 + 4096);  // what code takes down to 5 % density; growing copies
  std::vector<size_t> entries;
  ColumnLists lists;
  for (int64_t group = 0; group < groups_; ++group) {
    const int64_t first = spec.row_begin + rows * group / groups_, last = spec.row_begin + rows * (group + 1) / groups_;
    lists.fill(spec.csr, first, last);
    for (int64_t block = 0; block < column_blocks_; ++block) {
      PatternBlock made{first, last - first, static_cast<int64_t>(value_order_.size())};
      entries.push_back(emitter.begin(code, last - first, block > 0, spec.output_row_bytes));
      PatternEmitter::Cursor cursor;
      for (int64_t col = block * column_block; col < std::min(cols, (block + 1) * column_block); ++col) {
        if (const auto kept = lists.of(col); !kept.empty()) {
          emitter.column(code, cursor, spec.column_bytes[static_cast<size_t>(col)], kept);
          for (const KeptValue& value : kept) {
            value_order_.push_back(value.position);
          }
        }
      }
      emitter.end(code, last - first, spec.output_row_bytes);
      made.value_count = static_cast<int64_t>(value_order_.size()) - made.values_begin;
      made.code_bytes = static_cast<int64_t>(code.size() - entries.back());
      blocks_.push_back(made);
    }
  }
  if (!code.empty()) {
    memory_ = ExecutableMemory(code);
  }
  for (size_t i = 0; i < blocks_.size(); ++i) {
    blocks_[i].entry = memory_.data() + entries[i];
  }
}

int64_t PatternCode::bytes() const {
  return code_bytes() + static_cast<int64_t>(value_order_.size() * sizeof(int32_t) + blocks_.size() * sizeof(PatternBlock));
}

namespace {

struct CodeNameHash {
  size_t operator()(const CodeName& name) const {
    uint64_t hash = static_cast<uint64_t>(name.key[0]) ^ static_cast<uint64_t>(name.key[1]);
    for (const int64_t detail : name.details) {
      hash = (hash ^ static_cast<uint64_t>(detail)) * 0x9e3779b97f4a7c15u;
      hash ^= hash >> 32;
    }
    return hash;
  }
};

/// Codes that are alive somewhere. Weak: whoever runs a code keeps it, and the last one to let go unmaps it.
struct CodeRegistry {
  std::mutex mutex;
  std::unordered_map<CodeName, std::weak_ptr<const PatternCode>, CodeNameHash> codes;
};

CodeRegistry& registry() {
  static auto* const codes = new CodeRegistry;  // never destroyed: kernels may run while the process exits
  return *codes;
}

}  // namespace

std::shared_ptr<const PatternCode> shared_code(const CodeName& name, const std::function<PatternSpec()>& spec) {
  auto& [mutex, codes] = registry();
  {
    const std::lock_guard lock(mutex);
    if (const auto found = codes.find(name); found != codes.end()) {
      if (auto code = found->second.lock()) {
        return code;
      }
    }
  }
  auto made = std::make_shared<const PatternCode>(spec());  // outside the lock: it takes milliseconds
  const std::lock_guard lock(mutex);
  std::erase_if(codes, [](const auto& entry) { return entry.second.expired(); });
  codes[name] = made;
  return made;
}

}  // namespace jouleprune::kernels::jit
