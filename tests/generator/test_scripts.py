"""The Lua library: includes are resolved once, and no script depends on a schema."""

from __future__ import annotations

import re
from itertools import permutations

import pytest

from keyweave_generator.load import load_sources
from keyweave_generator.render import render
from keyweave_generator.scripts import INCLUDE, ScriptError, assemble, includes, scripts, sources
from tests.generator.example import load_example, real_sources

TEXTS = sources()


def library(**uses: str) -> dict[str, str]:
    """Sources that only include: `page="live rank"` is a script that names two includes."""
    texts = {}
    for name, included in uses.items():
        path = name if name in ("page", "tree") else INCLUDE + name
        lines = ["--@ purpose  Nothing.", *(f"--@ include  {each}" for each in included.split())]
        texts[path] = "\n".join([*lines, f"local {name} = 1", ""])
    return texts


def order(texts: dict[str, str], name: str = "page") -> list[str]:
    return [path.removeprefix(INCLUDE) for path in includes(name, texts)]


def test_an_include_comes_after_the_includes_that_it_uses() -> None:
    assert order(library(page="stretch", stretch="live", live="time", time="")) == ["time", "live", "stretch"]


def test_an_include_that_several_files_use_is_there_once() -> None:
    texts = library(page="stretch live rank", stretch="live", live="time", rank="time", time="")
    assert order(texts) == ["time", "live", "stretch", "rank"]
    assert assemble("page", texts).count("local time = 1") == 1


@pytest.mark.parametrize("named", list(permutations(["stretch", "live", "time"])))
def test_the_order_in_which_a_script_names_its_includes_does_not_matter(named: tuple[str, ...]) -> None:
    texts = library(page=" ".join(named), stretch="live", live="time", time="")
    assert order(texts) == ["time", "live", "stretch"]


def test_scripts_share_their_includes() -> None:
    texts = library(page="live", tree="live", live="time", time="")
    assert order(texts) == order(texts, "tree") == ["time", "live"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (library(page="live", live="live"), "page -> include/live -> include/live: "),
        (
            library(page="time live", time="", live="rank", rank="stretch", stretch="live"),
            "page -> include/live -> include/rank -> include/stretch -> include/live: ",
        ),
    ],
)
def test_a_cycle_of_includes_is_refused(texts: dict[str, str], message: str) -> None:
    with pytest.raises(ScriptError) as refused:
        assemble("page", texts)
    assert str(refused.value) == message + "an include may not include itself, directly or through others"


def test_an_include_that_is_not_there_is_refused() -> None:
    with pytest.raises(ScriptError) as refused:
        assemble("page", library(page="live", live="tim"))
    assert str(refused.value) == "page -> include/live -> include/tim: there is no file include/tim.lua"


def defined(path: str) -> set[str]:
    """The names that an include gives to the files that include it."""
    return set(re.findall(r"^local function (\w+)", TEXTS[path], flags=re.MULTILINE))


def acts(path: str) -> bool:
    """Whether an include may answer by itself, before the script that includes it goes on."""
    return re.search(r"^if .* then\n  return ", TEXTS[path], flags=re.MULTILINE) is not None


def test_only_the_common_plans_are_answered_by_an_include() -> None:
    assert [path for path in sorted(TEXTS) if path.startswith(INCLUDE) and acts(path)] == [
        f"{INCLUDE}delete_rows",
        f"{INCLUDE}put_one",
    ]


@pytest.mark.parametrize("path", sorted(TEXTS))
def test_a_file_names_the_includes_that_it_uses_and_no_others(path: str) -> None:
    named = set(re.findall(r"^--@ include +(\w+)$", TEXTS[path], flags=re.MULTILINE))
    code = "\n".join(line for line in TEXTS[path].splitlines() if not line.startswith("--"))
    used = {
        other.removeprefix(INCLUDE)
        for other in TEXTS
        if other.startswith(INCLUDE)
        and other != path
        and (
            any(re.search(rf"\b{name}\(", code) for name in defined(other))
            or (acts(other) and other.removeprefix(INCLUDE) in named)
        )
    }
    assert named == used


def test_two_schemas_have_the_same_scripts() -> None:
    found = []
    for schema in (load_example(), load_sources(real_sources())):
        files = {path.removeprefix(f"{schema.package}/"): text for path, text in render(schema).items()}
        found.append({path: text for path, text in files.items() if path.startswith("lua/")})
    assert found[0] == found[1] == {f"lua/{name}.lua": text for name, text in scripts().items()}
    assert len(found[0]) > 10
