#!/usr/bin/env bash
# Builds jouleprune against a CUDA wheel of torch, checks its CUDA kernels on this machine's GPU and times them.
#
#   bash examples/benchmarks/gpu.sh [FOLDER]     results.json and results.md are written there (default: build/gpu)
#
# Needs nvcc of torch's CUDA major; what else the set-up reads from the environment stands in tests/setup.sh. Without a GPU it says so
# before it builds anything.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/setup.sh
folder="${1:-build/gpu}"
command -v nvidia-smi >/dev/null && nvidia-smi -L | grep -q GPU || { echo "no CUDA device: nvidia-smi lists none" >&2; exit 1; }
export TORCH_CUDA_ARCH_LIST="${TORCH_CUDA_ARCH_LIST:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1)}"
mkdir -p "$folder"
system_packages
make_venv "$VENV_CUDA" "${JOULEPRUNE_TORCH_CUDA:-torch==2.14.1}"
install_package "$VENV_CUDA/bin/python" dist-cuda test
"$VENV_CUDA/bin/python" examples/benchmarks/gpu_linear.py --check
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck synccheck; do
    say "compute-sanitizer $tool"
    compute-sanitizer --tool "$tool" --error-exitcode 1 "$VENV_CUDA/bin/python" examples/benchmarks/gpu_linear.py --check --small
  done
fi
"$VENV_CUDA/bin/python" examples/benchmarks/gpu_linear.py --time --json "$folder/results.json" --page "$folder/results.md"
