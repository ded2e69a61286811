#include "select/units.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <numeric>
#include <utility>

#include "formats/ceil_div.h"
#include "select/n_of_m.h"
#include "select/ranking.h"

namespace jouleprune::select {
namespace {
constexpr int64_t kQuad = 4;

float as_score(double sum) {
  return static_cast<float>(std::min(sum, static_cast<double>(std::numeric_limits<float>::max())));
}

bool bit(const std::vector<uint8_t>& bits, int64_t i) { return (bits[static_cast<size_t>(i / 8)] >> (i % 8)) & 1; }
void set_bit(std::vector<uint8_t>& bits, int64_t i) { bits[static_cast<size_t>(i / 8)] |= static_cast<uint8_t>(1u << (i % 8)); }
}  // namespace

Units::Units(Pattern pattern, int64_t rows, int64_t cols, int64_t taps) : pattern_(pattern), rows_(rows), cols_(cols), taps_(taps) {
  switch (pattern.kind) {
    case Pattern::Kind::kUnstructured:
      count_ = rows * cols;
      break;
    case Pattern::Kind::kBlock:
      across_ = ceil_div(inputs(), pattern.c) * taps;
      count_ = ceil_div(rows, pattern.r) * across_;
      break;
    case Pattern::Kind::kNofM:
      across_ = ceil_div(cols, pattern.m);
      count_ = rows * (cols / pattern.m * pattern.n + std::min(pattern.n, cols % pattern.m));
      break;
  }
}

bool Units::alike() const {
  return pattern_.kind != Pattern::Kind::kBlock || (rows_ % pattern_.r == 0 && inputs() % pattern_.c == 0);
}

Units::Extent Units::extent(int64_t unit) const {
  const int64_t row = unit / across_ * pattern_.r, input = unit % across_ / taps_ * pattern_.c;
  return {row, input * taps_ + unit % taps_, std::min(pattern_.r, rows_ - row), std::min(pattern_.c, inputs() - input)};
}

int64_t Units::size(int64_t unit, Measure measure) const {
  if (pattern_.kind != Pattern::Kind::kBlock) return measure == Measure::kQuads ? kQuad : 1;
  if (measure == Measure::kStored) return pattern_.r * pattern_.c;
  const Extent block = extent(unit);
  return block.rows * (measure == Measure::kQuads ? ceil_div(block.inputs, kQuad) * kQuad : block.inputs);
}

int64_t Units::largest(Measure measure) const { return count_ == 0 ? 0 : size(0, measure); }

int64_t Units::total(Measure measure) const {
  if (pattern_.kind == Pattern::Kind::kNofM && measure == Measure::kWeights) return count_;
  return rows_ * cols_;
}

int64_t Units::units_for(int64_t least) const {
  if (least <= 0) return 0;
  if (count_ == 0) return 1;
  if (alike()) return std::min(ceil_div(least, largest(Measure::kWeights)), count_ + 1);
  // The smallest first: the corner, then the two edges by their size, then whole blocks.
  const int64_t down = ceil_div(rows_, pattern_.r), edge_rows = rows_ - (down - 1) * pattern_.r;
  const int64_t whole = across_ - taps_;  // blocks in a row that have all their inputs
  const int64_t edge_inputs = inputs() - whole / taps_ * pattern_.c;
  std::vector<std::pair<int64_t, int64_t>> kinds = {{edge_rows * edge_inputs, taps_},  // size, how many
                                                    {edge_rows * pattern_.c, whole},
                                                    {pattern_.r * edge_inputs, (down - 1) * taps_},
                                                    {pattern_.r * pattern_.c, (down - 1) * whole}};
  std::sort(kinds.begin(), kinds.end());
  int64_t units = 0;
  for (const auto& [size, number] : kinds) {
    const int64_t taken = std::min(number, ceil_div(least, size));
    units += taken;
    least -= taken * size;
    if (least <= 0) return units;
  }
  return count_ + 1;
}

template <typename Visit>
void Units::for_each_row(std::span<const float> importance, Visit visit) const {
  const auto stay = std::make_unique<bool[]>(static_cast<size_t>(cols_));
  for (int64_t row = 0; row < rows_; ++row) {
    const int64_t first = row * cols_;
    keep_n_of_m(importance.data() + first, nullptr, {1, cols_, 1}, pattern_.n, pattern_.m, stay.get(), kernels::serial);
    visit(first, std::span<const bool>(stay.get(), static_cast<size_t>(cols_)));
  }
}

UnitScores Units::scores(std::span<const float> importance, std::string_view name) const {
  UnitScores made;
  made.scores = importance;
  if (pattern_.kind == Pattern::Kind::kUnstructured) return made;  // the ranking checks them
  check_scores(importance, name);
  made.own.reserve(static_cast<size_t>(count_));
  if (pattern_.kind == Pattern::Kind::kNofM) {
    for_each_row(importance, [&](int64_t first, std::span<const bool> stay) {
      for (size_t i = 0; i < stay.size(); ++i) {
        const float score = importance[static_cast<size_t>(first) + i];
        if (stay[i]) {
          made.own.push_back(score);
        } else {
          made.forced += static_cast<double>(score);
        }
      }
    });
  } else {
    std::vector<double> sums(static_cast<size_t>(across_));
    for (int64_t row = 0; row < rows_; ++row) {
      const float* scores = importance.data() + row * cols_;
      for (int64_t input = 0; input < inputs(); ++input) {
        double* blocks = sums.data() + input / pattern_.c * taps_;
        for (int64_t tap = 0; tap < taps_; ++tap) blocks[tap] += static_cast<double>(*scores++);
      }
      if ((row + 1) % pattern_.r != 0 && row + 1 != rows_) continue;
      for (double& sum : sums) made.own.push_back(as_score(std::exchange(sum, 0)));
    }
  }
  made.scores = made.own;
  return made;
}

std::vector<uint8_t> Units::mask(const std::vector<uint8_t>& kept, std::span<const float> importance) const {
  if (pattern_.kind == Pattern::Kind::kUnstructured) return kept;
  std::vector<uint8_t> bits(static_cast<size_t>((weights() + 7) / 8));
  if (pattern_.kind == Pattern::Kind::kNofM) {
    int64_t unit = 0;
    for_each_row(importance, [&](int64_t first, std::span<const bool> stay) {
      for (size_t i = 0; i < stay.size(); ++i) {
        if (stay[i] && bit(kept, unit++)) set_bit(bits, first + static_cast<int64_t>(i));
      }
    });
    return bits;
  }
  for (int64_t unit = 0; unit < count_; ++unit) {
    if (!bit(kept, unit)) continue;
    const Extent block = extent(unit);
    for (int64_t row = block.row; row < block.row + block.rows; ++row) {
      for (int64_t i = 0; i < block.inputs; ++i) set_bit(bits, row * cols_ + block.col + i * taps_);
    }
  }
  return bits;
}

int64_t Units::index(int64_t unit, std::span<const float> importance) const {
  if (pattern_.kind != Pattern::Kind::kNofM) return unit;
  int64_t before = 0, found = -1;
  for_each_row(importance, [&](int64_t first, std::span<const bool> stay) {
    const int64_t here = std::count(stay.begin(), stay.end(), true);
    if (found < 0 && unit < before + here) {
      for (size_t i = 0; i < stay.size() && found < 0; ++i) {
        if (stay[i] && before++ == unit) found = first + static_cast<int64_t>(i);
      }
    } else {
      before += here;
    }
  });
  return found;
}

KeptSizes::KeptSizes(const Units& units, std::span<const float> scores) : units_(units) {
  if (units.alike()) return;
  std::vector<int64_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  // As a ranking: by importance, then by index.
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return key_of(scores[static_cast<size_t>(a)]) > key_of(scores[static_cast<size_t>(b)]);
  });
  weights_.assign(1, 0);
  quads_.assign(1, 0);
  for (const int64_t unit : order) {
    weights_.push_back(weights_.back() + units.size(unit, Measure::kWeights));
    quads_.push_back(quads_.back() + units.size(unit, Measure::kQuads));
  }
}

int64_t KeptSizes::at(int64_t kept, Measure measure) const {
  return std::min(padded(kept, measure), units_.total(measure));
}

int64_t KeptSizes::padded(int64_t kept, Measure measure) const {
  const std::vector<int64_t>& exact = measure == Measure::kQuads ? quads_ : weights_;
  if (measure == Measure::kStored || exact.empty()) return kept * units_.largest(measure);
  return exact[static_cast<size_t>(kept)];
}

}  // namespace jouleprune::select
