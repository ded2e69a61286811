#!/usr/bin/env bash
# Sets everything up and runs the tests, tier by tier; a table of tiers and their seconds comes last.
#
#   bash tests/run.sh             lint, wheel, C++ tests, Python tests, find_package consumer, examples
#   bash tests/run.sh --fast      C++ tests and the quick Python tests
#   bash tests/run.sh --sanitize  the C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer
#   bash tests/run.sh --cuda      builds against a CUDA wheel of torch, with nvcc and without; needs no GPU
#   bash tests/run.sh --all       all of these
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tests/setup.sh

JOBS="${MAX_JOBS:-$(nproc)}"
ROOT="$PWD"

tier_lint() {
  "$PY" -m ruff check python tests examples setup.py &&
    "$PY" -m ruff format --check python tests examples setup.py &&
    "$PY" -m mypy
}

tier_wheel() { "$PY" tests/check_wheel.py dist/*.whl; }

# cpp_tests FOLDER CMAKE-OPTION...
cpp_tests() {
  local folder="$1"
  shift
  cmake -G Ninja -S . -B "$folder" -DJOULEPRUNE_TESTS=ON -DPython_EXECUTABLE="$ROOT/$PY" -DJOULEPRUNE_CUDA=OFF "$@" >"$folder.log" 2>&1 ||
    { cat "$folder.log"; return 1; }
  cmake --build "$folder" -j "$JOBS" && ctest --test-dir "$folder" --output-on-failure -j "$JOBS" | tail -n 40
}
tier_ctest() { mkdir -p build && cpp_tests build/cpp; }
tier_sanitize() {
  # The leak checker stays off: torch keeps its registries until the process ends.
  mkdir -p build && ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
    cpp_tests build/sanitize -DJOULEPRUNE_SANITIZE=ON
}

tier_pytest() { "$PY" -m pytest tests/python; }
tier_pytest_quick() { "$PY" -m pytest tests/python -m "not slow"; }

tier_consumer() { bash tests/consumer/run.sh "$ROOT/$PY"; }

tier_examples() {
  "$PY" examples/python/prune_to_budget.py --quick
}

# A CUDA build of torch: with nvcc the kernels are built, without it the CPU half alone, and the reason is told.
tier_cuda() {
  make_venv .venv-cuda "${JOULEPRUNE_TORCH_CUDA:-torch==2.14.1}" "${PYTHON_PACKAGES[@]}" || return 1
  install_package .venv-cuda build/dist-cuda || return 1
  .venv-cuda/bin/python tests/check_cuda_build.py --with-nvcc &&
    .venv-cuda/bin/python -m pytest tests/python/test_contract.py tests/python/test_ops.py -m "not slow" || return 1
  say "the same without nvcc"
  .venv-cuda/bin/python tests/check_cuda_build.py --without-nvcc
}

case "${1:-}" in
  "") tiers=(lint wheel ctest pytest consumer examples) ;;
  --fast) tiers=(ctest pytest_quick) ;;
  --sanitize) tiers=(sanitize) ;;
  --cuda) tiers=(cuda) ;;
  --all) tiers=(lint wheel ctest pytest consumer examples sanitize cuda) ;;
  *) sed -n '2,9p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac

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
printf '%-14s %6s  %s\n' tier seconds result
for result in "${results[@]}"; do printf '%-14s %6s  %s\n' $result; done
echo "$((${#tiers[@]} - failed)) passed, $failed failed"
[ "$failed" = 0 ]
