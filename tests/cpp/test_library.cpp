#include <ATen/core/dispatch/Dispatcher.h>
#include <gtest/gtest.h>

// Linking the library is enough to register its ops, also under --as-needed.
TEST(Library, RegistersItsSchemas) {
  for (const char* name : {"jouleprune::linear_csr", "jouleprune::conv2d_csr", "jouleprune::select_masks"}) {
    EXPECT_TRUE(c10::Dispatcher::singleton().findSchema({name, ""}).has_value()) << name;
  }
}
