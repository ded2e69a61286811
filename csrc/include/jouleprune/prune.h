// Pruning a torch::nn::Module to a joule budget while it trains, and switching it to sparse layers where they win.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <jouleprune/energy.h>
#include <jouleprune/nn.h>
#include <jouleprune/plan.h>
#include <torch/nn/module.h>
#include <torch/serialize/archive.h>

#include <functional>
#include <iosfwd>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace jouleprune {

/// Everything at once, at the first step() not before `begin_step`.
struct Constant {
  int64_t begin_step = 0;
};

/// E(t) = budget + (dense - budget) (1 - initial) (1 - t)^power, t from 0 at `begin_step` to 1 at `end_step`; masks are chosen anew every
/// `frequency` steps, and at `end_step` the budget holds. `initial`: share of the removal that the first update does, 0..1.
/// Source: Zhu and Gupta, "To prune, or not to prune", 2017, section 3.
struct PolynomialDecay {
  int64_t begin_step = 0;
  int64_t end_step = 0;
  int64_t frequency = 1;
  double power = 3.0;
  double initial = 0.0;
};

/// As PolynomialDecay with power 1.
struct LinearDecay {
  int64_t begin_step = 0;
  int64_t end_step = 0;
  int64_t frequency = 1;
  double initial = 0.0;
};

/// As PolynomialDecay with (1 + cos(pi t)) / 2 in place of (1 - t)^power: slow at both ends.
struct CosineDecay {
  int64_t begin_step = 0;
  int64_t end_step = 0;
  int64_t frequency = 1;
  double initial = 0.0;
};

/// As PolynomialDecay with (exp(-rate t) - exp(-rate)) / (1 - exp(-rate)) in place of (1 - t)^power: most goes early.
struct ExponentialDecay {
  int64_t begin_step = 0;
  int64_t end_step = 0;
  int64_t frequency = 1;
  double rate = 5.0;
  double initial = 0.0;
};

/// At milestones[i] the share values[i] of the removal is done; the last value is 1. Without values each milestone does an equal part.
struct MultiStep {
  std::vector<int64_t> milestones;
  std::vector<double> values{};
};

/// The name that others use.
using OneShot = Constant;

/// Steps count Pruner::step() calls from 0.
using Schedule = std::variant<Constant, PolynomialDecay, LinearDecay, CosineDecay, ExponentialDecay, MultiStep>;

/// Count the zeros of the activations in the recorded pass.
struct MeasuredActivations {};
/// Share of non-zero input activations: one for all layers, by layer name, or measured. Only devices that gate zeros profit.
using ActivationDensity = std::variant<double, std::map<std::string, double>, MeasuredActivations>;
/// Least share of weights to keep: one for all layers, or by layer name.
using MinDensity = std::variant<double, std::map<std::string, double>>;

/// Given the loss of one batch: a scalar that depends on the weights.
using TakeLoss = std::function<void(const at::Tensor& loss)>;
/// Calls `take` with the loss of each calibration batch.
using Loss = std::function<void(const TakeLoss& take)>;

/// A plan with its masks: bits as of op pack_mask (uint8 [ceil(numel / 8)]), by weight name; layers without one stay dense.
struct MaskedPlan : Plan {
  MaskedPlan() = default;
  /// Without masks the zeros of the weights are the masks.
  MaskedPlan(Plan plan) : Plan(std::move(plan)) {}  // NOLINT(google-explicit-constructor)
  std::map<std::string, at::Tensor> masks;
};

struct PrunerOptions {
  std::optional<Budget> energy{};            ///< required; with `prune_for` "bytes" or "macs" a budget of those
  std::optional<Profile> profile{};          ///< required
  /// "unstructured"; blocks of R outputs x C inputs such as "16x1" (of a convolution C channels at one tap of its kernel); "N:M", at
  /// most N of M neighbouring inputs (of a convolution in the order channel, row, column); "auto": for each layer the one that loses
  /// least.
  std::string pattern = "unstructured";
  /// "lamp", "magnitude", "gradient", "taylor"; "random", "random_path", "l1", "l2", "linf", "fpgm", "bn_scale"; with `data` "wanda",
  /// "apoz", "mean_activation", "connection_low", "connection_high"; with `loss` "fisher", "movement", "t_test", "f_test"; with `losses`
  /// "multi_task". Followed by "/sum" or "/lamp" the scores are made comparable between layers. Higher scores stay; docs/methods.md tells
  /// each.
  std::string importance = "lamp";
  /// Scores by weight name, of the weight's sizes: their magnitudes count in place of `importance`.
  std::map<std::string, at::Tensor> importance_scores{};
  /// Runs the module over calibration batches, anew at each selection. The module is in eval mode then, and gradients are off.
  std::function<void()> data{};
  /// Called anew at each selection; the module is in eval mode then, and what grad the parameters have stays. "gradient" and "taylor" are
  /// means over its batches, and take the present grad without it.
  Loss loss{};
  /// Of several tasks, for "multi_task": the sum of their Taylor scores, so that a shared weight keeps what any task needs.
  std::vector<Loss> losses{};
  Schedule schedule = Constant{};
  std::vector<std::string> ignored_layers{}; ///< names of modules or parameters that stay dense
  MinDensity min_density = 0.0;
  ActivationDensity activation_density = 1.0;
  /// "int8" lets the plan run Linear and Conv2d layers on the CPU in int8 (for inference) beside their own number type;
  /// with a profile of a CPU.
  std::string dtype{};
  /// What the budget counts: "joules"; "bytes" of the stored network; "macs", multiply-adds with kept weights of a forward pass, whatever
  /// runs them. Of bytes and multiply-adds also layers may be pruned that nothing runs sparse, and the plan tells them in `amounts`.
  std::string prune_for = "joules";
  bool replace_in_lists = false;             ///< as in ConvertOptions: count such layers as able to run sparse
};

/// Before and after: the dense network and the network as planned, on the same profile, batch and activation densities.
struct PruneReport {
  EnergyReport before, after;
  std::optional<Plan> plan;  ///< empty when nothing was pruned yet
  std::string to_json() const;
};
std::ostream& operator<<(std::ostream& out, const PruneReport& report);

/// Prunes `module` in place to a joule budget while it trains. Masks are bits held here, beside the module: pruned weights are
/// zeroed in place and their gradients masked as they accumulate, so neither momentum nor weight decay revives a weight.
/// The module must outlive the pruner unless it is held by a shared_ptr (a ModuleHolder is one), which the pruner then shares.
class Pruner {
 public:
  /// Runs `forward` once in eval mode under the recorder. Throws BudgetError (malformed, above dense, below the least that can
  /// be reached: minimum_j()), ProfileError, PatternError, c10::ValueError; nothing has changed then.
  Pruner(torch::nn::Module& module, Forward forward, PrunerOptions options);
  ~Pruner();  ///< Takes the gradient hooks off; pruned weights stay zero.
  Pruner(Pruner&&) noexcept;
  Pruner& operator=(Pruner&&) noexcept;

  /// One step of the schedule: call it after optimizer.step() and before zero_grad().
  void step();
  /// Goes to the final budget at once, whatever the schedule.
  const MaskedPlan& prune_now();
  /// Does the share of the removal now, whatever the schedule: E = budget + (dense - budget) (1 - share); 1 is prune_now().
  const MaskedPlan& prune_to(double share);
  /// Zeroes pruned weights again, outside of any schedule.
  void keep();
  /// The present plan. Throws c10::ValueError when nothing was pruned yet.
  const MaskedPlan& plan() const;
  PruneReport report() const;
  double energy_j() const;   ///< joules per count of the network as it will run: equals estimate() of the converted network
  double budget_j() const;   ///< of bytes or multiply-adds energy_j(): see plan().amounts
  double dense_j() const;
  double minimum_j() const;  ///< least energy that can be reached; of bytes or multiply-adds energy_j()
  bool done() const;         ///< whether the final selection was made, by the schedule or by prune_now()
  int64_t steps() const;     ///< step() calls so far
  /// Takes masks and hooks off; pruned weights are zero but free to train again.
  void remove();

  /// Step, masks as bits, plan, measured limits, and the state of torch's CPU generator: enough to go on after a restart to the same
  /// masks, given the same module, inputs and options. A dict of plain values and tensors, the same as that of Python's state_dict()
  /// (and "schedule", which Python does not look at): save_state() and load_state() exchange it with torch.save and torch.load.
  c10::IValue state_dict() const;
  /// Takes up where state_dict() left off; masks apply at once. `restore_rng`: also sets torch's CPU generator to where it was. Throws
  /// c10::ValueError, which names the field, when the state is damaged or belongs to another network, profile, budget, criterion or
  /// schedule; nothing has changed then.
  void load_state_dict(const c10::IValue& state, bool restore_rng = true);
  /// The same in an archive: torch::save(pruner, file), or write it under a key of your own checkpoint.
  void save(torch::serialize::OutputArchive& archive) const;
  /// torch::load(pruner, file). Throws as load_state_dict().
  void load(torch::serialize::InputArchive& archive);

  /// The parameter that a mask of the plan belongs to. Throws c10::ValueError when there is none of that name.
  at::Tensor parameter(const std::string& name) const;
  /// Takes other masks (bits, as of op pack_mask) for pruned weights, which keep as many as before. The joules stay those of the plan;
  /// weights that come back start at zero. Throws c10::ValueError for a weight that is not pruned or another number of kept weights;
  /// nothing has changed then.
  void move_masks(const std::map<std::string, at::Tensor>& masks);
  /// Whether `module` is the one that is pruned here.
  bool prunes(const torch::nn::Module& module) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

torch::serialize::OutputArchive& operator<<(torch::serialize::OutputArchive& archive, const Pruner& pruner);
torch::serialize::InputArchive& operator>>(torch::serialize::InputArchive& archive, Pruner& pruner);

/// Writes plain values and tensors (None, bool, int, float, str, lists and dicts of them) so that Python's torch.load(path) reads them,
/// without weights_only=False. Throws c10::Error when the file cannot be written.
void save_state(const c10::IValue& state, const std::string& path);
/// What save_state() or Python's torch.save(state, path) wrote. Throws c10::ValueError.
c10::IValue load_state(const std::string& path);

/// The plan that Pruner::prune_now() would follow; changes nothing. The schedule is ignored. Throws as Pruner.
MaskedPlan make_plan(torch::nn::Module& module, const Forward& forward, const PrunerOptions& options);

/// As estimate(forward, profile), with layers named after the module's parameters, run in eval mode.
EnergyReport estimate(torch::nn::Module& module, const Forward& forward, const Profile& profile);

/// Seconds that one call of a callable takes.
using Timer = std::function<double(const std::function<void()>&)>;

struct ConvertOptions {
  std::optional<Profile> profile{};  ///< device that prices the candidates; without one, and without a plan, the clock decides
  std::optional<MaskedPlan> plan{};  ///< replayed; without one every layer that holds zeros is a candidate
  bool force = false;                ///< convert every pruned layer whatever its speed
  bool allow_over_budget = false;    ///< keep a result above the plan's budget instead of throwing
  /// Plain torch::nn layers that are direct items of a ModuleList or ModuleDict are reached by type
  /// (`list[0]->as<torch::nn::Linear>()`, a null pointer once replaced): they are replaced only on demand.
  bool replace_in_lists = false;
  Timer timer{};                     ///< a monotonic clock unless given
  /// Fold batch norms into csr and int8 layers right before them in a Sequential, and let those apply the ReLU, GELU (exact) or SiLU that
  /// follows; Identity takes the place of what was fused. Only modules in eval mode. Off unless asked for: a fused network takes
  /// fewer joules than planned, and items of a Sequential that are called on their own no longer do what they did.
  bool fuse = false;
  /// "int8" lets pruned Linear and Conv2d layers on the CPU run in int8 (for inference) where the clock says that it beats dense and
  /// csr by 3 %.
  /// explain() tells the error of each layer. Not together with `plan` or `profile`.
  std::string dtype{};
  /// With dtype "int8": runs the module over typical inputs, whose largest magnitudes fix one input scale per layer; without it each
  /// row of an input (of a convolution each image) gets its own at run time.
  std::function<void()> calibration{};
};

/// In place: Linear, Conv1d, Conv2d, LSTM, GRU and MultiheadAttention inside a Sequential, and those of jouleprune::nn anywhere, run
/// sparse where that wins; of several weights those that are not pruned stay dense. With a plan each layer runs in the plan's layout:
/// csr, blocks ("bsr"), or int8. Layers that cannot be replaced stay dense, and explain() says why. On CPU and GPU profiles joules decide; elsewhere the host's clock
/// (kept in a file and looked up next time; JOULEPRUNE_TUNE=off: the cost entries of generic-cpu). Returns one decision per pruned layer.
/// Throws BudgetError when layers deviate from the plan and the joules exceed its budget, c10::ValueError when the plan does not
/// fit the module; the module is as before then.
std::vector<Decision> convert(torch::nn::Module& module, const Forward& forward, const ConvertOptions& options = {});

/// One line per pruned layer: what it runs now, and why; below it the ways to run it, torch's dense products in bfloat16 and int8 among
/// them, each with the time that cost entries predict and the one that was measured here.
std::string explain(const torch::nn::Module& module);

}  // namespace jouleprune
