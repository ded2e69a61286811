#include "kernels/bsr_int8/conv_sections.h"

#include <algorithm>

#include "formats/ceil_div.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

/// Bytes of a raster, whose planes are all alike.
int64_t raster_bytes(const csr::ConvShape& words, const SectionSize& size) {
  csr::ConvShape one = words;
  one.batch = one.in_channels = one.out_channels = one.groups = 1;
  return 4 * words.in_channels * csr::Raster(one, size.images, size.height, size.width).elements();
}

}  // namespace

std::optional<SectionSize> section_size(const csr::ConvShape& words, int64_t bytes) {
  constexpr int64_t kCached = 1 << 20, kAddressed = (int64_t{1} << 31) - 1;
  const int64_t most = bytes > 0 ? std::min(bytes, kAddressed) : kCached;
  SectionSize size{1, words.out_height(), words.out_width()};
  const int64_t whole = raster_bytes(words, size);
  if (whole <= most) {
    // Several small images share vectors of pixels and passes over the weight.
    const int64_t images = std::clamp<int64_t>(most / 2 / std::max<int64_t>(whole, 1), 1, std::max<int64_t>(words.batch, 1));
    const int64_t sections = ceil_div(words.batch, images);
    size.images = ceil_div(words.batch, std::max<int64_t>(sections, 1));  // about as many in each
    return size;
  }
  while (size.height > 1 && raster_bytes(words, size) > most) {
    size.height = (size.height + 1) / 2;
  }
  constexpr int64_t kLeastWidth = 256;  // shorter ones read their neighbours' pixels again too often
  while (size.width > (bytes > 0 ? 1 : kLeastWidth) && raster_bytes(words, size) > most) {
    size.width = (size.width + 1) / 2;
  }
  if (raster_bytes(words, size) > kAddressed) {
    return std::nullopt;
  }
  return size;
}

}  // namespace jouleprune::kernels::bsr_int8
