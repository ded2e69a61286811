// The layers of AlexNet with its groups, as the papers of Eyeriss count them.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "energy/cases.h"

namespace jouleprune::test {

struct AlexNetLayer {
  const char* name;
  int64_t out, in, groups, kernel, stride, out_size, in_size;
};

/// Images include their padding. The last three are fully connected.
inline constexpr std::array<AlexNetLayer, 8> kAlexNet = {{{"conv1", 96, 3, 1, 11, 4, 55, 227},
                                                          {"conv2", 256, 96, 2, 5, 1, 27, 31},
                                                          {"conv3", 384, 256, 1, 3, 1, 13, 15},
                                                          {"conv4", 384, 384, 2, 3, 1, 13, 15},
                                                          {"conv5", 256, 384, 2, 3, 1, 13, 15},
                                                          {"fc1", 4096, 9216, 1, 1, 1, 1, 1},
                                                          {"fc2", 4096, 4096, 1, 1, 1, 1, 1},
                                                          {"fc3", 1000, 4096, 1, 1, 1, 1, 1}}};

/// The call of a layer with `batch` images, as the recorder would tell it.
inline Entry entry_of(const AlexNetLayer& layer, int64_t batch) {
  if (layer.out_size == 1) return linear(layer.out, layer.in, batch, "int16");
  Entry entry = conv2d(layer.out, layer.in, layer.kernel, layer.out_size, batch, layer.groups, "int16");
  entry.name = layer.name;
  entry.input_elements = layer.in * layer.in_size * layer.in_size * batch;
  entry.image = {layer.out_size, layer.out_size};
  entry.stride = {layer.stride, layer.stride};
  return entry;
}

}  // namespace jouleprune::test
