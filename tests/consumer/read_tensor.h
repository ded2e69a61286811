// Tensors that make_artifacts.py wrote: little-endian float32 (x.f32) beside their sizes as text (x.shape).
#pragma once
#include <torch/types.h>

#include <fstream>
#include <string>
#include <vector>

#include "check.h"

inline torch::Tensor read_tensor(const std::string& path) {
  std::ifstream shape(path + ".shape");
  std::vector<int64_t> sizes;
  for (int64_t size = 0; shape >> size;) {
    sizes.push_back(size);
  }
  auto tensor = torch::empty(sizes);
  std::ifstream values(path + ".f32", std::ios::binary);
  values.read(reinterpret_cast<char*>(tensor.data_ptr<float>()), static_cast<std::streamsize>(tensor.nbytes()));
  REQUIRE(!sizes.empty() && values && values.peek() == EOF);
  return tensor;
}
