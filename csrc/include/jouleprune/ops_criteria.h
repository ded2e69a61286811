// The ops behind criteria of importance as C++ functions, beside those of ops.h. PrunerOptions::importance takes the criteria by name.
//
// Weights are [rows, ...], seen as matrices [rows, cols]; units are blocks of r x c entries of them, of a convolution of filters x
// channels at one tap. Scores are float32 of the weight's shape, higher = keep, and each entry of a unit has the unit's score. Not
// differentiable. Errors: c10::ValueError for sizes, numbers and devices, c10::TypeError for dtypes; each names the op, the argument,
// what was expected and what came.
#pragma once
#include <ATen/core/Tensor.h>

#include <string_view>
#include <tuple>

namespace jouleprune {

/// (sum |w|^norm / entries)^(1 / norm) of the unit: a mean, so that units of any size compare; the largest |w| for infinity.
at::Tensor norm_importance(const at::Tensor& weight, at::IntArrayRef block_size, double norm);

/// Uniform in (0, 1], one draw per unit; the same for any device, by splitmix64 of (seed, stream, unit).
at::Tensor random_importance(const at::Tensor& weight, at::IntArrayRef block_size, int64_t seed, int64_t stream = 0);

/// Sum of the Euclidean distances from a row (a filter) to all others. Source: He et al., Filter Pruning via Geometric Median, CVPR
/// 2019, eq. 3.
at::Tensor fpgm_importance(const at::Tensor& weight);

/// |w| x inputs of its group and input feature x scale. weight [rows, channels, ...]; inputs [groups, channels], at least 0. Norms of the
/// input features make it Wanda (Sun et al., ICLR 2024, eq. 1).
at::Tensor input_importance(const at::Tensor& weight, const at::Tensor& inputs, double scale = 1.0);

/// (mask, theta): keeps |value| >= theta; those equal to theta stay. `rule`: what theta (float64 []) is: "absolute": amount; "quantile":
/// the magnitude below which the share `amount` of all lies; "std": amount x standard deviation; "max": amount x the largest magnitude.
std::tuple<at::Tensor, at::Tensor> mask_threshold(const at::Tensor& values, double amount, std::string_view rule = "absolute");

/// t = |mean| / (std / sqrt(n)) and its two-sided p-value, from sums and sums of squares (float64) of n measurements.
std::tuple<at::Tensor, at::Tensor> t_test(const at::Tensor& sums, const at::Tensor& square_sums, int64_t n);

/// F = variance between units / variance within units, and its p-value (one-way analysis of variance); sums, square_sums [units].
std::tuple<at::Tensor, at::Tensor> f_test(const at::Tensor& sums, const at::Tensor& square_sums, int64_t n);

/// Which p-values (float64) are significant when at most the share `alpha` of those may be false discoveries.
at::Tensor benjamini_hochberg(const at::Tensor& p, double alpha);

/// Moves each unit by its amount (in its L2 norm) towards zero, in place, and to zero at most: the proximal step of a group lasso. amounts
/// [ceil(rows / r), ceil(cols / c)], at least 0. Source: Parikh and Boyd, Proximal Algorithms, 2014, section 6.5.1.
void shrink_units_(const at::Tensor& self, const at::Tensor& amounts, at::IntArrayRef block_size);

}  // namespace jouleprune
