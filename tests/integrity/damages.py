"""What a person with redis-cli can do to a healthy keyspace, what a check must call it, and what a repair can make of it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import NamedTuple

from keyweave.checking import Kind
from tests.integrity.site import Site

K = Kind


class Outcome(enum.Enum):
    """What a repair makes of a damage."""

    RESTORED = "the keyspace is what it was"
    MENDED = "a document is gone or changed; every index agrees with those that are there"
    LEFT = "something is left for a person"


class Damage(NamedTuple):
    """One way of damaging a keyspace."""

    name: str
    do: Callable[[Site], object]
    kinds: set[Kind]
    outcome: Outcome = Outcome.RESTORED


class NotSoAnyMoreError(Exception):
    """An earlier damage took away what this one needs."""


def edit(site: Site, entity: str, key: str, old: str, new: str, *more: str) -> None:
    """Rewrite a document by hand; `more` are words of SET."""
    place = site.document(entity, key)
    (document,) = site.send(("GET", place))
    if type(document) is not bytes or old.encode() not in document:
        raise NotSoAnyMoreError
    site.send(("SET", place, document.replace(old.encode(), new.encode()), *more))


def swap(site: Site, left: str, right: str) -> None:
    """Exchange two keys."""
    site.send(("RENAME", left, left + "!"), ("RENAME", right, left), ("RENAME", left + "!", right))


def reborn(site: Site) -> None:
    """Put back a document as it was before its last write."""
    place = site.document("WorkflowState", "w")
    (before,) = site.send(("GET", place))
    if site.store.workflow_states.find("w") is None:
        raise NotSoAnyMoreError
    site.store.workflow_states.change("w", lambda row: setattr(row, "workflow_id", "g"))
    site.send(("SET", place, before))


def derived(site: Site) -> list[str]:
    """Every key that can be rebuilt."""
    return [key for key in site.names() if "." in key.split("}:")[1].split(":")[0] or key.endswith("@expiry")]


RUNNING = ("TaskState", "by_status", "RUNNING")
FAILED = ("TaskState", "by_status", "FAILED")
EMAIL = ("User", "email")
SCORE = 1790000000000000

DAMAGES = [
    # Entries of views
    Damage("remove an entry", lambda s: s.send(("ZREM", s.view(*RUNNING), "root")), {K.MISSING_ENTRY}),
    Damage("delete a view's key", lambda s: s.send(("DEL", s.view(*RUNNING))), {K.MISSING_ENTRY}),
    Damage(
        "unlink a view of all rows",
        lambda s: s.send(("UNLINK", s.view("TaskState", "all"))),
        {K.MISSING_ENTRY},
    ),
    Damage(
        "add an entry of no row",
        lambda s: s.send(("ZADD", s.view(*RUNNING), SCORE, "ghost")),
        {K.STALE_ENTRY},
    ),
    Damage(
        "add bytes that are no text",
        lambda s: s.send(("ZADD", s.view(*RUNNING), 1, b"\xff\x00")),
        {K.STALE_ENTRY},
    ),
    Damage("add an empty member", lambda s: s.send(("ZADD", s.view(*RUNNING), 1, "")), {K.STALE_ENTRY}),
    Damage(
        "add a row to another value", lambda s: s.send(("ZADD", s.view(*FAILED), 1, "root")), {K.WRONG_VALUE}
    ),
    Damage(
        "add a row to a value that is none",
        lambda s: s.send(("ZADD", s.view("TaskState", "by_status", "ODD"), 1, "t1")),
        {K.WRONG_VALUE},
    ),
    Damage(
        "add a row to a view that it is not in",
        lambda s: s.send(("ZADD", s.view("TaskState", "by_agent", "a"), 1, "t1")),
        {K.WRONG_VALUE},
    ),
    Damage(
        "move an entry",
        lambda s: s.send(("ZREM", s.view(*RUNNING), "t2"), ("ZADD", s.view(*FAILED), 1, "t2")),
        {K.MISSING_ENTRY, K.WRONG_VALUE},
    ),
    Damage("set a score", lambda s: s.send(("ZADD", s.view(*RUNNING), 5, "root")), {K.WRONG_SCORE}),
    Damage(
        "increase a score by one", lambda s: s.send(("ZINCRBY", s.view(*RUNNING), 1, "root")), {K.WRONG_SCORE}
    ),
    Damage(
        "set an endless score",
        lambda s: s.send(("ZADD", s.view("WorkflowState", "all"), "+inf", "w")),
        {K.WRONG_SCORE},
    ),
    Damage(
        "rename a view's key",
        lambda s: s.send(("RENAME", s.view(*RUNNING), s.view("TaskState", "by_status", "PAUSED"))),
        {K.MISSING_ENTRY, K.WRONG_VALUE},
    ),
    Damage(
        "copy a view's key",
        lambda s: s.send(("COPY", s.view(*RUNNING), s.view(*FAILED), "REPLACE")),
        {K.WRONG_VALUE, K.MISSING_ENTRY},
    ),
    Damage(
        "swap two views",
        lambda s: swap(s, s.view(*RUNNING), s.view(*FAILED)),
        {K.MISSING_ENTRY, K.WRONG_VALUE},
    ),
    Damage(
        "swap views of two entities",
        lambda s: swap(s, s.view("TaskState", "all"), s.view("WorkflowState", "all")),
        {K.MISSING_ENTRY, K.STALE_ENTRY},
    ),
    Damage(
        "swap views of two orders",
        lambda s: swap(
            s, s.view("WorkflowState", "by_workflow", "f"), s.view("WorkflowState", "newest_of_workflow", "f")
        ),
        {K.WRONG_SCORE},
    ),
    Damage(
        "unite two views",
        lambda s: s.send(("ZUNIONSTORE", s.view(*FAILED), 2, s.view(*FAILED), s.view(*RUNNING))),
        {K.WRONG_VALUE},
    ),
    Damage(
        "empty a view by rank",
        lambda s: s.send(("ZREMRANGEBYRANK", s.view(*RUNNING), 0, -1)),
        {K.MISSING_ENTRY},
    ),
    Damage(
        "keep one entry of a view",
        lambda s: s.send(("ZREMRANGEBYRANK", s.view("TaskState", "all"), 1, -1)),
        {K.MISSING_ENTRY},
    ),
    Damage(
        "overwrite a view with a string",
        lambda s: s.send(("SET", s.view(*RUNNING), "oops")),
        {K.WRONG_TYPE, K.MISSING_ENTRY},
    ),
    Damage(
        "replace a view by a list",
        lambda s: s.send(
            ("DEL", s.view("User", "by_role", "user")), ("RPUSH", s.view("User", "by_role", "user"), "u1")
        ),
        {K.WRONG_TYPE, K.MISSING_ENTRY},
    ),
    Damage(
        "rename a document onto a view",
        lambda s: s.send(("RENAME", s.document("TaskState", "t1"), s.view("TaskState", "by_workflow", "v"))),
        {K.WRONG_TYPE, K.MISSING_ENTRY, K.STALE_ENTRY},
        Outcome.MENDED,
    ),
    Damage("let a view end", lambda s: s.send(("EXPIRE", s.view(*RUNNING), 1000)), {K.ENDING_KEY}),
    # Claims
    Damage("remove a claim", lambda s: s.send(("HDEL", s.view(*EMAIL), "u1@x")), {K.MISSING_CLAIM}),
    Damage("delete the claims", lambda s: s.send(("DEL", s.view(*EMAIL))), {K.MISSING_CLAIM}),
    Damage(
        "remove a claim on a secret",
        lambda s: s.send(("HDEL", s.view("APIKey", "fingerprint"), b"planted-print-1".hex())),
        {K.MISSING_CLAIM},
    ),
    Damage(
        "claim for no row", lambda s: s.send(("HSET", s.view(*EMAIL), "ghost@x", "ghost")), {K.STALE_CLAIM}
    ),
    Damage("claim another value", lambda s: s.send(("HSET", s.view(*EMAIL), "odd@x", "u1")), {K.UNDUE_CLAIM}),
    Damage(
        "give a claim to another row",
        lambda s: s.send(("HSET", s.view(*EMAIL), "u1@x", "u2")),
        {K.WRONG_OWNER, K.UNDUE_CLAIM},
    ),
    Damage(
        "give a claim to no row",
        lambda s: s.send(("HSET", s.view(*EMAIL), "u1@x", "ghost")),
        {K.WRONG_OWNER, K.STALE_CLAIM},
    ),
    Damage(
        "exchange two claims",
        lambda s: s.send(("HSET", s.view(*EMAIL), "u1@x", "u2", "u2@x", "u1")),
        {K.WRONG_OWNER, K.UNDUE_CLAIM},
    ),
    Damage(
        "overwrite claims with a string",
        lambda s: s.send(("SET", s.view(*EMAIL), "oops")),
        {K.WRONG_TYPE, K.MISSING_CLAIM},
    ),
    Damage(
        "copy claims of one constraint to another",
        lambda s: s.send(("COPY", s.view("APIKey", "prefix"), s.view("APIKey", "fingerprint"), "REPLACE")),
        {K.MISSING_CLAIM, K.UNDUE_CLAIM},
    ),
    # Deadlines
    Damage(
        "remove an expiry entry",
        lambda s: s.send(("ZREM", s.execution.expiry, "TaskState:d1")),
        {K.MISSING_DEADLINE},
    ),
    Damage("delete the expiry set", lambda s: s.send(("DEL", s.execution.expiry)), {K.MISSING_DEADLINE}),
    Damage(
        "overwrite the expiry set",
        lambda s: s.send(("SET", s.execution.expiry, "x")),
        {K.WRONG_TYPE, K.MISSING_DEADLINE},
    ),
    Damage(
        "let a living row expire",
        lambda s: s.send(("ZADD", s.execution.expiry, 1, "TaskState:root")),
        {K.UNDUE_DEADLINE},
    ),
    Damage(
        "let no row expire",
        lambda s: s.send(("ZADD", s.execution.expiry, 1, "TaskState:ghost")),
        {K.STALE_DEADLINE},
    ),
    Damage(
        "move a deadline",
        lambda s: s.send(("ZADD", s.execution.expiry, 1, "TaskState:d1")),
        {K.WRONG_DEADLINE},
    ),
    Damage(
        "persist a row with a deadline",
        lambda s: s.send(("PERSIST", s.document("TaskState", "d1"))),
        {K.MISSING_TTL},
    ),
    Damage(
        "expire a row without a deadline",
        lambda s: s.send(("EXPIRE", s.document("User", "u1"), 1000)),
        {K.UNDUE_TTL},
    ),
    Damage(
        "expire a row too early",
        lambda s: s.send(("EXPIRE", s.document("TaskState", "d1"), 1000)),
        {K.WRONG_TTL},
    ),
    # Documents
    Damage(
        "delete a document",
        lambda s: s.send(("DEL", s.document("TaskState", "t1"))),
        {K.STALE_ENTRY},
        Outcome.MENDED,
    ),
    Damage(
        "delete a document with a deadline",
        lambda s: s.send(("DEL", s.document("TaskState", "d1"))),
        {K.STALE_ENTRY, K.STALE_DEADLINE},
        Outcome.MENDED,
    ),
    Damage(
        "delete a document with a claim",
        lambda s: s.send(("DEL", s.document("User", "u3"))),
        {K.STALE_ENTRY, K.STALE_CLAIM},
        Outcome.MENDED,
    ),
    Damage(
        "expire a document at once",
        lambda s: s.send(("PEXPIREAT", s.document("TaskState", "t1"), 1)),
        {K.STALE_ENTRY},
        Outcome.MENDED,
    ),
    Damage(
        "delete a parent",
        lambda s: s.send(("DEL", s.document("TaskState", "root"))),
        {K.STALE_ENTRY, K.DANGLING_REFERENCE},
        Outcome.LEFT,
    ),
    Damage(
        "delete an execution",
        lambda s: s.send(("DEL", s.document("WorkflowState", "v"))),
        {K.STALE_ENTRY, K.DANGLING_REFERENCE},
        Outcome.LEFT,
    ),
    Damage(
        "overwrite a document",
        lambda s: s.send(("SET", s.document("User", "u1"), "hello")),
        {K.UNREADABLE_DOCUMENT},
        Outcome.LEFT,
    ),
    Damage(
        "empty a document",
        lambda s: s.send(("SET", s.document("User", "u1"), "")),
        {K.UNREADABLE_DOCUMENT},
        Outcome.LEFT,
    ),
    Damage(
        "cut a document off",
        lambda s: s.send(("SETRANGE", s.document("User", "u1"), 100, "\0" * 60)),
        {K.UNREADABLE_DOCUMENT},
        Outcome.LEFT,
    ),
    Damage(
        "append to a document",
        lambda s: s.send(("APPEND", s.document("User", "u1"), "}")),
        {K.UNREADABLE_DOCUMENT},
        Outcome.LEFT,
    ),
    Damage(
        "break a field's type",
        lambda s: edit(s, "User", "u1", '"user"', '"tsar"'),
        {K.UNREADABLE_DOCUMENT},
        Outcome.LEFT,
    ),
    Damage(
        "break a head",
        lambda s: edit(s, "User", "u1", '"revision":1', '"revision":'),
        {K.UNREADABLE_DOCUMENT},
        Outcome.LEFT,
    ),
    Damage(
        "replace a document by a hash",
        lambda s: s.send(
            ("DEL", s.document("TaskState", "t1")), ("HSET", s.document("TaskState", "t1"), "a", "b")
        ),
        {K.WRONG_TYPE},
        Outcome.LEFT,
    ),
    Damage(
        "rename a document",
        lambda s: s.send(("RENAME", s.document("TaskState", "t1"), s.document("TaskState", "moved"))),
        {K.WRONG_KEY, K.STALE_ENTRY},
        Outcome.LEFT,
    ),
    Damage(
        "copy a document",
        lambda s: s.send(("COPY", s.document("TaskState", "t1"), s.document("TaskState", "copied"))),
        {K.WRONG_KEY},
        Outcome.LEFT,
    ),
    Damage(
        "copy a document over another",
        lambda s: s.send(("COPY", s.document("TaskState", "t1"), s.document("TaskState", "t2"), "REPLACE")),
        {K.WRONG_KEY},
        Outcome.LEFT,
    ),
    Damage(
        "edit an indexed field",
        lambda s: edit(s, "TaskState", "t1", "RUNNING", "PAUSED"),
        {K.MISSING_ENTRY, K.WRONG_VALUE},
        Outcome.MENDED,
    ),
    Damage(
        "edit a unique field",
        lambda s: edit(s, "User", "u1", "U1@x", "new@x"),
        {K.MISSING_CLAIM, K.UNDUE_CLAIM},
        Outcome.MENDED,
    ),
    Damage(
        "edit a unique field to one that is taken",
        lambda s: edit(s, "User", "u1", "U1@x", "u2@X"),
        {K.DUPLICATE_VALUE, K.UNDUE_CLAIM},
        Outcome.LEFT,
    ),
    Damage(
        "edit a deadline away",
        lambda s: site_without_deadline(s),
        {K.UNDUE_DEADLINE, K.UNDUE_TTL},
        Outcome.MENDED,
    ),
    Damage(
        "set a document without its TTL",
        lambda s: edit(s, "TaskState", "d1", "SUCCESS", "SUCCESS"),
        {K.MISSING_TTL},
    ),
    Damage(
        "edit a reference",
        lambda s: edit(s, "TaskState", "t1", '"workflow_exec_id":"v"', '"workflow_exec_id":"x"'),
        {K.DANGLING_REFERENCE, K.MISSING_ENTRY, K.WRONG_VALUE},
        Outcome.LEFT,
    ),
    Damage(
        "restore an older document", reborn, {K.WRONG_SCORE, K.MISSING_ENTRY, K.WRONG_VALUE}, Outcome.MENDED
    ),
    # The partition's own keys, and strangers
    Damage("delete the clock", lambda s: s.send(("DEL", s.execution.clock)), {K.CLOCK_BEHIND}),
    Damage("set the clock back", lambda s: s.send(("SET", s.execution.clock, 5)), {K.CLOCK_BEHIND}),
    Damage("overwrite the clock", lambda s: s.send(("SET", s.execution.clock, "noon")), {K.BAD_CLOCK}),
    Damage(
        "replace the clock by a list",
        lambda s: s.send(("DEL", s.execution.clock), ("RPUSH", s.execution.clock, "1")),
        {K.BAD_CLOCK},
    ),
    Damage("let the clock end", lambda s: s.send(("EXPIRE", s.execution.clock, 1000)), {K.ENDING_KEY}),
    Damage(
        "leave a lock for ever",
        lambda s: s.send(("SET", s.execution.lock("TaskState", "t1"), "token")),
        {K.ENDLESS_MARK},
        Outcome.MENDED,
    ),
    Damage(
        "add a key", lambda s: s.send(("SET", f"{s.execution.tag}notes", "x")), {K.FOREIGN_KEY}, Outcome.LEFT
    ),
    Damage(
        "add a partition",
        lambda s: s.send(("SET", s.execution.clock.replace(":0}", ":7}"), "1")),
        {K.FOREIGN_KEY},
        Outcome.LEFT,
    ),
    Damage(
        "add a view that is none",
        lambda s: s.send(("COPY", s.view(*RUNNING), s.view("TaskState", "by_mood", "good"))),
        {K.FOREIGN_KEY},
        Outcome.LEFT,
    ),
    Damage(
        "add a view with too many values",
        lambda s: s.send(("COPY", s.view(*RUNNING), s.view("TaskState", "by_status", "a", "b"))),
        {K.FOREIGN_KEY},
        Outcome.LEFT,
    ),
    Damage(
        "add a view whose value is not escaped",
        lambda s: s.send(("COPY", s.view(*RUNNING), s.view(*RUNNING) + "%zz")),
        {K.FOREIGN_KEY},
        Outcome.LEFT,
    ),
    Damage(
        "add an expiry entry of no entity",
        lambda s: s.send(("ZADD", s.execution.expiry, 1, "Forgotten:1")),
        {K.FOREIGN_ENTRY},
        Outcome.LEFT,
    ),
    Damage(
        "delete everything that is derived",
        lambda s: s.send(("DEL", *derived(s))),
        {K.MISSING_ENTRY, K.MISSING_CLAIM, K.MISSING_DEADLINE},
    ),
]


def site_without_deadline(site: Site) -> None:
    """Make a document with a deadline one without, by hand, and keep its TTL."""
    place = site.document("TaskState", "d1")
    (document,) = site.send(("GET", place))
    if type(document) is not bytes:
        raise NotSoAnyMoreError
    head, rest = document.split(b'"expires":', 1)
    site.send(("SET", place, head + b'"expires":0' + rest[16:], "KEEPTTL"))
