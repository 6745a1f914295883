"""Damages to documents and to the partition's own keys, and keys that do not belong here."""

from __future__ import annotations

from keyweave.integrity.drift import Kind
from tests.integrity.damage import Damage, NotSoAnyMoreError, Outcome
from tests.integrity.site import Site

RUNNING = ("TaskState", "by_status", "RUNNING")


def edit(site: Site, entity: str, key: str, old: str, new: str, *more: str) -> None:
    """Rewrite a document by hand; `more` are words of SET."""
    place = site.document(entity, key)
    (document,) = site.send(("GET", place))
    if type(document) is not bytes or old.encode() not in document:
        raise NotSoAnyMoreError
    site.send(("SET", place, document.replace(old.encode(), new.encode()), *more))


def reborn(site: Site) -> None:
    """Put back a document as it was before its last write."""
    place = site.document("WorkflowState", "w")
    (before,) = site.send(("GET", place))
    if site.store.workflow_states.find("w") is None:
        raise NotSoAnyMoreError
    site.store.workflow_states.change("w", lambda row: setattr(row, "workflow_id", "g"))
    site.send(("SET", place, before))


def ledger(site: Site) -> str:
    """The ledger of the site's own store."""
    return site.execution.ledger(site.context.state.ledger.session)


def derived(site: Site) -> list[str]:
    """Every key that can be rebuilt."""
    return [key for key in site.names() if "." in key.split("}:")[1].split(":")[0] or key.endswith("@expiry")]


def edit_deadline_away(site: Site) -> None:
    """Make a document with a deadline one without, by hand, and keep its TTL."""
    place = site.document("TaskState", "d1")
    (document,) = site.send(("GET", place))
    if type(document) is not bytes:
        raise NotSoAnyMoreError
    head, rest = document.split(b'"expires":', 1)
    site.send(("SET", place, head + b'"expires":0' + rest[16:], "KEEPTTL"))


DAMAGES = [  # Documents
    Damage(
        "delete a document",
        lambda s: s.send(("DEL", s.document("TaskState", "t1"))),
        {Kind.STALE_ENTRY},
        Outcome.MENDED,
    ),
    Damage(
        "delete a document with a deadline",
        lambda s: s.send(("DEL", s.document("TaskState", "d1"))),
        {Kind.STALE_ENTRY, Kind.STALE_DEADLINE},
        Outcome.MENDED,
    ),
    Damage(
        "delete a document with a claim",
        lambda s: s.send(("DEL", s.document("User", "u3"))),
        {Kind.STALE_ENTRY, Kind.STALE_CLAIM},
        Outcome.MENDED,
    ),
    Damage(
        "expire a document at once",
        lambda s: s.send(("PEXPIREAT", s.document("TaskState", "t1"), 1)),
        {Kind.STALE_ENTRY},
        Outcome.MENDED,
    ),
    Damage(
        "delete a parent",
        lambda s: s.send(("DEL", s.document("TaskState", "root"))),
        {Kind.STALE_ENTRY, Kind.DANGLING_REFERENCE},
        Outcome.LEFT,
    ),
    Damage(
        "delete an execution",
        lambda s: s.send(("DEL", s.document("WorkflowState", "v"))),
        {Kind.STALE_ENTRY, Kind.DANGLING_REFERENCE},
        Outcome.LEFT,
    ),
    Damage(
        "overwrite a document",
        lambda s: s.send(("SET", s.document("User", "u1"), "hello")),
        {Kind.UNREADABLE_DOCUMENT},
        Outcome.LEFT,
    ),
    Damage(
        "empty a document",
        lambda s: s.send(("SET", s.document("User", "u1"), "")),
        {Kind.UNREADABLE_DOCUMENT},
        Outcome.LEFT,
    ),
    Damage(
        "cut a document off",
        lambda s: s.send(("SETRANGE", s.document("User", "u1"), 100, "\0" * 60)),
        {Kind.UNREADABLE_DOCUMENT},
        Outcome.LEFT,
    ),
    Damage(
        "append to a document",
        lambda s: s.send(("APPEND", s.document("User", "u1"), "}")),
        {Kind.UNREADABLE_DOCUMENT},
        Outcome.LEFT,
    ),
    Damage(
        "break a field's type",
        lambda s: edit(s, "User", "u1", '"user"', '"tsar"'),
        {Kind.UNREADABLE_DOCUMENT},
        Outcome.LEFT,
    ),
    Damage(
        "break a head",
        lambda s: edit(s, "User", "u1", '"revision":1', '"revision":'),
        {Kind.UNREADABLE_DOCUMENT},
        Outcome.LEFT,
    ),
    Damage(
        "replace a document by a hash",
        lambda s: s.send(
            ("DEL", s.document("TaskState", "t1")), ("HSET", s.document("TaskState", "t1"), "a", "b")
        ),
        {Kind.WRONG_TYPE},
        Outcome.LEFT,
    ),
    Damage(
        "rename a document",
        lambda s: s.send(("RENAME", s.document("TaskState", "t1"), s.document("TaskState", "moved"))),
        {Kind.WRONG_KEY, Kind.STALE_ENTRY},
        Outcome.LEFT,
    ),
    Damage(
        "copy a document",
        lambda s: s.send(("COPY", s.document("TaskState", "t1"), s.document("TaskState", "copied"))),
        {Kind.WRONG_KEY},
        Outcome.LEFT,
    ),
    Damage(
        "copy a document over another",
        lambda s: s.send(("COPY", s.document("TaskState", "t1"), s.document("TaskState", "t2"), "REPLACE")),
        {Kind.WRONG_KEY},
        Outcome.LEFT,
    ),
    Damage(
        "edit an indexed field",
        lambda s: edit(s, "TaskState", "t1", "RUNNING", "PAUSED"),
        {Kind.MISSING_ENTRY, Kind.WRONG_VALUE},
        Outcome.MENDED,
    ),
    Damage(
        "edit a unique field",
        lambda s: edit(s, "User", "u1", "U1@x", "new@x"),
        {Kind.MISSING_CLAIM, Kind.UNDUE_CLAIM},
        Outcome.MENDED,
    ),
    Damage(
        "edit a unique field to one that is taken",
        lambda s: edit(s, "User", "u1", "U1@x", "u2@X"),
        {Kind.DUPLICATE_VALUE, Kind.UNDUE_CLAIM},
        Outcome.LEFT,
    ),
    Damage(
        "edit a deadline away",
        edit_deadline_away,
        {Kind.UNDUE_DEADLINE, Kind.UNDUE_TTL},
        Outcome.MENDED,
    ),
    Damage(
        "set a document without its TTL",
        lambda s: edit(s, "TaskState", "d1", "SUCCESS", "SUCCESS"),
        {Kind.MISSING_TTL},
    ),
    Damage(
        "edit a reference",
        lambda s: edit(s, "TaskState", "t1", '"workflow_exec_id":"v"', '"workflow_exec_id":"x"'),
        {Kind.DANGLING_REFERENCE, Kind.MISSING_ENTRY, Kind.WRONG_VALUE},
        Outcome.LEFT,
    ),
    Damage(
        "restore an older document",
        reborn,
        {Kind.WRONG_SCORE, Kind.MISSING_ENTRY, Kind.WRONG_VALUE},
        Outcome.MENDED,
    ),
    # The partition's own keys, and foreign keys
    Damage("delete the clock", lambda s: s.send(("DEL", s.execution.clock)), {Kind.CLOCK_BEHIND}),
    Damage("set the clock back", lambda s: s.send(("SET", s.execution.clock, 5)), {Kind.CLOCK_BEHIND}),
    Damage("overwrite the clock", lambda s: s.send(("SET", s.execution.clock, "noon")), {Kind.BAD_CLOCK}),
    Damage(
        "replace the clock by a list",
        lambda s: s.send(("DEL", s.execution.clock), ("RPUSH", s.execution.clock, "1")),
        {Kind.BAD_CLOCK},
    ),
    Damage("let the clock end", lambda s: s.send(("EXPIRE", s.execution.clock, 1000)), {Kind.ENDING_KEY}),
    Damage(
        "leave a lock for ever",
        lambda s: s.send(("SET", s.execution.lock("TaskState", "t1"), "token")),
        {Kind.ENDLESS_MARK},
        Outcome.MENDED,
    ),
    Damage(
        "leave a ledger for ever",
        lambda s: s.send(("PERSIST", ledger(s))),
        {Kind.ENDLESS_MARK},
    ),
    Damage("overwrite a slot of a ledger", lambda s: s.send(("HSET", ledger(s), 0, "noon")), {Kind.BAD_SLOT}),
    Damage("empty a slot of a ledger", lambda s: s.send(("HSET", ledger(s), 0, "")), {Kind.BAD_SLOT}),
    Damage(
        "cut the answer in a slot off",
        lambda s: s.send(("HSET", ledger(s), 0, "12 OK 1700000000000002 17")),
        {Kind.BAD_SLOT},
    ),
    Damage("add a slot that is none", lambda s: s.send(("HSET", ledger(s), "noon", "1 OK")), {Kind.BAD_SLOT}),
    Damage(
        "overwrite a slot of a ledger that lasts for ever",
        lambda s: s.send(("HSET", ledger(s), 0, "noon"), ("PERSIST", ledger(s))),
        {Kind.BAD_SLOT, Kind.ENDLESS_MARK},
    ),
    Damage(
        "add a key",
        lambda s: s.send(("SET", f"{s.execution.tag}notes", "x")),
        {Kind.FOREIGN_KEY},
        Outcome.LEFT,
    ),
    Damage(
        "add a partition",
        lambda s: s.send(("SET", s.execution.clock.replace(":0}", ":7}"), "1")),
        {Kind.FOREIGN_KEY},
        Outcome.LEFT,
    ),
    Damage(
        "add a view that is none",
        lambda s: s.send(("COPY", s.view(*RUNNING), s.view("TaskState", "by_mood", "good"))),
        {Kind.FOREIGN_KEY},
        Outcome.LEFT,
    ),
    Damage(
        "add a view with too many values",
        lambda s: s.send(("COPY", s.view(*RUNNING), s.view("TaskState", "by_status", "a", "b"))),
        {Kind.FOREIGN_KEY},
        Outcome.LEFT,
    ),
    Damage(
        "add a view whose value is not escaped",
        lambda s: s.send(("COPY", s.view(*RUNNING), s.view(*RUNNING) + "%zz")),
        {Kind.FOREIGN_KEY},
        Outcome.LEFT,
    ),
    Damage(
        "add an expiry entry of no entity",
        lambda s: s.send(("ZADD", s.execution.expiry, 1, "Forgotten:1")),
        {Kind.FOREIGN_ENTRY},
        Outcome.LEFT,
    ),
    Damage(
        "delete everything that is derived",
        lambda s: s.send(*(("DEL", key) for key in derived(s))),
        {Kind.MISSING_ENTRY, Kind.MISSING_CLAIM, Kind.MISSING_DEADLINE},
    ),
]
