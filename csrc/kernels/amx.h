// Matrix tiles of the processor (AMX): whether they serve here.
#pragma once

namespace jouleprune::kernels {

enum class Tiles {
  kBFloat16,  ///< AMX-BF16
  kInt8,      ///< AMX-INT8
};

/// Whether this processor has them beside AVX-512, the system lets the process use them, and JOULEPRUNE_AMX does not turn them off.
/// Throws std::invalid_argument when that variable holds anything but 0, 1 or nothing.
bool tiles_serve(Tiles tiles);

/// What became of them here: "in use", "off: JOULEPRUNE_AMX=0" or "not on this processor".
const char* tile_state(Tiles tiles);

}  // namespace jouleprune::kernels
