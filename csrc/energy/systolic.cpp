// Systolic arrays: accesses of Yang et al., ICLR 2019, from an entry alone. What an entry does not tell is left out:
// rows that the input cache reloads, and padding, which counts as inputs.
#include <algorithm>
#include <cmath>

#include "energy/engine.h"

namespace jouleprune::energy {
namespace {

double divided_up(double a, double b) { return std::ceil(a / b); }

/// The product W[rows, cols] x X[cols, n], `groups` times. Without a weight the second operand stands for it.
struct Product {
  double rows, cols, n, groups;
  double kept;     // of the stationary operand, all groups
  double inputs;   // words of X as they come from memory
  double density;  // of X

  explicit Product(const Entry& entry)
      : rows(static_cast<double>(entry.rows)),
        cols(static_cast<double>(entry.cols)),
        n(static_cast<double>(entry.n)),
        groups(static_cast<double>(entry.groups)),
        kept(entry.weight_elements > 0 ? static_cast<double>(entry.nnz) : rows * cols * groups),
        inputs(static_cast<double>(entry.input_elements)),
        density(entry.input_density) {
    if (entry.weight_elements == 0) inputs = std::max(inputs - kept, 0.0);
  }

  double dense() const { return rows * cols * groups; }
};

}  // namespace

Counts count_systolic(const Entry& entry, const ProfileData& profile, const DtypeCost& cost, Corner corner) {
  enum { kMemory, kCache, kRegisters };
  const SystolicArray& array = *profile.array;
  Counts counts;
  counts.ops = static_cast<double>(entry.ops);
  const double outputs = static_cast<double>(entry.output_elements), bits = cost.bits;
  if (entry.macs == 0) return count_traffic(entry, profile, cost, corner);
  const Product product(entry);
  const double strips = divided_up(product.rows, array.cols), passes = divided_up(product.n, array.rows);

  // Kept weights with what tells their places, or all of them where that is less.
  const bool plain = product.kept * (bits + array.metadata_bits) > product.dense() * bits;
  const double metadata = plain ? 0 : array.metadata_bits, moved = plain ? product.dense() : product.kept;
  // Those beyond the cache come again for every pass over the outputs.
  const double cached = std::min(moved, std::floor(array.weight_cache_bits / (bits + metadata)));
  const double fetched = cached + passes * (moved - cached), held = passes * moved;
  const double used = product.n * product.kept;
  // Inputs of a vector beyond the cache come again for every strip of outputs; those of an image are reloaded by rows.
  const double windows = product.cols * product.n * product.groups * product.density;
  const double room = std::floor(array.input_cache_bits / bits);
  const bool vectors = entry.op == "linear";
  const double spilled = vectors ? std::max(product.cols - room, 0.0) * product.n * product.density : 0;
  const double loaded = product.inputs * product.density + (strips - 1) * spilled;

  counts.levels[kMemory].read_bits = bits * (fetched + loaded);
  counts.levels[kMemory].write_bits = bits * outputs;
  counts.levels[kMemory].metadata_bits = metadata * fetched;
  counts.levels[kCache].read_bits = bits * (held + strips * windows);
  counts.levels[kCache].metadata_bits = metadata * held;
  counts.levels[kRegisters].read_bits = bits * (used + product.rows * windows);
  counts.macs_effective = counts.macs_charged = used * product.density;
  counts.macs_issued = used;
  // Time goes by whole passes and strips: a channel less saves none until a strip is empty.
  const double share = product.dense() > 0 ? product.kept / product.dense() : 0;
  counts.busy_macs = passes * array.rows * strips * array.cols * product.cols * product.groups * share;
  counts.seconds = seconds_of(counts, profile, cost.macs_s, corner);
  return counts;
}

}  // namespace jouleprune::energy
