// Criteria that look at gradients of a loss over calibration batches.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/zeros_like.h>
#include <jouleprune/ops_criteria.h>
#include <jouleprune/value_errors.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <limits>

#include "prune/criteria/context.h"
#include "prune/untouched.h"

namespace jouleprune::prune::criteria {
namespace {

using Block = std::array<int64_t, 2>;

/// Calls `take` with the number of a weight and its gradient in float64, for each weight and batch; zeros for weights that the loss does
/// not reach. Returns the number of batches.
int64_t gradients(const Context& context, const Loss& loss_of_batches, const std::string& criterion,
                  const std::function<void(size_t, const at::Tensor&)>& take) {
  const Untouched untouched(context.module);
  const at::AutoGradMode with_grad(true);
  std::vector<at::Tensor> parameters;
  for (size_t i = 0; i < context.weights.size(); ++i) parameters.push_back(context.parameter(i).requires_grad_(true));
  int64_t count = 0;
  loss_of_batches([&](const at::Tensor& loss) {
    TORCH_CHECK_VALUE(loss.defined() && loss.numel() == 1 && loss.requires_grad(), "loss: importance '", criterion,
                      "': expected a scalar that depends on the weights, got ",
                      loss.defined() ? c10::str("a tensor of sizes ", loss.sizes(), loss.requires_grad() ? "" : " without gradients") : "none");
    const auto grads = torch::autograd::grad({loss.reshape({})}, parameters, {}, std::nullopt, /*create_graph=*/false, /*allow_unused=*/true);
    const at::NoGradGuard no_grad;
    for (size_t i = 0; i < grads.size(); ++i) {
      take(i, (grads[i].defined() ? grads[i].detach() : at::zeros_like(parameters[i])).to(at::kDouble));
    }
    ++count;
  });
  TORCH_CHECK_VALUE(count > 0, "loss: importance '", criterion, "': expected a callable that gives at least one loss, got none");
  return count;
}

void add(at::Tensor& sum, const at::Tensor& term) { sum = sum.defined() ? sum + term : term; }

/// [down, across]: means over blocks of the matrix, of the entries inside it alone.
at::Tensor unit_means(const at::Tensor& matrix, Block block) {
  if (block == Block{1, 1}) return matrix;
  const std::array<int64_t, 2> size = {std::min(block[0], matrix.size(0)), std::min(block[1], matrix.size(1))};
  return at::avg_pool2d(matrix.unsqueeze(0).unsqueeze(0), size, {}, 0, /*ceil_mode=*/true, /*count_include_pad=*/false)[0][0];
}

at::Tensor of_units(const at::Tensor& units, const at::Tensor& weight, Block block) {
  const int64_t rows = weight.size(0), cols = weight.flatten(1).size(1);
  const auto spread = units.repeat_interleave(std::min(block[0], rows), 0).narrow(0, 0, rows);
  return spread.repeat_interleave(std::min(block[1], cols), 1).narrow(1, 0, cols).reshape(weight.sizes());
}

/// Sums and sums of squares over the batches of each unit's gradient, the mean over its weights.
struct UnitSums {
  std::vector<at::Tensor> sums, squares;
  int64_t count = 0;
};

UnitSums unit_sums(const Context& context, const std::string& criterion) {
  UnitSums found{std::vector<at::Tensor>(context.weights.size()), std::vector<at::Tensor>(context.weights.size())};
  found.count = gradients(context, context.loss, criterion, [&](size_t i, const at::Tensor& grad) {
    const auto units = unit_means(grad.flatten(1), context.block(i));
    add(found.sums[i], units);
    add(found.squares[i], units.square());
  });
  TORCH_CHECK_VALUE(found.count >= 2, "loss: importance '", criterion, "' needs at least 2 batches, got ", found.count);
  return found;
}

Scores mean_gradient(const Context& context, const Loss& loss, const std::string& criterion, bool times_weight) {
  std::vector<at::Tensor> sums(context.weights.size());
  const auto count = gradients(context, loss, criterion, [&](size_t i, const at::Tensor& grad) {
    add(sums[i], (times_weight ? grad * context.weight(i).to(at::kDouble) : grad).abs());
  });
  Scores scores;
  for (size_t i = 0; i < sums.size(); ++i) scores[context.weights[i]] = sums[i] / count;
  return scores;
}

}  // namespace

/// Mean over the batches of |g|, or of |w g|. Source: Molchanov et al., Pruning Convolutional Neural Networks for Resource Efficient
/// Inference, ICLR 2017, eq. 8.
Scores gradient(const Context& context, bool times_weight) {
  return mean_gradient(context, context.loss, times_weight ? "taylor" : "gradient", times_weight);
}

/// Taylor scores of several losses, added.
Scores multi_task(const Context& context) {
  Scores combined;
  for (const auto& loss : context.losses.empty() ? std::vector<Loss>{context.loss} : context.losses) {
    for (const auto& [name, scores] : mean_gradient(context, loss, "multi_task", /*times_weight=*/true)) add(combined[name], scores);
  }
  return combined;
}

/// w^2 F / 2 with F = mean over the batches of g^2. Sources: LeCun et al., Optimal Brain Damage, NeurIPS 1989, eq. 5; Theis et al., Faster
/// gaze prediction with dense networks and Fisher pruning, 2018, eq. 10.
Scores fisher(const Context& context) {
  std::vector<at::Tensor> sums(context.weights.size());
  const auto count = gradients(context, context.loss, "fisher", [&](size_t i, const at::Tensor& grad) { add(sums[i], grad.square()); });
  Scores scores;
  for (size_t i = 0; i < sums.size(); ++i) scores[context.weights[i]] = context.weight(i).to(at::kDouble).square() * sums[i] / count / 2;
  return scores;
}

/// -sum of w g over the batches, less the least of the network. Source: Sanh et al., Movement Pruning, NeurIPS 2020, eq. 6.
Scores movement(const Context& context) {
  std::vector<at::Tensor> sums(context.weights.size());
  gradients(context, context.loss, "movement", [&](size_t i, const at::Tensor& grad) { add(sums[i], -context.weight(i).to(at::kDouble) * grad); });
  double least = std::numeric_limits<double>::infinity();
  for (const auto& sum : sums) {
    if (sum.numel() > 0) least = std::min(least, sum.min().item<double>());
  }
  Scores scores;
  for (size_t i = 0; i < sums.size(); ++i) scores[context.weights[i]] = sums[i].numel() > 0 ? sums[i] - least : sums[i];
  return scores;
}

/// |mean g| / (std g / sqrt n) of a unit's gradient over n batches.
Scores t_score(const Context& context) {
  const auto found = unit_sums(context, "t_test");
  Scores scores;
  for (size_t i = 0; i < context.weights.size(); ++i) {
    const auto t = std::get<0>(t_test(found.sums[i], found.squares[i], found.count));
    scores[context.weights[i]] = of_units(t, context.weight(i), context.block(i));
  }
  return scores;
}

/// F of the analysis of variance across the units of a layer, the same for all of them.
Scores f_score(const Context& context) {
  const auto found = unit_sums(context, "f_test");
  Scores scores;
  for (size_t i = 0; i < context.weights.size(); ++i) {
    if (found.sums[i].numel() < 2) {
      throw PatternError("importance 'f_test': '" + context.weights[i] + "': expected at least 2 units in its pattern, got 1");
    }
    const auto f = std::get<0>(f_test(found.sums[i], found.squares[i], found.count));
    scores[context.weights[i]] = f.expand(context.weight(i).sizes());
  }
  return scores;
}

}  // namespace jouleprune::prune::criteria
