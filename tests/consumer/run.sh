#!/usr/bin/env bash
# Builds the consumer and the C++ examples on the installed package alone, then one program again on a copy of the package that was moved
# elsewhere.
# Usage: tests/consumer/run.sh PYTHON (of the environment that holds jouleprune)
set -euo pipefail
python="$1"
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
build="$here/../../build/consumer"
mkdir -p "$build"
cd "$build" # away from the sources: only the installed package may be found
package="$("$python" -c 'import jouleprune; print(jouleprune.utils.package_dir)')"
torch="$("$python" -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])')"

rm -rf "$build/artifacts"
"$python" "$here/make_artifacts.py" "$build/artifacts"
JOULEPRUNE_TUNE=off "$python" "$here/plans.py" "$build/artifacts" # plans depend on measured times: none, there and in C++
JOULEPRUNE_TUNE=off "$python" "$here/plans_criteria.py" "$build/artifacts"
JOULEPRUNE_TUNE=off "$python" "$here/plans_training.py" "$build/artifacts"
cmake -G Ninja -S "$here" -B "$build/installed" -DCMAKE_PREFIX_PATH="$package/share/cmake" \
  -DCONSUMER_ARTIFACTS="$build/artifacts" >"$build/configure.log" || { cat "$build/configure.log"; exit 1; }
cmake --build "$build/installed" -j "${MAX_JOBS:-$(nproc)}"
ctest --test-dir "$build/installed" --output-on-failure
"$python" "$here/check_exchanged.py" "$build/artifacts"

cmake -G Ninja -S "$here/../../examples/cpp" -B "$build/examples" -DCMAKE_PREFIX_PATH="$package/share/cmake" \
  >"$build/configure.log" || { cat "$build/configure.log"; exit 1; }
cmake --build "$build/examples" -j "${MAX_JOBS:-$(nproc)}"
ctest --test-dir "$build/examples" --output-on-failure

rm -rf "$build/moved prefix"
mkdir -p "$build/moved prefix"
cp -r "$package/lib" "$package/include" "$package/share" "$build/moved prefix/"
cmake -G Ninja -S "$here" -B "$build/moved" -DCMAKE_PREFIX_PATH="$build/moved prefix/share/cmake" \
  -DJOULEPRUNE_TORCH_DIR="$torch" -DCONSUMER_ARTIFACTS="$build/artifacts" >"$build/configure.log" || { cat "$build/configure.log"; exit 1; }
cmake --build "$build/moved" -j "${MAX_JOBS:-$(nproc)}" --target ops_only
LD_LIBRARY_PATH="$torch/lib" "$build/moved/ops_only"
