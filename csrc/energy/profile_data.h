// A device profile as read from JSON (schema: docs/energy_model.md, "The profile file").
#pragma once
#include <jouleprune/energy.h>

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace jouleprune::energy {

namespace nest {
struct Device;  // csrc/energy/nest/device.h
}

/// Which end of every number's interval a price is computed at.
enum class Corner { kValue, kLow, kHigh };

/// The other end: a short time comes from a high peak.
constexpr Corner opposite(Corner corner) {
  return corner == Corner::kLow ? Corner::kHigh : corner == Corner::kHigh ? Corner::kLow : Corner::kValue;
}

struct Quantity {
  double value = 0, low = 0, high = 0;
  double at(Corner corner) const { return corner == Corner::kValue ? value : corner == Corner::kLow ? low : high; }
};

struct Provenance {
  std::string source, kind, date;
};

/// Arithmetic of one number type.
struct DtypeCost {
  std::string name;
  int bits = 0;
  Quantity mac_pj;         ///< one multiply-accumulate
  Quantity op_pj;          ///< one operation that is no MAC
  Quantity macs_s;         ///< peak; 0 = unknown, no time is modelled
  Quantity sparse_macs_s;  ///< peak of kernels of sparse layouts, which cannot use matrix units; 0 = macs_s
};

/// Accesses of one level, per element of a tensor or per MAC (op-count).
struct Accesses {
  Quantity weight_reads, weight_writes, input_reads, input_writes, output_reads, output_writes;
};

struct Level {
  std::string name;
  double capacity_bits = std::numeric_limits<double>::infinity();
  Quantity read_pj_per_bit, write_pj_per_bit;
  Quantity bytes_s;         ///< bandwidth; 0 = not modelled
  bool compressed = false;  ///< zeros are stored as run lengths (op-count)
  bool holds_activations =
      false;                      ///< activations of a call that fit here are not seen by the levels outside (op-count)
  Accesses per_element, per_mac;  ///< op-count
};

/// A systolic array and its caches.
struct SystolicArray {
  double rows = 0, cols = 0;  ///< output pixels and output channels computed at a time
  double input_cache_bits = 0, weight_cache_bits = 0;
  double metadata_bits = 0;  ///< per kept weight
};

/// What the hardware does with zeros.
struct Zeros {
  Quantity gated_share;       ///< g: share of a MAC's energy still spent on a zero
  int run_bits = 5;           ///< width of a run length
  bool skips_cycles = false;  ///< zero weights cost no time either
};

/// Times of a family of calls, as measured: timing.h.
struct TimeFamily {
  std::vector<Quantity> seconds;  ///< of one of each count, in the order of Timed
  double reach = 1, pull = 1;     ///< in octaves; of the formula, in shapes
  std::vector<std::vector<double>> places;  ///< measured shapes, in octaves
  std::vector<double> logs;                 ///< of measured / formula
};

struct ProfileData {
  std::string name, kind, dataflow, description;
  std::string runs_as;                 ///< every number type runs as this one; empty = as itself
  std::vector<std::string> fused_ops;  ///< run in the output path of the op before: no traffic but for further operands
  std::vector<DtypeCost> dtypes;
  std::vector<Level> levels;   ///< outermost first
  std::optional<SystolicArray> array;  ///< systolic
  std::shared_ptr<const nest::Device> nest;  ///< fixed-nest
  std::optional<Zeros> zeros;  ///< absent: zeros cost what other values cost
  std::map<std::string, TimeFamily> timing;  ///< by family; empty where nothing was measured (cache-tiled)
  Quantity static_w, launch_j, launch_s, index_decode_pj;
  std::map<std::string, Provenance> provenance;  ///< by JSON pointer; the longest that covers a number counts
  std::string canonical;                         ///< JSON with sorted keys
  std::string hash;
};

inline constexpr size_t kMaxLevels = 8;

/// Built-in name or path of a JSON file. Throws core::ProfileError with the JSON pointer of what is wrong.
Profile load_profile(const std::string& name_or_path);
/// `origin` is named in errors.
Profile parse_profile(std::string_view json, const std::string& origin);

/// Cost of `dtype` on this profile: as listed, or extrapolated from the listed type of the nearest width
/// (MACs quadratic in the width, other operations linear, the interval three times wider on both sides).
DtypeCost cost_of(const ProfileData& profile, const std::string& dtype);

/// The listed type that `dtype` is priced by: itself, what the profile runs all types as, or the nearest in width.
const DtypeCost& listed_for(const ProfileData& profile, const std::string& dtype);

/// The listed type that cost_of() scales to `dtype`; empty where the profile lists it (or the one that all run as).
std::string extrapolated_from(const ProfileData& profile, const std::string& dtype);

/// Width of a number type by its name; 32 for names it does not know.
int dtype_bits(std::string_view dtype);
/// Whether a dtype has this name.
bool is_dtype(std::string_view name);

}  // namespace jouleprune::energy
