// estimate(Forward): the recorder in front of the energy model.
#include <c10/util/Exception.h>
#include <jouleprune/energy.h>

#include <algorithm>

#include "record/record.h"

namespace jouleprune {

EnergyReport estimate(const Forward& forward, const Profile& profile) {
  TORCH_CHECK_VALUE(forward.run, "estimate: forward.run: expected a callable, got an empty std::function");
  TORCH_CHECK_VALUE(forward.batch >= 0, "estimate: forward.batch: expected a number >= 0, got ", forward.batch);
  TORCH_CHECK_VALUE(forward.count >= 0, "estimate: forward.count: expected a number >= 0, got ", forward.count);
  const bool counted = forward.per == "token" || forward.per == "request";
  TORCH_CHECK_VALUE(forward.per == "inference" || (counted && forward.count > 0),
                    "estimate: forward.per: expected \"inference\", or \"token\" or \"request\" with a count, got \"",
                    forward.per, "\" with count ", forward.count);
  record::Options options;
  options.batch = forward.batch;
  Workload workload = record::run(forward.run, {}, options);
  TORCH_CHECK_VALUE(!workload.entries.empty(), "estimate: forward.run: ran no op that can be priced");
  workload.per = forward.per;
  workload.count = forward.count > 0 ? forward.count : std::max<int64_t>(workload.batch, 1);
  return estimate(workload, profile);
}

}  // namespace jouleprune
