#include "kernels/csr/panel_order.h"

#include <map>
#include <tuple>

#include "kernels/csr/transpose.h"
#include "kernels/csr/linear_code.h"
#include "products.h"

namespace jouleprune::kernels::csr::testing {
namespace {

using Entries = std::vector<std::tuple<int64_t, int32_t, int32_t>>;  // row within the order, column, position of the value

/// Reads the streams back the way the loops do.
Entries read_back(const PanelOrder& order) {
  const PanelStream s = order.stream();
  Entries entries;
  for (int64_t block = 0; block < order.blocks(); ++block) {
    for (int64_t group = 0; group < order.groups(); ++group) {
      const int64_t at = block * s.groups + group;
      auto value = order.value_order().begin() + s.starts[at].values;
      const int32_t* column = s.columns + s.starts[at].columns;
      const auto take = [&](int64_t row) {
        entries.emplace_back(group * s.rows + row, block * s.block_columns + *column / order.choice().width, *value++);
      };
      if (s.patterns) {
        for (int pattern = 1; pattern < 16; ++pattern) {
          for (int i = 0; i < s.counts[at * 15 + pattern - 1]; ++i, ++column) {
            for (int row = 0; row < 4; ++row) {
              if (pattern >> row & 1) {
                take(row);
              }
            }
          }
        }
        continue;
      }
      const uint16_t* counts = s.counts + at * (s.rows + 1);
      for (int i = 0; i < counts[0]; ++i) {
        for (int64_t row = 0; row < s.rows; ++row, ++column) {
          take(row);
        }
      }
      for (int64_t row = 0; row < s.rows; ++row) {
        for (int i = 0; i < counts[1 + row]; ++i, ++column) {
          take(row);
        }
      }
    }
  }
  return entries;
}

TEST(PanelOrder, HoldsEachEntryOnceAndAscendsInEachRow) {
  std::mt19937 random(6);
  for (int i = 0; i < 200; ++i) {
    const auto rows = static_cast<int64_t>(random() % 30), cols = static_cast<int64_t>(random() % 90);
    const auto structure = random_structure(rows, cols, static_cast<double>(random() % 11) / 10, random);
    const auto csr = structure.view();
    const int64_t begin = rows == 0 ? 0 : static_cast<int64_t>(random() % rows), end = rows - (rows - begin) / 3;
    for (const PanelChoice choice : {PanelChoice{true, 4, 96, 64}, {true, 4, 7, 1}, {false, 1, 1, 3}, {false, 2, 30, 16},
                                     {false, 8, 1000, 8}}) {
      const PanelOrder order(csr, begin, end, choice, nullptr);
      Entries expected;
      for (int64_t r = begin; r < end; ++r) {
        for (int32_t k = csr.row_offsets[r]; k < csr.row_offsets[r + 1]; ++k) {
          expected.emplace_back(r - begin, csr.col_indices[k], k);
        }
      }
      auto got = read_back(order);
      std::map<int64_t, int32_t> last;
      for (const auto& [row, col, k] : got) {
        ASSERT_TRUE(choice.patterns || last.count(row) == 0 || last[row] < col);
        last[row] = col;
      }
      std::sort(got.begin(), got.end());
      ASSERT_EQ(got, expected);
      ASSERT_GE(order.bytes(), static_cast<int64_t>(order.value_order().size()) * 8 / (choice.patterns ? 2 : 1));
    }
  }
}

TEST(PanelOrder, ChoiceFollowsDensityWidthAndRegisters) {
  for (const double density : {0.0, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0}) {
    for (int64_t vectors = 1; vectors <= 8; ++vectors) {
      for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
        const auto choice = choose_panel_loop(density, vectors, 8, 4, isa);
        EXPECT_LE(choice.rows * (choice.patterns ? 1 : vectors), 8);
        EXPECT_GE(choice.column_block, 1);
        EXPECT_LE(choice.column_block, 1 << 15);
        EXPECT_FALSE(choice.patterns && isa == Isa::kPortable);
      }
    }
  }
  EXPECT_TRUE(choose_panel_loop(0.5, 4, 16, 4, Isa::kAvx512).patterns);
  EXPECT_FALSE(choose_panel_loop(0.05, 4, 16, 4, Isa::kAvx512).patterns);
  EXPECT_FALSE(choose_panel_loop(0.5, 8, 8, 4, Isa::kAvx2).patterns);
}

TEST(TransposedForm, IsTheTransposedMatrixOfEachGroup) {
  std::mt19937 random(7);
  for (const int64_t groups : {1, 2, 3}) {
    const auto structure = random_structure(groups * 5, 7, 0.5, random);
    const auto csr = structure.view();
    const auto form = transposed_form(nullptr, csr, groups);
    const auto view = form->view();
    ASSERT_EQ(view.rows, groups * csr.cols);
    ASSERT_EQ(view.cols, 5);
    ASSERT_EQ(view.nnz, csr.nnz);
    EXPECT_EQ(formats::csr_defect(view), "");
    for (int64_t r = 0; r < view.rows; ++r) {
      for (int32_t k = view.row_offsets[r]; k < view.row_offsets[r + 1]; ++k) {
        const int32_t from = form->positions()[k];
        const int64_t row = r / csr.cols * 5 + view.col_indices[k];
        EXPECT_EQ(csr.col_indices[from], r % csr.cols);
        EXPECT_TRUE(csr.row_offsets[row] <= from && from < csr.row_offsets[row + 1]);
      }
    }
  }
  EXPECT_EQ(transposed_form(nullptr, Structure{0, 3, {}, {0}}.view(), 1)->view().rows, 3);
}

/// Keeps forms by name, and counts how many were made.
class Kept : public PackedForms {
 public:
  std::shared_ptr<const PackedForm> get(const FormName& name, const Make& make) override {
    for (const auto& [known, form] : forms_) {
      if (known == name) {
        return form;
      }
    }
    ++made;
    forms_.emplace_back(name, make());
    return forms_.back().second;
  }
  std::array<int64_t, 2> structure_key() const override { return {}; }
  void values_changed() {
    std::erase_if(forms_, [](const auto& entry) { return entry.first.of_values; });
  }

  int made = 0;

 private:
  std::vector<std::pair<FormName, std::shared_ptr<const PackedForm>>> forms_;
};

TEST(PanelOrder, NewValuesAreOnlyMoved) {
  std::mt19937 random(8);
  const int64_t n = 40, rows = 30, cols = 50;
  const auto structure = random_structure(rows, cols, 0.3, random);
  const auto csr = structure.view();
  auto values = random_vector<float>(csr.nnz, random);
  const auto input = random_vector<float>(n * cols, random), grad = random_vector<float>(n * rows, random);
  const auto check = [&](Isa isa, bool generated_code, int first, int again) {
    Kept kept;
    const auto forward = [&](PackedForms* forms) {
      auto output = unwritten<float>(n * rows);
      linear<float>({csr, values.data(), nullptr, Activation::kNone, n, input.data(), cols, output.data(), forms,
                     generated_code},
                    serial, isa);
      return output;
    };
    const auto backward = [&](PackedForms* forms) {
      auto output = unwritten<float>(n * cols);
      linear_backward_input<float>({csr, values.data(), nullptr, Activation::kNone, n, grad.data(), rows, output.data(), forms,
                                    generated_code},
                                   serial, isa);
      return output;
    };
    EXPECT_EQ(forward(&kept), forward(nullptr));
    EXPECT_EQ(backward(&kept), backward(nullptr));
    EXPECT_EQ(kept.made, first);
    values = random_vector<float>(csr.nnz, random);
    kept.values_changed();
    EXPECT_EQ(forward(&kept), forward(nullptr));
    EXPECT_EQ(backward(&kept), backward(nullptr));
    EXPECT_EQ(kept.made, again);
  };
  for (const Isa isa : vector_isas()) {
    check(isa, false, 5, 7);  // order and values forward; transposed structure, its order and values backward
    if (has_linear_code<float>(isa)) check(isa, true, 5, 7);  // code and values forward; transposed structure, its code and values backward
  }
}

}  // namespace
}  // namespace jouleprune::kernels::csr::testing
