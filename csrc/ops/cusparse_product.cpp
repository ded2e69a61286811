#include "ops/cusparse_product.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace jouleprune::ops {
namespace {

namespace vendor = cuda::vendor;

struct Library {
  std::shared_ptr<const vendor::CusparseApi> api;
  std::string why_not;
  std::map<cuda::ElementType, std::string> refused;  // under the mutex
};

std::mutex mutex;

/// As JOULEPRUNE_CUSPARSE names it now. Never destroyed: handles belong to it, and the driver may be gone at exit.
Library& library() {
  static auto* const known = new std::map<std::string, std::unique_ptr<Library>>;
  const char* const asked = std::getenv("JOULEPRUNE_CUSPARSE");
  const std::lock_guard lock(mutex);
  auto& found = (*known)[asked == nullptr ? "" : asked];
  if (found == nullptr) {
    found = std::make_unique<Library>();
    found->api = vendor::find_cusparse(found->why_not);
  }
  return *found;
}

/// A handle serves one thread at a time: each thread has its own for each device.
void* handle_of_thread(const vendor::CusparseApi& api, int device, std::string& wrong) {
  static thread_local std::map<std::pair<const vendor::CusparseApi*, int>, void*> handles;
  void*& handle = handles[{&api, device}];
  if (handle == nullptr && api.create(&handle) != vendor::kCusparseSuccess) {
    handle = nullptr;
    wrong = "cusparseCreate failed";
  }
  return handle;
}

template <class Product>
std::string run_product(const Product& product, const at::Tensor& like, const CudaScope& scope) {
  Library& found = library();
  if (found.api == nullptr) return found.why_not;
  std::string wrong;
  void* const handle = handle_of_thread(*found.api, scope.device(), wrong);
  if (wrong.empty() && found.api->set_stream(handle, scope.stream()) != vendor::kCusparseSuccess) wrong = "cusparseSetStream failed";
  if (wrong.empty()) {
    at::Tensor workspace;  // handed to nobody else before the stream has come here
    wrong = vendor::run(*found.api, handle, product, [&](size_t bytes) {
      workspace = at::empty({static_cast<int64_t>(bytes)}, like.options().dtype(at::kByte));
      return workspace.mutable_data_ptr();
    });
  }
  if (!wrong.empty()) {
    wrong = "cuSPARSE: " + wrong;
    const std::lock_guard lock(mutex);
    found.refused[product.weight.type] = wrong;
  }
  return wrong;
}

}  // namespace

std::string why_no_cusparse(cuda::ElementType type) {
  Library& found = library();
  if (found.api == nullptr) return found.why_not;
  const std::lock_guard lock(mutex);
  const auto refused = found.refused.find(type);
  return refused == found.refused.end() ? "" : refused->second;
}

std::string run_cusparse(const vendor::SparseProduct& product, const at::Tensor& like, const CudaScope& scope) {
  return run_product(product, like, scope);
}
std::string run_cusparse(const vendor::SampledProduct& product, const at::Tensor& like, const CudaScope& scope) {
  return run_product(product, like, scope);
}

}  // namespace jouleprune::ops
