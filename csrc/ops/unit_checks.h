// Argument checks of the ops on units of weights, for every device; they throw c10::ValueError, c10::TypeError.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

#include "select/blocks.h"
#include "select/n_of_m.h"

namespace jouleprune::ops {

/// Strided real numbers.
void check_scores(const char* op, const std::string& name, const at::Tensor& scores);
/// Bool, of the shape and device of the scores.
void check_left(const char* op, const std::string& name, const at::Tensor& left, const at::Tensor& scores);

/// What unit_norms takes; a block that reaches beyond the weight is cut to it.
select::Blocks check_unit_norms(const at::Tensor& scores, const std::optional<at::Tensor>& left, at::IntArrayRef block_size);
/// What spread_units takes.
select::Blocks check_spread_units(const at::Tensor& units, const std::optional<at::Tensor>& left, at::IntArrayRef size,
                                  at::IntArrayRef block_size);
/// What mask_n_of_m takes but n and m, as its groups run through it.
select::Lines check_n_of_m(const at::Tensor& scores, const std::optional<at::Tensor>& left, int64_t dim);

}  // namespace jouleprune::ops
