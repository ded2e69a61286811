#!/usr/bin/env bash
# Installs the package into a fresh virtual environment that sees another one's torch: editable first, then as a copy. Both must
# import from elsewhere, find their own files and run an op. Usage: tests/check_editable.sh PYTHON (that has torch and setuptools)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root="$PWD"
package="$root/python/jouleprune"
work="$root/build/editable"
rm -rf "$work"
mkdir -p "$work/saved"

# The sources may hold somebody's own editable build: it is put aside and comes back.
compiled() { find "$1" -mindepth 1 -maxdepth 1 \( -name lib -o -name include -o -name share -o -name '_C.*.so' \) -print0; }
put_back() {
  compiled "$package" | xargs -0 -r rm -rf
  compiled "$work/saved" | xargs -0 -r mv -t "$package"
}
compiled "$package" | xargs -0 -r mv -t "$work/saved"
trap put_back EXIT

"$1" -m venv "$work/venv"
python="$work/venv/bin/python"
"$python" -m pip --disable-pip-version-check -q uninstall -y setuptools # a new environment may bring an old one, which would win
site="$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
"$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$site/zz-torch.pth" # read last: our own install wins
pip() { "$python" -m pip --disable-pip-version-check -q "$@"; }

# smoke FOLDER: jouleprune comes from there, with all its paths, and an op runs.
smoke() {
  (cd "$work" && "$python" - "$1" <<'PYTHON')
import sys
from pathlib import Path

import torch

import jouleprune as jp

folder = Path(sys.argv[1]).resolve()
found = [Path(path).resolve() for path in (jp.__file__, jp._C.__file__, jp.get_library(), jp.get_include(), jp.cmake_prefix_path)]
assert all(path.is_relative_to(folder) and path.exists() for path in found), (folder, found)
layer, x = torch.nn.Linear(9, 7), torch.randn(2, 9)
torch.testing.assert_close(jp.nn.SparseLinear.from_dense(layer)(x), layer(x))
print(f"works from {folder}")
PYTHON
}

echo "editable install"
pip install --no-build-isolation --no-deps -e .
smoke "$package"
pip uninstall -y jouleprune
put_back
echo "install of a copy"
pip install --no-build-isolation --no-deps .
smoke "$site/jouleprune"
