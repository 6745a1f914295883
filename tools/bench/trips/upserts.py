"""Upserts in one trip: the plan inserts the row, or replaces one whose entries follow from what the caller says of it."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from compozy_store import Status, TaskState
from compozy_store.entities import TASK_STATE
from keyweave.commit.remember import remember_write
from keyweave.document.codec import Prepared
from keyweave.effects import Flow, Packed, Send
from keyweave.exchange.apply import begin
from keyweave.exchange.ask import ask
from keyweave.keyspace.keys import escape
from keyweave.store.context import Context
from keyweave.write.put import put

SCRIPT: Final = Path(__file__).with_name("upsert_either.lua").read_text("utf-8")
DECODE, DIGEST = "decode", "digest"
"""How a script may see that a document is like the record: by decoding it, or by a digest of what decides its entries, in its op."""

_NAMES: Final = f" {' '.join(sorted(TASK_STATE.known))} "
_STATES: Final = [str(state) for state in Status]
_DECIDING: Final = (
    "task_exec_id",
    "task_id",
    "workflow_exec_id",
    "workflow_id",
    "execution_type",
    "parent_state_id",
    "agent_id",
    "action_id",
    "tool_id",
)
"""The fields on which entries depend, without the status."""


def load_script(context: Context, text: str) -> Flow[str]:
    """Load a script, and return its digest."""
    (sha,) = yield from ask(context, (("SCRIPT", "LOAD", text),))
    return bytes(sha).decode()


def upsert(context: Context, record: TaskState, proof: str, sha: str) -> Flow[bool]:
    """Upsert a task of which this process knows nothing; return whether one trip was enough."""
    codec = context.codecs["TaskState"]
    prepared = codec.prepare(record, None)
    partition = context.partition(TASK_STATE)
    begun = begin(context, partition)
    op = begun.op + _mark(record, proof)
    command = _command(context, prepared, op, begun, proof, sha)
    (reply,) = yield Send((command,), None, 1)
    context.state.ledger.answered(begun.ticket)
    if reply[0] == b"OK":
        head = (int(reply[1]), int(reply[2]), int(reply[3]))
        remember_write(context, prepared, record, head, op)
        return True
    if reply[0] != b"EXISTS":
        raise RuntimeError(f"the prototype was answered {reply!r}")
    stored = codec.read_memory(reply[3])
    refusal = yield from put(context, codec, record, stored, codec.rebased(prepared, stored))
    if refusal is not None:
        raise RuntimeError(f"the second plan was refused: {refusal!r}")
    return False


def _mark(record: TaskState, proof: str) -> str:
    """Return what the proof needs in the op of the document that is written."""
    return f".{_digest(record)}{record.status}" if proof == DIGEST else ""


def _digest(record: TaskState) -> str:
    text = "\0".join([getattr(record, name) or "" for name in _DECIDING])
    return blake2b(text.encode(), digest_size=6).hexdigest()


def _command(context: Context, prepared: Prepared, op: str, begun: Any, proof: str, sha: str) -> Packed:
    row, body, partition = prepared.snapshot, prepared.body, context.partition(TASK_STATE)
    prefixes, state = context.view_prefixes(TASK_STATE), str(row.status)
    ((_, member, _, keys),), _ = TASK_STATE.places(prefixes, row)
    beginnings = [prefixes["by_status"]]
    if row.parent_state_id is not None:
        beginnings.append(f"{prefixes['by_parent_status']}{escape(row.parent_state_id)}:")
    moving = [beginning + state for beginning in beginnings]
    fixed = [key for key in keys if key not in moving]
    others = [each for each in _STATES if each != state]
    targets = [partition.document("WorkflowState", row.workflow_exec_id)]
    if row.parent_state_id is not None:
        targets.append(partition.document("TaskState", row.parent_state_id))
    if proof == DIGEST:
        proofs = (f".{_digest(row)}", "", "")
    else:
        values = ",".join([f'"{name}":{_json(getattr(row, name))}' for name in _DECIDING])
        proofs = (_NAMES, "{" + values + "}", "status")
    keys = [
        partition.clock,
        partition.expiry,
        partition.ledger(begun.ticket.session),
        partition.schema,
        partition.document("TaskState", prepared.key),
        *targets,
        *fixed,
        *moving,
        *[beginning + each for each in others for beginning in beginnings],
    ]
    front = [
        "EVALSHA",
        sha,
        str(len(keys)),
        *keys,
        op,
        str(begun.ticket.slot),
        str(begun.ticket.sequence),
        str(begun.until),
        context.package.writer,
        str(len(targets)),
        str(len(fixed)),
        str(len(moving)),
        member,
        state,
        proof,
        *proofs,
    ]
    packed = "".join([f"${len(word)}\r\n{word}\r\n" for word in front])
    tail = "".join([f"${len(word)}\r\n{word}\r\n" for word in others])
    return Packed(
        b"*%d\r\n%b$%d\r\n%b\r\n%b"
        % (len(front) + 1 + len(others), packed.encode(), len(body), body, tail.encode())
    )


def _json(value: Any) -> str:
    # A default is left out of a document, so a member with it counts as one that is not there.
    return "null" if value is None or value == "basic" else f'"{value}"'
