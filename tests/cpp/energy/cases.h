// Entries and documents that the energy tests share.
#pragma once
#include <jouleprune/energy.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "energy/price.h"
#include "energy/profile_data.h"

namespace jouleprune::test {

using Json = nlohmann::json;

inline Entry linear(int64_t rows, int64_t cols, int64_t n, const std::string& dtype = "float32") {
  Entry entry;
  entry.name = "layer";
  entry.op = "linear";
  entry.dtype = dtype;
  entry.weight = "layer.weight";
  entry.shape = {rows, cols};
  entry.rows = rows;
  entry.cols = cols;
  entry.n = n;
  entry.macs = rows * cols * n;
  entry.weight_elements = entry.nnz = rows * cols;
  entry.input_elements = cols * n;
  entry.output_elements = rows * n;
  return entry;
}

/// Stride 1, same size: `groups` groups, square filters and images.
inline Entry conv2d(int64_t out, int64_t in, int64_t kernel, int64_t size, int64_t batch, int64_t groups = 1,
                    const std::string& dtype = "float32") {
  Entry entry = linear(out / groups, in / groups * kernel * kernel, size * size * batch, dtype);
  entry.op = "conv2d";
  entry.shape = {out, in / groups, kernel, kernel};
  entry.groups = groups;
  entry.macs *= groups;
  entry.weight_elements *= groups;
  entry.nnz = entry.weight_elements;
  entry.input_elements = in * size * size * batch;
  entry.output_elements = out * size * size * batch;
  return entry;
}

inline Entry with_kernel(Entry entry, const std::string& kernel, int64_t nnz) {
  entry.kernel = kernel;
  entry.layout = kernel.starts_with("csr") ? "csr" : "dense";
  entry.nnz = nnz;
  return entry;
}

inline Entry random_entry(std::mt19937& random, const std::string& dtype = "float32") {
  const auto draw = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  if (draw(0, 1) == 0) return linear(draw(1, 1500), draw(1, 1500), draw(1, 300), dtype);
  const int64_t groups = draw(0, 2) == 0 ? draw(2, 8) : 1;
  return conv2d(groups * draw(1, 64), groups * draw(1, 64), draw(0, 1) ? 3 : 1, draw(1, 40), draw(1, 8), groups, dtype);
}

inline Json number(double value) { return {{"value", value}, {"low", value}, {"high", value}}; }

/// An accelerator of one level in the units of the worked example: 1/8 pJ per bit read, no zeros saved.
inline Json example_profile() {
  return {{"schema", 1},
          {"name", "example"},
          {"kind", "asic"},
          {"dataflow", "op-count"},
          {"compute",
           {{"int8", {{"mac_pj", number(1)}, {"op_pj", number(0)}}},
            {"int16", {{"mac_pj", number(2)}, {"op_pj", number(0)}}}}},
          {"levels",
           {{{"name", "memory"},
             {"read_pj_per_bit", number(0.125)},
             {"write_pj_per_bit", number(0.125)},
             {"per_element", {{"weight_reads", number(1)}}}}}},
          {"provenance", {{"", {{"source", "worked example"}, {"kind", "assumed"}}}}}};
}

inline Profile profile_of(const Json& json) { return energy::parse_profile(json.dump(), "test"); }

}  // namespace jouleprune::test
