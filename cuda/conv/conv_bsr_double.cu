#include "conv/conv_bsr_typed.h"

template struct jouleprune::cuda::conv::Typed<double>;
