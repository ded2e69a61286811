#include "plan/limits_json.h"

namespace jouleprune::plan {
namespace {

constexpr size_t kMostLimits = 1 << 20;

}  // namespace

energy::Json to_json(const std::vector<MeasuredLimit>& limits) {
  energy::Json out = energy::Json::array();
  for (const MeasuredLimit& limit : limits) {
    out.push_back({{"weight", limit.weight}, {"kernel", limit.kernel}, {"dtype", limit.dtype}, {"below", limit.below}});
  }
  return out;
}

std::vector<MeasuredLimit> limits_from(const energy::Node& in) {
  std::vector<MeasuredLimit> limits;
  for (size_t i = 0; i < in.array_size(kMostLimits); ++i) {
    const energy::Node limit = in.item(i);
    limit.expect_keys({"weight", "kernel", "dtype", "below"});
    limits.push_back(
        {limit.at("weight").text(), limit.at("kernel").text(), limit.at("dtype").text(), limit.at("below").number()});
    if (limits.back().below < 0 || limits.back().below > 1) limit.at("below").fail("a share in [0, 1]");
  }
  return limits;
}

std::vector<MeasuredLimit> parse_limits(std::string_view json, const std::string& origin) {
  const energy::Document document{origin, energy::throw_invalid_argument};
  const energy::Json parsed = energy::parse_json(json, document);
  return limits_from(energy::Node(parsed, document));
}

}  // namespace jouleprune::plan
