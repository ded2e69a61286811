#include "kernels/isa.h"

#include <array>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "kernels/jit/executable_memory.h"

namespace jouleprune::kernels {
namespace {

constexpr std::array kAll = {Isa::kReference, Isa::kPortable, Isa::kAvx2, Isa::kAvx512};

bool processor_has(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    case Isa::kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("bmi2");
    default:
      return true;
  }
#else
  return isa == Isa::kReference || isa == Isa::kPortable;
#endif
}

std::string names(const std::vector<Isa>& isas) {
  std::string list;
  for (const Isa isa : isas) {
    list += (list.empty() ? "" : ", ") + std::string(isa_name(isa));
  }
  return list;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kReference: return "reference";
    case Isa::kPortable: return "portable";
    case Isa::kAvx2: return "avx2";
    case Isa::kAvx512: return "avx512";
  }
  return "unknown";
}

Isa parse_isa(std::string_view name) {
  for (const Isa isa : kAll) {
    if (name == isa_name(isa)) {
      return isa;
    }
  }
  throw std::invalid_argument("JOULEPRUNE_ISA: expected one of " + names({kAll.begin(), kAll.end()}) + ", got '" +
                              std::string(name) + "'");
}

bool isa_supported(Isa isa) {
  static const std::array<bool, 4> supported = {processor_has(kAll[0]), processor_has(kAll[1]), processor_has(kAll[2]),
                                                processor_has(kAll[3])};
  return supported[static_cast<size_t>(isa)];
}

std::vector<Isa> supported_isas() {
  std::vector<Isa> isas;
  for (const Isa isa : kAll) {
    if (isa_supported(isa)) {
      isas.push_back(isa);
    }
  }
  return isas;
}

Isa active_isa() {
  jit::wanted();  // every kernel asks here first, so that both variables are refused in the same way
  const char* forced = std::getenv("JOULEPRUNE_ISA");
  if (forced == nullptr || *forced == '\0') {
    return isa_supported(Isa::kAvx512) ? Isa::kAvx512 : isa_supported(Isa::kAvx2) ? Isa::kAvx2 : Isa::kPortable;
  }
  const Isa isa = parse_isa(forced);
  if (!isa_supported(isa)) {
    throw std::invalid_argument("JOULEPRUNE_ISA: '" + std::string(forced) + "' is not supported on this machine, which has " +
                                names(supported_isas()));
  }
  return isa;
}

}  // namespace jouleprune::kernels
