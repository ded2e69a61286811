#include "ops/gpu_times.h"

#include <c10/util/Exception.h>

#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "plan/gpu_choice.h"

namespace jouleprune::ops {
namespace {

constexpr size_t kMostDecisions = 4096;

std::mutex mutex;

std::unique_ptr<const plan::TuningTable> read(const std::string& path, const std::string& identity) {
  auto table = std::make_unique<plan::TuningTable>(identity);
  try {
    table->load(path);
  } catch (const std::invalid_argument& error) {
    TORCH_WARN("times of kernels are not used: ", error.what());
    return nullptr;
  }
  return table->size() == 0 ? nullptr : std::move(table);
}

}  // namespace

const plan::TuningTable* times_of_gpu(const std::string& identity) {
  const std::string path = plan::tuning_path();
  if (path.empty()) return nullptr;
  const std::lock_guard lock(mutex);
  // Never destroyed: callers keep the pointer, and threads may run at exit.
  static auto* const known = new std::map<std::pair<std::string, std::string>, std::unique_ptr<const plan::TuningTable>>;
  const auto [at, is_new] = known->try_emplace({path, identity});
  if (is_new) at->second = read(path, identity);
  return at->second.get();
}

cuda::csr::Kernel choose_by_times(const cuda::csr::Shape& shape, const cuda::csr::Machine& machine, const std::string& identity,
                                  const std::function<std::string()>& no_cusparse) {
  const plan::TuningTable* const times = times_of_gpu(identity);
  if (times == nullptr) return choose(shape, machine);
  using Call = std::tuple<const plan::TuningTable*, cuda::ElementType, int64_t, int64_t, int64_t, int64_t, bool>;
  static auto* const decisions = new std::map<Call, cuda::csr::Kernel>;
  const std::string missing = no_cusparse();
  const Call call{times, shape.type, shape.rows, shape.cols, shape.nnz, shape.n, missing.empty()};
  const std::lock_guard lock(mutex);
  if (const auto found = decisions->find(call); found != decisions->end()) return found->second;
  if (decisions->size() >= kMostDecisions) decisions->clear();
  return decisions->emplace(call, plan::choose_on_gpu(shape, machine, times, missing).kernel).first->second;
}

}  // namespace jouleprune::ops
