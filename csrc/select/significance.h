// Tests of significance over repeated measurements of units (gradients over batches): p-values and the choice among many of them.
#pragma once
#include <cstdint>
#include <span>

namespace jouleprune::select {

/// Regularised incomplete beta function I_x(a, b), a, b > 0, x in [0, 1]; relative error about 1e-14.
/// Continued fraction of DLMF 8.17.22 (https://dlmf.nist.gov/8.17), evaluated by Lentz's method.
double incomplete_beta(double a, double b, double x);

/// Two-sided p-value of Student's t with `df` > 0 degrees of freedom: P(|T| >= |t|). NaN of NaN.
double t_test_p(double t, double df);

/// P(F >= f) of Fisher's F with `df_between`, `df_within` > 0 degrees of freedom; f >= 0. NaN of NaN.
double f_test_p(double f, double df_between, double df_within);

/// Benjamini and Hochberg, J. R. Statist. Soc. B 57 (1995), section 3.1: with p_(k) in ascending order, everything up to the largest k
/// with p_(k) <= k / m * alpha is significant, so that at most the share alpha of the discoveries is false in expectation.
/// `p`, `significant` [m]. Throws std::invalid_argument unless p and alpha are in [0, 1].
void benjamini_hochberg(std::span<const double> p, double alpha, bool* significant);

}  // namespace jouleprune::select
