#include "formats/nm.h"

#include "formats/key_mixer.h"

namespace jouleprune::formats {
namespace {

/// Calls visit(entry, row, column of the group's first input, its width, entries) for each group.
template <class Visit>
void for_each_group(const NmShape& shape, const Visit& visit) {
  int64_t entry = 0;
  for (int64_t row = 0; row < shape.rows; ++row) {
    for (int64_t left = 0; left < shape.cols; left += shape.m) {
      const int64_t width = std::min(shape.m, shape.cols - left), entries = std::min(shape.n, width);
      if (!visit(entry, row, left, width, entries)) return;
      entry += entries;
    }
  }
}

}  // namespace

std::string nm_pattern_defect(int64_t n, int64_t m) {
  if (n >= 1 && n < m && m <= kMostOfM) {
    return {};
  }
  return "expected 1 <= n < m <= " + std::to_string(kMostOfM) + ", got " + std::to_string(n) + ":" + std::to_string(m);
}

std::string nm_defect(const NmShape& shape, const uint8_t* indices) {
  std::string defect;
  for_each_group(shape, [&](int64_t entry, int64_t row, int64_t left, int64_t width, int64_t entries) {
    for (int64_t i = 0; i < entries; ++i) {
      const int index = indices[entry + i];
      const bool ascends = i == 0 || index > indices[entry + i - 1];
      if (index < width && ascends) continue;
      defect = "indices[" + std::to_string(row) + ", " + std::to_string(entry + i - row * shape.kept()) + "]: expected " +
               (ascends ? "an index in [0, " + std::to_string(width) + ")" : std::string("ascending indices in a group")) + ", got " +
               std::to_string(index) + " in the group of inputs " + std::to_string(left) + " to " + std::to_string(left + width - 1);
      return false;
    }
    return true;
  });
  return defect;
}

std::array<int64_t, 2> nm_key(const NmShape& shape, const uint8_t* indices) {
  constexpr uint64_t kTag = 0x6e3a6d;  // "n:m"
  Mixer mixer;
  mixer.add(kTag);
  for (const int64_t word : {shape.rows, shape.cols, shape.n, shape.m}) {
    mixer.add(static_cast<uint64_t>(word));
  }
  uint64_t word = 0;
  for (int64_t i = 0; i < shape.nnz(); ++i) {  // eight to a word
    word |= static_cast<uint64_t>(indices[i]) << (i % 8 * 8);
    if (i % 8 == 7 || i + 1 == shape.nnz()) {
      mixer.add(word);
      word = 0;
    }
  }
  return mixer.finish();
}

void nm_columns(const NmShape& shape, const uint8_t* indices, int32_t* columns) {
  for_each_group(shape, [&](int64_t entry, int64_t, int64_t left, int64_t, int64_t entries) {
    for (int64_t i = entry; i < entry + entries; ++i) columns[i] = static_cast<int32_t>(left + indices[i]);
    return true;
  });
}

int64_t nm_choose(const NmShape& shape, const bool* keep, uint8_t* indices) {
  int64_t wrong = -1;
  for_each_group(shape, [&](int64_t entry, int64_t row, int64_t left, int64_t width, int64_t entries) {
    const bool* const group = keep + row * shape.cols + left;
    int64_t others = entries - std::count(group, group + width, true);
    if (others < 0) {
      wrong = row * shape.groups() + left / shape.m;
      return false;
    }
    for (int64_t i = 0; i < width; ++i) {
      if (group[i] || others-- > 0) indices[entry++] = static_cast<uint8_t>(i);
    }
    return true;
  });
  return wrong;
}

}  // namespace jouleprune::formats
