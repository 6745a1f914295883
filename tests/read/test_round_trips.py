"""Reads in one round trip, with literal replies: what is sent, what is compared, and what servers refuse."""

from __future__ import annotations

from typing import Any

import pytest

from compozy_store import WorkflowNotFoundError
from compozy_store.entities import TASK_STATE, WORKFLOW_STATE
from keyweave.effects import Flow, Send, ServerError
from keyweave.errors import CorruptDocumentError, InvalidCursorError, ValidationError
from keyweave.model.page import Page
from keyweave.read import gather as gather_flows
from keyweave.read import plan, query_page
from keyweave.read import tree as tree_flows
from keyweave.read.query import Having, where_query
from tests.scripted import Scripted

TAG = "{app:v1:test:t:execution:0}:"
FILTERS = {"status": "RUNNING", "agent_id": "a:b"}
BY_AGENT, BY_STATUS = f"{TAG}TaskState.by_agent:a%3Ab", f"{TAG}TaskState.by_status:RUNNING"


def task(key: str, agent: str = "a:b", status: str = "RUNNING") -> bytes:
    return (
        '{"revision":1700000000000002,"created":1700000000000001,"expires":0,"op":"x",'
        f'"task_exec_id":"{key}","task_id":"t","workflow_exec_id":"w","workflow_id":"f","component":"agent",'
        f'"status":"{status}","agent_id":"{agent}","action_id":"act"}}'
    ).encode()


def search(
    scripted: Scripted, answers: list[Any], filters: dict[str, Any] | None = None, **more: Any
) -> Page[Any]:
    options: dict[str, Any] = {"limit": 2, "cursor": None} | more
    flow = query_page.page(scripted.context, where_query(TASK_STATE, filters or FILTERS), **options)
    page: Page[Any] = scripted.run(flow, answers)
    return page


def keys(rows: list[Any]) -> list[str]:
    return [row.task_exec_id for row in rows]


def test_two_views_are_one_call_and_its_cursor_continues() -> None:
    scripted = Scripted()
    page = search(scripted, [[[2, b"7", b"b", [], task("a"), task("b")]]])
    assert keys(page.rows) == ["a", "b"]
    assert search(scripted, [[[1, b"", b"", []]]], cursor=page.cursor).cursor is None
    first, second = (command[2:] for command in scripted.sent())
    assert first == (2, BY_AGENT, BY_STATUS, f"{TAG}TaskState:", 2, "newest", "", "", 4000, 2)
    assert second == (2, BY_AGENT, BY_STATUS, f"{TAG}TaskState:", 2, "newest", "7", "b", 4000, 2)


def test_a_document_that_does_not_match_is_not_found_although_its_entries_match() -> None:
    page = search(
        Scripted(), [[[1, b"", b"", [], task("a", agent="x"), task("b", status="PAUSED"), task("c")]]]
    )
    assert keys(page.rows) == ["c"]


def test_a_page_ends_at_its_last_match_when_documents_are_compared() -> None:
    scripted = Scripted()
    found = [task("a"), task("b"), task("c")]
    page = search(scripted, [[[1, b"9", b"c", [], *found]]], FILTERS | {"component": "agent"}, limit=1)
    assert keys(page.rows) == ["a"]
    search(scripted, [[[1, b"", b"", []]]], FILTERS | {"component": "agent"}, limit=1, cursor=page.cursor)
    assert scripted.sent()[1][-4:-2] == ("1700000000000001", "a")


def test_a_short_page_is_filled_by_the_next_call() -> None:
    scripted = Scripted()
    page = search(scripted, [[[1, b"5", b"z", [], task("a")]], [[2, b"", b"", [], task("b")]]])
    assert (keys(page.rows), page.cursor) == (["a", "b"], None)
    assert scripted.sent()[1][6:10] == (1, "newest", "5", "z")


def test_a_member_without_a_document_is_removed_from_the_view_that_was_read() -> None:
    scripted = Scripted()
    search(scripted, [[[2, b"", b"", [b"gone"]]], [[b"OK"]]])
    heal = scripted.sent()[1]
    assert BY_STATUS in heal
    assert BY_AGENT not in heal
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


def test_without_undeclared_keys_the_smallest_view_is_read() -> None:
    scripted = Scripted(declared_keys=True)
    plain = [[5, 2], [[b"a", b"3"]], [[task("a")]]]
    assert keys(search(scripted, plain).rows) == ["a"]
    assert keys(search(scripted, plain).rows) == ["a"]
    assert [command[0] for command in scripted.sent()] == [
        *["ZCARD", "ZCARD", "ZREVRANGEBYSCORE", "MGET"] * 2,
    ]


def test_without_undeclared_keys_a_range_goes_on_behind_its_last_entry() -> None:
    """A row that others delete leaves the range, so a number of entries would leave out another row."""
    scripted = Scripted(declared_keys=True)
    answers = [
        [[b"c", b"5", b"b", b"4", b"a", b"3"]],
        [[None, task("b")]],  # the first one has been deleted
        [[b"b", b"4", b"a", b"3"]],
        [[task("a")]],
    ]
    assert keys(search(scripted, answers, {"status": "RUNNING"}).rows) == ["b", "a"]
    ranges = [command for command in scripted.sent() if command[0] == "ZREVRANGEBYSCORE"]
    assert [(command[2], command[6]) for command in ranges] == [("+inf", 0), ("4", 0)]


def test_a_view_that_is_not_built_is_not_read() -> None:
    scripted = Scripted()
    scripted.context.state.unbuilt.add("TaskState.by_agent")
    search(scripted, [[[b"", b"", [], task("a"), task("b", agent="x")]]])
    assert scripted.sent()[0][2:4] == (1, BY_STATUS)


def test_what_was_planned_while_a_view_was_not_built_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another call of the process learns that the view is built while this one waits."""
    scripted = Scripted()
    unbuilt = scripted.context.state.unbuilt
    unbuilt.add("TaskState.by_agent")

    def built(_: Any, __: Any, views: list[Any], ___: str) -> Flow[list[Any]]:
        yield Send(())
        unbuilt.clear()
        return [view for view in views if view.name != "by_agent"]

    monkeypatch.setattr(plan, "_built", built)
    page = [[b"", b"", [], task("a")]]
    # It is planned again, because a view that was not built bounds it.
    for answers in ([[], page], [page]):
        assert len(search(scripted, answers, {"agent_id": "a:b"}).rows) == 1
        assert scripted.sent()[-1][2:4] == (1, BY_AGENT)


def test_a_damaged_view_and_a_damaged_cursor_are_typed_errors() -> None:
    with pytest.raises(CorruptDocumentError):
        search(Scripted(), [[ServerError("WRONGTYPE", "WRONGTYPE no")]])
    with pytest.raises(InvalidCursorError):
        search(Scripted(), [], cursor="?")


def run(key: str) -> bytes:
    head = '{"revision":1700000000000002,"created":1700000000000001,"expires":0,"op":"x",'
    return f'{head}"workflow_exec_id":"{key}","workflow_id":"f","status":"RUNNING"}}'.encode()


def having_task(wanted: dict[str, Any]) -> Having:
    return Having(where_query(TASK_STATE, wanted))


def having(scripted: Scripted, answers: list[Any], **wanted: Any) -> list[str]:
    """Executions of the workflow `f` that have such a task."""
    query = where_query(WORKFLOW_STATE, {"workflow_id": "f"}).where_having(having_task(wanted))
    flow = query_page.page(scripted.context, query, 1, None)
    return [row.workflow_exec_id for row in scripted.run(flow, answers).rows]


def test_a_row_with_a_referring_row_is_found_in_one_call_with_a_proof() -> None:
    scripted = Scripted()
    assert having(scripted, [[[b"3", b"w", [], [run("w"), task("a")]]]], agent_id="a:b") == ["w"]
    newest = f"{TAG}WorkflowState.newest_of_workflow:f"
    options = (f"{TAG}WorkflowState:", 1, "newest", "", "", 500)
    families = (f"{TAG}TaskState.by_workflow:", f"{TAG}TaskState:")
    assert scripted.sent()[0][2:] == (2, newest, BY_AGENT, *options, *families)


def test_a_proof_that_does_not_match_is_verified() -> None:
    scripted = Scripted()
    answers = [
        [[b"", b"", [], [run("w"), task("a", agent="x")]]],
        [[b"a", b"b"]],
        [[task("a", "x"), task("b")]],
    ]
    assert having(scripted, answers, agent_id="a:b") == ["w"]
    assert having(scripted, [*answers[:2], [[task("a", "x"), None]]], agent_id="a:b") == []
    unknown = [[[b"", b"", [], [run("w"), b""]]], [[b"b"]], [[task("b")]]]
    assert having(scripted, unknown, agent_id="a:b") == ["w"]


def test_a_condition_that_no_view_covers_is_compared() -> None:
    scripted = Scripted()
    answers = [[[b"", b"", [], run("w")]], [[b"a"]], [[task("a")]]]
    assert having(scripted, answers, agent_id="a:b", component="agent") == ["w"]
    assert [command[0] for command in scripted.sent()] == ["EVALSHA", "ZINTER", "MGET"]


def test_without_undeclared_keys_a_semi_join_takes_plain_commands() -> None:
    scripted = Scripted(declared_keys=True)
    answers = [[[b"w", b"3"]], [[run("w")]], [[b"a"]], [[task("a")]]]
    assert having(scripted, answers, agent_id="a:b") == ["w"]
    assert [command[0] for command in scripted.sent()] == [
        "ZREVRANGEBYSCORE",
        "MGET",
        "ZINTER",
        "MGET",
    ]


def grow(scripted: Scripted, answers: list[Any], depth: int = 5) -> list[str]:
    flow = tree_flows.tree(scripted.context, TASK_STATE, "r", "by_parent", max_depth=depth)
    return keys(scripted.run(flow, answers))


def test_a_tree_is_one_call() -> None:
    scripted = Scripted()
    assert grow(scripted, [[[1, [], [task("r")], [task("a"), task("b")]]]]) == ["r", "a", "b"]
    views = f"{TAG}TaskState.by_parent:"
    assert scripted.sent()[0][2:] == (1, f"{TAG}TaskState:r", f"{TAG}TaskState:", views, "r", 5, 500)


def test_a_tree_beyond_the_bound_continues_level_by_level() -> None:
    scripted = Scripted()
    answers = [[[0, [], [task("r")], [task("a")]]], [[b"", b"", [], task("b")]], [[b"", b"", []]]]
    assert grow(scripted, answers) == ["r", "a", "b"]
    assert grow(Scripted(), answers[:1], depth=1) == ["r", "a"]
    assert scripted.sent()[1][3] == f"{TAG}TaskState.by_parent:a"


def test_without_undeclared_keys_a_tree_is_read_level_by_level() -> None:
    scripted = Scripted(declared_keys=True)
    assert grow(scripted, [[task("r")], [[]]]) == ["r"]
    assert [command[0] for command in scripted.sent()] == ["GET", "ZRANGEBYSCORE"]


def test_a_depth_that_is_not_a_number_sends_nothing() -> None:
    scripted = Scripted()
    with pytest.raises(ValidationError):
        tree_flows.tree(scripted.context, TASK_STATE, "r", "by_parent", max_depth="5").send(None)  # type: ignore[arg-type]
    assert scripted.sent() == []


def together(scripted: Scripted, answers: list[Any]) -> list[str]:
    """An execution and its tasks."""
    flow = gather_flows.get_with(scripted.context, WORKFLOW_STATE, "w", "TaskState", "workflow_exec_id")
    row, tasks = scripted.run(flow, answers)
    return [row.workflow_exec_id, *keys(tasks)]


def test_a_row_with_its_referring_rows_is_one_call() -> None:
    scripted = Scripted()
    assert together(scripted, [[[run("w"), b"", b"", [], task("a"), task("b")]]]) == ["w", "a", "b"]
    row, view = f"{TAG}WorkflowState:w", f"{TAG}TaskState.by_workflow:w"
    assert scripted.sent()[0][2:] == (2, row, view, f"{TAG}TaskState:", 200, "newest", 4000)


def test_a_large_list_continues_as_pages() -> None:
    scripted = Scripted()
    answers = [[[run("w"), b"7", b"a", [], task("a")]], [[b"", b"", [], task("b")]]]
    assert together(scripted, answers) == ["w", "a", "b"]
    assert scripted.sent()[1][7:9] == ("7", "a")


def test_a_row_past_its_deadline_is_missing_and_so_is_one_without_a_document() -> None:
    dead = run("w").replace(b'"expires":0', b'"expires":1600000000000000')
    for answers in ([[None]], [[[dead, b"", b"", []]], [[b"1700000001", b"0"]]]):
        with pytest.raises(WorkflowNotFoundError):
            together(Scripted(), answers)


def test_without_undeclared_keys_a_row_with_its_referring_rows_is_a_get_and_pages() -> None:
    scripted = Scripted(declared_keys=True)
    assert together(scripted, [[run("w")], [[b"a", b"3"]], [[task("a")]]]) == ["w", "a"]
    assert [command[0] for command in scripted.sent()] == ["GET", "ZREVRANGEBYSCORE", "MGET"]


def leading(scripted: Scripted, answers: list[Any], *conditions: Having, **filters: Any) -> list[str]:
    """The newest execution of the workflow `f` that equals the filters, and its tasks."""
    query = where_query(WORKFLOW_STATE, {"workflow_id": "f", **filters})
    for condition in conditions:
        query = query.where_having(condition)
    found = scripted.run(
        gather_flows.first_with(scripted.context, query, "TaskState", "workflow_exec_id"), answers
    )
    if found is None:
        return []
    row, tasks = found
    return [row.workflow_exec_id, *keys(tasks)]


def test_the_first_row_of_a_view_with_its_referring_rows_is_one_call() -> None:
    scripted = Scripted()
    row, family = [b"7", b"w", [], run("w")], [b"", b"", [], task("a"), task("b")]
    assert leading(scripted, [[[row, family]]]) == ["w", "a", "b"]
    view, rows, theirs = (
        f"{TAG}WorkflowState.newest_of_workflow:f",
        f"{TAG}WorkflowState:",
        f"{TAG}TaskState:",
    )
    family_of = f"{TAG}TaskState.by_workflow:"
    assert scripted.sent()[0][2:] == (1, view, rows, 4000, family_of, theirs, 200, "newest", 4000)


def test_the_large_list_of_a_first_row_continues_as_pages() -> None:
    scripted = Scripted()
    row, family = [b"", b"", [], run("w")], [b"7", b"a", [], task("a")]
    assert leading(scripted, [[[row, family]], [[b"", b"", [], task("b")]]]) == ["w", "a", "b"]
    assert scripted.sent()[1][7:9] == ("7", "a")


def test_a_missing_first_row_is_none() -> None:
    assert leading(Scripted(), [[[[b"", b"", []]]]]) == []


def test_a_first_row_after_dead_or_damaged_members_is_searched_for() -> None:
    other = run("x").replace(b'"f"', b'"g"')
    for row in ([b"7", b"x", []], [b"7", b"x", [], other]):
        scripted = Scripted()
        found, family = [b"", b"", [], run("w")], [b"", b"", [], task("a")]
        assert leading(scripted, [[[row, family]], [found], [family]]) == ["w", "a"]
        assert len(scripted.effects) == 3


def test_a_first_row_by_its_key_is_read_like_any_row_with_its_referring_rows() -> None:
    scripted = Scripted()
    answer = [[run("w"), b"", b"", [], task("a")]]
    assert leading(scripted, [answer], workflow_exec_id="w", status="RUNNING") == ["w", "a"]
    assert scripted.sent()[0][2:4] == (2, f"{TAG}WorkflowState:w")
    for other in ([None], answer):
        assert leading(Scripted(), [other], workflow_exec_id="w", status="PAUSED") == []


def test_a_first_row_by_more_fields_than_one_view_covers_is_searched_for() -> None:
    found, family = [b"", b"", [], run("w")], [b"", b"", [], task("a")]
    for answers, conditions, filters in (
        ([[[1, *found]], [family]], (), {"status": "RUNNING"}),
        (
            [[[b"", b"", [], [run("w"), task("a")]]], [family]],
            (having_task({"task_id": "t"}),),
            {},
        ),
    ):
        assert leading(Scripted(), answers, *conditions, **filters) == ["w", "a"]


def test_without_undeclared_keys_a_first_row_is_searched_for() -> None:
    scripted = Scripted(declared_keys=True)
    assert leading(scripted, [[[b"w", b"7"]], [[run("w")]], [[b"a", b"7"]], [[task("a")]]]) == [
        "w",
        "a",
    ]
    assert [command[0] for command in scripted.sent()] == [
        *["ZREVRANGEBYSCORE", "MGET"],
        *["ZREVRANGEBYSCORE", "MGET"],
    ]
