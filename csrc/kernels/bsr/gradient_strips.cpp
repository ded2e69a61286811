#include "kernels/bsr/gradient_strips.h"

#include <algorithm>

#include "kernels/bsr/strip_form.h"
#include "kernels/csr/panels.h"
#include "kernels/csr/scratch.h"

namespace jouleprune::kernels::bsr {

template <class T>
void gradient_strips(const LinearBlocksParams<T>& p, const ParallelFor& parallel, Isa isa) {
  using A = Accumulate<T>;
  constexpr int64_t kRows = kStripRows<T>;
  constexpr int64_t kWaveBytes = 1 << 20;   // packed panels alive at once: what an L2 holds
  constexpr int64_t kUnitWork = 100'000;    // multiply-adds of a unit and panel
  const auto& kernels = strip_kernels<T>(isa);
  const auto form = strip_structure<T>(p.bsr);
  csr::Scratch<A> sums(form->entries * kRows);
  std::fill_n(sums.data(), form->entries * kRows, A{0});

  const int64_t panels = (p.n + kernels.width - 1) / kernels.width, panel_elements = p.bsr.cols * kernels.width + kPanelSlack;
  const int64_t panel_bytes = panel_elements * static_cast<int64_t>(sizeof(A));
  const int64_t wave = std::clamp<int64_t>(kWaveBytes / panel_bytes, 1, std::max<int64_t>(1, panels));
  const int64_t panel_work = form->entries * kRows * kernels.width;
  const int64_t chunks = std::clamp<int64_t>(panel_work / kUnitWork, 1, std::max<int64_t>(1, form->strips));
  const auto bounds = csr::balanced_rows(form->offsets.get(), 0, form->strips, chunks);
  const auto count_of = [&](int64_t panel) { return std::min(kernels.width, p.n - panel * kernels.width); };
  csr::Scratch<A> packed(wave * panel_elements);
  for (int64_t first = 0; first < panels; first += wave) {
    const int64_t present = std::min(wave, panels - first);
    parallel(0, present, csr::grain_of(panel_elements * 4), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t count = count_of(first + i);
        kernels.pack(p.input + (first + i) * kernels.width * p.input_stride, p.input_stride, count, p.bsr.cols,
                     kernels.width_for(count), packed.data() + i * panel_elements);
      }
    });
    parallel(0, chunks, csr::grain_of(panel_work * present / chunks), [&](int64_t begin, int64_t end) {
      for (int64_t strip = bounds[begin]; strip < bounds[end]; ++strip) {
        const int64_t entry = form->offsets[strip], entries = form->offsets[strip + 1] - entry, row = strip * kRows;
        for (int64_t i = 0; i < present; ++i) {
          const int64_t count = count_of(first + i);
          kernels.gradient(p.grad_output + (first + i) * kernels.width * p.grad_output_stride + row, p.grad_output_stride,
                           std::min(kRows, p.bsr.rows - row), packed.data() + i * panel_elements, kernels.width_for(count), count,
                           form->columns.get() + entry, entries, sums.data() + entry * kRows);
        }
      }
    });
  }
  store_strips(p.bsr, sums.data(), p.grad_blocks);
}

template void gradient_strips(const LinearBlocksParams<float>&, const ParallelFor&, Isa);
template void gradient_strips(const LinearBlocksParams<double>&, const ParallelFor&, Isa);
template void gradient_strips(const LinearBlocksParams<BFloat16>&, const ParallelFor&, Isa);
template void gradient_strips(const LinearBlocksParams<Half>&, const ParallelFor&, Isa);

}  // namespace jouleprune::kernels::bsr
