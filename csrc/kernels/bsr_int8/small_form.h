// A weight in the order of the kernels for a few batch rows.
#pragma once
#include <memory>
#include <vector>

#include "kernels/bsr_int8/bsr_int8_kernels.h"
#include "kernels/large_pages.h"
#include "kernels/bsr_int8/small_kernels.h"

namespace jouleprune::kernels::bsr_int8 {

/// The counts that decide the order.
struct SmallCounts {
  int64_t rows = 0, quads = 0, nnz = 0;
  int64_t sell_steps = 0;  ///< over all row groups
};
SmallCounts count_small(const formats::CsrView& quads);
/// Pure; the costs are those of one core of a Zen 4 with the weight in DRAM.
SmallOrder choose_small_order(const SmallCounts& counts);

class SmallForm : public PackedForm {
 public:
  SmallForm(const Weight& weight, SmallOrder order);
  int64_t bytes() const override;
  SmallWeight view() const;

 private:
  void add_rows(const Weight& weight);
  void add_sell_steps(const Weight& weight);

  SmallOrder order_;
  int64_t rows_, quads_;
  std::vector<uint32_t, LargePages<uint32_t>> values_;  // 434 us instead of 808 from DRAM, 4096 x 4096 at 50 % zeros (Zen 4)
  std::vector<int64_t> begins_;
  std::vector<uint16_t> columns_;
  std::vector<uint8_t, LargePages<uint8_t>> lanes_;
  std::vector<int32_t> start_;
};

/// The form in the order that suits the structure, kept among the weight's forms.
std::shared_ptr<const SmallForm> small_form(const Weight& weight, PackedForms* forms);

}  // namespace jouleprune::kernels::bsr_int8
