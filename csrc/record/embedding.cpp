// Table look-ups: only the rows that are looked up move, so `weight_elements` are those, not the whole table.
#include <utility>

#include "record/handlers.h"

namespace jouleprune::record {
namespace {

Entry look_up(const Call& call, Recording& recording) {
  const at::Tensor table = call.tensor(0), indices = call.tensor(1);
  const int64_t features = table.size(-1), n = indices.numel();
  Entry entry = recording.weighted("embedding", {features, 1, n, 1}, table, {}, call.output());
  entry.macs = 0;
  // The share of zeros of the table stands for that of the rows.
  const double share = table.numel() == 0 ? 0.0 : static_cast<double>(entry.nnz) / static_cast<double>(table.numel());
  entry.weight_elements = features * n;
  entry.nnz = static_cast<int64_t>(share * static_cast<double>(entry.weight_elements) + 0.5);
  entry.input_elements = n;
  return entry;
}

}  // namespace

void embedding(const Call& call, Recording& recording) { recording.add(look_up(call, recording)); }

void embedding_bag(const Call& call, Recording& recording) {
  Entry entry = look_up(call, recording);
  entry.ops = entry.weight_elements;  // each row is added to its bag
  recording.add(std::move(entry));
}

}  // namespace jouleprune::record
