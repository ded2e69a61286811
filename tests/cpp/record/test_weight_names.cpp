#include "record/weight_names.h"

#include <gtest/gtest.h>

using jouleprune::record::layer_name;
using jouleprune::record::weight_name;

TEST(RecordWeightNames, LayersAreWeightsWithoutTheirLastWord) {
  EXPECT_EQ(layer_name("fc.weight"), "fc");
  EXPECT_EQ(layer_name("weight"), "");
  EXPECT_EQ(layer_name("lstm.weight_ih_l0"), "lstm.weight_ih_l0");
  EXPECT_EQ(layer_name("my_weight"), "my_weight");
}

TEST(RecordWeightNames, StoredTensorsStandForTheirWeight) {
  EXPECT_EQ(weight_name("fc.weight", {"fc.weight"}), "fc.weight");
  EXPECT_EQ(weight_name("fc.weight_orig", {}), "fc.weight");
  EXPECT_EQ(weight_name("fc.weight_mask", {"fc.weight_mask", "fc.weight_orig"}), "fc.weight");
  EXPECT_EQ(weight_name("fc.weight_mask", {"fc.weight_mask"}), "fc.weight_mask");
  EXPECT_EQ(weight_name("fc.parametrizations.weight.original", {}), "fc.weight");
  EXPECT_EQ(weight_name("parametrizations.weight.original1", {}), "weight");
  EXPECT_EQ(weight_name("fc.parametrizations.weight.0.mask", {}), "fc.weight");
  EXPECT_EQ(weight_name("fc.weight_v", {"fc.weight_v", "fc.weight_g"}), "fc.weight");
  EXPECT_EQ(weight_name("fc.weight_v", {"fc.weight_v"}), "fc.weight_v");
}

TEST(RecordWeightNames, BlocksAreTheWeightOfASparseModule) {
  EXPECT_EQ(weight_name("fc.blocks", {"fc.blocks", "fc.block_columns", "fc.block_row_offsets"}), "fc.weight");
  EXPECT_EQ(weight_name("blocks", {"blocks", "block_columns", "block_row_offsets"}), "weight");
  EXPECT_EQ(weight_name("resnet.blocks", {"resnet.blocks"}), "resnet.blocks");
  EXPECT_EQ(weight_name("superblocks", {"superblocks", "block_columns", "block_row_offsets"}), "superblocks");
}

TEST(RecordWeightNames, ValuesAreTheWeightOfASparseModule) {
  EXPECT_EQ(weight_name("fc.values", {"fc.values", "fc.col_indices", "fc.row_offsets"}), "fc.weight");
  EXPECT_EQ(weight_name("values", {"values", "col_indices", "row_offsets"}), "weight");
  EXPECT_EQ(weight_name("fc.values", {"fc.values"}), "fc.values");
  EXPECT_EQ(weight_name("eigenvalues", {"eigenvalues", "col_indices", "row_offsets"}), "eigenvalues");
}
