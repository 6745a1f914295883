"""Compiles modules of a tree into it, beside their sources, for `make bench-compiled`.

It runs on the interpreter of an environment that has the compilers, and imports nothing of this repository.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

_OPTIMISED = ["-O2", "-g0", "-w"]


def by_cython(folders: dict[str, str]) -> list[Any]:
    """The extensions of modules by their files, compiled as they are: annotations of types are not used."""
    extension: Any = import_module("setuptools").Extension
    cythonize: Any = import_module("Cython.Build").cythonize
    modules = [extension(name, [path], extra_compile_args=_OPTIMISED) for name, path in folders.items()]
    directives = {"language_level": 3, "annotation_typing": False}
    made: list[Any] = cythonize(
        modules, compiler_directives=directives, nthreads=2, quiet=True, build_dir="build"
    )
    return made


def by_mypyc(folders: dict[str, str]) -> list[Any]:
    """The extensions of modules by their files, compiled with the types of their annotations."""
    options = ["--explicit-package-bases", "--ignore-missing-imports", "--follow-imports=silent"]
    made: list[Any] = import_module("mypyc.build").mypycify(
        [*options, *folders.values()], opt_level="2", debug_level="0", multi_file=True, group_name="speedups"
    )
    return made


def main(tree: str, compiler: str, *paths: str) -> None:
    """Compile files of a tree whose folders of packages are on its first level."""
    os.chdir(tree)
    roots = sorted({Path(path).parts[0] for path in paths})
    os.environ["MYPYPATH"] = os.pathsep.join(roots)
    modules = {".".join(Path(path).with_suffix("").parts[1:]): path for path in paths}
    extensions = {"cython": by_cython, "mypyc": by_mypyc}[compiler](modules)
    distribution: Any = import_module("setuptools.dist").Distribution({"ext_modules": extensions})
    build: Any = distribution.get_command_obj("build_ext")
    build.build_lib, build.build_temp, build.parallel = "lib", "build", 2
    build.ensure_finalized()
    build.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
