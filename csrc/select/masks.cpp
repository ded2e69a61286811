#include "select/masks.h"

#include "select/key_groups.h"

namespace jouleprune::select {
namespace {
/// The first `ties` bits of `tied`, which are counted off.
uint32_t first_ties(uint32_t tied, int64_t& ties) {
  uint32_t stay = 0;
  for (; tied != 0 && ties > 0; --ties) {
    stay |= tied & -tied;
    tied &= tied - 1;
  }
  return stay;
}

/// Units of this process with this very key.
int64_t equal_to(const Ranking& ranking, uint32_t key) {
  int64_t count = 0;
  for (const float score : ranking.scores()) count += key_of(score) == key;
  return count;
}
}  // namespace

std::vector<uint8_t> mask_bits(Ranking& ranking, int64_t kept) {
  const int64_t units = static_cast<int64_t>(ranking.scores().size());
  std::vector<uint8_t> bits(static_cast<size_t>((units + 7) / 8));
  if (kept <= 0) return bits;
  const uint32_t last = ranking.key_at(kept);
  int64_t ties = kept - ranking.at_least(last + 1);  // units with this very key that stay
  if (ranking.together() != nullptr) ties -= ranking.together()->before(equal_to(ranking, last));
  const float* scores = ranking.scores().data();
  int64_t i = 0;
  for (; i + kGroup <= units; i += kGroup) {
    fetch_ahead(scores + i);
    const uint32_t stay = group_above(scores + i, last) | first_ties(group_equal(scores + i, last), ties);
    bits[static_cast<size_t>(i / 8)] = static_cast<uint8_t>(stay);
    bits[static_cast<size_t>(i / 8 + 1)] = static_cast<uint8_t>(stay >> 8);
  }
  for (; i < units; ++i) {
    const uint32_t key = key_of(scores[i]);
    const bool tied = key == last && ties > 0;  // below 0: lower ranks have them all
    ties -= tied;
    bits[static_cast<size_t>(i / 8)] |= static_cast<uint8_t>(key > last || tied) << (i % 8);
  }
  return bits;
}

int64_t index_at(Ranking& ranking, int64_t rank) {
  const uint32_t wanted = ranking.key_at(rank);
  int64_t before = rank - ranking.at_least(wanted + 1);
  const Together* together = ranking.together();
  const std::span<const float> scores = ranking.scores();
  if (together != nullptr) before -= together->before(equal_to(ranking, wanted));
  int64_t found = -1;
  for (size_t i = 0; i < scores.size() && before > 0; ++i) {
    if (key_of(scores[i]) == wanted && --before == 0) found = static_cast<int64_t>(i);
  }
  if (together == nullptr) return found;
  const int64_t offset = together->before(static_cast<int64_t>(scores.size()));
  std::vector<int64_t> place = {found < 0 ? 0 : offset + found};  // one process has it
  together->sum_counts(place);
  return place.front();
}

}  // namespace jouleprune::select
