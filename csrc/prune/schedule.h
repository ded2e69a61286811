// When to prune, and how far: the questions a Pruner asks of a schedule. Steps count Pruner::step() calls from 0.
#pragma once
#include <jouleprune/prune.h>

#include <string>

namespace jouleprune::prune {

/// Throws c10::ValueError: negative steps, steps out of order, frequency below 1, power or rate not above 0, shares out
/// of order.
void check_schedule(const Schedule& schedule);
/// Whether masks are chosen anew at this step.
bool updates_at(const Schedule& schedule, int64_t step);
/// Share of the removal that is due at this step, 0..1.
double share_at(const Schedule& schedule, int64_t step);
/// Whether the final budget is due at this step.
bool is_final(const Schedule& schedule, int64_t step);
/// "PolynomialDecay(begin_step=0, end_step=10, frequency=3, initial=0, power=3)": equal texts, equal schedules.
std::string describe(const Schedule& schedule);

}  // namespace jouleprune::prune
