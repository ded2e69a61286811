#include "bsr/linear_bsr_typed.h"

template struct jouleprune::cuda::bsr::Typed<jouleprune::simt::BFloat16>;
