// The instruction set kernels run with: chosen at run time, or forced by the environment variable JOULEPRUNE_ISA.
#pragma once
#include <string_view>
#include <vector>

namespace jouleprune::kernels {

enum class Isa {
  kReference,  ///< slow loops that sum in double: what the others are tested against
  kPortable,   ///< what every machine of the architecture has
  kAvx2,       ///< AVX2, FMA, F16C
  kAvx512,     ///< AVX-512 F, BW, DQ, VL; BMI2
};

/// "reference", "portable", "avx2", "avx512"
const char* isa_name(Isa isa);
/// Throws std::invalid_argument listing the names.
Isa parse_isa(std::string_view name);
/// Whether this build has the kernels and this processor the instructions.
bool isa_supported(Isa isa);
/// All that are supported, slowest first.
std::vector<Isa> supported_isas();
/// JOULEPRUNE_ISA when set and not empty, else the best supported one. Throws std::invalid_argument when the variable holds an
/// unknown name or one that is not supported here, and when JOULEPRUNE_JIT is malformed.
Isa active_isa();

}  // namespace jouleprune::kernels
