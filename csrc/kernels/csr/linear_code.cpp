#include "kernels/csr/linear_code.h"

#include <algorithm>
#include <array>
#include <memory>
#include <type_traits>

#include "kernels/csr/code_sums.h"
#include "kernels/csr/code_tiles.h"
#include "kernels/csr/code_form.h"
#include "kernels/csr/panels.h"
#include "kernels/csr/residual.h"
#include "kernels/csr/scratch.h"
#include "kernels/csr/vector_kernels.h"
#include "kernels/denormals.h"

namespace jouleprune::kernels::csr {
namespace {

/// The parts of one call.
template <class T>
struct Call {
  const LinearParams<T>& p;
  formats::CsrView csr;   // of the weight that runs: given, or transposed
  const jit::PatternCode& code;
  const uint32_t* values;
  const uint32_t* start;  // [rows] float32 bits: the bias, or zeros
  const VectorKernels<T>& kernels;
  const CodeTiles<T>& tiles;
  int64_t lanes;
  bool pairs;

  int64_t panels() const { return (p.n + lanes - 1) / lanes; }
  int64_t count(int64_t panel) const { return std::min(lanes, p.n - panel * lanes); }
  int64_t panel_elements() const { return (pairs ? (csr.cols + 1) / 2 : csr.cols) * lanes; }
  T* output(int64_t panel, int64_t row) const { return p.output + panel * lanes * csr.rows + row; }

  void pack(int64_t panel, float* to) const {
    const auto pack_panel = pairs ? tiles.pack_pairs : tiles.pack;
    pack_panel(p.input + panel * lanes * p.input_stride, p.input_stride, count(panel), csr.cols, to);
  }
  void run(const jit::PatternBlock& block, const float* x, float* sums) const {
    block.run(x, values, sums, start + block.row_begin);
  }
  void prefetch(const jit::PatternBlock& block, int64_t panel) const {
    tiles.prefetch(output(panel, block.row_begin), block.rows, count(panel), csr.rows);
  }
  void finish(const jit::PatternBlock& block, int64_t panel, float* sums) const {
    finish_block(block, p.activation, kernels, tiles, lanes, count(panel), sums, output(panel, block.row_begin), csr.rows);
    add_residual(p, kernels, Tile{panel * lanes, count(panel), block.row_begin, block.row_begin + block.rows});
  }
};

/// One thread's share of the panels: all code per panel.
template <class T>
void run_panels(const Call<T>& call, int64_t begin, int64_t end) {
  const FlushDenormals flush;
  const bool blocked = call.code.column_blocks() > 1;
  Scratch<float> x(call.panel_elements());
  Scratch<float> sums(((blocked ? call.csr.rows : 0) + kMaxGroupRows) * call.lanes);
  for (int64_t panel = begin; panel < end; ++panel) {
    call.pack(panel, x.data());
    for (int64_t column_block = 0; column_block < call.code.column_blocks(); ++column_block) {
      const bool last = column_block + 1 == call.code.column_blocks();
      for (int64_t group = 0; group < call.code.groups(); ++group) {
        const auto& block = call.code.block(group, column_block);
        float* const group_sums = sums.data() + (blocked ? block.row_begin * call.lanes : 0);
        if (last) call.prefetch(block, panel);
        call.run(block, x.data(), group_sums);
        if (last) call.finish(block, panel, group_sums);
      }
    }
  }
}

/// Groups [begin, end) on panels [first, first + count), packed in `x`.
template <class T>
void run_groups(const Call<T>& call, int64_t begin, int64_t end, int64_t first, int64_t count, const float* x) {
  const int64_t column_blocks = call.code.column_blocks(), blocks = (end - begin) * column_blocks;
  const auto block_at = [&](int64_t i) -> const jit::PatternBlock& {
    return call.code.block(begin + i / column_blocks, i % column_blocks);
  };
  const int64_t panel_elements = call.panel_elements(), sum_elements = kMaxGroupRows * call.lanes;
  Scratch<float> sums((column_blocks > 1 ? count : 1) * sum_elements);
  for (int64_t b = 0; b < blocks; ++b) {
    const bool last = b % column_blocks + 1 == column_blocks;
    const auto& block = block_at(b);
    for (int64_t i = 0; i < count; ++i) {
      float* const group_sums = sums.data() + (column_blocks > 1 ? i * sum_elements : 0);
      if (b + 1 < blocks) block_at(b + 1).prefetch(call.values, i, count);
      if (last) call.prefetch(block, first + i);
      call.run(block, x + i * panel_elements, group_sums);
      if (last) call.finish(block, first + i, group_sums);
    }
  }
}

/// Packs panels [first, last), about an L2 of them at once, yet enough to make reading the code worth it.
template <class T>
void run_waves(const Call<T>& call, int64_t begin, int64_t end, int64_t first, int64_t last) {
  constexpr int64_t kWaveBytes = 1 << 20, kMinWave = 8;
  const int64_t panel_elements = call.panel_elements();
  const int64_t wave = std::min(last - first, std::max(kMinWave, kWaveBytes / std::max<int64_t>(1, panel_elements * 4)));
  Scratch<float> x(wave * panel_elements);
  for (; first < last; first += wave) {
    const int64_t count = std::min(wave, last - first);
    for (int64_t i = 0; i < count; ++i) {
      call.pack(first + i, x.data() + i * panel_elements);
    }
    run_groups(call, begin, end, first, count, x.data());
  }
}

/// Units are (part of the panels, group). Each thread packs the panels that it reads, the few that are split between two threads
/// twice: lines that one core writes and another reads, call after call, would cost more (768 x 768, n = 192, 90 % zeros, two
/// threads: 178 us when both pack for both).
template <class T>
void group_outer(const Call<T>& call, const ParallelFor& parallel) {
  constexpr int64_t kMostParts = 64;
  const int64_t groups = call.code.groups(), panels = call.panels(), parts = std::min(panels, kMostParts);
  const int64_t nnz_per_group = call.csr.nnz / std::max<int64_t>(1, groups) + 1;
  const auto begin_of = [&](int64_t part) { return panels * part / parts; };
  parallel(0, parts * groups, grain_of(nnz_per_group * (panels / parts) * call.lanes), [&](int64_t begin, int64_t end) {
    const FlushDenormals flush;
    while (begin < end) {
      const int64_t part = begin / groups, group = begin % groups;
      const int64_t whole = group == 0 ? (end - begin) / groups : 0;  // parts of which all groups are ours: one after the other
      const int64_t group_end = whole > 0 ? groups : std::min(groups, group + end - begin);
      run_waves(call, group, group_end, begin_of(part), begin_of(part + std::max<int64_t>(1, whole)));
      begin += whole > 0 ? whole * groups : group_end - group;
    }
  });
}

jit::PatternSpec spec_for(const formats::CsrView& csr, int64_t column_block, Isa isa, jit::MultiplyAdd multiply_add) {
  const int64_t vector_bytes = jit::lanes_of(isa) * 4;
  jit::PatternSpec spec{csr, 0, csr.rows, {}, column_block, vector_bytes, isa, multiply_add};
  for (int64_t col = 0; col < csr.cols; ++col) {
    spec.column_bytes.push_back(col * vector_bytes);
  }
  return spec;
}

/// Intel's cores since Sapphire Rapids: 2 MB, from which code runs at half the rate of an L1, and a slower cache behind.
bool has_large_cache(int64_t l2) { return l2 >= 2 << 20; }

int64_t code_bytes(const formats::CsrView& csr) { return csr.nnz * 113 / 10; }  // 7.3 of code and a value

}  // namespace

template <class T>
bool has_linear_code(Isa isa) {
  return !std::is_same_v<T, double> && (isa == Isa::kAvx512 || isa == Isa::kAvx2) && jit::available();
}

bool bfloat16_pairs_supported() {
#if defined(__x86_64__)
  return isa_supported(Isa::kAvx512) && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

bool bfloat16_pairs_pay() {
#if defined(__x86_64__)
  return bfloat16_pairs_supported() && __builtin_cpu_is("amd");
#else
  return false;
#endif
}

// Speed over torch's dense float32, one thread of a Zen 4 (1 MB of L2, 32 KB of L1), batch-major in and out:
//                          3072x768 n=128          768x3072 n=128         1024x1024 n=256
//   zeros                  80 %  90 %  95 %        80 %  90 %  95 %       80 %  90 %  95 %  99 %
//   group outer            5.3   9.3   12.5        5.4   8.6   10.8       4.9   8.2   10.1  21.2
//   panel outer            4.8   7.4    9.8        5.0   7.8   10.6       4.8   7.2    9.7  23.2
//   panel outer, 384       4.6   7.8   11.4        4.7   8.2   12.5       4.6   7.7   11.3  21.5
// Microseconds on one core of an Emerald Rapids with 2 MB of L2, another program's load on the host (medians of 7):
//                          3072x768 n=128      768x3072 n=128      1024x1024 n=256           768x768 n=192
//   zeros                  90 %  95 %  99 %    90 %  95 %  99 %    80 %  90 %  95 %  99 %    90 %  95 %  99 %
//   code and values, KB    2605  1303   261    2608  1299   260    2314  1159   580   116     650   325    66
//   group outer             982   662   334    1334   783   308    2028  1627   822   605     527   304   151
//   panel outer            2282  1218   219    2324   957   181    4350  1744   684   343     451   244    89
// With 768x3072 n=128 at 50 / 70 % (13 / 8 MB) code took 5320 / 3178, panels without code 3700 / 2161.
LinearCodeChoice choose_linear_code(const formats::CsrView& csr, int64_t n, Isa isa, int64_t l2) {
  constexpr double kFew = 0.075, kVeryFew = 0.03;      // densities from which loads of activations outweigh multiply-adds
  constexpr int64_t kPackedBatch = 512 << 10;          // bytes of packed batch that group outer streams through half an L2
  constexpr int64_t kColumnBlock = 384;                // 24 KB of a panel: three quarters of an L1
  const int64_t lanes = jit::lanes_of(isa), panels = (n + lanes - 1) / lanes;
  if (isa == Isa::kAvx512 && has_large_cache(l2)) {
    return {panels > 1 && code_bytes(csr) <= l2 * 2 / 5 ? CodeOrder::kPanelOuter : CodeOrder::kGroupOuter, 0};
  }
  const double density = static_cast<double>(csr.nnz) / (static_cast<double>(csr.rows) * static_cast<double>(csr.cols) + 1);
  if (isa != Isa::kAvx512 || panels <= 1 || density >= kFew || n * csr.cols * 4 <= kPackedBatch) {
    return {CodeOrder::kGroupOuter, 0};
  }
  return {CodeOrder::kPanelOuter, density < kVeryFew ? 0 : kColumnBlock};
}

bool linear_code_pays(const formats::CsrView& csr, int64_t n, int64_t l2) {
  return !has_large_cache(l2) || code_bytes(csr) <= 3 * l2 || n * csr.cols * 4 <= l2 / 2;
}

template <class T>
std::shared_ptr<const CodeForm> linear_code_form(const LinearParams<T>& p, const LinearCodeChoice& choice, Isa isa,
                                                 const TransposedForm* transposed) {
  const std::array<int64_t, 3> details = {static_cast<int64_t>(isa), choice.column_block, transposed != nullptr};
  if constexpr (std::is_same_v<T, BFloat16>) {
    if (choice.pairs) {
      return pair_form(p.forms, details, p.csr, p.values, [&](const formats::CsrView& pairs) {
        return spec_for(pairs, choice.column_block, isa, jit::MultiplyAdd::kBFloat16Pairs);
      });
    }
  }
  const formats::CsrView csr = transposed == nullptr ? p.csr : transposed->view();
  return code_form(
      p.forms, "linear code", details, p.values, [&] { return spec_for(csr, choice.column_block, isa, jit::MultiplyAdd::kFloat32); },
      transposed == nullptr ? nullptr : transposed->positions().data());
}

template <class T>
void linear_code(const LinearParams<T>& p, const LinearCodeChoice& choice, const ParallelFor& parallel, Isa isa,
                 const TransposedForm* transposed) {
  const int64_t lanes = jit::lanes_of(isa);
  const formats::CsrView csr = transposed == nullptr ? p.csr : transposed->view();
  const auto form = linear_code_form(p, choice, isa, transposed);
  Scratch<float> start(csr.rows);
  for (int64_t row = 0; row < csr.rows; ++row) {
    start.data()[row] = p.bias == nullptr ? 0.0f : widen(p.bias[row]);
  }
  const Call<T> call{p,
                     csr,
                     *form->code,
                     form->values.get(),
                     reinterpret_cast<const uint32_t*>(start.data()),
                     vector_kernels<T>(isa),
                     code_tiles<T>(isa),
                     lanes,
                     choice.pairs};
  if (choice.order == CodeOrder::kGroupOuter) {
    return group_outer(call, parallel);
  }
  const int64_t panel_work = (csr.nnz + 4 * (csr.cols + csr.rows)) * lanes;
  parallel(0, call.panels(), grain_of(panel_work), [&](int64_t begin, int64_t end) { run_panels(call, begin, end); });
}

#define JOULEPRUNE_INSTANTIATE(T)          \
  template bool has_linear_code<T>(Isa);   \
  template std::shared_ptr<const CodeForm> linear_code_form(const LinearParams<T>&, const LinearCodeChoice&, Isa,           \
                                                            const TransposedForm*);                                        \
  template void linear_code(const LinearParams<T>&, const LinearCodeChoice&, const ParallelFor&, Isa, const TransposedForm*);
JOULEPRUNE_INSTANTIATE(float)
JOULEPRUNE_INSTANTIATE(BFloat16)
JOULEPRUNE_INSTANTIATE(Half)
#undef JOULEPRUNE_INSTANTIATE
template bool has_linear_code<double>(Isa);

}  // namespace jouleprune::kernels::csr
