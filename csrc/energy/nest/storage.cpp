#include "energy/nest/storage.h"

namespace jouleprune::energy::nest {

std::array<double, 2> moved_bits(const std::array<int64_t, 3>& accesses, const DeviceLevel& storage, int bits,
                                 double instances) {
  const auto blocks = [&](int64_t words) {
    return static_cast<double>((words + storage.block_words - 1) / storage.block_words);
  };
  const double width = static_cast<double>(storage.block_words) *
                       (storage.word_bits > 0 ? static_cast<double>(storage.word_bits) : bits) * instances;
  return {blocks(accesses[0]) * width, (blocks(accesses[1]) + blocks(accesses[2])) * width};
}

double storage_pj(const Layout& layout, const NestCounts& counts, const Device& device, const Prices& prices) {
  double pj = prices.step_pj * static_cast<double>(counts.steps);
  for (size_t level = 0; level < device.levels.size(); ++level) {
    const LevelCounts& of_level = counts.levels[layout.level_of[level]];
    for (size_t tensor = 0; tensor < kTensors; ++tensor) {
      if (!of_level.tensors[tensor].kept) continue;
      const Accesses& accesses = of_level.tensors[tensor].accesses;
      const auto [read, written] = moved_bits({accesses.reads, accesses.fills, accesses.updates}, device.levels[level],
                                              prices.bits, static_cast<double>(of_level.instances));
      pj += layout.share[tensor] * (read * prices.read_pj_per_bit[level] + written * prices.write_pj_per_bit[level]);
    }
  }
  return pj;
}

}  // namespace jouleprune::energy::nest
