#include "vendor/cusparse_api.h"

#include <dlfcn.h>

#include <cstdlib>

namespace jouleprune::cuda::vendor {
namespace {

template <class Function>
bool look_up(void* library, const char* name, Function& function, std::string& why_not) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) why_not = std::string("it has no ") + name;
  return function != nullptr;
}

std::string told_by_linker() {
  const char* const text = dlerror();
  return text != nullptr ? text : "no reason given";
}

}  // namespace

std::shared_ptr<const CusparseApi> load_cusparse(const std::string& library, std::string& why_not) {
  void* const opened = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (opened == nullptr) {
    why_not = "cuSPARSE is not available: " + told_by_linker();
    return nullptr;
  }
  auto api = std::make_shared<CusparseApi>();
  api->library = std::shared_ptr<void>(opened, [](void* handle) { dlclose(handle); });
  std::string missing;
  const auto found = [&](const char* name, auto& function) { return look_up(opened, name, function, missing); };
  const bool whole = found("cusparseCreate", api->create) && found("cusparseDestroy", api->destroy) &&
                     found("cusparseSetStream", api->set_stream) && found("cusparseGetVersion", api->version) &&
                     found("cusparseGetErrorString", api->error_text) && found("cusparseCreateCsr", api->create_csr) &&
                     found("cusparseCreateBsr", api->create_bsr) && found("cusparseDestroySpMat", api->destroy_sparse) &&
                     found("cusparseCreateDnMat", api->create_dense) && found("cusparseDestroyDnMat", api->destroy_dense) &&
                     found("cusparseSpMM_bufferSize", api->spmm_bytes) && found("cusparseSpMM", api->spmm) &&
                     found("cusparseSDDMM_bufferSize", api->sddmm_bytes) && found("cusparseSDDMM", api->sddmm);
  if (!whole) {
    why_not = "cuSPARSE is not available: " + library + ": " + missing;
    return nullptr;
  }
  why_not.clear();
  return api;
}

std::shared_ptr<const CusparseApi> find_cusparse(std::string& why_not) {
  const char* const asked = std::getenv("JOULEPRUNE_CUSPARSE");
  const std::string library = asked != nullptr && *asked != '\0' ? asked : "libcusparse.so.12";
  if (library == "off") {
    why_not = "cuSPARSE is not available: JOULEPRUNE_CUSPARSE is off";
    return nullptr;
  }
  return load_cusparse(library, why_not);
}

}  // namespace jouleprune::cuda::vendor
