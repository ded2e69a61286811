#include "simt/host/warp_math.h"

#include <cstring>

#include "simt/fragments.h"

namespace jouleprune::simt::host {
namespace {

uint16_t half_of(uint32_t word, int i) { return static_cast<uint16_t>(word >> (16 * (i & 1))); }

template <class T>
double element(const uint32_t* registers, int i) {
  return widen(T{half_of(registers[i / 2], i)});
}

template <size_t kInner>
void multiply_tiles(const double (&a)[16][kInner], const double (&b)[kInner][8], double (&d)[16][8]) {
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      for (size_t k = 0; k < kInner; ++k) {
        d[row][column] += a[row][k] * b[k][column];
      }
    }
  }
}

template <class In>
void gather_sums(const Lanes<In>& in, double (&d)[16][8]) {
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const auto p = place_in_sums(lane, i);
      d[p.row][p.column] = in[static_cast<size_t>(lane)].d.v[i];
    }
  }
}

void scatter_sums(const double (&d)[16][8], Lanes<Sums>& out) {
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const auto p = place_in_sums(lane, i);
      out[static_cast<size_t>(lane)].v[i] = static_cast<float>(d[p.row][p.column]);
    }
  }
}

}  // namespace

void spread_matrices(const Lanes<Chunk>& rows, bool transposed, Lanes<Fragment>& out) {
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int m = 0; m < 4; ++m) {
      uint32_t word = 0;
      for (int i = 0; i < 2; ++i) {
        auto [row, column] = place_in_matrix(lane, i);
        if (transposed) {
          std::swap(row, column);
        }
        const auto& chunk = rows[static_cast<size_t>(8 * m + row)];
        word |= static_cast<uint32_t>(half_of(chunk.words[column / 2], column)) << (16 * i);
      }
      out[static_cast<size_t>(lane)].r[m] = word;
    }
  }
}

Lanes<uint32_t> transposed_matrix(const Lanes<uint32_t>& in) {
  uint16_t matrix[8][8];
  Lanes<uint32_t> out{};
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int i = 0; i < 2; ++i) {
      const auto p = place_in_matrix(lane, i);
      matrix[p.row][p.column] = half_of(in[static_cast<size_t>(lane)], i);
    }
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int i = 0; i < 2; ++i) {
      const auto p = place_in_matrix(lane, i);
      out[static_cast<size_t>(lane)] |= static_cast<uint32_t>(matrix[p.column][p.row]) << (16 * i);
    }
  }
  return out;
}

template <class T>
void multiply(const Lanes<MmaIn>& in, Lanes<Sums>& out) {
  double a[16][16], b[16][8], d[16][8];
  gather_sums(in, d);
  for (int lane = 0; lane < kLanes; ++lane) {
    const auto& mine = in[static_cast<size_t>(lane)];
    for (int i = 0; i < 8; ++i) {
      const auto p = place_in_a(lane, i);
      a[p.row][p.column] = element<T>(mine.a.r, i);
    }
    for (int i = 0; i < 4; ++i) {
      const auto p = place_in_b(lane, i);
      b[p.row][p.column] = element<T>(mine.b, i);
    }
  }
  multiply_tiles(a, b, d);
  scatter_sums(d, out);
}

template <class T>
bool multiply_sparse(const Lanes<SparseIn>& in, int selector, Lanes<Sums>& out) {
  double kept[16][16], a[16][32] = {}, b[32][8], d[16][8];
  gather_sums(in, d);
  for (int lane = 0; lane < kLanes; ++lane) {
    const auto& mine = in[static_cast<size_t>(lane)];
    for (int i = 0; i < 8; ++i) {
      const auto p = place_in_a(lane, i), q = place_in_b(lane, i);
      kept[p.row][p.column] = element<T>(mine.a.r, i);
      b[q.row][q.column] = element<T>(mine.b.r, i);
    }
  }
  bool valid = true;
  for (int row = 0; row < 16; ++row) {
    for (int chunk = 0; chunk < 8; ++chunk) {
      const auto at = place_of_metadata(row, chunk, selector);
      const uint32_t code = in[static_cast<size_t>(at.lane)].metadata >> at.bit & 15u;
      const int first = static_cast<int>(code & 3u), second = static_cast<int>(code >> 2);
      valid = valid && first < second;
      a[row][4 * chunk + first] = kept[row][2 * chunk];
      a[row][4 * chunk + second] = kept[row][2 * chunk + 1];
    }
  }
  multiply_tiles(a, b, d);
  scatter_sums(d, out);
  return valid;
}

template void multiply<Half>(const Lanes<MmaIn>&, Lanes<Sums>&);
template void multiply<BFloat16>(const Lanes<MmaIn>&, Lanes<Sums>&);
template bool multiply_sparse<Half>(const Lanes<SparseIn>&, int, Lanes<Sums>&);
template bool multiply_sparse<BFloat16>(const Lanes<SparseIn>&, int, Lanes<Sums>&);

}  // namespace jouleprune::simt::host
