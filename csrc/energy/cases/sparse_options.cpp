#include "energy/cases/sparse_options.h"

#include <algorithm>
#include <cctype>

#include "energy/cases/reading.h"

namespace jouleprune::energy::cases {
namespace {

constexpr size_t kMaxItems = 64;

nest::Format format_of(const std::string& name, const Node& node) {
  if (name == "B" || name == "BITMASK") return nest::Format::kBitmask;
  if (name == "UB") return nest::Format::kUncompressedBitmask;
  if (name == "CP") return nest::Format::kCoordinates;
  if (name == "RLE") return nest::Format::kRunLengths;
  if (name == "UOP" || name == "CSR") return nest::Format::kOffsets;
  node.fail("one of B, CP, CSR, RLE, U, UB, UOP");
}

/// Adds one rank, outer to inner; CSR is two of them.
void read_rank(const Node& node, const SparseNames& names, std::vector<nest::Rank>& ranks) {
  node.expect_keys({"format", "flattened_rankIDs", "metadata_word_bits", "payload_word_bits"});
  std::string name = node.at("format").text(16);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  nest::Rank rank;
  if (node.has("flattened_rankIDs")) {
    const Node lists = node.at("flattened_rankIDs");
    const size_t count = lists.array_size(kMaxItems);
    for (size_t i = 0; i < count; ++i) {
      const size_t size = lists.item(i).array_size(kMaxItems);
      rank.flattened.emplace_back();
      for (size_t d = 0; d < size; ++d)
        rank.flattened.back().push_back(position(lists.item(i).item(d), names.dims, "a dimension"));
    }
  }
  const auto bits = [&](const char* key, int64_t missing) {
    return node.has(key) ? small_count(node.at(key)) : missing;
  };
  if (name == "U" || name == "UNCOMPRESSED") return;  // nothing is told
  rank.format = format_of(name, node.at("format"));
  const bool one_bit = rank.format == nest::Format::kBitmask;
  rank.metadata_bits = bits("metadata_word_bits", one_bit ? 1 : names.metadata_word_bits);
  rank.payload_bits = bits("payload_word_bits", names.metadata_word_bits);
  ranks.push_back(rank);
  if (name == "CSR") {
    rank.format = nest::Format::kCoordinates;
    ranks.push_back(std::move(rank));
  }
}

nest::Representation read_representation(const Node& node, const SparseNames& names) {
  node.expect_keys({"name", "ranks", "rank_application_order"});
  nest::Representation representation;
  if (node.has("rank_application_order")) {
    representation.inner_to_outer =
        node.at("rank_application_order").one_of({"outer_to_inner", "inner_to_outer"}) == "inner_to_outer";
  }
  const Node ranks = node.at("ranks");
  const size_t count = ranks.array_size(kMaxItems);
  for (size_t i = 0; i < count; ++i) read_rank(ranks.item(i), names, representation.ranks);
  std::reverse(representation.ranks.begin(), representation.ranks.end());
  return representation;
}

nest::Condition read_condition(const Node& node, const SparseNames& names) {
  nest::Condition condition;
  condition.target = position(node.at("target"), names.tensors, "a tensor");
  const Node list = node.at("condition_on");
  const size_t count = list.array_size(kMaxItems);
  if (count == 0) list.fail("at least one tensor");
  for (size_t i = 0; i < count; ++i) condition.conditions.push_back(position(list.item(i), names.tensors, "a tensor"));
  return condition;
}

nest::Optimization read_optimization(const Node& node, const SparseNames& names) {
  nest::Optimization optimization;
  optimization.skips = node.at("type").one_of({"gating", "skipping"}) == "skipping";
  if (!node.has("options")) {
    optimization.options.push_back(read_condition(node, names));
    return optimization;
  }
  const Node options = node.at("options");
  const size_t count = options.array_size(kMaxItems);
  if (count == 0) options.fail("at least one option");
  for (size_t i = 0; i < count; ++i) optimization.options.push_back(read_condition(options.item(i), names));
  return optimization;
}

}  // namespace

bool read_sparse_options(const Node& level, const SparseNames& names, nest::SparseLevel& design) {
  if (!level.has("sparse_optimizations") || level.at("sparse_optimizations").json().is_null()) return false;
  const Node options = level.at("sparse_optimizations");
  options.expect_keys({"representation_format", "action_optimization"});
  if (options.has("representation_format")) {
    const Node spaces = options.at("representation_format").at("data_spaces");
    const size_t count = spaces.array_size(kMaxItems);
    for (size_t i = 0; i < count; ++i) {
      design.representations[position(spaces.item(i).at("name"), names.tensors, "a tensor")] =
          read_representation(spaces.item(i), names);
    }
  }
  if (options.has("action_optimization")) {
    const Node actions = options.at("action_optimization");
    const size_t count = actions.array_size(kMaxItems);
    for (size_t i = 0; i < count; ++i) design.optimizations.push_back(read_optimization(actions.item(i), names));
  }
  return true;
}

}  // namespace jouleprune::energy::cases
