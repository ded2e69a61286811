#!/usr/bin/env bash
# Builds jouleprune against a CUDA wheel of torch, checks its CUDA kernels on this machine's GPU, and measures times and joules.
#
#   bash examples/benchmarks/gpu.sh [FOLDER]     results.json, results.md and tuning.json are written there (default: build/gpu)
#   bash examples/benchmarks/gpu.sh --dry-run    what runs without a GPU: the instructions in the emulator, the Python parts on the CPU
#
# Needs nvcc of torch's CUDA major; what else the set-up reads from the environment stands in tests/setup.sh (JOULEPRUNE_PYTHON names a
# Python that has a CUDA build of torch already). Ends within 8 minutes: measuring stops when its share of them is spent, and the page
# tells what was left out. Steps that have no tool here say so and go on; without a GPU it says so before it builds anything.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/setup.sh
LIMIT_S=480
dry=0
[ "${1:-}" = --dry-run ] && { dry=1; shift; }
folder="$(realpath -m "${1:-build/gpu}")"
[ "$dry" = 1 ] || { command -v nvidia-smi >/dev/null && nvidia-smi -L | grep -q GPU; } || { echo "no CUDA device: nvidia-smi lists none" >&2; exit 1; }
mkdir -p "$folder"
export JOULEPRUNE_TUNE="$folder/tuning.json"
[ "$dry" = 1 ] || rm -f "$JOULEPRUNE_TUNE"

remaining() { echo $((LIMIT_S - SECONDS > 10 ? LIMIT_S - SECONDS : 10)); }

# The wrappers of the instructions (cuda/simt/device.h) against the emulator, bit for bit: g++ for the emulator, nvcc for the GPU.
instructions() {
  local program="$folder/instructions" flags=(-std=c++20 -O1 -I cuda -I tests/gpu) sources=(cuda/simt/host/{block,block_memory,fiber,global_memory,requests,shared_memory,warp_math}.cpp)
  if [ "$dry" = 1 ]; then
    "${CXX:-g++}" "${flags[@]}" -DJOULEPRUNE_NO_GPU -o "$program" tests/gpu/instructions_main.cpp tests/gpu/instructions_emulated.cpp "${sources[@]}" && "$program"
  else
    nvcc "${flags[@]}" -arch=native -o "$program" tests/gpu/instructions_main.cpp tests/gpu/instructions_emulated.cpp tests/gpu/instructions_device.cu "${sources[@]}" && "$program"
  fi
}

sanitizers() {
  if ! command -v compute-sanitizer >/dev/null; then
    echo "compute-sanitizer: not found, left out"
    return 0
  fi
  for tool in memcheck racecheck synccheck; do
    say "compute-sanitizer $tool"
    # Kernels of ours alone: racecheck reports false positives inside cuSPARSE, as its documentation says.
    local code=0
    JOULEPRUNE_CUSPARSE=off timeout 60 compute-sanitizer --tool "$tool" --error-exitcode 1 "$python" examples/benchmarks/gpu_linear.py --small || code=$?
    [ "$code" != 124 ] || echo "$tool: not finished after 60 seconds, left out"
    [ "$code" = 0 ] || [ "$code" = 124 ] || return "$code"
  done
}

if [ "$dry" = 1 ]; then
  python="$PY"
  say "instructions" && instructions
  say "layers, packing and masks" && "$python" examples/benchmarks/gpu_linear.py --small --dry-run
  say "tuning" && "$python" examples/benchmarks/gpu_times.py --tune --dry-run --seconds 20
  say "times" && "$python" examples/benchmarks/gpu_times.py --rows --dry-run --seconds 20 --json "$folder/results.json" --page "$folder/results.md"
  exit 0
fi

export TORCH_CUDA_ARCH_LIST="${TORCH_CUDA_ARCH_LIST:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1)}"
system_packages
python="${JOULEPRUNE_PYTHON:-$VENV_CUDA/bin/python}"
[ -n "${JOULEPRUNE_PYTHON:-}" ] || make_venv "$VENV_CUDA" "${JOULEPRUNE_TORCH_CUDA:-torch==2.14.1}"
install_package "$python" dist-cuda test
say "instructions" && instructions
say "layers, packing and masks" && "$python" examples/benchmarks/gpu_linear.py
say "sanitizers" && sanitizers
say "tuning" && "$python" examples/benchmarks/gpu_times.py --tune --seconds $(($(remaining) / 4))
say "times and joules" &&
  "$python" examples/benchmarks/gpu_times.py --rows --seconds $(($(remaining) - 15)) --json "$folder/results.json" --page "$folder/results.md"
