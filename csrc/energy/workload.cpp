// Workload as JSON; field names are those of the structs.
#include <jouleprune/energy.h>

#include <stdexcept>

#include "energy/json_reader.h"
#include "energy/price.h"

namespace jouleprune {
namespace {

using energy::Json;
using energy::Node;

constexpr size_t kMaxWorkloadBytes = size_t{256} << 20, kMaxEntries = 1 << 20, kMaxDims = 64, kMaxImageAxes = 3;
constexpr size_t kMaxUnknownOps = 1 << 16;

[[noreturn]] void throw_invalid(const std::string& message) { throw std::invalid_argument(message); }

/// A field of a count that may be missing.
int64_t count_or(const Node& node, const char* key, int64_t otherwise) {
  return node.has(key) ? node.at(key).count() : otherwise;
}

std::string text_or(const Node& node, const char* key, const char* otherwise) {
  return node.has(key) ? node.at(key).text() : otherwise;
}

std::vector<int64_t> sizes_or_none(const Node& node, const char* key, size_t most, int64_t least) {
  std::vector<int64_t> sizes;
  if (!node.has(key)) return sizes;
  const Node list = node.at(key);
  const size_t count = list.array_size(most);
  for (size_t i = 0; i < count; ++i) {
    sizes.push_back(list.item(i).count());
    if (sizes.back() < least) list.item(i).fail("at least " + std::to_string(least));
  }
  return sizes;
}

Entry entry_of(const Node& node) {
  node.expect_keys({"name", "op", "dtype", "weight", "shape", "rows", "cols", "n", "groups", "macs", "ops",
                    "weight_elements", "nnz", "input_elements", "output_elements", "input_density", "pattern", "layout",
                    "kernel", "image", "stride", "dilation", "steps", "call"});
  Entry entry;
  entry.name = node.at("name").text();
  entry.op = node.at("op").text();
  entry.dtype = node.at("dtype").text();
  entry.weight = text_or(node, "weight", "");
  entry.shape = sizes_or_none(node, "shape", kMaxDims, 0);
  entry.image = sizes_or_none(node, "image", kMaxImageAxes, 1);
  entry.stride = sizes_or_none(node, "stride", kMaxImageAxes, 1);
  entry.dilation = sizes_or_none(node, "dilation", kMaxImageAxes, 1);
  entry.rows = node.at("rows").count();
  entry.cols = node.at("cols").count();
  entry.n = node.at("n").count();
  entry.groups = count_or(node, "groups", 1);
  if (entry.groups < 1) node.at("groups").fail("at least 1");
  entry.macs = node.at("macs").count();
  entry.ops = count_or(node, "ops", 0);
  entry.weight_elements = node.at("weight_elements").count();
  entry.nnz = count_or(node, "nnz", entry.weight_elements);
  if (entry.nnz > entry.weight_elements)
    node.at("nnz").fail("at most weight_elements (" + std::to_string(entry.weight_elements) + ")");
  entry.input_elements = node.at("input_elements").count();
  entry.output_elements = node.at("output_elements").count();
  if (node.has("input_density")) {
    entry.input_density = node.at("input_density").number();
    if (entry.input_density < 0 || entry.input_density > 1) node.at("input_density").fail("a share from 0 to 1");
  }
  entry.pattern = text_or(node, "pattern", "dense");
  entry.steps = count_or(node, "steps", 1);
  if (entry.steps < 1) node.at("steps").fail("at least 1");
  entry.call = text_or(node, "call", "");
  entry.layout = text_or(node, "layout", "dense");
  entry.kernel = text_or(node, "kernel", "dense");
  return entry;
}

Json json_of(const Entry& entry) {
  Json json = {{"name", entry.name},
          {"op", entry.op},
          {"dtype", entry.dtype},
          {"weight", entry.weight},
          {"shape", entry.shape},
          {"rows", entry.rows},
          {"cols", entry.cols},
          {"n", entry.n},
          {"groups", entry.groups},
          {"macs", entry.macs},
          {"ops", entry.ops},
          {"weight_elements", entry.weight_elements},
          {"nnz", entry.nnz},
          {"input_elements", entry.input_elements},
          {"output_elements", entry.output_elements},
          {"input_density", entry.input_density},
          {"pattern", entry.pattern},
          {"layout", entry.layout},
          {"kernel", entry.kernel}};
  if (!entry.image.empty()) json["image"] = entry.image;
  if (!entry.stride.empty()) json["stride"] = entry.stride;
  if (!entry.dilation.empty()) json["dilation"] = entry.dilation;
  if (entry.steps != 1) json["steps"] = entry.steps;
  if (!entry.call.empty()) json["call"] = entry.call;
  return json;
}

}  // namespace

std::string Workload::to_json() const {
  Json json = {{"schema", 1}, {"batch", batch}, {"count", count}, {"per", per}, {"unknown_ops", unknown_ops}};
  json["entries"] = Json::array();
  for (const Entry& entry : entries) json["entries"].push_back(json_of(entry));
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Workload Workload::parse(std::string_view text) {
  const energy::Document document{"workload", throw_invalid};
  if (text.size() > kMaxWorkloadBytes)
    throw_invalid("workload: /: expected at most 256 MiB, got " + std::to_string(text.size()) + " bytes");
  const Json json = energy::parse_json(text, document);
  const Node root(json, document);
  root.expect_keys({"schema", "entries", "unknown_ops", "batch", "count", "per"});
  if (const Node schema = root.at("schema"); schema.json() != 1) schema.fail("1");
  Workload workload;
  workload.batch = count_or(root, "batch", 1);
  workload.count = count_or(root, "count", workload.batch > 0 ? workload.batch : 1);
  if (workload.count < 1) root.at("count").fail("at least 1");
  workload.per = text_or(root, "per", "inference");
  if (root.has("per")) root.at("per").one_of({"inference", "token", "request"});
  if (root.has("unknown_ops")) {
    const Node ops = root.at("unknown_ops");
    const size_t size = ops.array_size(kMaxUnknownOps);
    for (size_t i = 0; i < size; ++i) workload.unknown_ops.push_back(ops.item(i).text());
  }
  const Node entries = root.at("entries");
  const size_t size = entries.array_size(kMaxEntries);
  workload.entries.reserve(size);
  for (size_t i = 0; i < size; ++i) workload.entries.push_back(entry_of(entries.item(i)));
  return workload;
}

}  // namespace jouleprune
