"""Deletes, with literal replies: the number of exchanges, lost connections, and children that are added meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from compozy_store import APIKey, APIKeyNotFoundError, Role, User, UserNotFoundError
from compozy_store.entities import API_KEY, TASK_STATE, WORKFLOW_STATE
from compozy_store.entities import USER as ENTITY
from keyweave.changes.unit import UnitOfWork
from keyweave.effects import Send
from keyweave.errors import TransactionConflictError
from keyweave.write import delete as delete_flows
from keyweave.write import save as save_flows
from tests.commit.test_commit import guards
from tests.scripted import HEAD, LOST, USER, Scripted, row_and_referrers

OK = [[b"OK"]]
TIME = [[b"1700000001", b"0"]]
KEY = HEAD + b',"id":"k","user_id":"u","hash":"aA==","fingerprint":"Zg==","prefix":"p"}'
RUN = HEAD + b',"workflow_exec_id":"w","workflow_id":"f","status":"RUNNING"}'
TASK = (
    HEAD + b',"task_exec_id":"t","task_id":"t","workflow_exec_id":"w","workflow_id":"f",'
    b'"component":"task","status":"RUNNING"}'
)


TAG = "{app:v1:test:t:auth:0}:"
OTHERS = b"1700000000000007"

pytestmark = pytest.mark.usefixtures("own_places")


def delete(scripted: Scripted, answers: list[Any], entity: Any = ENTITY, key: str = "u") -> list[list[str]]:
    """The command names of each exchange of a delete; the script's name in place of `EVALSHA`."""
    scripted.run(delete_flows.delete(scripted.context, entity, key), answers)
    return exchanges(scripted)


def exchanges(scripted: Scripted) -> list[list[str]]:
    names = {script.sha: name for name, script in scripted.context.scripts.items()}
    return [
        [names.get(str(command[1]), str(command[0])) for command in effect.commands]
        for effect in scripted.effects
        if isinstance(effect, Send)
    ]


def dead(document: bytes) -> bytes:
    return document.replace(b'"expires":0', b'"expires":1600000000000000')


def child(key: bytes, parent: bytes) -> bytes:
    return TASK.replace(
        b'"task_exec_id":"t"', b'"task_exec_id":"' + key + b'","parent_state_id":"' + parent + b'"'
    )


def test_a_row_without_referring_rows_takes_two_exchanges() -> None:
    scripted = Scripted()
    assert delete(scripted, [[row_and_referrers(USER, [])], OK]) == [["row_and_referrers"], ["free"]]
    assert guards(scripted.sent()[-1]) == ("revision", 1, 1700000000000002, "count", 1, 0)


def test_a_user_with_keys_takes_two_exchanges() -> None:
    scripted = Scripted()
    assert delete(scripted, [[row_and_referrers(USER, [(b"k", KEY, [])])], OK]) == [
        ["row_and_referrers"],
        ["free"],
    ]
    read, plan = scripted.sent()
    view = f"{TAG}APIKey.by_user:u"
    assert read[2:] == (2, f"{TAG}User:u", view, 500, 1000, f"{TAG}APIKey:", 0)
    assert guards(plan) == (
        *("unchanged", 1, 1700000000000002),
        *("revision", 2, 1700000000000002, "count", 1, 1),
    )


def test_a_level_is_read_with_the_keys_of_the_next_level() -> None:
    scripted = Scripted()
    tasks: list[Any] = [(b"t", TASK, [[b"c"]]), (b"c", child(b"c", b"t"), [[]])]
    assert delete(scripted, [[row_and_referrers(RUN, tasks)], OK], WORKFLOW_STATE, "w") == [
        ["row_and_referrers"],
        ["free"],
    ]
    assert scripted.sent()[0][-2:] == (1, f"{TAG.replace('auth', 'execution')}TaskState.by_parent:")
    counts = [word for word in guards(scripted.sent()[-1]) if word == "count"]
    assert len(counts) == 3


def test_each_further_level_is_read_with_the_keys_of_the_next_level() -> None:
    scripted = Scripted()
    answers: list[Any] = [
        [row_and_referrers(TASK, [(b"c", child(b"c", b"t"), [[b"d"]])])],
        [[child(b"d", b"c")], [b"e"]],
        [[child(b"e", b"d")], []],
        OK,
    ]
    found = delete(scripted, answers, TASK_STATE, "t")
    assert found == [["row_and_referrers"], ["MGET", "ZRANGE"], ["MGET", "ZRANGE"], ["free"]]
    assert guards(scripted.sent()[-1]).count("count") == 4


def test_dangling_entries_and_rows_past_their_deadline_are_removed_as_well() -> None:
    scripted = Scripted()
    members: list[Any] = [(b"ghost", None, []), (b"k", dead(KEY), [])]
    delete(scripted, [[row_and_referrers(USER, members)], OK])
    plan = scripted.sent()[-1]
    found = guards(plan)
    assert found[:3] == ("unchanged", 1, 1700000000000002)
    assert found[-8:] == ("count", 1, 2, "missing", 3, "member", 1, "ghost")
    assert "ghost" in plan[plan.index("rows") :]


def test_of_a_family_that_is_too_large_the_keys_are_read_first() -> None:
    scripted = Scripted()
    found = delete(scripted, [[row_and_referrers(USER)], [[b"k"]], [[KEY]], OK])
    assert found == [["row_and_referrers"], ["ZRANGE"], ["MGET"], ["free"]]


def test_without_undeclared_keys_a_family_is_read_level_by_level() -> None:
    scripted = Scripted(declared_keys=True)
    plain = [[USER, [b"k"]], [[KEY]], OK]
    steps = [["GET", "ZRANGE"], ["MGET"], ["free"]]
    assert delete(scripted, plain) == steps
    assert guards(scripted.sent()[-1])[-2:] == (1, 1)


def test_a_missing_row_is_reported_after_one_exchange() -> None:
    with pytest.raises(UserNotFoundError):
        delete(Scripted(), [[None]])


def test_a_row_past_its_deadline_is_missing_and_its_family_is_not_read() -> None:
    scripted = Scripted()
    with pytest.raises(UserNotFoundError):
        delete(scripted, [[row_and_referrers(dead(USER))], TIME])
    assert scripted.context.state.stats.dead_met == 1


def test_a_child_that_is_added_between_the_read_and_the_plan_restarts_the_delete() -> None:
    scripted = Scripted()
    refused = [[b"COUNT", 2, b""]]
    delete(
        scripted, [[row_and_referrers(USER, [])], refused, [row_and_referrers(USER, [(b"k", KEY, [])])], OK]
    )
    assert guards(scripted.sent()[-1])[-1] == 1
    assert scripted.context.state.stats.conflicts == 1


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_connection_repeats_only_its_exchange(lost: int) -> None:
    answers: list[Any] = [[row_and_referrers(USER, [(b"k", KEY, [])])], OK]
    scripted = Scripted()
    found = delete(scripted, [*answers[:lost], LOST, *answers[lost:]])
    assert found[lost] == found[lost + 1]
    assert len(found) == 3


def test_a_delete_that_is_refused_after_a_lost_answer_was_not_applied_and_is_repeated() -> None:
    changed = [[b"CHANGED", 1, b""]]
    family = [row_and_referrers(USER, [])]
    assert delete(Scripted(), [family, LOST, changed, family, OK])[-1] == ["free"]


def test_a_task_past_its_deadline_is_removed_with_its_execution() -> None:
    scripted = Scripted()
    delete(scripted, [[row_and_referrers(RUN, [(b"t", dead(TASK), [[]])])], OK], WORKFLOW_STATE, "w")
    assert guards(scripted.sent()[-1])[0] == "unchanged"
    assert TASK_STATE.references[0].cascade


def keeper(**policy: Any) -> Scripted:
    """A process that wrote an API key, at revision 5."""
    scripted = Scripted(**policy)
    row = APIKey(id="k", user_id="u", hash=b"h", fingerprint=b"f", prefix="p")
    scripted.run(
        save_flows.create(scripted.context, API_KEY, row),
        [[[b"OK", 1700000000000005, 1700000000000005, 0]]],
    )
    scripted.effects.clear()
    return scripted


def revisions(scripted: Scripted) -> list[Any]:
    """The guards of each plan."""
    return [guards(command)[2] for command in scripted.sent() if "rows" in command]


def test_a_row_without_possible_referrers_is_read_and_removed() -> None:
    scripted = Scripted()
    assert delete(scripted, [[KEY], OK], API_KEY, "k") == [["GET"], ["free"]]
    assert guards(scripted.sent()[-1]) == ("revision", 1, 1700000000000002)


def test_a_remembered_row_is_removed_by_one_plan() -> None:
    scripted = keeper()
    assert delete(scripted, [OK], API_KEY, "k") == [["free"]]
    assert guards(scripted.sent()[-1]) == ("revision", 1, 1700000000000005)
    scripted.effects.clear()
    with pytest.raises(APIKeyNotFoundError):
        delete(scripted, [[None]], API_KEY, "k")
    assert exchanges(scripted) == [["GET"]]


def test_a_changed_row_is_in_the_refusal_and_is_not_a_conflict() -> None:
    scripted = keeper()
    moved = KEY.replace(b"1700000000000002", OTHERS).replace(b'"user_id":"u"', b'"user_id":"v"')
    changed = [[b"CHANGED", 1, b"", moved]]
    assert delete(scripted, [changed, OK], API_KEY, "k") == [["free"], ["free"]]
    assert revisions(scripted) == [1700000000000005, int(OTHERS)]
    assert f"{TAG}APIKey.by_user:v" in scripted.sent()[-1]
    assert scripted.context.state.stats.conflicts == 0


def test_a_row_that_other_writers_keep_changing_is_a_conflict_in_the_end() -> None:
    scripted = keeper(attempts=2)
    changed = [b"CHANGED", 1, b""]
    with pytest.raises(TransactionConflictError):
        delete(scripted, [[[*changed, KEY]], [changed], [KEY], [changed]], API_KEY, "k")
    assert exchanges(scripted) == [["free"], ["free"], ["GET"], ["free"]]
    assert scripted.context.state.stats.conflicts == 2


def test_a_row_that_another_writer_removed_is_read_once_and_dropped_from_the_cache() -> None:
    scripted = keeper()
    for answers in ([[[b"MISSING", 1, b""]], [None]], [[None]]):
        with pytest.raises(APIKeyNotFoundError):
            delete(scripted, answers, API_KEY, "k")
    assert (scripted.context.state.stats.conflicts, scripted.context.state.stats.dead_met) == (0, 0)


def test_a_remembered_row_that_expired_is_counted_as_dead() -> None:
    scripted = keeper()
    with pytest.raises(APIKeyNotFoundError):
        delete(scripted, [[[b"MISSING", 1, b""]], [dead(KEY)], TIME], API_KEY, "k")
    assert scripted.context.state.stats.dead_met == 1


def test_a_row_that_is_recreated_between_the_refusal_and_the_read_is_removed() -> None:
    scripted = keeper()
    newer = KEY.replace(b"1700000000000002", OTHERS)
    delete(scripted, [[[b"MISSING", 1, b""]], [newer], OK], API_KEY, "k")
    assert revisions(scripted) == [1700000000000005, int(OTHERS)]


def test_a_lost_attempt_that_is_refused_later_was_not_applied() -> None:
    for answers in ([[b"CHANGED", 1, b"", KEY]], OK), ([[b"CHANGED", 1, b""]], [KEY], OK):
        delete(keeper(), [LOST, *answers], API_KEY, "k")
    with pytest.raises(APIKeyNotFoundError):
        delete(keeper(), [LOST, [[b"MISSING", 1, b""]], [None]], API_KEY, "k")


def test_a_lost_attempt_that_was_applied_is_a_success() -> None:
    assert delete(keeper(), [LOST, [[b"REPLAYED", b"OK"]]], API_KEY, "k") == [["free"], ["free"]]


def account(*, keys: int = 0, **policy: Any) -> Scripted:
    """A process that wrote a user and API keys of it, all at revision 5."""
    scripted = Scripted(**policy)
    rows: list[tuple[Any, Any]] = [(ENTITY, User(id="u", email="a@x", role=Role.USER))]
    for number in range(keys):
        name = f"k{number}"
        rows.append(
            (API_KEY, APIKey(id=name, user_id="u", hash=b"h", fingerprint=name.encode(), prefix=name))
        )
    for entity, row in rows:
        answer = [[[b"OK", 1700000000000005, 1700000000000005, 0]]]
        scripted.run(save_flows.create(scripted.context, entity, row), answer)
    scripted.effects.clear()
    return scripted


def test_a_remembered_row_to_which_none_refers_is_removed_by_one_plan() -> None:
    scripted = account()
    assert delete(scripted, [OK]) == [["free"]]
    assert guards(scripted.sent()[-1]) == ("revision", 1, 1700000000000005, "count", 1, 0)


def test_a_remembered_row_with_those_that_refer_to_it_is_removed_by_one_plan() -> None:
    scripted = account(keys=2)
    assert delete(scripted, [OK]) == [["free"]]
    plan = scripted.sent()[-1]
    words = plan[plan.index("same") : plan.index("rows")]
    assert words[:6:3] == ("same", "same")
    assert words[2].startswith(b'{"revision":1700000000000005,"created":1700000000000005,"expires":0,"op":"')
    assert words[2].endswith(b"}")
    assert words[6:9] == ("revision", 3, 1700000000000005)
    assert words[-3:] == ("count", 1, 2)
    assert plan[plan.index("rows") :].count("delete") == 3


def test_after_a_wrong_guess_of_a_family_it_is_read_and_the_next_ones_too() -> None:
    """Each wrong guess doubles the number of deletes that read; a right one ends that."""
    scripted = account(keys=1)
    read = row_and_referrers(USER, [])
    answer = [[[b"OK", 1700000000000006, 1700000000000006, 0]]]
    user = User(id="u", email="a@x", role=Role.USER)

    def made_again() -> None:
        scripted.run(save_flows.create(scripted.context, ENTITY, user), answer)
        scripted.effects.clear()

    for pause in (1, 2, 4):
        guessed = delete(scripted, [[[b"COUNT", 2, b""]], [read], OK])
        assert guessed == [["free"], ["row_and_referrers"], ["free"]]
        for _ in range(pause):
            made_again()
            assert delete(scripted, [[read], OK]) == [["row_and_referrers"], ["free"]]
        made_again()
    assert delete(scripted, [OK]) == [["free"]]
    made_again()
    assert delete(scripted, [OK]) == [["free"]]
    assert scripted.context.state.stats.conflicts == 0


def test_a_row_that_this_process_has_not_inserted_is_read_with_those_that_refer_to_it() -> None:
    scripted = Scripted()
    scripted.run(
        save_flows.upsert(scripted.context, ENTITY, User(id="u", email="a@x", role=Role.USER)),
        [[[b"EXISTS", 1, b"", USER]], [[b"OK", 1700000000000005, 1700000000000002, 0]]],
    )
    scripted.effects.clear()
    assert delete(scripted, [[row_and_referrers(USER, [])], OK]) == [["row_and_referrers"], ["free"]]


def test_children_that_another_writer_recreates_end_in_a_conflict_after_the_attempts() -> None:
    """Each chunk removes the same child, and it is there again before the parent is read again."""
    replies = Reappearing()
    scripted = Scripted(chunk=1, attempts=3)
    with pytest.raises(TransactionConflictError) as caught:
        replies.drive(scripted, delete_flows.delete(scripted.context, WORKFLOW_STATE, "w"))
    assert caught.value.attempts == 3
    assert replies.plans == 4


def test_children_that_another_writer_recreates_end_in_a_conflict_at_the_deadline() -> None:
    replies = Reappearing(seconds=3.0)
    scripted = Scripted(chunk=1, attempts=1000, deadline=10.0)
    started = scripted.time.now
    with pytest.raises(TransactionConflictError):
        replies.drive(scripted, delete_flows.delete(scripted.context, WORKFLOW_STATE, "w"))
    assert scripted.time.now - started <= 10.0 + 2 * 3.0


def test_children_that_are_removed_by_several_chunks_are_no_conflict() -> None:
    replies = Reappearing(until=2, children=40)
    scripted = Scripted(chunk=2, attempts=3)
    replies.drive(scripted, delete_flows.delete(scripted.context, WORKFLOW_STATE, "w"))
    assert replies.plans > 20


class Reappearing:
    """Replies of a server on which another writer recreates a run's removed tasks.

    Args:
        seconds: how long each plan takes.
        until: number of plans after which removed tasks stay away; None for never.
        children: number of tasks.
    """

    def __init__(self, *, seconds: float = 0.0, until: int | None = None, children: int = 2) -> None:
        self.seconds = seconds
        self.until = until
        self.revision = 1700000000000002
        self.keys = [b"t%d" % number for number in range(children)]
        self.plans = 0
        self.exchanges = 0

    def drive(self, scripted: Scripted, flow: Any) -> None:
        answer: Any = None
        while True:
            try:
                effect = flow.send(answer)
            except StopIteration:
                return
            if isinstance(effect, Send):
                self.exchanges += 1
                assert self.exchanges < 1000, "the delete never ends"
                answer = [self.reply(scripted, command) for command in effect.commands]
            else:
                scripted.time.now += effect.seconds

    def reply(self, scripted: Scripted, command: Any) -> Any:
        scripts = scripted.context.scripts
        name = next((name for name, script in scripts.items() if script.sha == command[1]), command[0])
        if name == "row_and_referrers":
            return [RUN]
        if name in ("apply", "free"):
            return self.plan(scripted, command)
        if name == "GET":
            return RUN
        if name == "MGET":
            return [self.document(str(key)) for key in command[1:]]
        assert name == "ZRANGE", command
        return self.keys[: int(command[3]) + 1] if "by_workflow:w" in command[1] else []

    def document(self, key: str) -> bytes | None:
        name = key.rpartition(":")[2].encode()
        if name not in self.keys:
            return None
        return TASK.replace(b'"task_exec_id":"t"', b'"task_exec_id":"' + name + b'"').replace(
            b"1700000000000002", b"%d" % self.revision
        )

    def plan(self, scripted: Scripted, command: Any) -> Any:
        self.plans += 1
        scripted.time.now += self.seconds
        self.revision += 1
        if self.until is not None and self.plans > self.until:
            removed = {str(key).rpartition(":")[2].encode() for key in command[3 : 3 + command[2]]}
            self.keys = [key for key in self.keys if key not in removed]
        return OK[0]


@pytest.mark.parametrize("inside", [False, True])
def test_rows_that_refer_to_a_row_are_read_also_if_their_index_is_built_meanwhile(inside: bool) -> None:
    """Another call of the process learns that while this one waits for the row. The row was deleted without its keys."""
    scripted = Scripted()
    unbuilt = scripted.context.state.unbuilt
    unbuilt.add("APIKey.by_user")
    context = scripted.context.inside(UnitOfWork("token")) if inside else scripted.context
    flow = delete_flows.discard(context, ENTITY, "u")
    effect = next(flow)
    assert isinstance(effect, Send)
    assert [command[0] for command in effect.commands] == ["GET"]
    unbuilt.clear()
    effect = flow.send([USER])
    assert isinstance(effect, Send)
    assert [command[:2] for command in effect.commands] == [("ZRANGE", f"{TAG}APIKey.by_user:u")]
    flow.close()
