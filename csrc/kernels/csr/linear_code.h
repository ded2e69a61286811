// Linear over generated code (kernels/jit/pattern_code.h): batch rows along the vector, 16 (AVX-512) or 8 (AVX2) at a time.
#pragma once
#include <memory>

#include "kernels/csr/code_form.h"
#include "kernels/csr/csr_kernels.h"
#include "kernels/csr/transpose.h"

namespace jouleprune::kernels::csr {

/// In which order blocks of code and panels of the batch meet.
enum class CodeOrder {
  kPanelOuter,  ///< per panel: transpose in, run all code, transpose out. The panel stays in L1 or L2, the code streams
  kGroupOuter,  ///< transpose the batch in; per group of rows: run over all panels. The code of a group stays, panels stream
};

struct LinearCodeChoice {
  CodeOrder order = CodeOrder::kPanelOuter;
  int64_t column_block = 0;  ///< columns per block of code, 0 = all
  bool pairs = false;        ///< bfloat16 only: multiply two neighbours at once (needs bfloat16_pairs_supported())
  bool operator==(const LinearCodeChoice&) const = default;
};

/// How to run a weight on n batch rows, on a core with `l2` bytes of second-level cache. Pure functions; the measurements behind the
/// rules are in their bodies.
LinearCodeChoice choose_linear_code(const formats::CsrView& csr, int64_t n, Isa isa, int64_t l2);
/// Whether generated code is quicker than the panels of panels.h.
bool linear_code_pays(const formats::CsrView& csr, int64_t n, int64_t l2);

/// Whether the processor multiplies bfloat16 pairs at the full rate of float32 (AMD since Zen 4; Intel at half the rate, where
/// float32 multiply-adds on widened values are as fast and more exact).
bool bfloat16_pairs_pay();
/// Whether it has the instruction at all.
bool bfloat16_pairs_supported();

/// Whether this instruction set, element type and machine have generated code.
template <class T>
bool has_linear_code(Isa isa);

/// The code that linear_code() runs, with its values; `transposed` as there.
template <class T>
std::shared_ptr<const CodeForm> linear_code_form(const LinearParams<T>& params, const LinearCodeChoice& choice, Isa isa,
                                                 const TransposedForm* transposed = nullptr);

/// As linear(), or with the transposed weight as linear_backward_input() (then `choice.pairs` must be false); requires
/// has_linear_code<T>(isa) and n > 0.
template <class T>
void linear_code(const LinearParams<T>& params, const LinearCodeChoice& choice, const ParallelFor& parallel, Isa isa,
                 const TransposedForm* transposed = nullptr);

}  // namespace jouleprune::kernels::csr
