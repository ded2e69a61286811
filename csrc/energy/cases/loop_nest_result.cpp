// Joules, cycles and the report of a loop-nest case.
#include <jouleprune/error.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "energy/cases/loop_nest_case.h"
#include "energy/cases/nest_cost.h"
#include "energy/cases/reading.h"

namespace jouleprune::energy::cases {
namespace {

double round_to(double value, double per_unit) { return std::round(value * per_unit) / per_unit; }

class Evaluation {
 public:
  Evaluation(const LoopNestCase& given, const Node& root) : given_(given), root_(root) {}

  Json run() {
    try {
      dense_ = nest::count(given_.workload, given_.mapping);
      check_tiles();
      if (given_.sparse) sparse_ = nest::count_sparse(given_.workload, given_.mapping, dense_, given_.design);
    } catch (const core::ProfileError&) {
      throw;
    } catch (const std::invalid_argument& error) {
      root_.at("mapping").at("levels").fail_plainly(error.what());
    }
    cost_.emplace(given_, dense_, sparse_);
    check_fit();
    return report();
  }

 private:
  size_t tensors() const { return given_.workload.tensors.size(); }
  const std::string& tensor_name(size_t tensor) const { return given_.workload.tensors[tensor].name; }

  /// The words that the file says a level holds must be those that its loops reach.
  void check_tiles() const {
    for (size_t level = 0; level < given_.mapping.levels.size(); ++level) {
      const Node node = root_.at("mapping").at("levels").item(level);
      if (!node.has("keeps")) continue;
      for (size_t tensor = 0; tensor < tensors(); ++tensor) {
        if (!given_.mapping.levels[level].keeps[tensor]) continue;
        const Node words = node.at("keeps").at(tensor_name(tensor));
        if (words.json().is_null()) continue;
        const int64_t tile = dense_.levels[level].tensors[tensor].tile;
        if (words.count() != tile)
          words.fail(std::to_string(tile) + " words, which the loops of this level and those inside reach");
      }
    }
  }

  void check_fit() const {
    const Node levels = root_.at("architecture").at("levels");
    for (size_t level = 0; level < given_.levels.size(); ++level) {
      if (!given_.levels[level]) continue;
      const StorageLevel& storage = *given_.levels[level];
      const Node node = architecture_node(storage.name, levels);
      const int64_t used = dense_.levels[level].instances;
      if (storage.instances != 0 && used > storage.instances) {
        node.at("instances").fail("at least the " + std::to_string(used) + " instances that the mapping uses");
      }
      if (!storage.capacity_words) continue;
      int64_t words = 0;
      for (size_t tensor = 0; tensor < tensors(); ++tensor) words += cost_->stored(level, tensor);
      if (words > *storage.capacity_words) {
        node.at("capacity_words").fail("room for the " + std::to_string(words) + " words that the mapping keeps here");
      }
    }
    if (given_.compute.instances != 0 && dense_.instances > given_.compute.instances) {
      root_.at("architecture")
          .at("compute")
          .at("instances")
          .fail("at least the " + std::to_string(dense_.instances) + " that the mapping uses");
    }
  }

  static Node architecture_node(const std::string& name, const Node& levels) {
    const size_t count = levels.array_size(64);
    for (size_t i = 0; i < count; ++i) {
      if (levels.item(i).at("name").json() == name) return levels.item(i);
    }
    return levels;
  }

  Json report() const {
    Json result = Json::object();
    const int64_t computes = given_.sparse ? sparse_.computes : dense_.macs();
    const double compute_pj = static_cast<double>(computes) * given_.compute.compute_pj +
                              static_cast<double>(sparse_.gated_computes) * given_.compute.gated_pj +
                              static_cast<double>(sparse_.skipped_computes) * given_.compute.skipped_pj;
    Json by_level = Json::object();
    by_level[given_.compute.name] = compute_pj;
    double total_pj = compute_pj;
    Json levels = Json::object();
    for (size_t level = 0; level < given_.levels.size(); ++level) {
      if (!given_.levels[level]) continue;
      double level_pj = cost_->leakage_pj(level);
      Json tensor_list = Json::object();
      for (size_t tensor = 0; tensor < tensors(); ++tensor) {
        if (!dense_.levels[level].tensors[tensor].kept) continue;
        const Priced priced = cost_->price(level, tensor);
        level_pj += priced.total_pj;
        tensor_list[tensor_name(tensor)] = tensor_report(level, tensor, priced);
      }
      levels[given_.levels[level]->name] = {{"tensors", std::move(tensor_list)},
                                            {"leakage_pj_total", cost_->leakage_pj(level)}};
      by_level[given_.levels[level]->name] = level_pj;
      total_pj += level_pj;
    }
    by_level["Total"] = total_pj;
    const auto units = static_cast<double>(given_.compute.instances != 0 ? given_.compute.instances : dense_.instances);
    const double possible = static_cast<double>(cost_->cycles()) * units;
    result["summary"] = {
        {"cycles", cost_->cycles()},
        {"energy_uj_printed", round_to(total_pj / 1e6, 100)},
        {"utilization_percent", round_to(possible > 0 ? 100 * static_cast<double>(computes) / possible : 0, 100)}};
    result["compute"] = compute_report(computes, compute_pj);
    result["levels"] = std::move(levels);
    Json per = Json::object();
    if (given_.sparse) {
      per["Algorithmic Computes"] = shares(by_level, dense_.macs());
      per["Actual Computes"] = shares(by_level, computes);
    } else {
      per["Computes"] = shares(by_level, computes);
    }
    result["energy_fj_per"] = std::move(per);
    return result;
  }

  static Json shares(const Json& by_level, int64_t count) {
    Json each = Json::object();
    for (const auto& [name, pj] : by_level.items())
      each[name] = count > 0 ? pj.get<double>() * 1e3 / static_cast<double>(count) : 0;
    return {{"count", count}, {"by_level", std::move(each)}};
  }

  Json compute_report(int64_t computes, double pj) const {
    if (!given_.sparse) {
      return {{"utilized_instances", dense_.instances},
              {"computes", computes},
              {"cycles", cost_->compute_cycles()},
              {"energy_pj_total", pj}};
    }
    return {{"utilized_instances_max", dense_.instances},
            {"utilized_instances_avg", dense_.instances},
            {"cycles", cost_->compute_cycles()},
            {"algorithmic_computes", dense_.macs()},
            {"actual_computes", computes},
            {"gated_computes", sparse_.gated_computes},
            {"skipped_computes", sparse_.skipped_computes},
            {"energy_pj_total", pj}};
  }

  Json tensor_report(size_t level, size_t tensor, const Priced& priced) const {
    const nest::TensorCounts& counts = dense_.levels[level].tensors[tensor];
    const std::array<int64_t, 3> algorithmic{counts.accesses.reads, counts.accesses.fills, counts.accesses.updates};
    const std::array<int64_t, 3> happening = cost_->actual(level, tensor);
    Json report = {{"partition_size", counts.partition}, {"tile_size", counts.tile}};
    const double used = cost_->instances(level, tensor);
    report["utilized_instances"] = used == std::floor(used) ? Json(static_cast<int64_t>(used)) : Json(used);
    static constexpr const char* kKinds[] = {"reads", "fills", "updates"};
    for (size_t kind = 0; kind < 3; ++kind) report[kKinds[kind]] = happening[kind];
    if (given_.sparse) {
      const nest::SparseAccesses& accesses = sparse_.levels[level][tensor];
      report["max_stored"] = accesses.most_stored;
      const auto& representation = given_.design.levels[level].representations[tensor];
      if (representation.has_metadata()) report["format"] = format_names(representation);
      for (size_t kind = 0; kind < 3; ++kind) {
        const std::string name = kKinds[kind];
        report["algorithmic_" + name] = algorithmic[kind];
        if (accesses.gated[kind] > 0) report["gated_" + name] = accesses.gated[kind];
        if (accesses.skipped[kind] > 0) report["skipped_" + name] = accesses.skipped[kind];
        const Json units = units_by_rank(accesses.format[kind]);
        if (!units.empty()) report["format_" + name + "_by_rank_outer_to_inner_key_rank"] = units;
      }
    }
    report["energy_pj_per_instance"] = priced.instance_pj;
    report["energy_pj_total"] = priced.total_pj;
    return report;
  }

  static Json format_names(const nest::Representation& representation) {
    Json names = Json::array();
    for (size_t rank = representation.ranks.size(); rank-- > 0;) {
      switch (representation.ranks[rank].format) {
        case nest::Format::kBitmask:
          names.push_back("b");
          break;
        case nest::Format::kUncompressedBitmask:
          names.push_back("ub");
          break;
        case nest::Format::kCoordinates:
          names.push_back("cp");
          break;
        case nest::Format::kRunLengths:
          names.push_back("rle");
          break;
        case nest::Format::kOffsets:
          names.push_back("uop");
          break;
      }
    }
    return names;
  }

  static Json units_by_rank(const std::vector<nest::FormatUnits>& units) {
    Json by_rank = Json::object();
    bool any = false;
    for (size_t rank = 0; rank < units.size(); ++rank) {
      by_rank[std::to_string(rank)] = {{"metadata", units[rank][0]}, {"payload", units[rank][1]}};
      any = any || units[rank][0] != 0 || units[rank][1] != 0;
    }
    return any ? by_rank : Json::object();
  }

  const LoopNestCase& given_;
  Node root_;
  nest::NestCounts dense_;
  nest::SparseCounts sparse_;
  std::optional<NestCost> cost_;
};

}  // namespace

Json evaluate(const LoopNestCase& given, const Node& root) { return Evaluation(given, root).run(); }

}  // namespace jouleprune::energy::cases
