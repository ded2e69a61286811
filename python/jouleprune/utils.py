"""Paths of the installed package, for builds that link against it."""

from ._library import package_dir

__all__ = ["cmake_prefix_path", "get_include", "get_library"]

#: Pass as CMAKE_PREFIX_PATH: ``find_package(jouleprune)`` then works.
cmake_prefix_path: str = str(package_dir / "share" / "cmake")


def get_include() -> str:
    """Folder of the C++ headers: ``#include <jouleprune/jouleprune.h>``."""
    return str(package_dir / "include")


def get_library() -> str:
    """Path of libjouleprune.so: link it, or ``dlopen`` it before loading a scripted model or an AOTInductor package."""
    return str(package_dir / "lib" / "libjouleprune.so")
