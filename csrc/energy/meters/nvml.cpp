// NVIDIA GPUs: the board's energy counter (millijoules since the driver was loaded; Volta and newer), else its sampled
// power, integrated.
#include "energy/meters/nvml.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>

namespace jouleprune::energy::meters {
namespace {

// Ampere and newer give the mean over the last second, of which a quarter is sampled on A100 and H100 (arXiv
// 2312.02741); the counter follows the same sensor: 12 % too little in a window of 1 s that begins with the load,
// nothing in 5 s.
constexpr double kAveragingS = 1.0;

std::string text_of(const NvmlTable& table, int result) {
  const char* text = table.error_text != nullptr ? table.error_text(result) : nullptr;
  return text != nullptr ? text : "error " + std::to_string(result);
}

class NvmlSource : public EnergySource {
 public:
  NvmlSource(std::shared_ptr<const NvmlTable> table, NvmlDevice device) : table_(std::move(table)), device_(device) {}
  std::map<std::string, std::string> conditions() const override {
    std::map<std::string, std::string> found;
    unsigned value = 0;
    if (table_->clock_mhz != nullptr && table_->clock_mhz(device_, kNvmlClockSm, &value) == kNvmlSuccess) {
      found[domain.name + " SM clock, MHz"] = std::to_string(value);
    }
    if (table_->power_limit_mw != nullptr && table_->power_limit_mw(device_, &value) == kNvmlSuccess) {
      found[domain.name + " power limit, mW"] = std::to_string(value);
    }
    return found;
  }

 protected:
  std::shared_ptr<const NvmlTable> table_;
  NvmlDevice device_;
};

class EnergyCounter : public NvmlSource {
 public:
  using NvmlSource::NvmlSource;
  Reading read() override {
    unsigned long long millijoules = 0;
    const int result = table_->total_energy_mj(device_, &millijoules);
    if (result != kNvmlSuccess) return {0, 0, "NVML energy counter: " + text_of(*table_, result)};
    return {millijoules, 0, ""};
  }
  double joules_per_tick() const override { return 1e-3; }
};

class SampledPower : public NvmlSource {
 public:
  using NvmlSource::NvmlSource;
  Reading read() override {
    if (table_->fields != nullptr) {
      NvmlField field{};
      field.field_id = kNvmlPowerInstant;
      if (table_->fields(device_, 1, &field) == kNvmlSuccess && field.result == kNvmlSuccess)
        return {0, 1e-3 * nvml_number(field), ""};
    }
    unsigned milliwatts = 0;
    const int result = table_->power_mw != nullptr ? table_->power_mw(device_, &milliwatts) : kNvmlNotSupported;
    if (result != kNvmlSuccess) return {0, 0, "NVML power: " + text_of(*table_, result)};
    return {0, 1e-3 * milliwatts, ""};
  }
};

Domain domain_of(const NvmlTable& table, NvmlDevice device, unsigned index) {
  Domain domain;
  domain.name = "gpu-" + std::to_string(index);
  domain.meter = "nvml";
  domain.scope = Scope::kBoard;
  domain.averaging_s = kAveragingS;
  std::array<char, 96> name{};
  if (table.name != nullptr && table.name(device, name.data(), name.size()) == kNvmlSuccess) {
    const std::string text(name.data());
    // CPU and GPU on one module: the counter is the whole module's.
    if (text.find("GH200") != std::string::npos || text.find("GB200") != std::string::npos)
      domain.scope = Scope::kModule;
  }
  unsigned current = 0, pending = 0;
  if (table.mig_mode != nullptr && table.mig_mode(device, &current, &pending) == kNvmlSuccess && current != 0) {
    domain.status =
        "the whole board: MIG instances have no counters of their own, and whatever runs in the others is counted too";
  }
  return domain;
}

void add_device(const MeterOptions& options, const std::shared_ptr<const NvmlTable>& table, unsigned index,
                Found& found) {
  NvmlDevice device = nullptr;
  const int result = table->handle(index, &device);
  if (result != kNvmlSuccess) {
    found.notes.push_back("NVML: GPU " + std::to_string(index) + ": " + text_of(*table, result));
    return;
  }
  Domain domain = domain_of(*table, device, index);
  unsigned long long millijoules = 0;
  const int counter =
      table->total_energy_mj != nullptr ? table->total_energy_mj(device, &millijoules) : kNvmlNotSupported;
  const bool counts = counter != kNvmlNotSupported;
  if (counts) {
    found.sources.push_back(std::make_shared<EnergyCounter>(table, device));
    found.sources.back()->domain = domain;
  }
  if (!counts || options.cross_check) {
    found.sources.push_back(std::make_shared<SampledPower>(table, device));
    if (counts) {
      domain.inside = domain.name;
      domain.name += ":power";
      domain.adds = false;
    }
    domain.integrated = true;
    found.sources.back()->domain = domain;
  }
}

template <typename Function>
void look_up(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
}

}  // namespace

double nvml_number(const NvmlField& field) {
  switch (field.value_type) {
    case 0: return field.value.d;
    case 2: return static_cast<double>(field.value.ul);
    case 3: return static_cast<double>(field.value.ull);
    case 4: return static_cast<double>(field.value.ll);
    case 5: return field.value.i;
    case 6: return field.value.us;
    default: return field.value.u;
  }
}

std::shared_ptr<const NvmlTable> load_nvml(const std::string& library, std::string& why_not) {
  void* handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* error = ::dlerror();
    why_not = error != nullptr ? error : "dlopen failed";
    return nullptr;
  }
  auto table = std::make_shared<NvmlTable>();
  table->library = std::shared_ptr<void>(handle, [](void* loaded) { ::dlclose(loaded); });
  look_up(handle, "nvmlInit_v2", table->init);
  look_up(handle, "nvmlShutdown", table->shutdown);
  look_up(handle, "nvmlDeviceGetCount_v2", table->count);
  look_up(handle, "nvmlDeviceGetHandleByIndex_v2", table->handle);
  look_up(handle, "nvmlDeviceGetName", table->name);
  look_up(handle, "nvmlDeviceGetTotalEnergyConsumption", table->total_energy_mj);
  look_up(handle, "nvmlDeviceGetPowerUsage", table->power_mw);
  look_up(handle, "nvmlDeviceGetFieldValues", table->fields);
  look_up(handle, "nvmlDeviceGetMigMode", table->mig_mode);
  look_up(handle, "nvmlDeviceGetClockInfo", table->clock_mhz);
  look_up(handle, "nvmlDeviceGetEnforcedPowerLimit", table->power_limit_mw);
  look_up(handle, "nvmlErrorString", table->error_text);
  if (table->init == nullptr || table->count == nullptr || table->handle == nullptr) {
    why_not = library + " has none of the functions of NVML";
    return nullptr;
  }
  return table;
}

void find_nvml_with(const MeterOptions& options, std::shared_ptr<const NvmlTable> table, Found& found) {
  const int started = table->init();
  if (started != kNvmlSuccess) {
    found.notes.push_back("NVML: " + text_of(*table, started));
    return;
  }
  // Shut down when the last source is gone: it holds the table that holds this.
  auto running = std::make_shared<NvmlTable>(*table);
  running->library = std::shared_ptr<void>(nullptr, [table](void*) {
    if (table->shutdown != nullptr) table->shutdown();
  });
  unsigned count = 0;
  const int counted = running->count(&count);
  if (counted != kNvmlSuccess || count == 0) {
    found.notes.push_back("NVML: " + (counted != kNvmlSuccess ? text_of(*running, counted) : std::string("no GPU")));
    return;
  }
  for (unsigned index = 0; index < std::min(count, 64U); ++index) {
    const bool wanted = options.gpus.empty() || std::find(options.gpus.begin(), options.gpus.end(),
                                                          static_cast<int>(index)) != options.gpus.end();
    if (wanted) add_device(options, running, index, found);
  }
  for (const int wanted : options.gpus) {
    if (wanted < 0 || static_cast<unsigned>(wanted) >= count) {
      throw core::MeterError("gpus: expected indices from 0 to " + std::to_string(count - 1) + ", got " +
                             std::to_string(wanted));
    }
  }
}

void find_nvml(const MeterOptions& options, Found& found) {
  if (options.nvml_library.empty()) return;
  std::string why_not;
  const auto table = load_nvml(options.nvml_library, why_not);
  if (table) return find_nvml_with(options, table, found);
  if (!options.gpus.empty()) throw core::MeterError("gpus: expected NVML, got: " + why_not);
  found.notes.push_back("NVML: " + why_not);
}

}  // namespace jouleprune::energy::meters
