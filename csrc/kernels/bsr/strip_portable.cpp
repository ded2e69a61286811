#include "kernels/bsr/strip_body.h"

namespace jouleprune::kernels::bsr {

const StripTables portable_strips = make_strip_tables();

}  // namespace jouleprune::kernels::bsr
