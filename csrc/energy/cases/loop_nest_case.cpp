#include "energy/cases/loop_nest_case.h"

#include <jouleprune/error.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>

#include "energy/cases/reading.h"
#include "energy/cases/sparse_options.h"

namespace jouleprune::energy::cases {
namespace {

constexpr size_t kMaxDims = 32, kMaxTensors = 16, kMaxAxes = 16, kMaxTerms = 16, kMaxLevels = 64, kMaxLoops = 64;
constexpr int64_t kMaxCoefficient = 1 << 20;
constexpr size_t kMaxElements = size_t{1} << 22, kMaxActualAxes = 6;  // of a tensor given element by element

class Reader {
 public:
  explicit Reader(const Node& root) : root_(root) {}

  LoopNestCase read() {
    read_workload(root_.at("workload"));
    read_mapping(root_.at("mapping"));
    read_architecture(root_.at("architecture"));
    return std::move(case_);
  }

 private:
  void read_workload(const Node& node) {
    const Node dims = node.at("dimensions");
    case_.workload.dims = keys_of(dims, kMaxDims);
    if (case_.workload.dims.empty()) dims.fail("at least one dimension");
    for (const std::string& dim : case_.workload.dims) case_.workload.bounds.push_back(positive(dims.at(dim)));
    const Node tensors = node.at("tensors");
    for (const std::string& name : keys_of(tensors, kMaxTensors)) read_tensor(tensors.at(name), name);
    if (tensor_names_.empty()) tensors.fail("at least one tensor");
    case_.design.densities.assign(tensor_names_.size(), nest::fixed_structured(1));
    if (!node.has("densities")) return;
    const Node densities = node.at("densities");
    for (const std::string& name : keys_of(densities, kMaxTensors)) {
      const Node density = densities.at(name);
      const auto found = std::find(tensor_names_.begin(), tensor_names_.end(), name);
      if (found == tensor_names_.end())
        density.fail_plainly("expected the name of a tensor (" + joined(tensor_names_) + ")");
      const auto tensor = static_cast<size_t>(found - tensor_names_.begin());
      case_.design.densities[tensor] = read_density(density, case_.workload.tensors[tensor]);
    }
  }

  void read_tensor(const Node& node, const std::string& name) {
    node.expect_keys({"projection_terms_dim_coefficient", "read_write"});
    nest::Tensor tensor;
    tensor.name = name;
    if (node.has("read_write")) tensor.read_write = node.at("read_write").boolean();
    const Node axes = node.at("projection_terms_dim_coefficient");
    const size_t count = axes.array_size(kMaxAxes);
    for (size_t a = 0; a < count; ++a) {
      const Node axis = axes.item(a);
      const size_t terms = axis.array_size(kMaxTerms);
      if (terms == 0) axis.fail("at least one term");
      tensor.axes.emplace_back();
      for (size_t t = 0; t < terms; ++t) {
        const Node term = axis.item(t);
        if (term.array_size(2) != 2) term.fail("[dimension, coefficient]");
        const Node coefficient = term.item(1);
        if (!coefficient.json().is_number_integer()) coefficient.fail("an integer other than 0");
        const double value = coefficient.number();
        if (value == 0 || std::abs(value) > kMaxCoefficient) coefficient.fail("an integer other than 0, at most 2^20");
        tensor.axes.back().push_back(
            {position(term.item(0), case_.workload.dims, "a dimension"), static_cast<int64_t>(value)});
      }
    }
    guarded(node, [&] { nest::box_words(tensor, case_.workload.bounds); });
    tensor_names_.push_back(name);
    case_.workload.tensors.push_back(std::move(tensor));
  }

  /// Runs what may refuse, and says where.
  template <class Work>
  static void guarded(const Node& node, const Work& work) {
    try {
      work();
    } catch (const core::ProfileError&) {
      throw;
    } catch (const std::invalid_argument& error) {
      node.fail_plainly(error.what());
    }
  }

  std::shared_ptr<const nest::Density> read_density(const Node& node, const nest::Tensor& tensor) {
    const std::string kind = node.at("distribution").one_of({"fixed_structured", "hypergeometric", "actual_data"});
    const int64_t words = nest::box_words(tensor, case_.workload.bounds);
    if (kind == "actual_data") {
      if (tensor.axes.size() > kMaxActualAxes) node.fail_plainly("expected a tensor of at most 6 axes");
      const Node nonzero = node.at("nonzero");
      const std::string digits = nonzero.text(kMaxElements);
      if (digits.find_first_not_of("01") != std::string::npos) nonzero.fail("digits 0 and 1");
      if (static_cast<int64_t>(digits.size()) != words) {
        nonzero.fail_plainly("expected " + std::to_string(words) + " digits, got " + std::to_string(digits.size()));
      }
      return nest::actual_data(nest_shape(tensor), digits);
    }
    const Node share = node.at("density");
    const double density = share.number();
    if (density < 0 || density > 1) share.fail("a share from 0 to 1");
    if (kind == "fixed_structured") return nest::fixed_structured(density);
    const int64_t given = node.has("workload_tensor_size") ? node.at("workload_tensor_size").count() : 0;
    return nest::hypergeometric(density, given > 0 ? given : words);
  }

  std::vector<int64_t> nest_shape(const nest::Tensor& tensor) const {
    std::vector<int64_t> shape;
    for (const nest::Axis& axis : tensor.axes) {
      int64_t side = 1;
      for (const nest::Term& term : axis) side += std::abs(term.coefficient) * (case_.workload.bounds[term.dim] - 1);
      shape.push_back(side);
    }
    return shape;
  }

  void read_mapping(const Node& node) {
    if (node.has("order") && node.at("order").text(64) != "outer to inner") node.at("order").fail("\"outer to inner\"");
    const Node levels = node.at("levels");
    const size_t count = levels.array_size(kMaxLevels);
    if (count == 0) levels.fail("at least one level");
    std::set<std::string> names;
    std::vector<bool> kept(tensor_names_.size(), false);
    for (size_t i = 0; i < count; ++i) {
      const Node level = levels.item(i);
      level.expect_keys({"level", "keeps", "loops"});
      nest::MappingLevel read;
      read.name = level.at("level").text(128);
      if (!names.insert(read.name).second) level.at("level").fail("a name that no other level has");
      read.keeps.assign(tensor_names_.size(), false);
      if (level.has("keeps")) {
        for (const std::string& name : keys_of(level.at("keeps"), kMaxTensors)) {
          const auto found = std::find(tensor_names_.begin(), tensor_names_.end(), name);
          if (found == tensor_names_.end()) level.at("keeps").at(name).fail_plainly("expected the name of a tensor");
          const auto tensor = static_cast<size_t>(found - tensor_names_.begin());
          read.keeps[tensor] = kept[tensor] = true;
        }
      }
      read_loops(level.at("loops"), read);
      case_.mapping.levels.push_back(std::move(read));
    }
    for (size_t tensor = 0; tensor < kept.size(); ++tensor) {
      if (!kept[tensor]) levels.fail_plainly("expected a level that keeps " + tensor_names_[tensor] + ", got none");
    }
  }

  void read_loops(const Node& loops, nest::MappingLevel& level) {
    const size_t count = loops.array_size(kMaxLoops);
    for (size_t i = 0; i < count; ++i) {
      const Node loop = loops.item(i);
      loop.expect_keys({"dim", "bound", "spatial"});
      nest::Loop read;
      read.dim = position(loop.at("dim"), case_.workload.dims, "a dimension");
      read.bound = positive(loop.at("bound"));
      if (loop.has("spatial") && !loop.at("spatial").json().is_null()) {
        const std::string axis = loop.at("spatial").one_of({"X", "Y"});
        read.kind = axis == "X" ? nest::LoopKind::kSpatialX : nest::LoopKind::kSpatialY;
      }
      level.loops.push_back(read);
    }
  }

  void read_architecture(const Node& node) {
    if (node.has("order") && node.at("order").text(64) != "inner to outer") node.at("order").fail("\"inner to outer\"");
    read_compute(node.at("compute"));
    const Node levels = node.at("levels");
    const size_t count = levels.array_size(kMaxLevels);
    if (count == 0) levels.fail("at least one level");
    case_.levels.resize(case_.mapping.levels.size());
    case_.design.levels.resize(case_.mapping.levels.size());
    for (nest::SparseLevel& level : case_.design.levels) level.representations.resize(tensor_names_.size());
    std::set<std::string> names;
    size_t outside = case_.mapping.levels.size();
    for (size_t i = 0; i < count; ++i) {
      const Node node_level = levels.item(i);
      const std::string name = node_level.at("name").text(128);
      if (!names.insert(name).second) node_level.at("name").fail("a name that no other level has");
      StorageLevel level = read_level(node_level, name);
      for (size_t m = 0; m < case_.mapping.levels.size(); ++m) {
        if (case_.mapping.levels[m].name != name) continue;
        if (m > outside) node_level.at("name").fail("a level outside those before, as in the mapping");
        outside = m;
        nest::SparseLevel& design = case_.design.levels[m];
        design.block_words = level.block_words;
        design.read_pj = level.pj.read;
        design.metadata_words = static_cast<double>(level.metadata_word_bits) / static_cast<double>(level.word_bits);
        case_.sparse =
            read_sparse_options(node_level, {case_.workload.dims, tensor_names_, level.metadata_word_bits}, design) ||
            case_.sparse;
        tell_assumptions(node_level, design);
        case_.levels[m] = std::move(level);
        break;
      }
    }
    if (case_.sparse) tell_bandwidths(levels);
    for (size_t m = 0; m < case_.levels.size(); ++m) {
      const auto& keeps = case_.mapping.levels[m].keeps;
      if (!case_.levels[m] && std::find(keeps.begin(), keeps.end(), true) != keeps.end()) {
        root_.at("mapping").at("levels").item(m).at("level").fail(
            "a level of /architecture/levels, because it keeps tensors");
      }
    }
  }

  void assume(const Node& level, const char* key, const std::string& what) {
    case_.assumptions.push_back(level.pointer() + "/" + key + ": not given; assumed " + what);
  }

  /// What counts or cycles of a level with zeros rest on although the file does not say it.
  void tell_assumptions(const Node& node, const nest::SparseLevel& design) {
    const bool wide = std::any_of(design.representations.begin(), design.representations.end(), [](const auto& of_tensor) {
      return std::any_of(of_tensor.ranks.begin(), of_tensor.ranks.end(),
                         [](const nest::Rank& rank) { return rank.format != nest::Format::kBitmask; });
    });
    if (wide && !node.has("metadata_word_bits")) {
      const int64_t bits = usual_metadata_bits(node.has("metadata_block_bits") ? node.at("metadata_block_bits").count() : 0);
      assume(node, "metadata_word_bits", std::to_string(bits) + " bits per run length, coordinate or offset without a width of its own");
    }
  }

  /// Only designs that make use of zeros have cycles that depend on it.
  void tell_bandwidths(const Node& levels) {
    for (size_t i = 0; i < levels.array_size(kMaxLevels); ++i) {
      const Node node = levels.item(i);
      const auto given = [&](const char* key) { return node.has(key) && !node.at(key).json().is_null(); };
      if (given("read_bandwidth") || given("write_bandwidth") || given("shared_bandwidth")) continue;
      assume(node, "read_bandwidth, write_bandwidth, shared_bandwidth",
             "four blocks a cycle each way, and two accesses a cycle of a tensor whose accesses are gated");
    }
  }

  void read_compute(const Node& node) {
    case_.compute.name = node.at("name").text(128);
    const Node pj = node.at("ert_pj");
    case_.compute.compute_pj = at_least_0(pj.at("compute"));
    case_.compute.gated_pj = optional_number(pj, "gated_compute", 0);
    case_.compute.skipped_pj = optional_number(pj, "skipped_compute", 0);
    if (node.has("instances")) case_.compute.instances = positive(node.at("instances"));
    if (!node.has("sparse_optimizations")) return;
    const Node options = node.at("sparse_optimizations");
    options.expect_keys({"compute_optimization"});
    const Node list = options.at("compute_optimization");
    const size_t count = list.array_size(16);
    for (size_t i = 0; i < count; ++i) {
      const std::string type = list.item(i).at("type").one_of(
          {"gating", "gate_on_zero_operand", "skipping", "skip_on_not_aligned_operands"});
      (type[0] == 'g' ? case_.design.gate_zero_operands : case_.design.skip_unaligned_operands) = true;
      case_.sparse = true;
    }
  }

  /// Width of a run length or a coordinate where the file gives none: 4 bits, as in Sparseloop's published designs, or
  /// all of a block that 4 does not divide.
  static int64_t usual_metadata_bits(int64_t block_bits) {
    return block_bits % 4 == 0 ? std::min(block_bits, int64_t{4}) : block_bits;
  }

  StorageLevel read_level(const Node& node, const std::string& name) {
    StorageLevel level;
    level.name = name;
    if (node.has("word_bits")) level.word_bits = small_count(node.at("word_bits"), 1);
    if (node.has("block_words")) level.block_words = small_count(node.at("block_words"), 1);
    if (node.has("cluster_size")) level.cluster_size = small_count(node.at("cluster_size"), 1);
    if (node.has("instances")) level.instances = positive(node.at("instances"));
    if (node.has("capacity_words") && !node.at("capacity_words").json().is_null()) {
      level.capacity_words = node.at("capacity_words").count();
    }
    if (node.has("metadata_block_bits")) level.metadata_block_bits = small_count(node.at("metadata_block_bits"));
    level.metadata_word_bits = node.has("metadata_word_bits") ? small_count(node.at("metadata_word_bits"))
                                                              : usual_metadata_bits(level.metadata_block_bits);
    for (const auto& [key, into] :
         {std::pair{"read_bandwidth", &level.read_bandwidth}, std::pair{"write_bandwidth", &level.write_bandwidth},
          std::pair{"shared_bandwidth", &level.shared_bandwidth}}) {
      if (!node.has(key) || node.at(key).json().is_null()) continue;
      *into = at_least_0(node.at(key));
      if (*into == 0.0) node.at(key).fail("words per cycle, above 0");
    }
    const Node pj = node.at("ert_pj_per_block");
    level.pj.read = at_least_0(pj.at("read"));
    level.pj.write = at_least_0(pj.at("write"));
    level.pj.update = optional_number(pj, "update", level.pj.write);
    level.pj.leak = optional_number(pj, "leak", 0);
    level.pj.metadata_read = optional_number(pj, "metadata_read", 0);
    level.pj.metadata_write = optional_number(pj, "metadata_write", 0);
    level.pj.metadata_update = optional_number(pj, "metadata_update", level.pj.metadata_write);
    level.pj.compression = optional_number(pj, "compression_count", 0);
    level.pj.decompression = optional_number(pj, "decompression_count", 0);
    return level;
  }

  Node root_;
  LoopNestCase case_;
  std::vector<std::string> tensor_names_;
};

}  // namespace

LoopNestCase read_loop_nest(const Node& root) { return Reader(root).read(); }

}  // namespace jouleprune::energy::cases
