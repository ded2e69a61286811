// What the recorder does with each op, by its name without overload and without the trailing "_" of in-place ops.
#pragma once
#include <string_view>

#include "record/handlers.h"

namespace jouleprune::record {

struct OpRule {
  Handler handler = nullptr;
  /// An op that only sees weights prepares them (a mask, a cast, a transpose) and makes no entry; a layer makes one
  /// even when its input is a learned constant.
  bool is_layer = false;
  size_t input = 0;  ///< where the activation stands
};

/// Null for ops that are not listed: those are judged by their schema (record.cpp).
const OpRule* find_rule(std::string_view op);

}  // namespace jouleprune::record
