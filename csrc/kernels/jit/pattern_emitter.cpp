#include "kernels/jit/pattern_emitter.h"

#include <array>
#include <cstring>
#include <stdexcept>
#include <string>

#if defined(JOULEPRUNE_HAS_XBYAK)
#include <xbyak/xbyak.h>
#endif

namespace jouleprune::kernels::jit {

#if defined(JOULEPRUNE_HAS_XBYAK)
namespace {

/// An encoded instruction whose displacement comes last and is patched into copies.
struct Template {
  std::array<uint8_t, 16> bytes{};
  uint8_t size = 0;
};

template <class Encode>
Template encode(const Encode& emit) {
  Xbyak::CodeGenerator generator(256);
  emit(generator);
  Template made;
  made.size = static_cast<uint8_t>(generator.getSize());
  std::memcpy(made.bytes.data(), generator.getCode(), made.size);
  return made;
}

/// An instruction with a memory operand, in both forms: with one byte of displacement (in units of `scale`) and with four.
struct MemoryTemplate {
  Template near, far;
};

constexpr int kFarProbe = 0x12345678;

/// emit(generator, displacement)
template <class Encode>
MemoryTemplate encode_memory(int scale, const Encode& emit) {
  return {encode([&](auto& g) { emit(g, scale); }), encode([&](auto& g) { emit(g, kFarProbe); })};
}

constexpr size_t kBytesPerInstruction = 16;  // no x86 instruction is longer

/// Appends instructions to code; room for `instructions` is made once, and what was not used is given back at the end.
class Writer {
 public:
  Writer(std::vector<uint8_t>& code, size_t instructions) : code_(code), at_(code.size()) {
    code_.resize(at_ + instructions * kBytesPerInstruction);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() { code_.resize(at_); }

  void put(const Template& t) {
    std::memcpy(&code_[at_], t.bytes.data(), kBytesPerInstruction);  // of fixed size: two vector moves
    at_ += t.size;
  }
  void put(const MemoryTemplate& t, int64_t displacement, int scale) {
    if (displacement % scale == 0 && displacement / scale >= -128 && displacement / scale <= 127) {
      put(t.near);
      code_[at_ - 1] = static_cast<uint8_t>(displacement / scale);
    } else {
      put(t.far);
      const auto wide = static_cast<int32_t>(displacement);
      std::memcpy(&code_[at_ - sizeof(wide)], &wide, sizeof(wide));
    }
  }
  /// add base, imm32
  void move_base(uint8_t base, int64_t step) {
    const uint8_t bytes[] = {0x48, 0x81, static_cast<uint8_t>(0xc0 | base)};
    const auto wide = static_cast<int32_t>(step);
    std::memcpy(&code_[at_], bytes, sizeof(bytes));
    std::memcpy(&code_[at_ + sizeof(bytes)], &wide, sizeof(wide));
    at_ += sizeof(bytes) + sizeof(wide);
  }
  /// What Xbyak emits; into the code's own memory, for memory of Xbyak's would be mapped anew each time.
  template <class Emit>
  void generate(const Emit& emit) {
    Xbyak::CodeGenerator generator(code_.size() - at_, &code_[at_]);
    emit(generator);
    at_ += generator.getSize();
  }

 private:
  std::vector<uint8_t>& code_;
  size_t at_;
};

/// Both instruction sets, over the register type.
template <class Register, int kRegisters, int kMaxRows, int kVectorBytes>
class Emitter : public PatternEmitter {
 public:
  int64_t max_rows() const override { return kMaxRows; }

  size_t begin(std::vector<uint8_t>& code, int64_t rows, bool continues, int64_t row_bytes) const override {
    code.resize((code.size() + 63) / 64 * 64, 0xcc);  // a cache line of its own; int3 between blocks
    const size_t at = code.size();
    Writer(code, static_cast<size_t>(rows) + 1).generate([&](auto& g) {
      for (int row = 0; row < rows; ++row) {
        if (continues) {
          g.vmovups(Register(row), g.ptr[g.rdx + static_cast<int>(row * row_bytes)]);
        } else {
          g.vbroadcastss(Register(row), g.ptr[g.rcx + 4 * row]);
        }
      }
    });
    return at;
  }

  void end(std::vector<uint8_t>& code, int64_t rows, int64_t row_bytes) const override {
    Writer(code, static_cast<size_t>(rows) + 3).generate([&](auto& g) {
      for (int row = 0; row < rows; ++row) {
        g.vmovups(g.ptr[g.rdx + static_cast<int>(row * row_bytes)], Register(row));
      }
      g.vzeroupper();
      g.ret();
    });
  }

  void column(std::vector<uint8_t>& code, Cursor& cursor, int64_t column_bytes,
              std::span<const KeptValue> kept) const override {
    Writer writer(code, 3 * kept.size() + 2);
    const int x = cursor.next_register;
    cursor.next_register = (x + 1) % kInputs;
    int64_t offset = column_bytes - cursor.activation_bytes;
    if (offset % kVectorBytes == 0 && offset / load_scale_ > 127) {  // short displacements again for the next columns
      const int64_t step = offset + 128 * load_scale_;
      writer.move_base(kRdi, step);
      cursor.activation_bytes += step;
      offset -= step;
    }
    writer.put(loads_[x], offset, load_scale_);
    for (const KeptValue& value : kept) {
      int64_t at = cursor.values * 4 - cursor.value_bytes;
      if (at / value_scale_ > 127) {
        const int64_t step = at + 128 * value_scale_;
        writer.move_base(kRsi, step);
        cursor.value_bytes += step;
        at -= step;
      }
      put_multiply_add(writer, value.row, x, at);
      ++cursor.values;
    }
  }

 protected:
  static constexpr int kInputs = kRegisters > 16 ? kRegisters - kMaxRows : kRegisters - kMaxRows - 1;
  static constexpr int kFirstInput = kMaxRows;
  static constexpr uint8_t kRdi = 7, kRsi = 6;

  Emitter(int load_scale, int value_scale) : load_scale_(load_scale), value_scale_(value_scale) {
    for (int x = 0; x < kInputs; ++x) {
      loads_[x] = encode_memory(load_scale, [&](auto& g, int d) { g.vmovups(Register(kFirstInput + x), g.ptr[g.rdi + d]); });
    }
  }

  virtual void put_multiply_add(Writer& writer, int row, int x, int64_t value_offset) const = 0;

  int load_scale_, value_scale_;
  std::array<MemoryTemplate, kInputs> loads_;
};

/// One instruction per weight: the value is broadcast by the multiply-add itself.
class Avx512Emitter : public Emitter<Xbyak::Zmm, 32, 30, 64> {
 public:
  explicit Avx512Emitter(MultiplyAdd op) : Emitter(64, 4) {
    for (int row = 0; row < 30; ++row) {
      for (int x = 0; x < kInputs; ++x) {
        multiply_adds_[row][x] = encode_memory(4, [&](auto& g, int d) {
          const Xbyak::Zmm sum(row), input(kFirstInput + x);
          switch (op) {
            case MultiplyAdd::kFloat32: return g.vfmadd231ps(sum, input, g.ptr_b[g.rsi + d]);
            case MultiplyAdd::kBFloat16Pairs: return g.vdpbf16ps(sum, input, g.ptr_b[g.rsi + d]);
            case MultiplyAdd::kInt8Quads: return g.vpdpbusd(sum, input, g.ptr_b[g.rsi + d], Xbyak::EvexEncoding);
          }
        });
      }
    }
  }

 private:
  void put_multiply_add(Writer& writer, int row, int x, int64_t value_offset) const override {
    writer.put(multiply_adds_[row][x], value_offset, value_scale_);
  }
  std::array<std::array<MemoryTemplate, kInputs>, 30> multiply_adds_;
};

/// Two instructions per weight: AVX2 has no broadcast inside the multiply-add.
class Avx2Emitter : public Emitter<Xbyak::Ymm, 16, 13, 32> {
 public:
  Avx2Emitter() : Emitter(1, 1) {
    broadcast_ = encode_memory(1, [](auto& g, int d) { g.vbroadcastss(Xbyak::Ymm(15), g.ptr[g.rsi + d]); });
    for (int row = 0; row < 13; ++row) {
      for (int x = 0; x < kInputs; ++x) {
        multiply_adds_[row][x] =
            encode([&](auto& g) { g.vfmadd231ps(Xbyak::Ymm(row), Xbyak::Ymm(kFirstInput + x), Xbyak::Ymm(15)); });
      }
    }
  }

 private:
  void put_multiply_add(Writer& writer, int row, int x, int64_t value_offset) const override {
    writer.put(broadcast_, value_offset, value_scale_);
    writer.put(multiply_adds_[row][x]);
  }
  MemoryTemplate broadcast_;
  std::array<std::array<Template, kInputs>, 13> multiply_adds_;
};

}  // namespace

const PatternEmitter& pattern_emitter(Isa isa, MultiplyAdd multiply_add) {
  if (isa == Isa::kAvx512) {
    static const std::array<Avx512Emitter, 3> emitters = {Avx512Emitter(MultiplyAdd::kFloat32),
                                                          Avx512Emitter(MultiplyAdd::kBFloat16Pairs),
                                                          Avx512Emitter(MultiplyAdd::kInt8Quads)};
    return emitters[static_cast<size_t>(multiply_add)];
  }
  if (isa == Isa::kAvx2 && multiply_add == MultiplyAdd::kFloat32) {
    static const Avx2Emitter emitter;
    return emitter;
  }
  throw std::invalid_argument(std::string("pattern code: no emitter for ") + isa_name(isa) + " and this multiply-add");
}

#else

const PatternEmitter& pattern_emitter(Isa isa, MultiplyAdd) {
  throw std::invalid_argument(std::string("pattern code: built without Xbyak; no emitter for ") + isa_name(isa));
}

#endif

}  // namespace jouleprune::kernels::jit
