"""Damages to what is derived: views, claims and deadlines."""

from __future__ import annotations

from keyweave.integrity.drift import Kind
from tests.integrity.damage import Damage, Outcome
from tests.integrity.site import Site

RUNNING = ("TaskState", "by_status", "RUNNING")
FAILED = ("TaskState", "by_status", "FAILED")
EMAIL = ("User", "email")
SCORE = 1790000000000000


def swap(site: Site, left: str, right: str) -> None:
    """Exchange two keys."""
    site.send(("RENAME", left, left + "!"), ("RENAME", right, left), ("RENAME", left + "!", right))


DAMAGES = [
    # Entries of views
    Damage("remove an entry", lambda s: s.send(("ZREM", s.view(*RUNNING), "root")), {Kind.MISSING_ENTRY}),
    Damage("delete a view's key", lambda s: s.send(("DEL", s.view(*RUNNING))), {Kind.MISSING_ENTRY}),
    Damage(
        "unlink a view of all rows",
        lambda s: s.send(("UNLINK", s.view("TaskState", "all"))),
        {Kind.MISSING_ENTRY},
    ),
    Damage(
        "add an entry of no row",
        lambda s: s.send(("ZADD", s.view(*RUNNING), SCORE, "ghost")),
        {Kind.STALE_ENTRY},
    ),
    Damage(
        "add bytes that are no text",
        lambda s: s.send(("ZADD", s.view(*RUNNING), 1, b"\xff\x00")),
        {Kind.STALE_ENTRY},
    ),
    Damage("add an empty member", lambda s: s.send(("ZADD", s.view(*RUNNING), 1, "")), {Kind.STALE_ENTRY}),
    Damage(
        "add a row to another value",
        lambda s: s.send(("ZADD", s.view(*FAILED), 1, "root")),
        {Kind.WRONG_VALUE},
    ),
    Damage(
        "add a row to a value that is none",
        lambda s: s.send(("ZADD", s.view("TaskState", "by_status", "ODD"), 1, "t1")),
        {Kind.WRONG_VALUE},
    ),
    Damage(
        "add a row to a view that it is not in",
        lambda s: s.send(("ZADD", s.view("TaskState", "by_agent", "a"), 1, "t1")),
        {Kind.WRONG_VALUE},
    ),
    Damage(
        "move an entry",
        lambda s: s.send(("ZREM", s.view(*RUNNING), "t2"), ("ZADD", s.view(*FAILED), 1, "t2")),
        {Kind.MISSING_ENTRY, Kind.WRONG_VALUE},
    ),
    Damage("set a score", lambda s: s.send(("ZADD", s.view(*RUNNING), 5, "root")), {Kind.WRONG_SCORE}),
    Damage(
        "increase a score by one",
        lambda s: s.send(("ZINCRBY", s.view(*RUNNING), 1, "root")),
        {Kind.WRONG_SCORE},
    ),
    Damage(
        "set an endless score",
        lambda s: s.send(("ZADD", s.view("WorkflowState", "all"), "+inf", "w")),
        {Kind.WRONG_SCORE},
    ),
    Damage(
        "rename a view's key",
        lambda s: s.send(("RENAME", s.view(*RUNNING), s.view("TaskState", "by_status", "PAUSED"))),
        {Kind.MISSING_ENTRY, Kind.WRONG_VALUE},
    ),
    Damage(
        "copy a view's key",
        lambda s: s.send(("COPY", s.view(*RUNNING), s.view(*FAILED), "REPLACE")),
        {Kind.WRONG_VALUE, Kind.MISSING_ENTRY},
    ),
    Damage(
        "swap two views",
        lambda s: swap(s, s.view(*RUNNING), s.view(*FAILED)),
        {Kind.MISSING_ENTRY, Kind.WRONG_VALUE},
    ),
    Damage(
        "swap views of two entities",
        lambda s: swap(s, s.view("TaskState", "all"), s.view("WorkflowState", "all")),
        {Kind.MISSING_ENTRY, Kind.STALE_ENTRY},
    ),
    Damage(
        "swap views of two orders",
        lambda s: swap(
            s, s.view("WorkflowState", "by_workflow", "f"), s.view("WorkflowState", "newest_of_workflow", "f")
        ),
        {Kind.WRONG_SCORE},
    ),
    Damage(
        "unite two views",
        lambda s: s.send(("ZUNIONSTORE", s.view(*FAILED), 2, s.view(*FAILED), s.view(*RUNNING))),
        {Kind.WRONG_VALUE},
    ),
    Damage(
        "empty a view by rank",
        lambda s: s.send(("ZREMRANGEBYRANK", s.view(*RUNNING), 0, -1)),
        {Kind.MISSING_ENTRY},
    ),
    Damage(
        "keep one entry of a view",
        lambda s: s.send(("ZREMRANGEBYRANK", s.view("TaskState", "all"), 1, -1)),
        {Kind.MISSING_ENTRY},
    ),
    Damage(
        "overwrite a view with a string",
        lambda s: s.send(("SET", s.view(*RUNNING), "oops")),
        {Kind.WRONG_TYPE, Kind.MISSING_ENTRY},
    ),
    Damage(
        "replace a view by a list",
        lambda s: s.send(
            ("DEL", s.view("User", "by_role", "user")), ("RPUSH", s.view("User", "by_role", "user"), "u1")
        ),
        {Kind.WRONG_TYPE, Kind.MISSING_ENTRY},
    ),
    Damage(
        "rename a document onto a view",
        lambda s: s.send(("RENAME", s.document("TaskState", "t1"), s.view("TaskState", "by_workflow", "v"))),
        {Kind.WRONG_TYPE, Kind.MISSING_ENTRY, Kind.STALE_ENTRY},
        Outcome.MENDED,
    ),
    Damage("let a view end", lambda s: s.send(("EXPIRE", s.view(*RUNNING), 1000)), {Kind.ENDING_KEY}),
    # Claims
    Damage("remove a claim", lambda s: s.send(("HDEL", s.view(*EMAIL), "u1@x")), {Kind.MISSING_CLAIM}),
    Damage("delete the claims", lambda s: s.send(("DEL", s.view(*EMAIL))), {Kind.MISSING_CLAIM}),
    Damage(
        "remove a claim on a secret",
        lambda s: s.send(("HDEL", s.view("APIKey", "fingerprint"), b"planted-print-1".hex())),
        {Kind.MISSING_CLAIM},
    ),
    Damage(
        "claim for no row", lambda s: s.send(("HSET", s.view(*EMAIL), "ghost@x", "ghost")), {Kind.STALE_CLAIM}
    ),
    Damage(
        "claim another value", lambda s: s.send(("HSET", s.view(*EMAIL), "odd@x", "u1")), {Kind.UNDUE_CLAIM}
    ),
    Damage(
        "give a claim to another row",
        lambda s: s.send(("HSET", s.view(*EMAIL), "u1@x", "u2")),
        {Kind.WRONG_OWNER, Kind.UNDUE_CLAIM},
    ),
    Damage(
        "give a claim to no row",
        lambda s: s.send(("HSET", s.view(*EMAIL), "u1@x", "ghost")),
        {Kind.WRONG_OWNER, Kind.STALE_CLAIM},
    ),
    Damage(
        "exchange two claims",
        lambda s: s.send(("HSET", s.view(*EMAIL), "u1@x", "u2", "u2@x", "u1")),
        {Kind.WRONG_OWNER, Kind.UNDUE_CLAIM},
    ),
    Damage(
        "overwrite claims with a string",
        lambda s: s.send(("SET", s.view(*EMAIL), "oops")),
        {Kind.WRONG_TYPE, Kind.MISSING_CLAIM},
    ),
    Damage(
        "copy claims of one constraint to another",
        lambda s: s.send(("COPY", s.view("APIKey", "prefix"), s.view("APIKey", "fingerprint"), "REPLACE")),
        {Kind.MISSING_CLAIM, Kind.UNDUE_CLAIM},
    ),
    # Deadlines
    Damage(
        "remove an expiry entry",
        lambda s: s.send(("ZREM", s.execution.expiry, "TaskState:d1")),
        {Kind.MISSING_DEADLINE},
    ),
    Damage("delete the expiry set", lambda s: s.send(("DEL", s.execution.expiry)), {Kind.MISSING_DEADLINE}),
    Damage(
        "overwrite the expiry set",
        lambda s: s.send(("SET", s.execution.expiry, "x")),
        {Kind.WRONG_TYPE, Kind.MISSING_DEADLINE},
    ),
    Damage(
        "let a living row expire",
        lambda s: s.send(("ZADD", s.execution.expiry, 1, "TaskState:root")),
        {Kind.UNDUE_DEADLINE},
    ),
    Damage(
        "let no row expire",
        lambda s: s.send(("ZADD", s.execution.expiry, 1, "TaskState:ghost")),
        {Kind.STALE_DEADLINE},
    ),
    Damage(
        "move a deadline",
        lambda s: s.send(("ZADD", s.execution.expiry, 1, "TaskState:d1")),
        {Kind.WRONG_DEADLINE},
    ),
    Damage(
        "persist a row with a deadline",
        lambda s: s.send(("PERSIST", s.document("TaskState", "d1"))),
        {Kind.MISSING_TTL},
    ),
    Damage(
        "expire a row without a deadline",
        lambda s: s.send(("EXPIRE", s.document("User", "u1"), 1000)),
        {Kind.UNDUE_TTL},
    ),
    Damage(
        "expire a row too early",
        lambda s: s.send(("EXPIRE", s.document("TaskState", "d1"), 1000)),
        {Kind.WRONG_TTL},
    ),
]
