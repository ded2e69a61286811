#include "kernels/csr/linear_chain.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/caches.h"
#include "kernels/csr/code_sums.h"
#include "kernels/csr/code_tiles.h"
#include "kernels/csr/linear_code.h"
#include "kernels/csr/panels.h"
#include "kernels/csr/scratch.h"
#include "kernels/csr/vector_kernels.h"
#include "kernels/denormals.h"

namespace jouleprune::kernels::csr {
namespace {

/// A layer, ready to run.
struct Link {
  const LinearParams<float>& p;
  CodeOrder order;
  std::shared_ptr<const CodeForm> form;
  std::vector<float> start;  // [rows] bias, or zeros

  /// Calls visit(panel, block, whether it is the last of its group) for the panels [0, count) in the order of the choice.
  template <class Visit>
  void for_each_block(int64_t count, const Visit& visit) const {
    const jit::PatternCode& code = *form->code;
    const int64_t groups = code.groups(), column_blocks = code.column_blocks();
    const auto run = [&](int64_t panel, int64_t group, int64_t column_block) {
      visit(panel, code.block(group, column_block), column_block + 1 == column_blocks);
    };
    if (order == CodeOrder::kPanelOuter) {
      for (int64_t panel = 0; panel < count; ++panel) {
        for (int64_t column_block = 0; column_block < column_blocks; ++column_block) {
          for (int64_t group = 0; group < groups; ++group) run(panel, group, column_block);
        }
      }
      return;
    }
    for (int64_t group = 0; group < groups; ++group) {
      for (int64_t column_block = 0; column_block < column_blocks; ++column_block) {
        for (int64_t panel = 0; panel < count; ++panel) run(panel, group, column_block);
      }
    }
  }
};

/// The parts of one call.
struct Chain {
  std::vector<Link> links;
  const VectorKernels<float>& kernels;
  const CodeTiles<float>& tiles;
  int64_t n, lanes, width;  // most columns of a layer, or rows between two

  int64_t panels() const { return (n + lanes - 1) / lanes; }
  int64_t count(int64_t panel) const { return std::min(lanes, n - panel * lanes); }

  void pack(int64_t panel, float* to) const {
    const auto& p = links.front().p;
    tiles.pack(p.input + panel * lanes * p.input_stride, p.input_stride, count(panel), p.csr.cols, to);
  }

  /// Panels [0, count) of `x` to those of `y`, each `width * lanes` elements apart.
  void pass_on(const Link& link, int64_t count, const float* x, float* y) const {
    link.for_each_block(count, [&](int64_t panel, const jit::PatternBlock& block, bool last) {
      float* const sums = y + (panel * width + block.row_begin) * lanes;
      block.run(x + panel * width * lanes, link.form->values.get(), sums, start_of(link, block));
      if (last && link.p.activation != Activation::kNone) {
        kernels.activate(link.p.activation, sums, block.rows * lanes);
      }
    });
  }

  /// The last layer: panels of `x` to batch rows from panel `first` on. `sums`: [count, rows, lanes] where sums go through memory.
  void finish(const Link& link, int64_t first, int64_t count, const float* x, float* sums) const {
    const bool blocked = link.form->code->column_blocks() > 1;
    const int64_t rows = link.p.csr.rows;
    link.for_each_block(count, [&](int64_t panel, const jit::PatternBlock& block, bool last) {
      float* const group = sums + (blocked ? (panel * (rows + kMaxGroupRows) + block.row_begin) * lanes : 0);
      float* const to = link.p.output + (first + panel) * lanes * rows + block.row_begin;
      if (last) tiles.prefetch(to, block.rows, this->count(first + panel), rows);
      block.run(x + panel * width * lanes, link.form->values.get(), group, start_of(link, block));
      if (!last) return;
      finish_block(block, link.p.activation, kernels, tiles, lanes, this->count(first + panel), group, to, rows);
    });
  }

  static const uint32_t* start_of(const Link& link, const jit::PatternBlock& block) {
    return reinterpret_cast<const uint32_t*>(link.start.data()) + block.row_begin;
  }
};

/// One thread's panels, all layers: about an L2 of them at once, yet enough to make reading the code worth it.
void run_panels(const Chain& chain, int64_t begin, int64_t end) {
  constexpr int64_t kWaveBytes = 1 << 20, kMinWave = 8;
  const FlushDenormals flush;
  const int64_t panel_elements = chain.width * chain.lanes;
  const int64_t wave = std::min(end - begin, std::max(kMinWave, kWaveBytes / (panel_elements * 8)));
  const Link& last = chain.links.back();
  const bool blocked = last.form->code->column_blocks() > 1;
  Scratch<float> x(wave * panel_elements), y(wave * panel_elements);
  Scratch<float> sums((blocked ? wave * (last.p.csr.rows + kMaxGroupRows) : kMaxGroupRows) * chain.lanes);
  for (int64_t first = begin; first < end; first += wave) {
    const int64_t count = std::min(wave, end - first);
    float *from = x.data(), *to = y.data();
    for (int64_t i = 0; i < count; ++i) {
      chain.pack(first + i, from + i * panel_elements);
    }
    for (size_t i = 0; i + 1 < chain.links.size(); ++i) {
      chain.pass_on(chain.links[i], count, from, to);
      std::swap(from, to);
    }
    chain.finish(last, first, count, from, sums.data());
  }
}

}  // namespace

void linear_chain(std::span<const LinearParams<float>> layers, const ParallelFor& parallel, Isa isa) {
  Chain chain{{}, vector_kernels<float>(isa), code_tiles<float>(isa), layers.front().n, jit::lanes_of(isa), 1};
  int64_t work = 0;
  for (const auto& p : layers) {
    const auto choice = choose_linear_code(p.csr, p.n, isa, second_level_cache());
    Link link{p, choice.order, linear_code_form(p, choice, isa), std::vector<float>(static_cast<size_t>(p.csr.rows))};
    if (p.bias != nullptr) std::copy_n(p.bias, p.csr.rows, link.start.data());
    chain.links.push_back(std::move(link));
    chain.width = std::max({chain.width, p.csr.cols, &p == &layers.back() ? 0 : p.csr.rows});
    work += (p.csr.nnz + 4 * p.csr.rows) * chain.lanes;
  }
  parallel(0, chain.panels(), grain_of(work), [&](int64_t begin, int64_t end) { run_panels(chain, begin, end); });
}

}  // namespace jouleprune::kernels::csr
