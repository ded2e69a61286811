// Case files: what they are, what comes of them.
#include <jouleprune/count.h>
#include <jouleprune/error.h>

#include <stdexcept>

#include "energy/cases/compare.h"
#include "energy/cases/loop_nest_case.h"
#include "energy/cases/reading.h"
#include "energy/cases/systolic_case.h"
#include "energy/json_reader.h"

namespace jouleprune::energy {
namespace {

constexpr size_t kMaxCaseBytes = size_t{64} << 20;

[[noreturn]] void throw_case_error(const std::string& message) { throw core::ProfileError(message); }

Json evaluate(const Node& root, std::vector<std::string>& assumptions) {
  const std::string kind = root.at("kind").one_of({"loop-nest", "systolic-array-model", "energy-budget-projection"});
  if (kind == "loop-nest") {
    const cases::LoopNestCase given = cases::read_loop_nest(root);
    assumptions = given.assumptions;
    return cases::evaluate(given, root);
  }
  if (kind == "systolic-array-model") return cases::evaluate_systolic(root);
  return cases::evaluate_projection(root);
}

}  // namespace

CaseCounts count_case(std::string_view json, const std::string& origin) {
  const Document document{"case '" + origin + "'", throw_case_error};
  if (json.size() > kMaxCaseBytes) {
    throw_case_error(document.origin + ": /: expected at most 64 MiB, got " + std::to_string(json.size()) + " bytes");
  }
  const Json parsed = parse_json(json, document);
  const Node root(parsed, document);
  root.expect_object();
  if (const Node schema = root.at("schema"); schema.json() != 1) schema.fail("1");
  std::vector<std::string> assumptions;
  const Json computed = evaluate(root, assumptions);
  return {computed.dump(1), cases::deviations(computed, root), std::move(assumptions)};
}

}  // namespace jouleprune::energy
