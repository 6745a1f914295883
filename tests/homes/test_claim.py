"""Homes are claimed, taken over and removed: what is sent, in which order, for each answer."""

from __future__ import annotations

from typing import Any

import pytest

from compozy_store import PACKAGE
from keyweave.errors import CorruptDocumentError, TransactionConflictError
from keyweave.homes.claim import claim, find_home, vacate
from keyweave.homes.home import FENCE_LIFE, LONGEST, Home, Homed
from keyweave.keyspace.keys import Keyspace, Namespace
from tests.scripted import Scripted

USER = PACKAGE.entities["User"]
THING = Homed(USER, "", "u")


@pytest.fixture
def scripted() -> Scripted:
    """A context with four partitions of each group."""
    made = Scripted(attempts=3)
    keyspace = Keyspace(Namespace("app", "v1", "test", "t"), dict.fromkeys(PACKAGE.groups, 4))
    object.__setattr__(made.context, "keyspace", keyspace)
    return made


def calls(scripted: Scripted) -> list[tuple[str, tuple[Any, ...]]]:
    """Each script that was called, with its arguments."""
    names = {script.sha: name for name, script in scripted.context.scripts.items()}
    return [
        (names[command[1]], command[3 + int(command[2]) :])
        for command in scripted.sent()
        if command[0] == "EVALSHA"
    ]


def at(scripted: Scripted, index: int) -> Any:
    return scripted.context.keyspace.at(USER.group, index)


def test_a_fence_outlives_every_step_that_rests_on_it() -> None:
    assert FENCE_LIFE > 2 * LONGEST


def test_a_home_that_is_free_costs_one_exchange(scripted: Scripted) -> None:
    home = scripted.run(claim(scripted.context, THING, 2), [[[b"HOME", b"2 17"]]])
    assert home == Home(2, 17)
    ((name, arguments),) = calls(scripted)
    assert (name, arguments[:3]) == ("claim_home", ("u", 2, ""))
    (command,) = scripted.sent()
    assert command[3].startswith(scripted.context.keyspace.partition(USER.group, "u").tag)


def test_a_home_in_another_partition_is_fenced_before_it_is_taken_over(scripted: Scripted) -> None:
    answers = [[[b"HOME", b"3 17"]], [1], [[b"HOME", b"2 18"]]]
    assert scripted.run(claim(scripted.context, THING, 2), answers) == Home(2, 18)
    assert [(name, arguments[:3]) for name, arguments in calls(scripted)] == [
        ("claim_home", ("u", 2, "")),
        ("fence_home", ("row", "", 17)),
        ("claim_home", ("u", 2, "3 17")),
    ]
    fenced = scripted.sent()[1]
    assert fenced[3:5] == (at(scripted, 3).document("User", "u"), at(scripted, 3).fence("User", "", "u"))


def test_a_home_whose_partition_has_the_row_stays(scripted: Scripted) -> None:
    answers = [[[b"HOME", b"3 17"]], [0]]
    assert scripted.run(claim(scripted.context, THING, 2), answers) == Home(3, 17)


def test_a_refused_epoch_of_the_own_partition_is_replaced(scripted: Scripted) -> None:
    answers = [[[b"HOME", b"2 17"]], [1], [[b"HOME", b"2 18"]]]
    assert scripted.run(claim(scripted.context, THING, 2, refused=17), answers) == Home(2, 18)


def test_a_takeover_that_came_too_late_begins_again_with_the_fence(scripted: Scripted) -> None:
    """The fence may have ended meanwhile."""
    answers = [
        [[b"HOME", b"3 17"]],
        [1],
        [[b"LATE", b"1700000000000000"]],
        [[b"HOME", b"3 17"]],
        [1],
        [[b"HOME", b"2 18"]],
    ]
    scripted = Scripted(attempts=4)
    keyspace = Keyspace(Namespace("app", "v1", "test", "t"), dict.fromkeys(PACKAGE.groups, 4))
    object.__setattr__(scripted.context, "keyspace", keyspace)
    assert scripted.run(claim(scripted.context, THING, 2), answers) == Home(2, 18)
    assert [name for name, _ in calls(scripted)] == [
        "claim_home",
        "fence_home",
        "claim_home",
        "claim_home",
        "fence_home",
        "claim_home",
    ]


def test_a_home_that_changes_in_every_attempt_is_a_conflict(scripted: Scripted) -> None:
    answers = [[[b"HOME", b"3 17"]], [1], [[b"HOME", b"1 18"]], [1], [[b"HOME", b"3 19"]], [1]]
    with pytest.raises(TransactionConflictError, match="its home changed in all 3 attempts"):
        scripted.run(claim(scripted.context, THING, 2), answers)


def test_a_damaged_clock_is_reported(scripted: Scripted) -> None:
    with pytest.raises(CorruptDocumentError):
        scripted.run(claim(scripted.context, THING, 2), [[[b"CORRUPT", 1]]])


def test_homes_of_unique_values_are_beside_those_of_keys(scripted: Scripted) -> None:
    email = Homed(USER, "email", "a@x")
    assert scripted.run(find_home(scripted.context, email), [[b"1 9"]]) == Home(1, 9)
    (command,) = scripted.sent()
    there = scripted.context.keyspace.partition(USER.group, "a@x")
    assert command == ("HGET", there.homes("User", "email"), "a@x")
    assert there.homes("User", "email") != there.homes("User")


@pytest.mark.parametrize(
    ("answers", "gone"),
    [
        ([[None]], True),
        ([[b"3 17"], [0]], False),
        ([[b"3 17"], [1], [[b"GONE"]]], True),
        ([[b"3 17"], [1], [[b"HOME", b""]]], True),
        ([[b"3 17"], [1], [[b"HOME", b"2 18"]]], False),
        ([[b"3 17"], [1], [[b"LATE", b"1700000000000000"]], [b"3 17"], [1], [[b"GONE"]]], True),
    ],
)
def test_a_home_is_removed_only_behind_a_fence(scripted: Scripted, answers: list[Any], gone: bool) -> None:
    assert scripted.run(vacate(scripted.context, THING), answers) is gone
