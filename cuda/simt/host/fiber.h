// Threads of the emulator: stacks that switch to each other on one thread of the system.
#pragma once
#include <cstddef>
#include <memory>

namespace jouleprune::simt::host {

/// A stack that runs a function until that function gives control back. A fiber that is destroyed or begun anew before
/// its function ended is abandoned: nothing on its stack is destroyed.
class Fiber {
 public:
  using Function = void (*)(void* argument);

  Fiber();
  ~Fiber();
  Fiber(Fiber&&) noexcept;
  Fiber& operator=(Fiber&&) noexcept;

  void begin(Function function, void* argument);  ///< the next resume enters `function`
  bool resume();                                  ///< true while `function` has not ended
  void give_back();                               ///< from inside: return from resume

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace jouleprune::simt::host
