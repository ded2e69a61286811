// The kernels that layers are priced by, and torch's dense one: what they do for one entry, in counts.
#include <array>
#include <stdexcept>

#include "kernels/cost_counts.h"

namespace jouleprune::energy {
namespace {

// Rows of the output that a dense kernel keeps in registers: an activation is loaded once per that many.
constexpr double kDenseRows = 6;
// torch's dense products, of the peak of their type (Linear layers of 768 to 3072, one core of an AMD Zen 4, docs/results/cpu_zen4.md):
// float32 71-85 % (oneDNN on Sapphire Rapids: 100-131 of 137 GFLOP/s), bfloat16 80-99 %, int8 350-400 of 450 GOP/s with quantising.
constexpr double kDenseShare = 0.8, kDenseShareBFloat16 = 0.9, kDenseShareInt8 = 0.8;

double dense_share(const std::string& dtype) {
  if (dtype == "int8") return kDenseShareInt8;
  return dtype == "bfloat16" ? kDenseShareBFloat16 : kDenseShare;
}

KernelCounts count_dense(const Entry& entry, DeviceKind) {
  const double bits = dtype_bits(entry.dtype);
  KernelCounts counts;
  counts.macs_issued = as_double(entry.macs);
  counts.weight_value_bits = as_double(entry.weight_elements) * bits;
  counts.peak_share = dense_share(entry.dtype);
  if (entry.macs == 0) {  // moves data only
    counts.activation_loads = as_double(entry.input_elements);
    counts.output_updates = as_double(entry.output_elements);
    return counts;
  }
  counts.weight_passes = tiles(as_double(entry.n), kPanel);
  counts.activation_loads =
      as_double(entry.cols) * as_double(entry.n) * as_double(entry.groups) * tiles(as_double(entry.rows), kDenseRows);
  counts.output_updates = as_double(entry.rows) * as_double(entry.n) * as_double(entry.groups);
  return counts;
}

bool runs_int8(const Entry& entry) { return (entry.op == "linear" || entry.op == "conv2d") && entry.dtype == "int8"; }

bool runs_anything(const Entry&) { return true; }

bool any_of(const std::string& word, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(), [&](const char* known) { return word == known; });
}

bool is_float(const Entry& entry) { return any_of(entry.dtype, {"float32", "float64", "bfloat16", "float16"}); }

bool runs_csr(const Entry& entry) {
  return any_of(entry.op, {"linear", "conv1d", "conv2d", "lstm", "gru"}) && is_float(entry);
}

bool runs_bsr(const Entry& entry) { return entry.op == "linear" && is_float(entry); }

constexpr std::array<KernelCost, 5> kKernels = {{
    {"dense", "dense", "dense", count_dense, runs_anything, true},
    {"csr", "csr", "unstructured", count_csr, runs_csr, true},
    {"csr-vendor", "csr", "unstructured", count_csr_vendor, runs_csr, false},
    {"bsr", "bsr", "block", count_bsr, runs_bsr, true},
    {"bsr-int8", "bsr", "block", count_bsr_int8, runs_int8, true},
}};

}  // namespace

std::span<const KernelCost> kernels() { return kKernels; }

const KernelCost& find_kernel(std::string_view name) {
  std::string known;
  for (const KernelCost& kernel : kKernels) {
    if (kernel.name == name) return kernel;
    known += (known.empty() ? "" : ", ") + std::string(kernel.name);
  }
  throw std::invalid_argument("kernel: expected one of " + known + ", got '" + std::string(name) + "'");
}

}  // namespace jouleprune::energy
