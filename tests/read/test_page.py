"""Pages, with literal replies: one round trip, dead and dangling members, and servers that require declared keys."""

from __future__ import annotations

from typing import Any

import pytest

from compozy_store.entities import USER as ENTITY
from keyweave.effects import ServerError
from keyweave.errors import StoreOutOfMemoryError
from keyweave.model.page import Page
from keyweave.read import page as page_flows
from tests.scripted import HEAD, USER, Scripted

TAG = "{app:v1:test:t:auth:0}:"
VIEW = TAG + "User.by_role:user"
DEAD = HEAD.replace(b'"expires":0', b'"expires":1600000000000000') + b',"id":"d","email":"d@x","role":"user"}'
TIME = [b"1700000001", b"0"]


def users(scripted: Scripted, answers: list[Any], **more: Any) -> Page[Any]:
    options = {"limit": 2, "cursor": None, "newest": True} | more
    return scripted.run(page_flows.page(scripted.context, ENTITY, "by_role", ("user",), **options), answers)


def test_a_page_is_one_round_trip_and_its_cursor_goes_on() -> None:
    scripted = Scripted()
    page = users(scripted, [[[b"1700000000000001", b"u", [], USER]]], limit=1)
    assert [record.id for record in page.rows] == ["u"]
    users(scripted, [[[b"", b"", [], USER]]], cursor=page.cursor, limit=1)
    first, second = scripted.sent()
    assert first[2:] == (1, VIEW, f"{TAG}User:", 1, "newest", "", "", 4000)
    assert second[2:] == (1, VIEW, f"{TAG}User:", 1, "newest", "1700000000000001", "u", 4000)


def test_a_page_that_dead_rows_shorten_is_filled_by_the_next_call() -> None:
    scripted = Scripted()
    page = users(scripted, [[[b"5", b"a", [], USER]], [[b"", b"", [], USER]]])
    assert (len(page.rows), page.cursor) == (2, None)
    assert [command[5] for command in scripted.sent()] == [2, 1]


def test_a_member_without_a_document_is_removed_under_a_guard() -> None:
    scripted = Scripted()
    page = users(scripted, [[[b"", b"", [b"gone"], USER]], [[b"OK"]]])
    assert len(page.rows) == 1
    heal = scripted.sent()[1]
    assert heal[heal.index("missing") :] == (
        "missing",
        1,
        "rows",
        "entries",
        4,
        "remove",
        1,
        "gone",
        "revision",
    )
    assert scripted.context.state.stats.healed == 1


def test_a_member_whose_document_is_written_meanwhile_stays() -> None:
    scripted = Scripted()
    users(scripted, [[[b"", b"", [b"late"], USER]], [[b"EXISTS", 1, b""]]])
    assert scripted.context.state.stats.healed == 0


def test_without_undeclared_keys_a_page_takes_two_commands() -> None:
    scripted = Scripted(declared_keys=True)
    assert len(users(scripted, [[[b"u", b"3"]], [[USER]]]).rows) == 1
    assert [command[0] for command in scripted.sent()] == ["ZREVRANGEBYSCORE", "MGET"]


@pytest.mark.parametrize("newest", [True, False])
def test_two_commands_skip_members_of_one_score_up_to_the_cursor(newest: bool) -> None:
    scripted = Scripted(declared_keys=True)
    members = sorted([b"a", b"b", b"c"], reverse=newest)
    tied = [word for member in members for word in (member, b"7")]
    first = users(scripted, [[tied], [[USER, USER]]], newest=newest)
    users(scripted, [[tied], [tied[4:]], [[USER]]], newest=newest, cursor=first.cursor)
    ranged, _, resumed, _, fetched = scripted.sent()
    assert ranged[2:4] == (("+inf", "-inf") if newest else ("-inf", "+inf"))
    assert resumed[2:4] == (("7", "-inf") if newest else ("7", "+inf"))
    assert fetched == ("MGET", f"{TAG}User:{members[2].decode()}")


def test_two_commands_skip_rows_past_their_deadline() -> None:
    scripted = Scripted(declared_keys=True)
    page = users(scripted, [[[b"u", b"3", b"d", b"2"]], [[USER, DEAD]], [TIME]])
    assert [record.id for record in page.rows] == ["u"]
    assert scripted.context.state.stats.dead_met == 1


def test_another_refusal_of_the_script_is_its_typed_error() -> None:
    scripted = Scripted()
    with pytest.raises(StoreOutOfMemoryError):
        users(scripted, [[ServerError("OOM", "OOM no")]])
