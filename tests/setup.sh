# Set-up shared by tests/run.sh and examples/run.sh: system packages, a virtual environment, torch, the package itself.
# Sourced after `cd` to the repository. Quick when repeated: each step keeps a stamp of what it was made from.
#
# JOULEPRUNE_TORCH   what to give pip for torch (default: torch==2.13.0)
# JOULEPRUNE_VENV    folder of the virtual environment (default: .venv)

VENV="${JOULEPRUNE_VENV:-.venv}"
PY="$VENV/bin/python"

say() { printf '\n== %s\n' "$*"; }

system_packages() {
  local wanted=() missing=()
  command -v g++ >/dev/null || missing+=(g++)
  command -v cmake >/dev/null || missing+=(cmake)
  command -v ninja >/dev/null || missing+=(ninja-build)
  command -v ccache >/dev/null || wanted+=(ccache)
  [ -e /usr/include/nlohmann/json.hpp ] || missing+=(nlohmann-json3-dev)
  [ -e /usr/include/gtest/gtest.h ] || missing+=(libgtest-dev)
  python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
  python3 -c 'import sysconfig, os, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || missing+=(python3-dev)
  [ ${#missing[@]} -gt 0 ] || [ ${#wanted[@]} -gt 0 ] || return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing system packages: ${missing[*]} ${wanted[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" "${wanted[@]}" >/dev/null
  elif [ ${#missing[@]} -gt 0 ]; then
    echo "missing system packages; install them first: sudo apt-get install ${missing[*]}" >&2
    return 1
  fi
}

# make_venv FOLDER TORCH PACKAGE...: a virtual environment with that torch; kept while the arguments stay the same.
make_venv() {
  local folder="$1" torch="$2" stamp
  shift 2
  stamp="$(printf '%s\n' "$torch" "$@" "$(python3 --version)")"
  [ -e "$folder/stamp" ] && [ "$(cat "$folder/stamp")" = "$stamp" ] && return 0
  say "making $folder with $torch"
  python3 -m venv "$folder" || return 1
  # torch goes first and alone: a later package that asks for any torch then finds this one.
  "$folder/bin/python" -m pip install -q --disable-pip-version-check "$torch" || return 1
  "$folder/bin/python" -m pip install -q --disable-pip-version-check "$@" || return 1
  printf '%s' "$stamp" >"$folder/stamp"
}

PYTHON_PACKAGES=("setuptools>=77" wheel numpy rich safetensors mlxtend scikit-learn pytest hypothesis mypy ruff)

source_hash() {
  find csrc cuda cmake python CMakeLists.txt setup.py pyproject.toml -type f \
    -not -name '*.so' -not -name '*.pyc' -not -path 'python/jouleprune/include/*' -not -path 'python/jouleprune/share/*' \
    -not -path '*.egg-info/*' -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1
}

# install_package VENV DIST: builds the wheel and installs it, unless the sources and the torch are those of the last time.
install_package() {
  local venv="$1" dist="$2" stamp
  stamp="$(source_hash) $("$venv/bin/python" -c 'from importlib.metadata import version; print(version("torch"))')"
  [ -e "$venv/installed" ] && [ "$(cat "$venv/installed")" = "$stamp" ] && return 0
  say "building the wheel for torch $(cut -d' ' -f2 <<<"$stamp")"
  rm -rf "$dist" "$venv/installed"
  "$venv/bin/python" -m pip wheel -q --disable-pip-version-check --no-build-isolation --no-deps -w "$dist" . || return 1
  "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --force-reinstall "$dist"/*.whl || return 1
  printf '%s' "$stamp" >"$venv/installed"
}

set_up() {
  system_packages && make_venv "$VENV" "${JOULEPRUNE_TORCH:-torch==2.13.0}" "${PYTHON_PACKAGES[@]}" && install_package "$VENV" dist
}
