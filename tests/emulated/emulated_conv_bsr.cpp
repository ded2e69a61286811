// The kernels of convolutions with blocks in the emulator, with their memory as the launchers' parameters tell it.
#include "conv/conv_bsr_launch.h"
#include "emulated_backend.h"
#include "emulated_memory.h"

namespace jouleprune::emulated {
namespace {

namespace conv = cuda::conv;

void add_windows(Memory& memory, const conv::Window* windows, int64_t count) {
  memory.add("windows", windows, static_cast<size_t>(count) * sizeof(conv::Window), Access::kRead);
}
/// Block columns of the weight times groups; block rows times taps of its transpose.
int64_t places(const conv::BsrShape& s, const cuda::bsr::Weight& w) {
  return s.groups * s.conv.taps() * simt::ceil_div<int64_t>(s.conv.in_channels / s.groups, w.c);
}
int64_t transposed_places(const conv::BsrShape& s, const cuda::bsr::Weight& w) {
  return s.conv.taps() * simt::ceil_div<int64_t>(w.rows, w.r);
}
int64_t input_elements(const conv::ConvShape& s) { return s.batch * s.in_channels * s.height * s.width; }
int64_t output_elements(const conv::ConvShape& s) { return s.batch * s.out_image(); }

}  // namespace

std::string run(const conv::BsrConv& p) {
  const auto& s = p.shape.conv;
  const auto& w = p.weight;
  Memory memory(w.type);
  add_structure(memory, w);
  add_windows(memory, p.windows, places(p.shape, w));
  memory.add_elements("values", w.values, w.blocks * w.r * w.c);
  memory.add_elements("input", p.input, input_elements(s));
  memory.add_elements("planes", p.planes, conv::forward_view(p.shape).scratch(), Access::kReadWrite);
  memory.add_elements("bias", p.epilogue.bias, s.out_channels);
  memory.add_elements("residual", p.epilogue.residual, output_elements(s));
  memory.add_elements("output", p.output, output_elements(s), Access::kWriteAll);
  return launched(memory, w.type, p);
}

std::string run(const conv::BsrConvInput& p) {
  const auto& s = p.shape.conv;
  const auto& w = p.weight;
  const auto& t = p.transposed;
  Memory memory(w.type);
  add_windows(memory, p.windows, transposed_places(p.shape, w));
  memory.add_elements("values", w.values, w.blocks * w.r * w.c);
  memory.add_int32("index", t.offsets, t.groups + 1);
  memory.add_int32("index", t.places, t.entries);
  memory.add_int32("index", t.sources, t.entries * (w.c == 1 ? cuda::bsr::kVectorGroup : 1));
  memory.add_elements("grad_output", p.grad_output, output_elements(s));
  memory.add_elements("planes", p.planes, conv::input_view(p.shape).scratch(), Access::kReadWrite);
  memory.add_elements("grad_input", p.grad_input, input_elements(s), Access::kWriteAll);
  return launched(memory, w.type, p);
}

std::string run(const conv::BsrConvBlocks& p) {
  const auto& s = p.shape.conv;
  const auto& w = p.weight;
  Memory memory(w.type);
  add_structure(memory, w);
  add_windows(memory, p.windows, places(p.shape, w));
  memory.add_elements("grad_output", p.grad_output, output_elements(s));
  memory.add_elements("input", p.input, input_elements(s));
  memory.add_elements("grad planes", p.grad_planes, conv::plain_view(p.shape).scratch(), Access::kReadWrite);
  memory.add_elements("planes", p.planes, conv::forward_view(p.shape).scratch(), Access::kReadWrite);
  memory.add_elements("grad_blocks", p.grad_blocks, w.blocks * w.r * w.c, Access::kWriteAll);
  return launched(memory, w.type, p);
}

}  // namespace jouleprune::emulated
