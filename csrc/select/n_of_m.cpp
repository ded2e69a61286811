#include "select/n_of_m.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

namespace jouleprune::select {
namespace {
constexpr int64_t kLineEntriesPerTask = 1 << 13;

/// An entry of a group that is left, by its place in memory.
template <class Score>
struct Entry {
  decltype(magnitude(Score{})) key;
  int64_t place;
};

/// Marks the `n` entries of largest key, the first of equal ones.
template <class Score>
void keep_largest(std::vector<Entry<Score>>& group, int64_t n, bool* kept) {
  if (static_cast<int64_t>(group.size()) > n) {
    std::nth_element(group.begin(), group.begin() + n, group.end(), [](const Entry<Score>& a, const Entry<Score>& b) {
      return a.key != b.key ? a.key > b.key : a.place < b.place;
    });
    group.resize(static_cast<size_t>(n));
  }
  for (const Entry<Score>& entry : group) kept[entry.place] = true;
}
}  // namespace

template <class Score>
void keep_n_of_m(const Score* scores, const bool* left, const Lines& lines, int64_t n, int64_t m, bool* kept,
                 const kernels::ParallelFor& parallel) {
  if (m < 1 || n < 0 || n > m) {
    throw std::invalid_argument("n, m: expected 0 <= n <= m and m of at least 1, got " + std::to_string(n) + ":" +
                                std::to_string(m));
  }
  const int64_t grain = std::max<int64_t>(1, kLineEntriesPerTask / std::max<int64_t>(1, lines.length));
  parallel(0, lines.outer * lines.inner, grain, [&](int64_t begin, int64_t end) {
    std::vector<Entry<Score>> group;
    group.reserve(static_cast<size_t>(std::min(m, lines.length)));
    for (int64_t line = begin; line < end; ++line) {
      const int64_t first = line / lines.inner * lines.length * lines.inner + line % lines.inner;
      for (int64_t from = 0; from < lines.length; from += m) {
        group.clear();
        for (int64_t i = from; i < std::min(lines.length, from + m); ++i) {
          const int64_t place = first + i * lines.inner;
          kept[place] = false;
          if (left == nullptr || left[place]) group.push_back({magnitude(scores[place]), place});
        }
        keep_largest<Score>(group, n, kept);
      }
    }
  });
}

template void keep_n_of_m(const float*, const bool*, const Lines&, int64_t, int64_t, bool*,
                          const kernels::ParallelFor&);
template void keep_n_of_m(const double*, const bool*, const Lines&, int64_t, int64_t, bool*,
                          const kernels::ParallelFor&);
template void keep_n_of_m(const int64_t*, const bool*, const Lines&, int64_t, int64_t, bool*,
                          const kernels::ParallelFor&);

}  // namespace jouleprune::select
