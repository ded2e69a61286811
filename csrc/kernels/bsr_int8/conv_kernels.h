// The inner loops of int8 convolutions on a raster (csr/raster.h) of words: as many words of a quad of channels as in
// panel_kernels.h, each in a plane of its own, pixels along the vector. One table per instruction set. A "tile" holds sums:
// tile[row * width + lane].
#pragma once
#include <cstdint>

#include "kernels/bsr_int8/panel_kernels.h"
#include "kernels/isa.h"

namespace jouleprune::kernels::bsr_int8 {

/// Neighbouring pixels of an image that are neighbours on the raster; `zeros` words of padding follow them.
struct PixelRun {
  int64_t from;   ///< elements from the start of the input to the first pixel's first channel
  int64_t to;     ///< its word in a plane
  int64_t count, zeros;
  int64_t image;  ///< within the batch
};

/// Where pixels come from. One channel's pixels are `pixel_stride` elements apart.
struct PixelSource {
  const float* x = nullptr;         ///< the first channel that is filled in
  int64_t channels = 0, channel_stride = 0, pixel_stride = 0;
  const float* inverse = nullptr;   ///< [batch] what each image is multiplied by
  bool given = false;               ///< the scale is given: values beyond it are clamped, and NaN is looked for
  uint8_t* lost = nullptr;          ///< [batch] set to 1 for an image with a NaN; looked at where the scale is given
};

/// Where pixels come from that are bytes already, 128 added.
struct ByteSource {
  const uint8_t* x = nullptr;  ///< the first channel that is filled in
  int64_t channels = 0, channel_stride = 0, pixel_stride = 0;
};

/// A weight in the words of a table, borrowed.
struct RasterWeight {
  const int32_t* row_offsets = nullptr;  ///< [rows + 1]
  const int32_t* columns = nullptr;      ///< [nnz] words from the raster's start
  const uint32_t* values = nullptr;      ///< [nnz * words]
  const int32_t* start = nullptr;        ///< [rows] what the sums begin with
  int64_t word_stride = 0;               ///< from the first word of a quad to its second
};

/// Neighbouring output pixels of one image.
struct OutputRun {
  int64_t at, count;  ///< lanes of the tile
  int64_t to;         ///< elements from the start of the output to the first pixel of output channel 0
  float input_scale;
  int64_t image;      ///< within the batch
};

/// Where finished sums go: relu?(tile[r * width + lane] * (scales[r] * input_scale) + bias[r])
struct TileOutput {
  float* y = nullptr;             ///< output channel 0 of the tile's first row
  int64_t channel_stride = 0;
  const float *scales = nullptr, *bias = nullptr;  ///< of the tile's rows; bias: or null
  bool relu = false;
};

/// Where they go as bytes, 128 added, in steps of 1 / inverse: bytes instead of y, and as many apart.
struct TileBytes {
  uint8_t* y = nullptr;
  float inverse = 0;
  uint8_t* lost = nullptr;  ///< [batch] set to 1 for an image that would hold a NaN
};

struct ConvKernels {
  int64_t lanes;  ///< pixels in a vector
  int64_t words;  ///< of a quad

  /// The largest magnitude as in row_scale().
  uint32_t (*largest)(const float* x, int64_t count);
  /// One quad (up to 4 channels) of [batch, channels, height, width]: the planes of its words are `plane` words apart.
  void (*fill_planes)(const PixelSource& source, const PixelRun* runs, int64_t run_count, int32_t* to, int64_t plane);
  /// The same for all quads of a group of [batch, height, width, channels]. channel_stride is 1.
  void (*fill_pixels)(const PixelSource& source, const PixelRun* runs, int64_t run_count, int32_t* to, int64_t plane);
  /// Sums of rows [begin, end) into the tile, for `vectors` vectors of pixels from x on.
  void (*multiply)(const RasterWeight& weight, int64_t begin, int64_t end, const int32_t* x, int64_t vectors, int32_t* tile,
                   int64_t width);
  /// Pixels of a channel are neighbours in the output. Tiles are read in whole vectors: up to 16 words beyond their last run.
  void (*store_planes)(const int32_t* tile, int64_t width, int64_t rows, const OutputRun* runs, int64_t run_count,
                       const TileOutput& output);
  /// Channels of a pixel are neighbours in the output; pixels are channel_stride elements apart.
  void (*store_pixels)(const int32_t* tile, int64_t width, int64_t rows, const OutputRun* runs, int64_t run_count,
                       const TileOutput& output);

  // The same from and to bytes.
  void (*fill_byte_planes)(const ByteSource& source, const PixelRun* runs, int64_t run_count, int32_t* to, int64_t plane);
  void (*fill_byte_pixels)(const ByteSource& source, const PixelRun* runs, int64_t run_count, int32_t* to, int64_t plane);
  void (*store_byte_planes)(const int32_t* tile, int64_t width, int64_t rows, const OutputRun* runs, int64_t run_count,
                            const TileOutput& output, const TileBytes& bytes);
  void (*store_byte_pixels)(const int32_t* tile, int64_t width, int64_t rows, const OutputRun* runs, int64_t run_count,
                            const TileOutput& output, const TileBytes& bytes);
};

/// The table of a supported instruction set; Isa::kReference has none (std::logic_error).
const ConvKernels& conv_kernels(Isa isa);

// Those that exist in this build.
extern const ConvKernels portable_conv_pairs;
#if defined(__x86_64__)
extern const ConvKernels avx2_conv_pairs, avx512_conv_pairs, avx512_vnni_conv_quads;
#endif

}  // namespace jouleprune::kernels::bsr_int8
