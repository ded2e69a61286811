// Names no symbol of jouleprune: linking it must be enough to have its ops (linkers drop libraries that nobody names).
#include <ATen/core/dispatch/Dispatcher.h>

#include "check.h"

int main() {
  auto& dispatcher = c10::Dispatcher::singleton();
  REQUIRE(dispatcher.findSchema({"jouleprune::linear_csr", ""}).has_value());
  REQUIRE(dispatcher.findSchema({"jouleprune::conv2d_csr", ""}).has_value());
  REQUIRE(!dispatcher.findSchema({"jouleprune::no_such_op", ""}).has_value());
  return 0;
}
