// Workloads of two small networks, as the recorder writes them.
#pragma once
#include <jouleprune/energy.h>

#include <string>
#include <vector>

namespace jouleprune::plan::testing {

inline Entry linear_entry(const std::string& name, int64_t rows, int64_t cols, int64_t n) {
  Entry entry;
  entry.name = name;
  entry.op = "linear";
  entry.dtype = "float32";
  entry.weight = name + ".weight";
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

/// Square kernel, stride 1, no padding.
inline Entry conv2d_entry(const std::string& name, int64_t out_channels, int64_t in_channels, int64_t kernel,
                          int64_t in_size, int64_t batch) {
  const int64_t out_size = in_size - kernel + 1;
  Entry entry = linear_entry(name, out_channels, in_channels * kernel * kernel, batch * out_size * out_size);
  entry.op = "conv2d";
  entry.shape = {out_channels, in_channels, kernel, kernel};
  entry.input_elements = batch * in_channels * in_size * in_size;
  return entry;
}

inline Entry relu_entry(const std::string& name, int64_t elements) {
  Entry entry;
  entry.name = name;
  entry.op = "elementwise";
  entry.dtype = "float32";
  entry.shape = {elements};
  entry.ops = entry.input_elements = entry.output_elements = elements;
  return entry;
}

inline Workload mlp_workload(int64_t batch) {
  Workload workload;
  workload.batch = workload.count = batch;
  workload.entries = {linear_entry("1", 128, 784, batch), relu_entry("relu_0", 128 * batch),
                      linear_entry("3", 10, 128, batch)};
  return workload;
}

inline Workload lenet_workload(int64_t batch) {
  Workload workload;
  workload.batch = workload.count = batch;
  workload.entries = {conv2d_entry("conv1", 6, 1, 5, 28, batch),  relu_entry("relu_0", 6 * 24 * 24 * batch),
                      conv2d_entry("conv2", 16, 6, 5, 12, batch), relu_entry("relu_1", 16 * 8 * 8 * batch),
                      linear_entry("fc1", 120, 256, batch),       relu_entry("relu_2", 120 * batch),
                      linear_entry("fc2", 84, 120, batch),        linear_entry("fc3", 10, 84, batch)};
  return workload;
}

}  // namespace jouleprune::plan::testing
