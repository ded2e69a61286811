#!/usr/bin/env bash
# Sets everything up and runs the tests, tier by tier; a table of tiers and their seconds comes last.
#
#   bash tests/run.sh             lint, wheel, C++ tests, Python tests, find_package consumer, editable install, examples
#   bash tests/run.sh --fast      C++ tests and the quick Python tests
#   bash tests/run.sh --sanitize  the C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer, those of the torch-free
#                                 core also under ThreadSanitizer
#   bash tests/run.sh --cuda      builds against a CUDA wheel of torch, with nvcc and without; needs no GPU
#   bash tests/run.sh --tier aarch64   the torch-free core and its tests, cross-compiled for aarch64 and run under qemu
#   bash tests/run.sh --all       all of these but aarch64
#
# Options combine (--fast --sanitize), and single tiers can be named (--tier lint --tier pytest). Exit code: 0 when every tier
# passed. What the set-up reads from the environment stands in tests/setup.sh; JOULEPRUNE_TORCH_CUDA names the CUDA wheel
# (default: torch==2.14.1).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tests/setup.sh

usage() { sed -n '4,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

tier_lint() {
  "$PY" -m ruff check python tests examples setup.py &&
    "$PY" -m ruff format --check python tests examples setup.py &&
    "$PY" -m mypy
}

tier_wheel() { "$PY" tests/check_wheel.py dist/*.whl; }

# cpp_programs FOLDER "TARGET ..." CMAKE-OPTION...
cpp_programs() {
  local folder="$1" targets="$2"
  shift 2
  logged build/configure.log cmake -G Ninja -S . -B "$folder" -DJOULEPRUNE_TESTS=ON -DCMAKE_UNITY_BUILD=ON -DPython_EXECUTABLE="$PY" "$@" &&
    logged build/compile.log cmake --build "$folder" -j "$JOBS" --target $targets
}

# cpp_tests FOLDER "PROGRAM ..." CMAKE-OPTION...: a program that is not built has one test, NAME_NOT_BUILT, which fails.
cpp_tests() {
  cpp_programs "$@" && ctest --test-dir "$1" --output-on-failure -j "$JOBS" --progress -E _NOT_BUILT | tail -n 40
}
# In the folder that the wheel was built in: only the tests are left to compile.
tier_ctest() { cpp_tests "$(build_folder "$PY")" "core_tests torch_tests cuda_tests emulated_tests $(race_tests)"; }
# The emulated kernels under ThreadSanitizer, where the compiler has it (tests/cpp/cuda/CMakeLists.txt).
race_tests() { printf 'int main() {}' | "${CXX:-g++}" -x c++ -fsanitize=thread -o /dev/null - 2>/dev/null && echo cuda_race_tests; }
tier_sanitize() {
  # The leak checker stays off: torch keeps its registries until the process ends. Fewer random cases: each takes ten times as long.
  JOULEPRUNE_RANDOM_CASES="${JOULEPRUNE_RANDOM_CASES:-0.2}" \
    ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 cpp_tests build/sanitize "core_tests torch_tests cuda_tests" \
    -DJOULEPRUNE_SANITIZE=ON -DJOULEPRUNE_CUDA=OFF && thread_sanitizer
}
# Kernels on several threads, one element type of each. Torch is not built for this sanitizer: tests through it would raise
# false alarms.
thread_sanitizer() {
  cpp_programs build/sanitize-threads core_tests -DJOULEPRUNE_SANITIZE=THREAD -DJOULEPRUNE_CUDA=OFF &&
    TSAN_OPTIONS=halt_on_error=1 ctest --test-dir build/sanitize-threads --output-on-failure -j "$JOBS" --progress \
      -R '<float>|BytesInt8|PatternCode|PanelOrder' | tail -n 20
}

# A worker per core, each with one thread unless a test asks for more.
python_tests() { OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" "$PY" -m pytest -n "$JOBS" --dist worksteal tests/python "$@"; }
tier_pytest() { python_tests; }
tier_pytest_quick() { python_tests -m "not slow"; }

tier_consumer() { bash tests/consumer/run.sh "$PY"; }

tier_editable() { bash tests/check_editable.sh "$PY"; }

tier_examples() { "$PY" examples/python/prune_to_budget.py --quick; }

# A CUDA build of torch: with nvcc the kernels are built, without it the CPU half alone, and the reason is told.
tier_cuda() {
  local python="$VENV_CUDA/bin/python"
  make_venv "$VENV_CUDA" "${JOULEPRUNE_TORCH_CUDA:-torch==2.14.1}" &&
    install_package "$python" dist-cuda test &&
    "$python" tests/check_cuda_build.py --with-nvcc &&
    "$python" tests/check_cuda_kernels.py --arch 90 &&
    "$python" -m pytest tests/python/test_contract.py tests/python/test_ops.py -m "not slow" &&
    say "the same without nvcc" &&
    "$python" tests/check_cuda_build.py --without-nvcc
}

# Debian's cross compiler and emulator; GoogleTest is built from its sources.
tier_aarch64() {
  local compiler=aarch64-linux-gnu-g++ emulator=qemu-aarch64-static folder=build/aarch64
  if ! command -v "$compiler" >/dev/null || ! command -v "$emulator" >/dev/null; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
      { echo "install them first: sudo apt-get install g++-aarch64-linux-gnu qemu-user-static" >&2; return 1; }
    apt-get install -y -qq --no-install-recommends g++-aarch64-linux-gnu qemu-user-static >build/apt.log || { tail build/apt.log; return 1; }
  fi
  logged build/configure.log cmake -G Ninja -S . -B "$folder" -DJOULEPRUNE_CORE_ONLY=ON -DJOULEPRUNE_TESTS=ON \
    -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_C_COMPILER="${compiler%g++}gcc" \
    -DCMAKE_CROSSCOMPILING_EMULATOR="$emulator;-L;/usr/aarch64-linux-gnu" -DJOULEPRUNE_GOOGLETEST_DIR=/usr/src/googletest &&
    logged build/compile.log cmake --build "$folder" -j "$JOBS" --target core_tests &&
    ctest --test-dir "$folder" --output-on-failure -j "$JOBS" --progress | tail -n 40  # about ten minutes: emulated
}

plain=(lint wheel ctest pytest consumer editable examples)
tiers=()
while [ $# -gt 0 ]; do
  case "$1" in
    --fast) tiers+=(ctest pytest_quick) ;;
    --sanitize) tiers+=(sanitize) ;;
    --cuda) tiers+=(cuda) ;;
    --all) tiers+=("${plain[@]}" sanitize cuda) ;;
    --tier)
      shift
      declare -F "tier_${1:-}" >/dev/null || { usage >&2; exit 2; }
      tiers+=("$1")
      ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
[ ${#tiers[@]} -gt 0 ] || tiers=("${plain[@]}")

begun=$SECONDS
set_up || { echo "set-up failed" >&2; exit 1; }
results=("set-up $((SECONDS - begun)) ok")
failed=0
for tier in "${tiers[@]}"; do
  say "$tier"
  begun=$SECONDS
  if "tier_$tier"; then state=ok; else state=FAILED; failed=$((failed + 1)); fi
  results+=("$tier $((SECONDS - begun)) $state")
done

say "tiers"
printf '%-14s %8s  %s\n' tier seconds result
for result in "${results[@]}"; do printf '%-14s %8s  %s\n' $result; done
echo "$((${#tiers[@]} - failed)) passed, $failed failed in ${SECONDS}s"
[ "$failed" = 0 ]
