// One-line checks for the consumer programs.
#pragma once
#include <cstdlib>
#include <iostream>

#define REQUIRE(condition)                                                                        \
  do {                                                                                          \
    if (!(condition)) {                                                                         \
      std::cerr << __FILE__ << ':' << __LINE__ << ": not true: " << #condition << std::endl;    \
      std::exit(EXIT_FAILURE);                                                                  \
    }                                                                                           \
  } while (false)
