"""`make bench-compiled` without its compilers: every call runs on the replies at hand, and libraries come to stand beside their sources."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import hiredis
import pytest
from rich.console import Console

from tools.bench import compiled
from tools.bench.compiled_worker import CASES, LAYERS, encoded


def test_every_call_runs_in_every_layer_on_the_replies_at_hand() -> None:
    trees = {"first": compiled.ROOT, "second": compiled.ROOT}
    found = list(compiled.measure(trees, starts=1, turns=1, rounds=2))
    assert [(each.layer, each.case, each.build) for each in found] == [
        (layer, case, build) for layer in LAYERS for case in CASES for build in trees
    ]
    assert all(each.micros > 0 for each in found)


def test_the_table_divides_the_first_build_by_each_other_one() -> None:
    found = [
        compiled.Measured(layer, case, build, micros)
        for layer in LAYERS
        for case in CASES
        for build, micros in (("plain", 30.0), ("quick", 20.0))
    ]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(compiled.table(found))
    lines = [line for line in console.export_text().splitlines() if "1.50x" in line]
    assert len(lines) == len(LAYERS) * len(CASES) and all("30.0" in line for line in lines)


@pytest.mark.parametrize("reply", [[b"OK", 3, None, [b"a\r\nb", []]], 7, None, b"", [b"\xff" * 100]])
def test_replies_are_encoded_as_a_server_sends_them(reply: object) -> None:
    reader = hiredis.Reader()
    reader.feed(encoded(reply))
    assert reader.gets() == reply


def test_each_larger_build_compiles_what_a_smaller_one_does() -> None:
    codec, flows, everything = (set(build.files()) for build in compiled.BUILDS if build.compiler == "cython")
    assert {"runtime/keyweave/changes/packed.py", "generated/compozy_store/entities/task_state.py"} <= codec
    assert codec < flows < everything
    assert not any(path.endswith("__init__.py") for path in everything)


def test_libraries_come_to_stand_beside_their_sources(tmp_path: Path) -> None:
    (build,) = (each for each in compiled.BUILDS if each.compiler == "mypyc")
    libraries = tmp_path / "lib"
    for path in build.files():
        library = libraries / Path(*Path(path).parts[1:]).with_suffix(".abi.so")
        library.parent.mkdir(parents=True, exist_ok=True)
        library.touch()
    (libraries / "shared.abi.so").touch()
    tree = compiled.assemble(build, tmp_path, libraries)
    placed = {str(path.relative_to(tree)) for path in tree.rglob("*.so")}
    assert placed == {path.replace(".py", ".abi.so") for path in build.files()} | {"runtime/shared.abi.so"}


def test_a_build_that_fails_ends_with_what_the_compiler_says(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"(?s)cython fails:.*No module named"):
        compiled.compile_parts("cython", tmp_path, Path(sys.executable))
