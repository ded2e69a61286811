// Size of a tensor whose zeros are stored as run lengths: (run, value) pairs, as in Chen et al., JSSC 2017 (Eyeriss).
#pragma once

namespace jouleprune::energy {

struct StreamBits {
  double values = 0;    ///< kept values, or all values when stored dense
  double metadata = 0;  ///< run lengths, and whole pairs with value zero where a run is longer than its field
  double total() const { return values + metadata; }
};

/// `elements` values of `value_bits`, `nnz` of them not zero, at random places; dense when that is smaller.
/// Expected size: a pair ends every run of 2^run_bits zeros. 0 when nothing is kept. total() is non-decreasing in nnz.
StreamBits run_length_bits(double elements, double nnz, int value_bits, int run_bits);

}  // namespace jouleprune::energy
