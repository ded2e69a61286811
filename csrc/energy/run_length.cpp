#include "energy/run_length.h"

#include <cmath>

namespace jouleprune::energy {

StreamBits run_length_bits(double elements, double nnz, int value_bits, int run_bits) {
  if (nnz <= 0 || elements <= 0) return {};
  const double dense = elements * value_bits;
  const double density = nnz / elements;
  if (density >= 1) return {dense, 0};
  // With zeros at random places, a value follows r zeros with probability d (1 - d)^r, and every 2^run_bits of them
  // need a pair of their own: sum over k of (1 - d)^(k 2^run_bits) pairs per value.
  const double pairs = nnz / -std::expm1(std::ldexp(std::log1p(-density), run_bits));
  const double packed = pairs * (value_bits + run_bits);
  if (packed >= dense) return {dense, 0};
  const double values = nnz * value_bits;
  return {values, packed - values};
}

}  // namespace jouleprune::energy
