#include "prune/race.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <c10/util/accumulate.h>
#include <jouleprune/ops.h>
#include <jouleprune/value_errors.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <system_error>

#include "nn/csr_weight.h"

namespace jouleprune::prune {
namespace {

constexpr double kMargin = 1.03;
constexpr int kRounds = 7;
constexpr double kSampleS = 2e-4;  // work per sample, so that the clock's step and the call's overhead do not decide

double seconds(const std::function<void()>& call) {
  const auto start = std::chrono::steady_clock::now();
  call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> samples) {
  std::nth_element(samples.begin(), samples.begin() + samples.size() / 2, samples.end());
  return samples[samples.size() / 2];
}

/// Dense and sparse in turn (A B A B ...), so that drift of the machine hits both alike.
Race interleaved(const std::function<void()>& dense, const std::function<void()>& sparse, const Timer& timer) {
  dense();
  sparse();
  const int repeats = static_cast<int>(std::clamp(std::round(kSampleS / std::max(timer(dense), 1e-7)), 1.0, 200.0));
  const auto sample = [&](const std::function<void()>& call) {
    return timer([&] {
             for (int i = 0; i < repeats; ++i) {
               call();
             }
           }) /
           repeats;
  };
  std::vector<double> dense_s;
  std::vector<double> sparse_s;
  for (int round = 0; round < kRounds; ++round) {
    dense_s.push_back(sample(dense));
    sparse_s.push_back(sample(sparse));
  }
  return {median(dense_s), median(sparse_s), "measured"};
}

}  // namespace

bool Race::sparse_wins() const { return sparse_s * kMargin < dense_s; }

std::string Race::sentence() const {
  char text[96];
  std::snprintf(text, sizeof(text), "csr %.1f us, dense %.1f us per pass (", sparse_s * 1e6, dense_s * 1e6);
  return text + label + ")";
}

Race& Race::operator+=(const Race& other) {
  dense_s += other.dense_s;
  sparse_s += other.sparse_s;
  label = other.label;
  return *this;
}

namespace {

Race measure(const RaceCase& call, const Timer& timer) {
  TORCH_CHECK_VALUE(call.op == "linear" || call.op == "conv2d", "race: op: expected linear or conv2d, got '", call.op, "'");
  const at::NoGradGuard no_grad;
  const auto weight = call.weight.detach();
  const auto bias = call.bias.defined() ? std::make_optional(call.bias.detach()) : std::nullopt;
  const auto input = at::full(call.input_sizes, 0.5, weight.options());  // random numbers would advance the user's generator
  const auto csr = nn::pack("race", weight, "csr", call.mask);
  const Timer clock = timer ? timer : Timer(seconds);
  if (call.op == "linear") {
    return interleaved([&] { at::linear(input, weight, bias); },
                       [&] {
                         linear_csr(input, csr.values, csr.col_indices, csr.row_offsets, csr.key, std::nullopt, bias,
                                    weight.size(1), "none");
                       },
                       clock);
  }
  const auto kernel = weight.sizes().slice(2);
  return interleaved(
      [&] { at::conv2d(input, weight, bias, call.stride, call.padding, call.dilation, call.groups); },
      [&] {
        conv2d_csr(input, csr.values, csr.col_indices, csr.row_offsets, csr.key, std::nullopt, bias,
                   weight.size(1) * call.groups, kernel, call.stride, call.padding, call.dilation, call.groups, "none");
      },
      clock);
}

std::string times(at::IntArrayRef sizes) {
  std::string text;
  for (const int64_t size : sizes) text += (text.empty() ? "" : "x") + std::to_string(size);
  return text;
}

/// The same words as the Python front end uses: both share the file.
plan::TunedCall tuned_call(const RaceCase& call) {
  const auto& weight = call.weight;
  const auto kept = call.mask.has_value() ? call.mask->count_nonzero() : weight.count_nonzero();
  plan::TunedCall tuned;
  tuned.op = call.op;
  tuned.dtype = weight.scalar_type() == at::kFloat ? "float32" : weight.scalar_type() == at::kDouble ? "float64"
                : weight.scalar_type() == at::kBFloat16 ? "bfloat16" : "float16";
  tuned.groups = call.groups;
  tuned.rows = weight.size(0) / call.groups;
  tuned.cols = weight.numel() / std::max<int64_t>(weight.size(0), 1);
  tuned.density = weight.numel() == 0 ? 1 : kept.item<double>() / static_cast<double>(weight.numel());
  tuned.threads = at::get_num_threads();
  const at::IntArrayRef sizes = call.input_sizes;
  if (call.op == "linear") {
    tuned.n = c10::multiply_integers(sizes.slice(0, sizes.size() - 1));
  } else {
    tuned.n = sizes.size() == 4 ? sizes[0] : 1;
    tuned.geometry = times(weight.sizes().slice(2)) + "/" + times(call.stride) + "/" + times(call.padding) + "/" +
                     times(call.dilation) + " on " + times(sizes.slice(sizes.size() - 3));
  }
  return tuned;
}

}  // namespace

KeptTimes::KeptTimes() : path_(plan::tuning_path()), table_(plan::this_machine()) {
  if (path_.empty()) return;
  try {
    table_.load(path_);
  } catch (const std::invalid_argument& error) {
    TORCH_WARN("measured times are not used: ", error.what(), "; the file is made anew");
  }
  known_ = table_.size();
}

void KeptTimes::save() {
  if (path_.empty() || table_.size() == known_) return;
  try {
    table_.save(path_);
  } catch (const std::system_error& error) {
    TORCH_WARN("measured times are not kept: ", error.what());
  }
}

Race race(const RaceCase& call, const Timer& timer, plan::TuningTable* tuning) {
  if (timer || tuning == nullptr) return measure(call, timer);
  const auto tuned = tuned_call(call);
  const auto dense_s = tuning->find(tuned, "dense"), sparse_s = tuning->find(tuned, "csr");
  if (dense_s.has_value() && sparse_s.has_value()) return {*dense_s, *sparse_s, "measured before"};
  const Race measured = measure(call, timer);
  tuning->put(tuned, "dense", measured.dense_s);
  tuning->put(tuned, "csr", measured.sparse_s);
  return measured;
}

Entry as_csr(Entry entry, int64_t nnz) {
  entry.pattern = "unstructured";
  entry.layout = "csr";
  entry.kernel = "csr";
  entry.nnz = nnz;
  return entry;
}

Race race_by_cost(const Entry& dense, int64_t nnz) {
  return with_value_errors([&] {
    const auto profile = Profile::load("generic-cpu");
    Workload workload;
    workload.entries = {dense};
    const double dense_s = estimate(workload, profile).latency_s;
    workload.entries = {as_csr(dense, nnz)};
    return Race{dense_s, estimate(workload, profile).latency_s, "modelled, generic-cpu"};
  });
}

}  // namespace jouleprune::prune
