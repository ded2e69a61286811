// Every op of jouleprune: the table of contents. Kernels are registered in csrc/ops/<op>_{cpu,cuda,autograd,autocast}.cpp,
// fakes and typed wrappers in python/jouleprune/ops.py. Shapes and errors: the wrappers' docstrings.
#include <torch/library.h>

TORCH_LIBRARY(jouleprune, m) {
  m.set_python_module("jouleprune.ops");

  // Layout csr. Weight [rows, cols] of a Linear, or [out_channels, in_channels / groups x taps] of a convolution.
  m.def("pack_csr(Tensor weight, Tensor? mask) -> (Tensor values, Tensor col_indices, Tensor row_offsets, Tensor key)");
  m.def("unpack_csr(Tensor values, Tensor col_indices, Tensor row_offsets, SymInt cols) -> Tensor");
  m.def("prepack_csr(Tensor values, Tensor col_indices, Tensor row_offsets, SymInt cols) -> Tensor");
  m.def("linear_csr(Tensor input, Tensor values, Tensor col_indices, Tensor row_offsets, Tensor key, Tensor? prepacked, Tensor? bias, SymInt in_features, str activation, Tensor? residual=None) -> Tensor");
  m.def("linear_csr_backward_input(Tensor grad_output, Tensor values, Tensor col_indices, Tensor row_offsets, Tensor key, SymInt in_features) -> Tensor");
  m.def("linear_csr_backward_values(Tensor grad_output, Tensor input, Tensor col_indices, Tensor row_offsets, Tensor key, SymInt in_features) -> Tensor");
  // Linear layers one after the other: values, col_indices, row_offsets, key and maybe a bias of each; `counts`: tensors of each.
  m.def("linear_csr_chain(Tensor input, Tensor[] weights, int[] counts, SymInt in_features, str activations) -> Tensor");
  m.def("conv2d_csr(Tensor input, Tensor values, Tensor col_indices, Tensor row_offsets, Tensor key, Tensor? prepacked, Tensor? bias, SymInt in_channels, int[2] kernel_size, int[2] stride, int[2] padding, int[2] dilation, int groups, str activation, Tensor? residual=None) -> Tensor");
  m.def("conv2d_csr_backward_input(Tensor grad_output, Tensor values, Tensor col_indices, Tensor row_offsets, Tensor key, SymInt[] input_size, int[2] kernel_size, int[2] stride, int[2] padding, int[2] dilation, int groups) -> Tensor");
  m.def("conv2d_csr_backward_values(Tensor grad_output, Tensor input, Tensor col_indices, Tensor row_offsets, Tensor key, int[2] kernel_size, int[2] stride, int[2] padding, int[2] dilation, int groups) -> Tensor");

  // Recurrent layers. `matrices`: for each layer and direction W_ih, W_hh and (LSTM with proj_size) W_hr, each as values, col_indices,
  // row_offsets, key or as a dense weight, then its bias if it has one; `counts`: tensors of each. Made of the ops above.
  m.def("lstm_csr(Tensor input, Tensor? batch_sizes, Tensor h, Tensor c, Tensor[] matrices, int[] counts, int layers, bool bidirectional, float dropout, bool training) -> (Tensor output, Tensor h, Tensor c)");
  m.def("gru_csr(Tensor input, Tensor? batch_sizes, Tensor h, Tensor[] matrices, int[] counts, int layers, bool bidirectional, float dropout, bool training) -> (Tensor output, Tensor h)");

  // Layout bsr in int8: blocks of 1 x 4 inputs, a scale per row; inference only. Weight as for csr; of a convolution as
  // [out_channels, taps x (in_channels / groups, rounded up to a multiple of 4)].
  m.def("pack_bsr_int8(Tensor weight, Tensor? mask) -> (Tensor blocks, Tensor block_columns, Tensor block_row_offsets, Tensor key, Tensor scales)");
  m.def("unpack_bsr_int8(Tensor blocks, Tensor block_columns, Tensor block_row_offsets, Tensor scales, SymInt cols) -> Tensor");
  m.def("linear_bsr_int8(Tensor input, Tensor blocks, Tensor block_columns, Tensor block_row_offsets, Tensor key, Tensor scales, Tensor? input_scale, Tensor? prepacked, Tensor? bias, SymInt in_features, str activation) -> Tensor");
  m.def("conv2d_bsr_int8(Tensor input, Tensor blocks, Tensor block_columns, Tensor block_row_offsets, Tensor key, Tensor scales, Tensor? input_scale, Tensor? prepacked, Tensor? bias, SymInt in_channels, int[2] kernel_size, int[2] stride, int[2] padding, int[2] dilation, int groups, str activation) -> Tensor");
  // Activations as bytes, a step count + 128 each, with a scale for the last `shared_dims` dimensions. The ops above take bytes, too
  // (input_scale: one per batch row or image), and give float32 for them; these give bytes, in steps of output_scale.
  m.def("quantize_bytes(Tensor input, Tensor? input_scale, int shared_dims) -> (Tensor bytes, Tensor scales)");
  m.def("linear_bsr_int8_to_bytes(Tensor input, Tensor blocks, Tensor block_columns, Tensor block_row_offsets, Tensor key, Tensor scales, Tensor? input_scale, Tensor? prepacked, Tensor? bias, SymInt in_features, str activation, Tensor output_scale) -> (Tensor bytes, Tensor scales)");
  m.def("conv2d_bsr_int8_to_bytes(Tensor input, Tensor blocks, Tensor block_columns, Tensor block_row_offsets, Tensor key, Tensor scales, Tensor? input_scale, Tensor? prepacked, Tensor? bias, SymInt in_channels, int[2] kernel_size, int[2] stride, int[2] padding, int[2] dilation, int groups, str activation, Tensor output_scale) -> (Tensor bytes, Tensor scales)");

  // Layout bsr: blocks [blocks, r, c] of the weight [out_features, in_features]; "vector" is the case c = 1.
  m.def("pack_bsr(Tensor weight, Tensor? mask, int[2] block_size) -> (Tensor blocks, Tensor block_columns, Tensor block_row_offsets, Tensor key)");
  m.def("unpack_bsr(Tensor blocks, Tensor block_columns, Tensor block_row_offsets, SymInt rows, SymInt cols) -> Tensor");
  m.def("prepack_bsr(Tensor blocks, Tensor block_columns, Tensor block_row_offsets, SymInt rows, SymInt cols) -> Tensor");
  m.def("linear_bsr(Tensor input, Tensor blocks, Tensor block_columns, Tensor block_row_offsets, Tensor key, Tensor? prepacked, Tensor? bias, SymInt out_features, SymInt in_features, str activation) -> Tensor");
  m.def("linear_bsr_backward_input(Tensor grad_output, Tensor blocks, Tensor block_columns, Tensor block_row_offsets, Tensor key, SymInt out_features, SymInt in_features) -> Tensor");
  m.def("linear_bsr_backward_values(Tensor grad_output, Tensor input, Tensor block_columns, Tensor block_row_offsets, Tensor key, SymInt[2] block_size, SymInt out_features, SymInt in_features) -> Tensor");
  // A convolution: the weight as [out_channels, taps x (in_channels / groups, rounded up to whole blocks)].
  m.def("conv2d_bsr(Tensor input, Tensor blocks, Tensor block_columns, Tensor block_row_offsets, Tensor key, Tensor? prepacked, Tensor? bias, SymInt out_channels, SymInt in_channels, int[2] kernel_size, int[2] stride, int[2] padding, int[2] dilation, int groups, str activation, Tensor? residual=None) -> Tensor");
  m.def("conv2d_bsr_backward_input(Tensor grad_output, Tensor blocks, Tensor block_columns, Tensor block_row_offsets, Tensor key, SymInt[] input_size, int[2] kernel_size, int[2] stride, int[2] padding, int[2] dilation, int groups) -> Tensor");
  m.def("conv2d_bsr_backward_values(Tensor grad_output, Tensor input, Tensor block_columns, Tensor block_row_offsets, Tensor key, SymInt[2] block_size, int[2] kernel_size, int[2] stride, int[2] padding, int[2] dilation, int groups) -> Tensor");

  // Layout nm: n of each m neighbouring inputs are kept. values, indices [rows, kept] of the weight [rows, in_features]; packing on the CPU.
  m.def("pack_nm(Tensor weight, Tensor? mask, int n, int m) -> (Tensor values, Tensor indices, Tensor key)");
  m.def("unpack_nm(Tensor values, Tensor indices, SymInt cols, int n, int m) -> Tensor");
  m.def("linear_nm(Tensor input, Tensor values, Tensor indices, Tensor key, Tensor? prepacked, Tensor? bias, SymInt in_features, int n, int m, str activation) -> Tensor");
  m.def("linear_nm_backward_input(Tensor grad_output, Tensor values, Tensor indices, Tensor key, SymInt in_features, int n, int m) -> Tensor");
  m.def("linear_nm_backward_values(Tensor grad_output, Tensor input, Tensor indices, Tensor key, SymInt in_features, int n, int m) -> Tensor");

  // Masks as bits: uint8 [ceil(numel / 8)], element i at byte i / 8, bit i % 8.
  m.def("pack_mask(Tensor mask) -> Tensor");
  m.def("unpack_mask(Tensor bits, SymInt[] size) -> Tensor");
  m.def("apply_mask_(Tensor(a!) self, Tensor bits) -> ()");
  m.def("importance(Tensor weight, Tensor? grad, str criterion) -> Tensor");

  // Criteria beyond those of op importance; a unit's score is that of each of its entries.
  m.def("norm_importance(Tensor weight, int[2] block_size, float norm) -> Tensor");
  m.def("random_importance(Tensor weight, int[2] block_size, int seed, int stream) -> Tensor");
  m.def("fpgm_importance(Tensor weight) -> Tensor");
  m.def("input_importance(Tensor weight, Tensor inputs, float scale) -> Tensor");
  m.def("mask_threshold(Tensor values, float amount, str rule) -> (Tensor mask, Tensor theta)");
  // Significance of units over n measurements, from their sums and sums of squares.
  m.def("t_test(Tensor sums, Tensor square_sums, int n) -> (Tensor t, Tensor p)");
  m.def("f_test(Tensor sums, Tensor square_sums, int n) -> (Tensor f, Tensor p)");
  m.def("benjamini_hochberg(Tensor p, float alpha) -> Tensor");
  // Proximal step of the L1 or group-lasso penalty.
  m.def("shrink_units_(Tensor(a!) self, Tensor amounts, int[2] block_size) -> ()");
  // Layer-wise reconstruction: hessian [groups, cols, cols] = sum of x x^T, float64. n_of_m: empty, or [n, m].
  m.def("add_hessian_(Tensor(a!) self, Tensor inputs) -> ()");
  m.def("refit(Tensor weight, Tensor hessian, Tensor mask, float damp) -> Tensor");
  m.def("sparsegpt(Tensor weight, Tensor hessian, Tensor? mask, float sparsity, int[2] block_size, int[] n_of_m, float damp) -> (Tensor weight, Tensor mask)");
  m.def("alps(Tensor weight, Tensor hessian, float sparsity, int[2] block_size, int[] n_of_m, float damp, int iterations) -> (Tensor weight, Tensor mask)");

  // Masks of units: what is smallest goes. `left`: what earlier masks kept; none = everything.
  m.def("mask_smallest(Tensor[] scores, Tensor[] left, int amount) -> Tensor[]");
  m.def("mask_n_of_m(Tensor scores, Tensor? left, int n, int m, int dim) -> Tensor");
  m.def("unit_norms(Tensor scores, Tensor? left, int[2] block_size, float norm) -> (Tensor norms, Tensor left)");
  m.def("spread_units(Tensor units, Tensor? left, SymInt[] size, int[2] block_size) -> Tensor");

  // Selection under a joule budget. `request`, `plan`: JSON; an error comes back as {"error": {"type", "message", "minimum_j"}}.
  m.def("select_masks(Tensor[] importance, str request) -> (Tensor[] masks, str plan)");

  // The recorder (thread-local): a forward pass between the two calls becomes a workload, as JSON.
  m.def("record_begin(str[] names, Tensor[] tensors, int batch, bool count_zeros, bool measure_activations) -> ()");
  m.def("record_end() -> str");
}
