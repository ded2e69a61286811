"""Checks a built wheel: size, and that the installed package is a whole install prefix. Usage: check_wheel.py WHEEL"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

MOST_BYTES = 15 * 2**20
EXPECTED = (
    "jouleprune/lib/libjouleprune.so",
    "jouleprune/include/jouleprune/jouleprune.h",
    "jouleprune/include/jouleprune/energy.h",
    "jouleprune/share/cmake/jouleprune/jouleprune-config.cmake",
    "jouleprune/py.typed",
    "jouleprune/_C.pyi",
)


def main(wheel: Path) -> int:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    problems = [f"missing: {name}" for name in EXPECTED if name not in names]
    if not any(name.startswith("jouleprune/_C.") and name.endswith(".so") for name in names):
        problems.append("missing: jouleprune/_C.*.so")
    if wheel.stat().st_size > MOST_BYTES:
        problems.append(f"too large: {wheel.stat().st_size} bytes, at most {MOST_BYTES}")
    print(f"{wheel.name}: {wheel.stat().st_size / 2**20:.2f} MiB, {len(names)} files", *problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
