#include "prune/schedule.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>

namespace jouleprune::prune {

void check_schedule(const Schedule& schedule) {
  if (const auto* constant = std::get_if<Constant>(&schedule)) {
    TORCH_CHECK_VALUE(constant->begin_step >= 0, "Constant: begin_step: expected a number >= 0, got ", constant->begin_step);
    return;
  }
  const auto& decay = std::get<PolynomialDecay>(schedule);
  TORCH_CHECK_VALUE(decay.begin_step >= 0, "PolynomialDecay: begin_step: expected a number >= 0, got ", decay.begin_step);
  TORCH_CHECK_VALUE(decay.end_step >= decay.begin_step, "PolynomialDecay: end_step: expected a number >= begin_step (",
                    decay.begin_step, "), got ", decay.end_step);
  TORCH_CHECK_VALUE(decay.frequency >= 1, "PolynomialDecay: frequency: expected a number >= 1, got ", decay.frequency);
  TORCH_CHECK_VALUE(decay.power > 0 && std::isfinite(decay.power), "PolynomialDecay: power: expected a number above 0, got ",
                    decay.power);
}

bool updates_at(const Schedule& schedule, int64_t step) {
  if (const auto* constant = std::get_if<Constant>(&schedule)) {
    return step == constant->begin_step;
  }
  const auto& decay = std::get<PolynomialDecay>(schedule);
  if (step < decay.begin_step || step > decay.end_step) {
    return false;
  }
  return (step - decay.begin_step) % decay.frequency == 0 || step == decay.end_step;
}

double share_at(const Schedule& schedule, int64_t step) {
  if (is_final(schedule, step)) {
    return 1;
  }
  if (std::holds_alternative<Constant>(schedule)) {
    return 0;
  }
  const auto& decay = std::get<PolynomialDecay>(schedule);
  const double t = static_cast<double>(step - decay.begin_step) / static_cast<double>(decay.end_step - decay.begin_step);
  return 1 - std::pow(1 - std::max(0.0, t), decay.power);
}

bool is_final(const Schedule& schedule, int64_t step) {
  if (const auto* constant = std::get_if<Constant>(&schedule)) {
    return step >= constant->begin_step;
  }
  return step >= std::get<PolynomialDecay>(schedule).end_step;
}

}  // namespace jouleprune::prune
