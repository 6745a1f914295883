"""The generated Lua: every key and argument is documented and used, every reply is a name that Python knows."""

from __future__ import annotations

import re

import pytest

from compozy_store import PACKAGE
from keyweave.changes.answer import Status

SCRIPTS = sorted(PACKAGE.scripts)


def header(name: str, title: str) -> list[str]:
    """The lines of one section of a script's header."""
    lines = PACKAGE.scripts[name].splitlines()
    start = lines.index(f"-- {title}") + 1
    found = []
    for line in lines[start:]:
        if not line.startswith("--   "):
            break
        found.append(line[5:])
    return found


def code(name: str) -> str:
    """A script without its comments."""
    return "\n".join(line for line in PACKAGE.scripts[name].splitlines() if not line.startswith("--"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_declares_its_flags_so_that_a_refusal_comes_before_its_first_write(name: str) -> None:
    first = PACKAGE.scripts[name].splitlines()[0]
    flags = dict.fromkeys(
        (
            "apply",
            "unlock",
            "aside",
            "adopt",
            "announce",
            "claim_home",
            "fence_home",
            "release_home",
            "carry",
            "double",
            "settle_home",
        ),
        "",
    )
    flags["outcome"] = " flags=allow-oom"
    assert first == "#!lua" + flags.get(name, " flags=no-writes")


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize(("title", "table"), [("KEYS", "KEYS"), ("ARGV", "ARGV")])
def test_what_is_documented_is_used_and_what_is_used_is_documented(name: str, title: str, table: str) -> None:
    documented = [line.split()[0] for line in header(name, title)]
    numbers = {int(number) for number in documented if number.isdigit()}
    used = {int(number) for number in re.findall(rf"{table}\[(\d+)\]", code(name))}
    assert used == numbers
    rest = [number for number in documented if not number.isdigit()]
    assert bool(rest) == bool(re.search(rf"{table}\[[^\d]|#{table}|ipairs\({table}\)|at = \d", code(name)))


def test_every_reply_of_apply_is_a_status_and_every_status_is_documented() -> None:
    documented = {line.split()[0] for line in header("apply", "Replies")}
    assert documented == {status.value for status in Status}
    said = set(re.findall(r"'([A-Z_]{2,})'", code("apply"))) - redis_words()
    assert said == documented


def redis_words() -> set[str]:
    """Names of Redis commands and options that stand in quotes in the scripts."""
    return set(
        (
            "TIME GETRANGE EXISTS STRLEN HINCRBY ZCARD ZSCORE HLEN HGET HSET HDEL GET SET EX PXAT ZADD ZREM DEL PERSIST "
            "PEXPIREAT PEXPIRE ZMSCORE"
        ).split()
    ) - {"EXISTS"}


def test_every_guard_row_and_entry_that_apply_knows_is_documented() -> None:
    checking, writing = code("apply").split("\nwhile ARGV[at] ~= 'rows' do\n")[1].split("\nend\n", 1)
    for title, word, text in (
        ("Guards", "word", checking),
        ("Rows", "word", writing),
        ("Entries", "verb", writing),
    ):
        known = set(re.findall(rf"\b{word} == '(\w+)'", text))
        documented = {line.split()[0] for line in header("apply", title)}
        assert documented == known
