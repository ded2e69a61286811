#include "simt/host/fiber.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdint>
#include <new>

#include "simt/host/thread_sanitizer.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

// A switch by hand takes a tenth of swapcontext's time, which asks the kernel for the signal mask. Sanitizers know
// swapcontext.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define JP_SWITCH_BY_HAND 1
extern "C" void jouleprune_simt_switch(void** save_stack, void* to_stack);
asm(R"(
.text
.hidden jouleprune_simt_switch
.globl jouleprune_simt_switch
.type jouleprune_simt_switch, @function
jouleprune_simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size jouleprune_simt_switch, .-jouleprune_simt_switch
)");
#endif

namespace jouleprune::simt::host {

namespace {
constexpr size_t kStackBytes = 128 * 1024;
}

struct Fiber::State {
  void* stack = nullptr;
  Function function = nullptr;
  void* argument = nullptr;
  bool done = true;
  void* watched_inside = sanitizer::new_fiber();
  void* watched_outside = nullptr;
#if defined(JP_SWITCH_BY_HAND)
  void *inside = nullptr, *outside = nullptr;
#else
  ucontext_t inside{}, outside{};
#endif
#if defined(__SANITIZE_ADDRESS__)
  void *fake_inside = nullptr, *fake_outside = nullptr;
  const void* outside_bottom = nullptr;
  size_t outside_bytes = 0;
#endif

  State() {
    stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) {
      throw std::bad_alloc();
    }
  }
  ~State() {
    sanitizer::delete_fiber(watched_inside);
    munmap(stack, kStackBytes);
  }

  void enter() {
    watched_outside = sanitizer::current_fiber();
    sanitizer::switch_to(watched_inside);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&fake_outside, stack, kStackBytes);
#endif
#if defined(JP_SWITCH_BY_HAND)
    jouleprune_simt_switch(&outside, inside);
#else
    swapcontext(&outside, &inside);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_outside, nullptr, nullptr);
#endif
    if (done) {
      sanitizer::acquire(this);
    }
  }
  void leave() {
    sanitizer::switch_to(watched_outside);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(done ? nullptr : &fake_inside, outside_bottom, outside_bytes);
#endif
#if defined(JP_SWITCH_BY_HAND)
    jouleprune_simt_switch(&inside, outside);
#else
    swapcontext(&inside, &outside);
#endif
    entered();
  }
  void entered() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_inside, &outside_bottom, &outside_bytes);
#endif
  }
  void body() {
    entered();
    sanitizer::acquire(this);
    sanitizer::begin_thread();
    function(argument);
    sanitizer::end_thread();
    sanitizer::release(this);
    done = true;
    leave();
  }
};

namespace {

// What a new stack runs first. It has no arguments: makecontext passes integers alone, and a switch by hand none.
thread_local void* starting = nullptr;

}  // namespace

Fiber::Fiber() : state_(std::make_unique<State>()) {}
Fiber::~Fiber() = default;
Fiber::Fiber(Fiber&&) noexcept = default;
Fiber& Fiber::operator=(Fiber&&) noexcept = default;

void Fiber::begin(Function function, void* argument) {
  auto& s = *state_;
  s.function = function;
  s.argument = argument;
  s.done = false;
  sanitizer::release(&s);
#if defined(__SANITIZE_ADDRESS__)
  s.fake_inside = nullptr;
#endif
  const auto start = +[] { static_cast<State*>(starting)->body(); };
#if defined(JP_SWITCH_BY_HAND)
  // As if the switch had been called from a function with this frame: six registers, the address to go to, and a return
  // address that is never used; the stack is then as the ABI wants it at a function's first instruction.
  auto** top = reinterpret_cast<void**>(static_cast<char*>(s.stack) + kStackBytes - 64);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(start);
  for (int i = 0; i < 6; ++i) {
    *--top = nullptr;
  }
  s.inside = top;
#else
  getcontext(&s.inside);
  s.inside.uc_stack.ss_sp = s.stack;
  s.inside.uc_stack.ss_size = kStackBytes;
  s.inside.uc_link = nullptr;
  makecontext(&s.inside, start, 0);
#endif
}

bool Fiber::resume() {
  starting = state_.get();
  state_->enter();
  return !state_->done;
}

void Fiber::give_back() { state_->leave(); }

}  // namespace jouleprune::simt::host
