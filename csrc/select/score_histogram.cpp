#include "select/score_histogram.h"

#include <algorithm>
#include <bit>

#include "select/key_groups.h"
#include "select/ranking.h"

namespace jouleprune::select {
namespace {
// A bin's word holds the number of its scores above the sum of their keys' low bits: one addition per score. Scores of a bin have
// one exponent, so both together give their sum.
constexpr int kCountShift = 40;
constexpr size_t kScoresPerWord = (size_t{1} << (kCountShift - kTopShift)) - 1;
constexpr uint64_t kLowsMask = (uint64_t{1} << kCountShift) - 1;
constexpr size_t kTops = size_t{1} << 16;  // of all floats: those that are no scores are seen afterwards
constexpr size_t kNegativeZero = kTops / 2;

struct Totals {
  int64_t count = 0;
  uint64_t lows = 0;
};

void count(std::span<const float> scores, std::vector<uint64_t>& words, std::vector<Totals>& totals) {
  uint64_t* word = words.data();
  const auto add = [word](float score) {
    const uint32_t bits = std::bit_cast<uint32_t>(score);
    word[bits >> kTopShift] += (uint64_t{1} << kCountShift) + (bits & ((1u << kTopShift) - 1));
  };
  size_t i = 0;
  for (; i + kGroup <= scores.size(); i += kGroup) {
    fetch_ahead(scores.data() + i);
    for (size_t j = 0; j < kGroup; ++j) add(scores[i + j]);
  }
  for (; i < scores.size(); ++i) add(scores[i]);
  for (size_t top = 0; top < kTops; ++top) {
    if (words[top] == 0) continue;
    totals[top].count += static_cast<int64_t>(words[top] >> kCountShift);
    totals[top].lows += words[top] & kLowsMask;
    words[top] = 0;
  }
}

ScoreBin bin_of(uint32_t top, const Totals& totals) {
  const double head = static_cast<double>(score_of(top << kTopShift));
  const double low = static_cast<double>(score_of((top << kTopShift) | 1)) - head;  // what a low bit is worth there
  return {top, totals.count, static_cast<double>(totals.count) * head + static_cast<double>(totals.lows) * low};
}
}  // namespace

std::vector<ScoreBin> score_histogram(std::span<const float> scores, std::string_view name) {
  std::vector<uint64_t> words(kTops);
  std::vector<Totals> totals(kTops);
  for (size_t begin = 0; begin < scores.size(); begin += kScoresPerWord) {
    count(scores.subspan(begin, std::min(kScoresPerWord, scores.size() - begin)), words, totals);
  }
  bool scores_all = totals[kNegativeZero].lows == 0;
  for (size_t top = kKeyEnd >> kTopShift; top < kTops; ++top) {
    scores_all = scores_all && (totals[top].count == 0 || top == kNegativeZero);
  }
  if (!scores_all) check_scores(scores, name);
  totals[0].count += totals[kNegativeZero].count;
  std::vector<ScoreBin> bins;
  for (uint32_t top = 0; top < kKeyEnd >> kTopShift; ++top) {
    if (totals[top].count != 0) bins.push_back(bin_of(top, totals[top]));
  }
  return bins;
}

}  // namespace jouleprune::select
