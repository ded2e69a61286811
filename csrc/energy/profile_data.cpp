#include "energy/profile_data.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <set>
#include <utility>

#include "energy/json_reader.h"
#include "energy/nest/device.h"
#include "energy/timing.h"

namespace jouleprune::energy {
namespace {

constexpr size_t kMaxBytes = 1 << 20;
constexpr size_t kMaxDtypes = 32, kMaxProvenance = 256, kMaxFusedOps = 64, kMaxFamilies = 128;
constexpr int kWidestBits = 128;  // of a number type: complexdouble
constexpr double kLargest = 1e30;  // products of a few of these stay finite

[[noreturn]] void throw_profile_error(const std::string& message) { throw core::ProfileError(message); }

bool covers(const std::string& pointer, const std::string& place) {
  return place.starts_with(pointer) && (place.size() == pointer.size() || place[pointer.size()] == '/');
}

/// Reads one profile; remembers which provenance is used.
class Reader {
 public:
  explicit Reader(const Node& root) : root_(root) {}

  ProfileData read() {
    root_.expect_keys({"schema", "name", "kind", "description", "dataflow", "runs_as", "fused_ops", "compute", "levels",
                       "array", "zeros", "mappings",
                       "mapper", "arithmetic", "timing", "static_w", "launch_j", "launch_s", "index_decode_pj", "provenance"});
    if (const Node schema = root_.at("schema"); schema.json() != 1) schema.fail("1");
    data_.name = root_.at("name").text(128);
    if (data_.name.empty()) root_.at("name").fail("a name");
    data_.kind = root_.at("kind").one_of({"asic", "cpu", "gpu"});
    if (root_.has("description")) data_.description = root_.at("description").text();
    read_provenance(root_.at("provenance"));
    read_dataflow();
    read_compute(root_.at("compute"));
    read_levels(root_.at("levels"));
    if (data_.dataflow == "systolic") read_array(root_.at("array"));
    if (data_.dataflow == "fixed-nest") read_nest();
    if (root_.has("zeros")) read_zeros(root_.at("zeros"));
    if (root_.has("timing")) read_timing(root_.at("timing"));
    data_.static_w = optional(root_, "static_w");
    data_.launch_j = optional(root_, "launch_j");
    data_.launch_s = optional(root_, "launch_s");
    data_.index_decode_pj = optional(root_, "index_decode_pj");
    for (const auto& [pointer, value] : data_.provenance) {
      if (!used_.contains(pointer)) {
        root_.at("provenance")
            .at(pointer)
            .fail_plainly("expected the JSON pointer of a number of this profile, got none");
      }
    }
    return std::move(data_);
  }

 private:
  void read_provenance(const Node& node) {
    node.expect_object();
    if (node.json().size() > kMaxProvenance) node.fail_plainly("expected at most 256 entries");
    for (const auto& [pointer, value] : node.json().items()) {
      const Node entry = node.at(pointer);
      if (!pointer.empty() && pointer[0] != '/') entry.fail_plainly("expected a JSON pointer, which begins with /");
      entry.expect_keys({"source", "kind", "date"});
      Provenance provenance;
      provenance.source = entry.at("source").text();
      if (provenance.source.empty()) entry.at("source").fail("a source");
      provenance.kind = entry.at("kind").one_of({"published", "measured", "fitted", "memory", "assumed"});
      if (entry.has("date")) provenance.date = entry.at("date").text(64);
      data_.provenance.emplace(pointer, std::move(provenance));
    }
  }

  void read_dataflow() {
    const Node dataflow = root_.at("dataflow");
    data_.dataflow = dataflow.one_of({"op-count", "systolic", "fixed-nest", "cache-tiled"});
    const bool asic = data_.kind == "asic";
    if (asic != (data_.dataflow != "cache-tiled")) {
      dataflow.fail(asic ? "op-count, systolic or fixed-nest (kind is asic)" : "cache-tiled (kind is " + data_.kind + ")");
    }
    if (data_.dataflow != "systolic" && root_.has("array")) {
      root_.at("array").fail_plainly("only a profile of dataflow systolic has this");
    }
    for (const char* key : {"mappings", "mapper", "arithmetic"}) {
      if (data_.dataflow != "fixed-nest" && root_.has(key))
        root_.at(key).fail_plainly("only a profile of dataflow fixed-nest has this");
    }
    if (data_.dataflow == "fixed-nest" && root_.has("zeros")) {
      root_.at("zeros").fail_plainly("a profile of dataflow fixed-nest has none: its levels have formats");
    }
    if (data_.dataflow == "systolic" && root_.has("zeros")) {
      root_.at("zeros").fail_plainly("a profile of dataflow systolic has none: zeros are never moved or multiplied");
    }
    for (const char* key : {"runs_as", "fused_ops", "zeros"}) {
      if (!asic && root_.has(key)) root_.at(key).fail_plainly("only a profile of kind asic has this");
    }
    if (root_.has("fused_ops")) {
      const Node ops = root_.at("fused_ops");
      const size_t size = ops.array_size(kMaxFusedOps);
      for (size_t i = 0; i < size; ++i) data_.fused_ops.push_back(ops.item(i).text(64));
    }
  }

  void read_compute(const Node& node) {
    node.expect_object();
    if (node.json().empty()) node.fail("at least one number type");
    if (node.json().size() > kMaxDtypes) node.fail_plainly("expected at most 32 number types");
    for (const auto& [name, value] : node.json().items()) {
      const Node entry = node.at(name);
      entry.expect_keys({"mac_pj", "op_pj", "macs_s", "sparse_macs_s"});
      DtypeCost cost;
      cost.name = name;
      cost.bits = dtype_bits(name);
      cost.mac_pj = quantity(entry.at("mac_pj"));
      cost.op_pj = quantity(entry.at("op_pj"));
      cost.macs_s = rate(entry, "macs_s");
      cost.sparse_macs_s = rate(entry, "sparse_macs_s");
      data_.dtypes.push_back(std::move(cost));
    }
    if (root_.has("runs_as")) {
      data_.runs_as = root_.at("runs_as").text(64);
      if (!node.has(data_.runs_as)) root_.at("runs_as").fail("a number type of /compute");
    }
  }

  void read_levels(const Node& node) {
    const size_t size = node.array_size(kMaxLevels);
    if (size == 0) node.fail("at least one level, outermost first");
    std::set<std::string> names;
    double outside = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < size; ++i) {
      data_.levels.push_back(read_level(node.item(i), i));
      if (!names.insert(data_.levels[i].name).second) node.item(i).at("name").fail("a name that no other level has");
      // Levels of a nest may hold different tensors, so an inner one may be the larger.
      if (!node.item(i).has("capacity_bytes") || data_.dataflow == "fixed-nest") continue;
      if (data_.levels[i].capacity_bits >= outside) {
        node.item(i)
            .at("capacity_bytes")
            .fail("less than the level outside has (levels go from the outermost to the innermost)");
      }
      outside = data_.levels[i].capacity_bits;
    }
  }

  void read_array(const Node& node) {
    node.expect_keys({"rows", "cols", "input_cache_bytes", "weight_cache_bytes", "metadata_bits"});
    const auto side = [&](const char* key) {
      const double value = positive(node.at(key)).value;
      if (value != std::floor(value) || value > 65536) node.at(key).at("value").fail("an integer from 1 to 65536");
      return value;
    };
    SystolicArray array;
    array.rows = side("rows");
    array.cols = side("cols");
    array.input_cache_bits = 8 * quantity(node.at("input_cache_bytes")).value;
    array.weight_cache_bits = 8 * quantity(node.at("weight_cache_bytes")).value;
    array.metadata_bits = optional(node, "metadata_bits").value;
    data_.array = array;
    if (data_.levels.size() != 3) root_.at("levels").fail("memory, cache and registers (dataflow is systolic)");
  }

  void read_nest() {
    const auto check = [this](const Node& node) { expect_provenance(node); };
    nest::Device device;
    const int widest = data_.runs_as.empty() ? kWidestBits : dtype_bits(data_.runs_as);
    for (size_t i = 0; i < data_.levels.size(); ++i) {
      device.levels.push_back(
          nest::read_device_level(root_.at("levels").item(i), data_.levels[i].capacity_bits, widest, check));
    }
    nest::read_device(root_, device, check);
    data_.nest = std::make_shared<const nest::Device>(std::move(device));
  }

  Level read_level(const Node& node, size_t index) {
    if (data_.dataflow == "fixed-nest") {
      node.expect_keys({"name", "capacity_bytes", "read_pj_per_bit", "write_pj_per_bit", "bytes_s", "keeps",
                        "word_bits", "block_words", "metadata_bits", "loops", "spatial", "formats", "optimizations"});
    } else if (data_.dataflow == "op-count") {
      node.expect_keys({"name", "capacity_bytes", "read_pj_per_bit", "write_pj_per_bit", "bytes_s", "compressed",
                        "holds_activations", "per_element", "per_mac"});
    } else {
      node.expect_keys({"name", "capacity_bytes", "read_pj_per_bit", "write_pj_per_bit", "bytes_s"});
    }
    Level level;
    level.name = node.at("name").text(64);
    if (level.name.empty()) node.at("name").fail("a name");
    if (node.has("capacity_bytes") || (data_.dataflow == "cache-tiled" && index > 0))
      level.capacity_bits = 8 * positive(node.at("capacity_bytes")).value;
    level.read_pj_per_bit = quantity(node.at("read_pj_per_bit"));
    level.write_pj_per_bit = quantity(node.at("write_pj_per_bit"));
    level.bytes_s = rate(node, "bytes_s");
    if (node.has("compressed")) level.compressed = node.at("compressed").boolean();
    if (node.has("holds_activations")) level.holds_activations = node.at("holds_activations").boolean();
    if (level.compressed && !root_.has("zeros")) node.at("compressed").fail_plainly("needs /zeros, which is missing");
    if (level.holds_activations && !node.has("capacity_bytes"))
      node.at("holds_activations").fail_plainly("needs capacity_bytes");
    if (node.has("per_element")) level.per_element = accesses(node.at("per_element"));
    if (node.has("per_mac")) level.per_mac = accesses(node.at("per_mac"));
    return level;
  }

  Accesses accesses(const Node& node) {
    node.expect_keys({"weight_reads", "weight_writes", "input_reads", "input_writes", "output_reads", "output_writes"});
    return {optional(node, "weight_reads"), optional(node, "weight_writes"), optional(node, "input_reads"),
            optional(node, "input_writes"), optional(node, "output_reads"),  optional(node, "output_writes")};
  }

  void read_zeros(const Node& node) {
    node.expect_keys({"gated_share", "run_bits", "skips_cycles"});
    Zeros zeros;
    zeros.gated_share = quantity(node.at("gated_share"));
    if (zeros.gated_share.high > 1) node.at("gated_share").at("high").fail("at most 1");
    const Quantity run_bits = quantity(node.at("run_bits"));
    zeros.run_bits = static_cast<int>(std::min(run_bits.value, 64.0));
    if (run_bits.value != zeros.run_bits || zeros.run_bits < 1 || zeros.run_bits > 16) {
      node.at("run_bits").at("value").fail("an integer from 1 to 16");
    }
    zeros.skips_cycles = node.at("skips_cycles").boolean();
    data_.zeros = zeros;
  }

  void read_timing(const Node& node) {
    if (data_.dataflow != "cache-tiled") node.fail_plainly("only a profile of dataflow cache-tiled has this");
    node.expect_object();
    if (node.json().size() > kMaxFamilies) node.fail_plainly("expected at most 128 families");
    for (const auto& [name, value] : node.json().items()) {
      data_.timing.emplace(name, read_family(node.at(name), name, [this](const Node& number) { return quantity(number); }));
    }
  }

  Quantity quantity(const Node& node) {
    node.expect_keys({"value", "low", "high"});
    const auto read = [&](const char* key) {
      const Node number = node.at(key);
      const double value = number.number();
      if (value < 0 || value > kLargest) number.fail("a number from 0 to 1e30");
      return value;
    };
    const Quantity quantity{read("value"), read("low"), read("high")};
    if (quantity.low > quantity.value) node.at("low").fail("at most value (" + node.at("value").json().dump() + ")");
    if (quantity.high < quantity.value) node.at("high").fail("at least value (" + node.at("value").json().dump() + ")");
    expect_provenance(node);
    return quantity;
  }

  Quantity positive(const Node& node) {
    const Quantity read = quantity(node);
    if (read.low <= 0) node.at("low").fail("a number above 0");
    return read;
  }

  Quantity optional(const Node& node, const char* key) { return node.has(key) ? quantity(node.at(key)) : Quantity{}; }
  Quantity rate(const Node& node, const char* key) { return node.has(key) ? positive(node.at(key)) : Quantity{}; }

  void expect_provenance(const Node& node) {
    const std::string* best = nullptr;
    for (const auto& [pointer, provenance] : data_.provenance) {
      if (covers(pointer, node.pointer()) && (!best || pointer.size() > best->size())) best = &pointer;
    }
    if (!best) node.fail_plainly("missing provenance: expected a pointer in /provenance that covers this number");
    used_.insert(*best);
  }

  Node root_;
  ProfileData data_;
  std::set<std::string> used_;
};

/// 5 and 5.0 are the same number.
void make_numbers_alike(Json& json) {
  if (json.is_number()) json = json.get<double>();
  if (json.is_structured()) {
    for (Json& child : json) make_numbers_alike(child);
  }
}

/// FNV-1a over 128 bits: names a profile, protects nothing.
std::string hash_of(std::string_view text) {
  __extension__ using Wide = unsigned __int128;
  constexpr Wide kPrime = (Wide{1} << 88) + 0x13b;
  Wide hash = (Wide{0x6c62272e07bb0142} << 64) + 0x62b821756295c58d;
  for (const char byte : text) hash = (hash ^ static_cast<unsigned char>(byte)) * kPrime;
  char digits[33];
  std::snprintf(digits, sizeof(digits), "%016llx%016llx", static_cast<unsigned long long>(hash >> 64),
                static_cast<unsigned long long>(hash));
  return digits;
}

}  // namespace

Profile parse_profile(std::string_view text, const std::string& origin) {
  const Document document{"profile '" + origin + "'", throw_profile_error};
  if (text.size() > kMaxBytes) {
    throw_profile_error(document.origin + ": /: expected at most 1 MiB, got " + std::to_string(text.size()) + " bytes");
  }
  Json json = parse_json(text, document);
  auto data = std::make_shared<ProfileData>(Reader(Node(json, document)).read());
  make_numbers_alike(json);
  json["schema"] = 1;
  data->canonical = json.dump();
  data->hash = hash_of(data->canonical);
  return Profile(std::move(data));
}

}  // namespace jouleprune::energy
