#include "prune/race.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <c10/util/accumulate.h>
#include <jouleprune/value_errors.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <limits>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "prune/race_works.h"

namespace jouleprune::prune {
namespace {

constexpr int kRounds = 7;
constexpr int kMostRounds = 3 * kRounds;  // on a busy machine: disturbed rounds are taken again, up to so many in all
constexpr int kEnough = 3;                // undisturbed rounds, for times that are worth keeping
constexpr double kStolen = 1.1;           // wall time above this share of the CPU time: another program had the core
constexpr double kAlike = 1.25;           // and times above this share of the least were disturbed in a way that no clock shows
// After a disturbed round with several threads, which else may go on waiting for each other: those that have slept get their cores
// first, all at once.
constexpr std::chrono::milliseconds kPause(5);
constexpr double kSampleS = 2e-4;  // work per sample, so that the clock's step and the call's overhead do not decide

using Work = std::function<void()>;

double clock_seconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// With one thread the CPU time is the whole process's. With more it is the calling thread's: the process's would hide a thread that
/// another program kept waiting.
Sample system_sample(const Work& work) {
  const clockid_t cpu = at::get_num_threads() == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_THREAD_CPUTIME_ID;
  const double cpu_begin = clock_seconds(cpu), begin = clock_seconds(CLOCK_MONOTONIC);
  work();
  const double end = clock_seconds(CLOCK_MONOTONIC);
  return {end - begin, clock_seconds(cpu) - cpu_begin};
}

/// How often a sample repeats what takes so long once.
int repeats_of(double seconds) { return static_cast<int>(std::clamp(std::round(kSampleS / std::max(seconds, 1e-7)), 1.0, 200.0)); }

Work repeated(const Work& work, int repeats) {
  return [&work, repeats] {
    for (int i = 0; i < repeats; ++i) {
      work();
    }
  };
}

/// Of one of several calls in a row; one before them wakes the threads.
Sample mean(const Work& work, int repeats, const Sampler& sample) {
  work();
  const Sample all = sample(repeated(work, repeats));
  return {all.wall_s / repeats, all.cpu_s / repeats};
}

/// One round: dense and sparse, one after the other, so that drift of the machine hits both alike.
struct Round {
  Sample dense, sparse;
};

/// Rounds until enough of them were undisturbed. Whatever disturbs a sample only ever adds to it: the least times are taken.
Race undisturbed(const Work& dense, const Work& sparse, const Sampler& sample) {
  dense();
  sparse();
  const double once_s = std::min({sample(dense).wall_s, sample(dense).wall_s, sample(dense).wall_s});
  std::vector<Round> rounds;
  Race race{std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity(), Race::kMeasured};
  const auto undisturbed_sample = [](const Sample& taken, double least) {
    return taken.wall_s <= kStolen * taken.cpu_s && taken.wall_s <= kAlike * least;
  };
  const auto quiet = [&](const Round& round) {
    return undisturbed_sample(round.dense, race.dense_s) && undisturbed_sample(round.sparse, race.sparse_s);
  };
  int64_t quiet_rounds = 0;
  while (static_cast<int>(rounds.size()) < kMostRounds && quiet_rounds < kRounds) {
    const int repeats = repeats_of(std::min(once_s, race.dense_s));  // anew: what came before may have been disturbed
    rounds.push_back({mean(dense, repeats, sample), mean(sparse, repeats, sample)});
    race.dense_s = std::min(race.dense_s, rounds.back().dense.wall_s);
    race.sparse_s = std::min(race.sparse_s, rounds.back().sparse.wall_s);
    quiet_rounds = std::count_if(rounds.begin(), rounds.end(), quiet);
    if (!quiet(rounds.back()) && at::get_num_threads() > 1) {
      std::this_thread::sleep_for(kPause);
    }
  }
  if (quiet_rounds < kEnough) {
    race.label = Race::kNoisy;
  }
  return race;
}

double median(std::vector<double> samples) {
  std::nth_element(samples.begin(), samples.begin() + samples.size() / 2, samples.end());
  return samples[samples.size() / 2];
}

/// By the user's own timer, which may be no clock at all: medians.
Race by_timer(const Work& dense, const Work& sparse, const Timer& timer) {
  dense();
  sparse();
  const int repeats = repeats_of(timer(dense));
  const auto sample = [&](const Work& work) { return timer(repeated(work, repeats)) / repeats; };
  std::vector<double> dense_s;
  std::vector<double> sparse_s;
  for (int round = 0; round < kRounds; ++round) {
    dense_s.push_back(sample(dense));
    sparse_s.push_back(sample(sparse));
  }
  return {median(dense_s), median(sparse_s), Race::kMeasured};
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
  label = label == kNoisy ? label : other.label;
  return *this;
}

Race race(const Work& dense, const Work& sparse, const Timer& timer, const Sampler& sampler) {
  return timer ? by_timer(dense, sparse, timer) : undisturbed(dense, sparse, sampler ? sampler : system_sample);
}

namespace {

Race measure(const RaceCase& call, const Timer& timer, const Sampler& sampler) {
  const at::NoGradGuard no_grad;
  const auto [dense, sparse] = works_of(call);
  return race(dense, sparse, timer, sampler);
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

Race race(const RaceCase& call, const Timer& timer, plan::TuningTable* tuning, const Sampler& sampler) {
  if (timer || tuning == nullptr || call.op == "conv1d") return measure(call, timer, sampler);  // the file has no name for conv1d
  const auto tuned = tuned_call(call);
  const auto dense_s = tuning->find(tuned, "dense"), sparse_s = tuning->find(tuned, call.kernel);
  if (dense_s.has_value() && sparse_s.has_value()) return {*dense_s, *sparse_s, "measured before"};
  const Race measured = measure(call, timer, sampler);
  if (measured.label != Race::kNoisy) {  // wrong times would decide for good
    tuning->put(tuned, "dense", measured.dense_s);
    tuning->put(tuned, call.kernel, measured.sparse_s);
  }
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
