#include "select/ranking.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <exception>
#include <limits>
#include <stdexcept>
#include <string>

#include "select/key_groups.h"
#include "select/score_histogram.h"

namespace jouleprune::select {
namespace {
constexpr size_t kRefinedBins = 8;         // a search settles in one or two bins per layer; the rest are its neighbours
constexpr size_t kGatherAtMost = 1 << 16;  // above this a histogram of the low bits is smaller than the keys themselves

std::string bad_score(std::string_view name, float score, size_t index) {
  return "importance of " + std::string(name) + ": expected finite non-negative scores, got " + std::to_string(score) +
         " at index " + std::to_string(index);
}

/// Calls `visit(key)` for each unit whose upper bits are `top`; few are.
template <typename Visit>
void for_each_in_bin(std::span<const float> scores, uint32_t top, Visit visit) {
  const size_t whole = scores.size() / kGroup * kGroup;
  for (size_t begin = 0; begin < whole; begin += kGroup) {
    fetch_ahead(scores.data() + begin);
    for (uint32_t hits = group_equal(scores.data() + begin, top, kTopShift); hits != 0; hits &= hits - 1) {
      visit(key_of(scores[begin + static_cast<size_t>(std::countr_zero(hits))]));
    }
  }
  for (const float score : scores.subspan(whole)) {
    if ((key_of(score) >> kTopShift) == top) visit(key_of(score));
  }
}
}  // namespace

void check_scores(std::span<const float> scores, std::string_view name) {
  for (size_t i = 0; i < scores.size(); ++i) {
    if (!(scores[i] >= 0 && std::isfinite(scores[i]))) throw std::invalid_argument(bad_score(name, scores[i], i));
  }
}

uint32_t cut_key(double cut) {
  if (!(cut <= static_cast<double>(std::numeric_limits<float>::max()))) return kKeyEnd;
  const float nearest = static_cast<float>(cut);
  const uint32_t key = std::bit_cast<uint32_t>(nearest) + (static_cast<double>(nearest) < cut ? 1 : 0);
  return std::max<uint32_t>(key, 1);
}

Ranking::Ranking(std::span<const float> scores, std::string_view name, const Together* together)
    : scores_(scores), together_(together), units_(static_cast<int64_t>(scores.size())) {
  if (together_ != nullptr) {
    bring_together(name);
  } else {
    for (const ScoreBin& bin : score_histogram(scores, name)) bins_.push_back({bin.top, bin.count, 0, bin.sum});
  }
  for (size_t bin = 1; bin < bins_.size(); ++bin) bins_[bin].below = bins_[bin - 1].below + bins_[bin - 1].sum;
  for (size_t bin = bins_.size(); bin-- > 1;) bins_[bin - 1].at_least += bins_[bin].at_least;
}

/// Histograms are added up: counts, and sums of scores that share an exponent, which are exact whatever their order.
void Ranking::bring_together(std::string_view name) {
  constexpr size_t kTops = kKeyEnd >> kTopShift;
  std::vector<int64_t> counts(kTops + 2);  // beside them units, and whether scores are bad
  std::vector<double> sums(kTops);
  std::exception_ptr bad;
  try {
    for (const ScoreBin& bin : score_histogram(scores_, name)) counts[bin.top] = bin.count, sums[bin.top] = bin.sum;
  } catch (const std::invalid_argument&) {
    bad = std::current_exception();
  }
  counts[kTops] = static_cast<int64_t>(scores_.size());
  counts[kTops + 1] = bad != nullptr;
  together_->sum_counts(counts);
  if (bad != nullptr) std::rethrow_exception(bad);
  if (counts[kTops + 1] != 0) {
    throw std::invalid_argument("importance of " + std::string(name) + ": another process has scores that are not finite and non-negative");
  }
  together_->sum_doubles(sums);
  units_ = counts[kTops];
  for (size_t top = 0; top < kTops; ++top) {
    if (counts[top] != 0) bins_.push_back({static_cast<uint32_t>(top), counts[top], 0, sums[top]});
  }
}

int64_t Ranking::at_least(uint32_t key, Rounding rounding) {
  const uint32_t top = key >> kTopShift;
  const auto found =
      std::lower_bound(bins_.begin(), bins_.end(), top, [](const Bin& bin, uint32_t t) { return bin.top < t; });
  if (found == bins_.end()) return 0;
  const bool at_edge = found->top > top || (key & ((1u << kTopShift) - 1)) == 0;
  if (at_edge || rounding == Rounding::kUp) return found->at_least;
  const size_t bin = static_cast<size_t>(found - bins_.begin());
  if (rounding == Rounding::kDown) return above(bin);
  const std::vector<Step>& steps = refine(bin);
  const auto step =
      std::lower_bound(steps.begin(), steps.end(), key, [](const Step& s, uint32_t k) { return s.key < k; });
  return above(bin) + (step == steps.end() ? 0 : step->at_least);
}

size_t Ranking::bin_of_rank(int64_t rank) const {
  const auto past =
      std::partition_point(bins_.begin(), bins_.end(), [rank](const Bin& bin) { return bin.at_least >= rank; });
  return static_cast<size_t>(past - bins_.begin()) - 1;
}

uint32_t Ranking::key_at(int64_t rank) {
  const size_t bin = bin_of_rank(rank);
  const std::vector<Step>& steps = refine(bin);
  const int64_t rank_in_bin = rank - above(bin);
  const auto past = std::partition_point(steps.begin(), steps.end(),
                                         [rank_in_bin](const Step& s) { return s.at_least >= rank_in_bin; });
  return std::prev(past)->key;
}

double Ranking::lost(int64_t kept) {
  if (kept >= units()) return 0;
  const size_t bin = bin_of_rank(kept + 1);
  const int64_t kept_in_bin = kept - above(bin);
  if (kept_in_bin == 0) return bins_[bin].below + bins_[bin].sum;
  const std::vector<Step>& steps = refine(bin);
  const auto past = std::partition_point(steps.begin(), steps.end(),
                                         [kept_in_bin](const Step& s) { return s.at_least > kept_in_bin; });
  const auto step = std::prev(past);  // the key of the first removed unit; units with this key may stand on both sides
  return bins_[bin].below + step->below +
         static_cast<double>(step->at_least - kept_in_bin) * static_cast<double>(score_of(step->key));
}

double Ranking::lost_about(int64_t kept) const {
  if (kept >= units()) return 0;
  const size_t bin = bin_of_rank(kept + 1);
  const int64_t inside = bins_[bin].at_least - above(bin);
  const double share = static_cast<double>(bins_[bin].at_least - kept) / static_cast<double>(inside);
  return bins_[bin].below + bins_[bin].sum * share;
}

/// Keys of a bin with at_least = units of each alone: sorted.
std::vector<Ranking::Step> Ranking::gathered(size_t bin) const {
  std::vector<uint32_t> keys;
  keys.reserve(static_cast<size_t>(bins_[bin].at_least - above(bin)));
  for_each_in_bin(scores_, bins_[bin].top, [&](uint32_t key) { keys.push_back(key); });
  std::sort(keys.begin(), keys.end());
  std::vector<Step> steps;
  for (const uint32_t key : keys) {
    if (steps.empty() || steps.back().key != key) steps.push_back({key, 0, 0});
    ++steps.back().at_least;
  }
  return steps;
}

/// The same by a histogram of the low bits, of all processes.
std::vector<Ranking::Step> Ranking::counted(size_t bin) const {
  std::vector<int64_t> counts(size_t{1} << kTopShift);
  for_each_in_bin(scores_, bins_[bin].top, [&](uint32_t key) { ++counts[key & (counts.size() - 1)]; });
  if (together_ != nullptr) together_->sum_counts(counts);
  std::vector<Step> steps;
  for (size_t low = 0; low < counts.size(); ++low) {
    if (counts[low] != 0) steps.push_back({(bins_[bin].top << kTopShift) | static_cast<uint32_t>(low), counts[low], 0});
  }
  return steps;
}

const std::vector<Ranking::Step>& Ranking::refine(size_t bin) {
  for (const Refined& refined : refined_) {
    if (refined.bin == bin) return refined.steps;
  }
  const size_t inside = static_cast<size_t>(bins_[bin].at_least - above(bin));
  std::vector<Step> steps = together_ == nullptr && inside <= kGatherAtMost ? gathered(bin) : counted(bin);
  for (size_t i = 1; i < steps.size(); ++i) {
    const Step& before = steps[i - 1];
    steps[i].below = before.below + static_cast<double>(before.at_least) * static_cast<double>(score_of(before.key));
  }
  for (size_t i = steps.size(); i-- > 1;) steps[i - 1].at_least += steps[i].at_least;

  if (refined_.size() < kRefinedBins) {
    refined_.push_back({bin, std::move(steps)});
    return refined_.back().steps;
  }
  Refined& slot = refined_[oldest_];
  oldest_ = (oldest_ + 1) % kRefinedBins;
  slot = {bin, std::move(steps)};
  return slot.steps;
}

}  // namespace jouleprune::select
