#include "select/masks.h"

namespace jouleprune::select {

std::vector<uint8_t> mask_bits(Ranking& ranking, int64_t kept) {
  const int64_t units = ranking.units();
  std::vector<uint8_t> bits(static_cast<size_t>((units + 7) / 8));
  if (kept <= 0) return bits;
  const uint32_t last = ranking.key_at(kept);
  int64_t ties = kept - ranking.at_least(last + 1);  // units with this very key that stay
  const float* scores = ranking.scores().data();
  for (int64_t i = 0; i < units; ++i) {
    const uint32_t key = key_of(scores[i]);
    const bool tied = key == last && ties > 0;
    ties -= tied;
    bits[static_cast<size_t>(i / 8)] |= static_cast<uint8_t>(key > last || tied) << (i % 8);
  }
  return bits;
}

int64_t index_at(Ranking& ranking, int64_t rank) {
  const uint32_t wanted = ranking.key_at(rank);
  int64_t before = rank - ranking.at_least(wanted + 1);
  const float* scores = ranking.scores().data();
  for (int64_t i = 0; i < ranking.units(); ++i) {
    if (key_of(scores[i]) == wanted && --before == 0) return i;
  }
  return -1;
}

}  // namespace jouleprune::select
