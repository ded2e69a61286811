#include "plan/candidates.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace jouleprune::plan {
namespace {
// What "auto" offers: single weights, the int8 block, vectors of the height of a strip, and blocks.
constexpr std::array<std::string_view, 5> kAuto = {"unstructured", "1x4", "16x1", "16x4", "16x16"};
// In bfloat16 also the block that matrix tiles multiply where it lies.
constexpr std::string_view kTileBlock = "32x32";

constexpr int64_t kQuad = 4;

bool holds(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// The entry's own number type, then those that are allowed beside it.
std::vector<std::string> dtypes_of(const PrunableWeight& weight, const Entry& entry) {
  std::vector<std::string> dtypes = {entry.dtype};
  for (const std::string& dtype : weight.dtypes) {
    if (!holds(dtypes, dtype)) dtypes.push_back(dtype);
  }
  return dtypes;
}

/// Blocks of four neighbouring inputs never share a quad.
bool made_of_quads(const select::Pattern& pattern) {
  return pattern.kind == select::Pattern::Kind::kBlock && pattern.c % kQuad == 0;
}

bool is_convolution(const Entry& entry) { return entry.op.starts_with("conv"); }  // transposed ones too

/// Whether it is known which entries of the weight are neighbours in a quad: of a convolution channels at one tap.
bool tells_quads(const Entry& entry) { return !is_convolution(entry) || entry.shape.size() > 2; }

/// Columns of each input channel of a weight with `cols` columns; 1 where the shape does not go with them.
int64_t taps_of(const Entry& entry, int64_t cols) {
  if (!is_convolution(entry)) return 1;
  int64_t taps = 1;
  for (size_t i = 2; i < entry.shape.size(); ++i) {
    if (entry.shape[i] < 1 || entry.shape[i] > cols / taps) return 1;
    taps *= entry.shape[i];
  }
  return cols % taps == 0 ? taps : 1;
}

Form form_of(const Pricer& pricer, const std::string& kernel, const std::string& dtype,
             const std::vector<MeasuredLimit>& measured, const std::string& weight) {
  Form form{kernel, pricer.layout(kernel), dtype};
  for (const MeasuredLimit& limit : measured) {
    if (limit.weight == weight && limit.kernel == kernel && limit.dtype == dtype) form.below = limit.below;
  }
  return form;
}

/// Kernels for the entry in another number type; of the types beside its own only those that quantise by themselves, because
/// others would need the activations converted.
std::vector<std::string> kernels_for(const Entry& entry, const std::string& dtype, const select::Pattern& pattern,
                                     const Pricer& pricer) {
  Entry typed = entry;
  typed.dtype = dtype;
  std::vector<std::string> kernels = pricer.candidates(typed, pattern);
  if (dtype != entry.dtype) std::erase_if(kernels, [](const std::string& kernel) { return kernel != kInt8Kernel; });
  return kernels;
}

/// Those that each of the entries can run.
std::vector<Form> shared_forms(const Request& request, const PrunableWeight& weight, const std::vector<size_t>& entries,
                               const select::Pattern& pattern, const Pricer& pricer) {
  const std::vector<Entry>& all = request.workload.entries;
  std::vector<Form> forms;
  for (const std::string& dtype : dtypes_of(weight, all[entries.front()])) {
    for (const std::string& kernel : kernels_for(all[entries.front()], dtype, pattern, pricer)) {
      const bool everywhere = std::all_of(entries.begin(), entries.end(), [&](size_t position) {
        return holds(kernels_for(all[position], dtype, pattern, pricer), kernel);
      });
      if (everywhere) forms.push_back(form_of(pricer, kernel, dtype, request.measured, weight.name));
    }
  }
  return forms;
}
}  // namespace

std::vector<select::Pattern> patterns_of(const Request& request, const PrunableWeight& weight, const std::string& dtype) {
  const std::string& wanted = weight.pattern.empty() ? request.pattern : weight.pattern;
  if (wanted != "auto") return {select::Pattern::parse(wanted)};
  std::vector<select::Pattern> patterns;
  for (const std::string_view text : kAuto) patterns.push_back(select::Pattern::parse(text));
  if (dtype == "bfloat16") patterns.push_back(select::Pattern::parse(kTileBlock));
  return patterns;
}

MatrixSize matrix_of(const Entry& entry) {
  if (!entry.shape.empty()) {
    const int64_t rows = entry.shape.front(), cols = rows > 0 ? entry.weight_elements / rows : 0;
    if (rows >= 0 && rows * cols == entry.weight_elements) return {rows, cols, taps_of(entry, cols)};
  }
  const int64_t rows = entry.rows * entry.groups;
  if (rows * entry.cols == entry.weight_elements) return {rows, entry.cols};
  return {};
}

std::vector<Form> pruned_forms(const Request& request, const PrunableWeight& weight, const std::vector<size_t>& entries,
                               const select::Pattern& pattern, const Pricer& pricer) {
  std::vector<Form> forms = shared_forms(request, weight, entries, pattern, pricer);
  const std::string& currency = request.prune_for;
  if (!pricer.zeros_save() && currency == "joules") {
    std::erase_if(forms, [](const Form& form) { return form.layout == "dense"; });
  }
  for (Form& form : forms) {  // kept entries and a bit for each, whatever runs them
    if (currency == "bytes" && (form.layout == "dense" || form.layout == "compressed")) form.layout = "bitmap";
  }
  std::erase_if(forms, [&](const Form& form) {
    const bool needs_module = form.layout != "compressed" && form.layout != "bitmap" && form.layout != "dense";
    const bool unable = needs_module && !weight.layouts.empty() && !holds(weight.layouts, form.layout);
    const bool tells = made_of_quads(pattern) && tells_quads(request.workload.entries[entries.front()]);
    return unable || (form.kernel == kInt8Kernel && !tells);
  });
  return forms;
}

std::vector<Form> whole_forms(const Request& request, const PrunableWeight& weight, const std::vector<size_t>& entries,
                              const Pricer& pricer) {
  std::vector<Form> whole;
  const std::string& own = request.workload.entries[entries.front()].dtype;
  const select::Pattern quads{select::Pattern::Kind::kBlock, 1, kQuad};
  for (const Form& form : shared_forms(request, weight, entries, quads, pricer)) {
    const bool as_it_is = form.dtype == own && whole.empty();  // the dense kernel comes first
    const bool in_int8 = form.kernel == kInt8Kernel && (weight.layouts.empty() || holds(weight.layouts, form.layout));
    if (as_it_is || in_int8) whole.push_back(form);
    if (as_it_is) whole.front().layout = "dense";  // also where the device would compress zeros: there are none
  }
  if (whole.empty() || whole.front().dtype != own) whole.insert(whole.begin(), {"dense", "dense", own});
  return whole;
}

int64_t stored(const Form& form, const select::KeptSizes& sizes, int64_t kept) {
  if (form.kernel == kInt8Kernel) return sizes.at(kept, select::Measure::kQuads);
  return sizes.at(kept, form.layout == "bsr" ? select::Measure::kStored : select::Measure::kWeights);
}

Entry configured(Entry entry, const Form& form, int64_t nnz, const std::string& pattern) {
  entry.kernel = form.kernel;
  entry.layout = form.layout == "bitmap" ? "dense" : form.layout;  // stored so; it runs as a dense weight with zeros
  entry.dtype = form.dtype;
  entry.pattern = pattern;
  entry.nnz = nnz;
  return entry;
}

}  // namespace jouleprune::plan
