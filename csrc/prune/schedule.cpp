#include "prune/schedule.h"

#include <c10/util/ArrayRef.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <sstream>

namespace jouleprune::prune {
namespace {

// What is left to do of the removal at t in [0, 1): 1 at t = 0, falling to 0 at t = 1.
double left_at(const PolynomialDecay& decay, double t) { return std::pow(1 - t, decay.power); }
double left_at(const LinearDecay&, double t) { return 1 - t; }
double left_at(const CosineDecay&, double t) { return (1 + std::cos(std::numbers::pi * t)) / 2; }
double left_at(const ExponentialDecay& decay, double t) {
  // Without differences of nearly equal numbers, which vanish for small rates.
  return std::exp(-decay.rate * t) * std::expm1(-decay.rate * (1 - t)) / std::expm1(-decay.rate);
}

const char* name_of(const PolynomialDecay&) { return "PolynomialDecay"; }
const char* name_of(const LinearDecay&) { return "LinearDecay"; }
const char* name_of(const CosineDecay&) { return "CosineDecay"; }
const char* name_of(const ExponentialDecay&) { return "ExponentialDecay"; }

void check_shape(const PolynomialDecay& decay) {
  TORCH_CHECK_VALUE(decay.power > 0 && std::isfinite(decay.power), "PolynomialDecay: power: expected a number above 0, got ",
                    decay.power);
}
void check_shape(const ExponentialDecay& decay) {
  TORCH_CHECK_VALUE(decay.rate > 0 && std::isfinite(decay.rate), "ExponentialDecay: rate: expected a number above 0, got ",
                    decay.rate);
}
void check_shape(const LinearDecay&) {}
void check_shape(const CosineDecay&) {}

/// Answers of one kind of schedule; `Decay` is one of those between two steps.
struct Check {
  void operator()(const Constant& constant) const {
    TORCH_CHECK_VALUE(constant.begin_step >= 0, "Constant: begin_step: expected a number >= 0, got ", constant.begin_step);
  }
  void operator()(const MultiStep& steps) const {
    const auto& milestones = steps.milestones;
    TORCH_CHECK_VALUE(!milestones.empty() && milestones.front() >= 0 &&
                          std::adjacent_find(milestones.begin(), milestones.end(), std::greater_equal<>()) == milestones.end(),
                      "MultiStep: milestones: expected ascending numbers >= 0, got ",
                      c10::ArrayRef<int64_t>(milestones));
    const auto& values = steps.values;
    if (values.empty()) return;
    TORCH_CHECK_VALUE(values.size() == milestones.size(), "MultiStep: values: expected one per milestone, ", milestones.size(),
                      ", got ", values.size());
    TORCH_CHECK_VALUE(values.front() >= 0 && std::is_sorted(values.begin(), values.end()) && values.back() == 1,
                      "MultiStep: values: expected shares that do not fall and end at 1, got ",
                      c10::ArrayRef<double>(values));
  }
  template <class Decay>
  void operator()(const Decay& decay) const {
    const char* name = name_of(decay);
    TORCH_CHECK_VALUE(decay.begin_step >= 0, name, ": begin_step: expected a number >= 0, got ", decay.begin_step);
    TORCH_CHECK_VALUE(decay.end_step >= decay.begin_step, name, ": end_step: expected a number >= begin_step (", decay.begin_step,
                      "), got ", decay.end_step);
    TORCH_CHECK_VALUE(decay.frequency >= 1, name, ": frequency: expected a number >= 1, got ", decay.frequency);
    TORCH_CHECK_VALUE(decay.initial >= 0 && decay.initial <= 1, name, ": initial: expected a share in [0, 1], got ", decay.initial);
    check_shape(decay);
  }
};

struct UpdatesAt {
  int64_t step;
  bool operator()(const Constant& constant) const { return step == constant.begin_step; }
  bool operator()(const MultiStep& steps) const {
    return std::find(steps.milestones.begin(), steps.milestones.end(), step) != steps.milestones.end();
  }
  template <class Decay>
  bool operator()(const Decay& decay) const {
    if (step < decay.begin_step || step > decay.end_step) return false;
    return (step - decay.begin_step) % decay.frequency == 0 || step == decay.end_step;
  }
};

struct ShareAt {
  int64_t step;
  double operator()(const Constant&) const { return 0; }
  double operator()(const MultiStep& steps) const {
    const auto& milestones = steps.milestones;
    const auto passed = static_cast<size_t>(std::upper_bound(milestones.begin(), milestones.end(), step) - milestones.begin());
    if (passed == 0) return 0;
    return steps.values.empty() ? static_cast<double>(passed) / static_cast<double>(milestones.size()) : steps.values[passed - 1];
  }
  template <class Decay>
  double operator()(const Decay& decay) const {
    const double t = static_cast<double>(step - decay.begin_step) / static_cast<double>(decay.end_step - decay.begin_step);
    return 1 + (decay.initial - 1) * left_at(decay, std::max(0.0, t));
  }
};

struct IsFinal {
  int64_t step;
  bool operator()(const Constant& constant) const { return step >= constant.begin_step; }
  bool operator()(const MultiStep& steps) const { return step >= steps.milestones.back(); }
  template <class Decay>
  bool operator()(const Decay& decay) const {
    return step >= decay.end_step;
  }
};

/// What makes a kind of decay its own.
void write_shape(std::ostream& out, const PolynomialDecay& decay) { out << ", power=" << decay.power; }
void write_shape(std::ostream& out, const ExponentialDecay& decay) { out << ", rate=" << decay.rate; }
void write_shape(std::ostream&, const LinearDecay&) {}
void write_shape(std::ostream&, const CosineDecay&) {}

struct Describe {
  std::ostream& out;
  void operator()(const Constant& constant) const { out << "Constant(begin_step=" << constant.begin_step << ')'; }
  void operator()(const MultiStep& steps) const {
    out << "MultiStep(milestones=" << c10::ArrayRef<int64_t>(steps.milestones) << ", values=" << c10::ArrayRef<double>(steps.values) << ')';
  }
  template <class Decay>
  void operator()(const Decay& decay) const {
    out << name_of(decay) << "(begin_step=" << decay.begin_step << ", end_step=" << decay.end_step << ", frequency=" << decay.frequency
        << ", initial=" << decay.initial;
    write_shape(out, decay);
    out << ')';
  }
};

}  // namespace

void check_schedule(const Schedule& schedule) { std::visit(Check{}, schedule); }

bool updates_at(const Schedule& schedule, int64_t step) { return std::visit(UpdatesAt{step}, schedule); }

double share_at(const Schedule& schedule, int64_t step) {
  return is_final(schedule, step) ? 1 : std::visit(ShareAt{step}, schedule);
}

bool is_final(const Schedule& schedule, int64_t step) { return std::visit(IsFinal{step}, schedule); }

std::string describe(const Schedule& schedule) {
  std::ostringstream out;
  out.precision(17);  // numbers that differ read differently
  std::visit(Describe{out}, schedule);
  return out.str();
}

}  // namespace jouleprune::prune
