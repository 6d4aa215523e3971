"""Builds the data path: every ext/*.pyx becomes its own extension module `ext.<name>`.

    python setup.py build_ext --inplace -j2

Everything else about the distribution stands in pyproject.toml. Generated C goes to build/cython,
objects to build/temp.*; only what changed (.pyx, cimported .pxd, ext/*.h, flags) is built again.

Switches (environment):
    EDGE_DEBUG=1   defines the C macro EDGE_DEBUG, which counts live C objects (ext/debug.h)
    EDGE_ASAN=1    adds the address and undefined-behaviour sanitizers
    EDGE_NO_EXT=1  leaves ext/ out: `pip install -e` would compile it in a folder that it drops
"""

import os
import shutil
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DEBUG = os.environ.get("EDGE_DEBUG") == "1"
ASAN = os.environ.get("EDGE_ASAN") == "1"

WARNINGS = ["-Wall", "-Wno-unused-function", "-Wno-sign-compare"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"]
# The variants are for finding faults: what compiles faster is tested sooner.
COMPILE_ARGS = [*WARNINGS, "-g", "-O1" if ASAN or DEBUG else "-O3", *(SANITIZERS if ASAN else [])]
LINK_ARGS = SANITIZERS if ASAN else []
MACROS: list[tuple[str, str | None]] = [("EDGE_DEBUG", "1")] if DEBUG else []

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "binding": False,  # builtin functions: a call from Python costs less
    "embedsignature": True,
}

FLAGS_STAMP = Path("build/ext-flags.txt")


def extensions() -> list[Extension]:
    """One extension per .pyx that exists now; an empty list when there is none."""
    headers = [str(header) for header in sorted(Path("ext").glob("*.h"))]
    return [
        Extension(
            f"ext.{source.stem}",
            [str(source)],
            include_dirs=["."],
            define_macros=MACROS,
            extra_compile_args=COMPILE_ARGS,
            extra_link_args=LINK_ARGS,
            depends=headers,
        )
        for source in sorted(Path("ext").glob("*.pyx"))
    ]


class BuildExt(build_ext):
    """build_ext on all processors that also rebuilds when the switches changed."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def run(self) -> None:
        flags = " ".join([*COMPILE_ARGS, *(name for name, _ in MACROS)])
        if not FLAGS_STAMP.exists() or FLAGS_STAMP.read_text() != flags:
            # Removing what was built, instead of forcing a build, also survives an interruption.
            for tree in [*Path("build").glob("temp.*"), *Path("build").glob("lib.*")]:
                shutil.rmtree(tree)
            for library in Path("ext").glob("*.so"):
                library.unlink()
            FLAGS_STAMP.parent.mkdir(exist_ok=True)
            FLAGS_STAMP.write_text(flags)
        super().run()


sources = [] if os.environ.get("EDGE_NO_EXT") == "1" else extensions()
setup(
    ext_modules=cythonize(sources, compiler_directives=DIRECTIVES, build_dir="build/cython")
    if sources
    else [],
    cmdclass={"build_ext": BuildExt},
)
