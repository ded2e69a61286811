// The functions of NVIDIA's management library that are used, as a table: loaded at run time, or brought by a test.
// Signatures and numbers: NVML API reference (nvml.h); only what is needed is declared here.
#pragma once
#include <memory>
#include <string>

#include "energy/meters/backends.h"

namespace jouleprune::energy::meters {

using NvmlDevice = void*;

inline constexpr int kNvmlSuccess = 0, kNvmlNotSupported = 3, kNvmlNoPermission = 4;
inline constexpr unsigned kNvmlPowerInstant = 186;  // NVML_FI_DEV_POWER_INSTANT, milliwatts
inline constexpr unsigned kNvmlClockSm = 1;

/// nvmlFieldValue_t.
struct NvmlField {
  unsigned field_id;
  unsigned scope_id;  ///< power: 0 the GPU, 1 the module, 2 its memory
  long long timestamp_us;
  long long latency_us;
  int value_type;  ///< 0 double, 1 unsigned, 2 unsigned long, 3 unsigned long long, 4 long long, 5 int, 6 unsigned
                   ///< short
  int result;
  union {
    double d;
    int i;
    unsigned u;
    unsigned long ul;
    unsigned long long ull;
    long long ll;
    unsigned short us;
  } value;
};
static_assert(sizeof(NvmlField) == 40, "the library's layout");

/// The number of a field, whatever type this driver gives it.
double nvml_number(const NvmlField& field);

struct NvmlTable {
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  int (*count)(unsigned*) = nullptr;
  int (*handle)(unsigned, NvmlDevice*) = nullptr;
  int (*name)(NvmlDevice, char*, unsigned) = nullptr;
  int (*total_energy_mj)(NvmlDevice, unsigned long long*) = nullptr;
  int (*power_mw)(NvmlDevice, unsigned*) = nullptr;
  int (*fields)(NvmlDevice, int, NvmlField*) = nullptr;
  int (*mig_mode)(NvmlDevice, unsigned*, unsigned*) = nullptr;
  int (*clock_mhz)(NvmlDevice, unsigned, unsigned*) = nullptr;
  int (*power_limit_mw)(NvmlDevice, unsigned*) = nullptr;
  const char* (*error_text)(int) = nullptr;
  std::shared_ptr<void> library;  ///< keeps the code loaded
};

/// Loads the library; on failure an empty pointer and why.
std::shared_ptr<const NvmlTable> load_nvml(const std::string& library, std::string& why_not);

void find_nvml_with(const MeterOptions& options, std::shared_ptr<const NvmlTable> table, Found& found);

}  // namespace jouleprune::energy::meters
