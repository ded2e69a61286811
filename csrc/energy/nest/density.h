// Where the non-zeros of a tensor are: the chance that a tile holds a given number of them.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace jouleprune::energy::nest {

/// A box of a tensor: words along each axis.
struct Box {
  std::vector<int64_t> sides;
  int64_t words = 1;
};

/// What is already known of the tile that a box lies in.
struct Known {
  Box tile;
  int64_t occupancy = 0;
};

/// A density model (Wu et al., Sparseloop, MICRO 2022, section 4.1). Immutable.
class Density {
 public:
  virtual ~Density() = default;

  /// Chance that a tile has exactly `occupancy` non-zeros.
  virtual double probability(const Box& tile, int64_t occupancy, const Known* known = nullptr) const = 0;
  /// Occupancies with their chances, ascending; those too unlikely to matter (2^-64) may be missing.
  virtual std::vector<std::pair<int64_t, double>> distribution(const Box& tile) const = 0;
  virtual int64_t most(const Box& tile) const = 0;     ///< largest occupancy that can occur
  virtual double expected(const Box& tile) const = 0;  ///< mean occupancy
};

/// Every tile has its share of non-zeros, as near as whole numbers allow.
std::shared_ptr<const Density> fixed_structured(double density);
/// ceil(density x words) non-zeros at places drawn uniformly, without replacement.
std::shared_ptr<const Density> hypergeometric(double density, int64_t words);
/// The tensor itself: `nonzero` holds '1' or '0' per element, last axis fastest. Tiles are counted where a tiling that
/// starts at the origin puts them; what hangs over the edge is zero.
std::shared_ptr<const Density> actual_data(std::vector<int64_t> shape, std::string_view nonzero);

}  // namespace jouleprune::energy::nest
