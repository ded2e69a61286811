# Set-up shared by tests/run.sh and examples/run.sh: system packages, a virtual environment, torch, the package itself.
# Sourced after `cd` to the repository. Quick when repeated: each step keeps a stamp of what it was made from.
#
# JOULEPRUNE_TORCH    what pip installs as torch (default: torch==2.13.0 from the index that pip is configured for; for example
#                     "torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu")
# JOULEPRUNE_VENV     folder of the virtual environment (default: .venv; in the user's cache folder when the checkout's path
#                     has spaces, which torch's Inductor cannot link from)
# JOULEPRUNE_PYTHON   a Python that has torch already: used, and installed into, instead of a virtual environment of ours
# MAX_JOBS            compilers at a time (default: one per core)

ROOT="$PWD"
venv_home="$ROOT"
case "$ROOT" in
  *[[:space:]]*) venv_home="${XDG_CACHE_HOME:-$HOME/.cache}/jouleprune/$(printf '%s' "$ROOT" | cksum | cut -d' ' -f1)" ;;
esac
VENV="${JOULEPRUNE_VENV:-$venv_home/.venv}"
VENV_CUDA="$venv_home/.venv-cuda"
PY="${JOULEPRUNE_PYTHON:-$VENV/bin/python}"
JOBS="${MAX_JOBS:-$(nproc)}"
PIP=(-m pip --disable-pip-version-check -q)
# Paths below the checkout are told to the compiler as relative ones: another checkout finds the same cache entries.
export CCACHE_BASEDIR="${CCACHE_BASEDIR:-$ROOT}" CCACHE_NOHASHDIR=1
mkdir -p build

say() { printf '\n== %s\n' "$*"; }

# logged FILE COMMAND...: output goes to FILE; a tenth of ninja's lines is shown as progress, the end of FILE on failure.
logged() {
  local file="$1"
  shift
  "$@" 2>&1 | tee "$file" | awk '/^ *\[[0-9]+\/[0-9]+\]/ && n++ % 10 == 0 || /jouleprune: building/ { print substr($0, 1, 110); fflush() }'
  [ "${PIPESTATUS[0]}" = 0 ] || { tail -n 80 "$file"; return 1; }
}

cmake_is_new_enough() {
  local found
  found="$(cmake --version 2>/dev/null | awk 'NR == 1 { print $3 }')"
  [ -n "$found" ] && [ "$(printf '3.25\n%s\n' "$found" | sort -V | head -n 1)" = 3.25 ]
}

system_packages() {
  local missing=() wanted=()
  command -v g++ >/dev/null || missing+=(g++)
  command -v cmake >/dev/null || missing+=(cmake)
  command -v ninja >/dev/null || missing+=(ninja-build)
  [ -e /usr/include/nlohmann/json.hpp ] || missing+=(nlohmann-json3-dev)
  [ -e /usr/include/gtest/gtest.h ] || [ -e /usr/local/include/gtest/gtest.h ] || missing+=(libgtest-dev)
  command -v python3 >/dev/null || missing+=(python3)
  python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
  python3 -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' \
    2>/dev/null || missing+=(python3-dev)
  [ -e /usr/include/xbyak/xbyak.h ] || wanted+=(libxbyak-dev) # without it the kernels that need generated code are missing
  command -v ccache >/dev/null || wanted+=(ccache) # rebuilds take seconds with it; nothing fails without
  [ ${#missing[@]} -gt 0 ] || [ ${#wanted[@]} -gt 0 ] || return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing system packages: ${missing[*]} ${wanted[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" "${wanted[@]}" >build/apt.log ||
      { tail -n 20 build/apt.log; [ ${#missing[@]} = 0 ]; }
  elif [ ${#missing[@]} -gt 0 ]; then
    echo "missing system packages; install them first: sudo apt-get install ${missing[*]} ${wanted[*]}" >&2
    return 1
  fi
}

# make_venv FOLDER TORCH: a virtual environment with that torch; kept while both stay the same.
make_venv() {
  local folder="$1" torch="$2" stamp
  stamp="$torch, $(python3 --version)"
  [ -e "$folder/torch.stamp" ] && [ "$(cat "$folder/torch.stamp")" = "$stamp" ] && return 0
  say "making $folder with $torch"
  python3 -m venv --clear "$folder" || return 1
  # torch goes first and alone: a later package that asks for any torch then finds this one. Unquoted: it may carry pip's options.
  "$folder/bin/python" "${PIP[@]}" install $torch || { echo "pip could not install $torch" >&2; return 1; }
  "$folder/bin/python" "${PIP[@]}" install "setuptools>=77" || return 1
  printf '%s' "$stamp" >"$folder/torch.stamp"
}

source_hash() {
  find csrc cuda cmake python CMakeLists.txt setup.py pyproject.toml MANIFEST.in -type f \
    -not -name '*.so' -not -name '*.pyc' -not -path 'python/jouleprune/include/*' -not -path 'python/jouleprune/share/*' \
    -not -path '*.egg-info/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1
}

torch_of() { "$1" -c 'from importlib.metadata import version; print(version("torch"))'; }

# The CMake folder of a Python and its torch: the one that setup.py builds in.
build_folder() {
  "$1" -c 'import sys; print("build/" + sys.implementation.cache_tag)' | tr -d '\n' && echo "-torch-$(torch_of "$1")"
}

# install_package PYTHON DIST EXTRAS: builds the wheel and installs it with what it needs; nothing when neither the sources nor
# torch have changed.
install_package() {
  local python="$1" dist="$2" extras="$3" stamp_file stamp
  stamp_file="$("$python" -c 'import sys; print(sys.prefix)')/jouleprune.stamp"
  stamp="$(source_hash), torch $(torch_of "$python"), $extras, $ROOT" || return 1
  [ -e "$stamp_file" ] && [ "$(cat "$stamp_file")" = "$stamp" ] && ls "$dist"/*.whl >/dev/null 2>&1 && return 0
  say "building the package for torch $(torch_of "$python")"
  if ! cmake_is_new_enough; then
    "$python" "${PIP[@]}" install "cmake>=3.25" || return 1
    PATH="$(dirname "$python"):$PATH"
  fi
  rm -rf "$dist" build/lib* build/bdist* "$stamp_file" # setuptools would keep files that the sources no longer have
  logged build/wheel.log "$python" -m pip --disable-pip-version-check wheel -v --no-build-isolation --no-deps -w "$dist" . || return 1
  "$python" "${PIP[@]}" install --no-deps --force-reinstall "$dist"/*.whl || return 1
  "$python" "${PIP[@]}" install "$(ls "$dist"/*.whl)[$extras]" || return 1
  printf '%s' "$stamp" >"$stamp_file"
}

set_up() {
  system_packages || return 1
  if [ -z "${JOULEPRUNE_PYTHON:-}" ]; then
    make_venv "$VENV" "${JOULEPRUNE_TORCH:-torch==2.13.0}" || return 1
  elif ! "$PY" -c 'import torch, setuptools' 2>/dev/null; then
    echo "JOULEPRUNE_PYTHON=$PY: expected a Python that has torch and setuptools" >&2
    return 1
  fi
  install_package "$PY" dist examples,test,lint
}
