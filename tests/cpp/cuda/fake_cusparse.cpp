// A stand-in for cuSPARSE that multiplies on the host and keeps a list of the calls: what the products of cuda/vendor hand to the library,
// and in which order, is seen without a GPU. Strict where the real one is undefined: operands must fit together.
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "element_type.h"
#include "vendor/cusparse_api.h"

namespace {

namespace vendor = jouleprune::cuda::vendor;
namespace simt = jouleprune::simt;

std::string calls, failing;  // of one thread

struct Sparse {
  int64_t rows, cols, entries, r, c;  // rows and columns of blocks
  const int32_t *offsets, *columns;
  void* values;
  int type;
};
struct Dense {
  int64_t rows, cols, leading;
  void* values;
  int type, order;
  int64_t at(int64_t i, int64_t j) const { return order == vendor::kColumnMajor ? j * leading + i : i * leading + j; }
};

constexpr int kInvalid = 3, kUnsupported = 10;

int told(const std::string& call) {
  calls += call + "\n";
  return call.substr(0, call.find('(')) == failing ? kUnsupported : vendor::kCusparseSuccess;
}
template <class... Numbers>
std::string text(const char* name, Numbers... numbers) {
  std::string all = std::string(name) + "(";
  ((all += std::to_string(numbers) + " "), ...);
  all.back() = ')';
  return all;
}

double number(const void* values, int type, int64_t i) {
  switch (type) {
    case vendor::kFloat64: return static_cast<const double*>(values)[i];
    case vendor::kFloat16: return simt::widen(static_cast<const simt::Half*>(values)[i]);
    case vendor::kBFloat16: return simt::widen(static_cast<const simt::BFloat16*>(values)[i]);
    default: return static_cast<const float*>(values)[i];
  }
}
void put(void* values, int type, int64_t i, double x) {
  switch (type) {
    case vendor::kFloat64: static_cast<double*>(values)[i] = x; return;
    case vendor::kFloat16: static_cast<simt::Half*>(values)[i] = simt::narrow<simt::Half>(static_cast<float>(x)); return;
    case vendor::kBFloat16: static_cast<simt::BFloat16*>(values)[i] = simt::narrow<simt::BFloat16>(static_cast<float>(x)); return;
    default: static_cast<float*>(values)[i] = static_cast<float>(x);
  }
}
bool is(const void* factor, int compute, double x) { return number(factor, compute, 0) == x; }

template <class Visit>
void for_each_entry(const Sparse& a, const Visit& visit) {  // (row, column, place of the value)
  for (int64_t block_row = 0; block_row < a.rows / a.r; ++block_row) {
    for (int64_t k = a.offsets[block_row]; k < a.offsets[block_row + 1]; ++k) {
      for (int64_t i = 0; i < a.r; ++i) {
        for (int64_t j = 0; j < a.c; ++j) visit(block_row * a.r + i, a.columns[k] * a.c + j, (k * a.r + i) * a.c + j);
      }
    }
  }
}

}  // namespace

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED const char* fake_cusparse_calls() { return calls.c_str(); }
EXPORTED void fake_cusparse_begin(const char* failing_call) { calls.clear(), failing = failing_call; }

EXPORTED int cusparseCreate(void** handle) { return *handle = new int(7), told("cusparseCreate()"); }
EXPORTED int cusparseDestroy(void* handle) { return delete static_cast<int*>(handle), told("cusparseDestroy()"); }
EXPORTED int cusparseSetStream(void*, void*) { return told("cusparseSetStream()"); }
EXPORTED int cusparseGetVersion(void*, int* version) { return *version = 12603, vendor::kCusparseSuccess; }
EXPORTED const char* cusparseGetErrorString(int status) { return status == kUnsupported ? "operation not supported" : "invalid value"; }

EXPORTED int cusparseCreateCsr(void** matrix, int64_t rows, int64_t cols, int64_t nnz, void* offsets, void* columns, void* values, int offsets_type,
                               int columns_type, int base, int type) {
  if (offsets_type != vendor::kIndex32 || columns_type != vendor::kIndex32 || base != vendor::kBaseZero) return kInvalid;
  *matrix = new Sparse{rows, cols, nnz, 1, 1, static_cast<int32_t*>(offsets), static_cast<int32_t*>(columns), values, type};
  return told(text("cusparseCreateCsr", rows, cols, nnz, type));
}
EXPORTED int cusparseCreateBsr(void** matrix, int64_t block_rows, int64_t block_cols, int64_t blocks, int64_t r, int64_t c, void* offsets,
                               void* columns, void* values, int offsets_type, int columns_type, int base, int type, int order) {
  if (offsets_type != vendor::kIndex32 || columns_type != vendor::kIndex32 || base != vendor::kBaseZero || order != vendor::kRowMajor) return kInvalid;
  *matrix = new Sparse{block_rows * r, block_cols * c, blocks, r, c, static_cast<int32_t*>(offsets), static_cast<int32_t*>(columns), values, type};
  return told(text("cusparseCreateBsr", block_rows, block_cols, blocks, r, c, type));
}
EXPORTED int cusparseDestroySpMat(void* matrix) { return delete static_cast<Sparse*>(matrix), told("cusparseDestroySpMat()"); }
EXPORTED int cusparseCreateDnMat(void** matrix, int64_t rows, int64_t cols, int64_t leading, void* values, int type, int order) {
  if (leading < (order == vendor::kColumnMajor ? rows : cols)) return kInvalid;
  *matrix = new Dense{rows, cols, leading, values, type, order};
  return told(text("cusparseCreateDnMat", rows, cols, leading, type, order));
}
EXPORTED int cusparseDestroyDnMat(void* matrix) { return delete static_cast<Dense*>(matrix), told("cusparseDestroyDnMat()"); }

EXPORTED int cusparseSpMM_bufferSize(void*, int, int, const void*, void*, void*, const void*, void*, int, int algorithm, size_t* bytes) {
  *bytes = 48;
  return told(text("cusparseSpMM_bufferSize", algorithm));
}
EXPORTED int cusparseSpMM(void*, int op_a, int op_b, const void* alpha, void* a, void* b, const void* beta, void* c, int compute, int algorithm,
                          void* buffer) {
  const auto& w = *static_cast<Sparse*>(a);
  const auto &x = *static_cast<Dense*>(b), &y = *static_cast<Dense*>(c);
  const bool whole = op_a == vendor::kNonTranspose && op_b == vendor::kNonTranspose && is(alpha, compute, 1) && is(beta, compute, 0) &&
                     w.cols == x.rows && w.rows == y.rows && x.cols == y.cols && w.type == x.type && w.type == y.type;
  if (!whole) return kInvalid;
  std::memset(buffer, 0xee, 48);  // it is the library's to write
  for (int64_t j = 0; j < y.cols; ++j) {
    std::vector<double> sums(static_cast<size_t>(y.rows));
    for_each_entry(w, [&](int64_t row, int64_t col, int64_t place) {
      sums[static_cast<size_t>(row)] += number(w.values, w.type, place) * number(x.values, x.type, x.at(col, j));
    });
    for (int64_t i = 0; i < y.rows; ++i) put(y.values, y.type, y.at(i, j), sums[static_cast<size_t>(i)]);
  }
  return told(text("cusparseSpMM", compute, algorithm));
}
EXPORTED int cusparseSDDMM_bufferSize(void*, int, int, const void*, void*, void*, const void*, void*, int, int algorithm, size_t* bytes) {
  *bytes = 16;
  return told(text("cusparseSDDMM_bufferSize", algorithm));
}
EXPORTED int cusparseSDDMM(void*, int op_a, int op_b, const void* alpha, void* a, void* b, const void* beta, void* c, int compute, int algorithm,
                           void* buffer) {
  const auto &left = *static_cast<Dense*>(a), &right = *static_cast<Dense*>(b);
  const auto& kept = *static_cast<Sparse*>(c);
  const bool whole = op_a == vendor::kNonTranspose && op_b == vendor::kNonTranspose && is(alpha, compute, 1) && is(beta, compute, 0) &&
                     left.rows == kept.rows && right.cols == kept.cols && left.cols == right.rows && left.type == kept.type &&
                     right.type == kept.type;
  if (!whole) return kInvalid;
  std::memset(buffer, 0xee, 16);
  for_each_entry(kept, [&](int64_t row, int64_t col, int64_t place) {
    double sum = 0;
    for (int64_t j = 0; j < left.cols; ++j) {
      sum += number(left.values, left.type, left.at(row, j)) * number(right.values, right.type, right.at(j, col));
    }
    put(kept.values, kept.type, place, sum);
  });
  return told(text("cusparseSDDMM", compute, algorithm));
}
