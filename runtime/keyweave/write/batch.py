"""A batch: what callers that write one row together have done so far. One plan writes it, so one outcome holds for all of them.

Each caller works on the state that the one before it left, in its own thread or task. What a function that raises did to its
record is not part of the next state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final, Protocol, TypeVar

from keyweave.changes.change import Change, replacement
from keyweave.changes.unsettled import Fate
from keyweave.commit.compose import claims_of
from keyweave.commit.same_partition import require_same_value
from keyweave.document.codec import Prepared
from keyweave.effects import Call, Flow
from keyweave.errors import ValidationError
from keyweave.exchange.apply import Sending
from keyweave.model.entity import Entity
from keyweave.model.fidelity import same_value
from keyweave.model.record import Record, Stored, memory_of, remember
from keyweave.store.context import Context
from keyweave.store.turns import Caller

R = TypeVar("R", bound=Record)

MOST: Final = 64
"""Callers of one batch at most."""

LONGEST: Final = 0.02
"""Seconds after which a batch takes no further caller: those that are in it wait for their plan."""

_SOON: Final = 60_000_000
"""Microseconds before its deadline from which on a row takes no further caller in the same batch."""


class Task(Enum):
    """What a caller does next."""

    WAIT = auto()
    ACT = auto()
    SEND = auto()
    DONE = auto()


class Member(Caller):
    """A caller that writes a row together with others.

    Attributes:
        write: what it wants.
        task: what it does next.
        batch: the latest one that it was in, or None.
        record: what it returns.
        prepared: its state of the row; None if it wrote none.
        error: what it raises.
        sent: whether the plan with its state has been sent, or is about to be.
        gone: whether it left before the plan with its state was sent.
        lost: batches that other writers came before.
        most: callers that a batch with this one may have.
    """

    __slots__ = ("batch", "error", "gone", "lost", "most", "prepared", "record", "sent", "task", "write")

    def __init__(self, write: Write, task: Task) -> None:
        super().__init__()
        self.write: Final = write
        self.task = task
        self.batch: Batch | None = None
        self.gone = False
        self.lost = 0
        self.most = MOST
        self.forget()

    def forget(self) -> None:
        """Undo what it did in a batch that was not written."""
        self.record: Any = None
        self.prepared: Prepared | None = None
        self.error: BaseException | None = None
        self.sent = False


@dataclass(slots=True)
class Batch:
    """What callers of a row have done since its last plan.

    Attributes:
        base: what the store holds, or None when there is no row.
        proven: whether `base` was read from the server; otherwise only a plan that is applied proves it.
        began: monotonic time.
        members: the callers, in order.
        latest: the state that the last one left; None if it is `base`.
        moved: whether a caller changed unique values or references. Only one of a batch does: those of a state that another one
            replaces would not be checked.
        full: whether it takes no further caller.
        changes: what the plan writes; empty before it is sent.
        sending: the plan on its way.
        fate: what became of the plan.
    """

    base: Stored | None
    proven: bool
    began: float
    members: list[Member] = field(default_factory=list)
    latest: Prepared | None = None
    moved: bool = False
    full: bool = False
    changes: list[Change] = field(default_factory=list)
    sending: Sending | None = None
    fate: Fate = field(default_factory=Fate)

    @property
    def writers(self) -> list[Member]:
        """The callers that wrote a state."""
        return [member for member in self.members if member.prepared is not None]

    def take(self, context: Context, entity: Entity[Any], member: Member) -> Flow[bool]:
        """Let a caller work on the state; return False, and leave no trace, when it needs another batch."""
        if self.members and len(self.members) >= member.most:
            return False
        try:
            prepared = yield from member.write.prepare(context, entity, self, member)
        except Exception as error:  # noqa: BLE001 - it is the caller's, and the others go on
            member.forget()
            member.error = error
        else:
            if prepared is not None:
                moved = self._moves(entity, prepared)
                if moved and self.moved:
                    member.forget()
                    return False
                self.moved = self.moved or moved
                self.latest = prepared
                self.full = self._ends_soon(context, entity, prepared)
        self.members.append(member)
        self.full = (
            self.full
            or len(self.members) >= min(each.most for each in self.members)
            or context.monotonic() - self.began >= LONGEST
        )
        return True

    def _moves(self, entity: Entity[Any], prepared: Prepared) -> bool:
        """Return whether a state has other unique values or references than the one before it."""
        if not entity.uniques and not entity.references:
            return False
        before = self.latest.snapshot if self.latest is not None else self.base and self.base.snapshot
        after = prepared.snapshot
        if before is None:
            return True
        if any(reference.key_in(before) != reference.key_in(after) for reference in entity.references):
            return True
        if not entity.uniques:
            return False
        return claims_of(entity.entries(before)) != claims_of(prepared.entries)

    def _ends_soon(self, context: Context, entity: Entity[Any], prepared: Prepared) -> bool:
        """Return whether the row of a state has ended, or ends soon: the next caller may not find it any more."""
        retain = prepared.retain
        return isinstance(retain, str) and int(retain[1:]) <= context.clock_of(entity).now() + _SOON

    def reopen(self) -> None:
        """Let callers leave again without their effects: the plan was not applied."""
        self.sending = None
        for member in self.members:
            member.sent = False

    def finish(self, context: Context, entity: Entity[Any]) -> None:
        """Make the change that writes the latest state, and what each caller of an earlier one shall remember."""
        last = self.writers[-1]
        assert last.prepared is not None
        change = replacement(context.codec(entity), last.record, self.base, last.prepared)
        change.superseded = [
            (each.record, each.prepared)
            for each in self.members
            if each is not last and each.prepared is not None
        ]
        self.changes = [change]


class Write(Protocol):
    """What a caller wants of a row."""

    def prepare(
        self, context: Context, entity: Entity[Any], batch: Batch, member: Member
    ) -> Flow[Prepared | None]:
        """Return the next state of the row, or None if it does not change, and give `member` its record.

        Raises:
            Exception: the caller's; the state is not changed.
        """


class Put(Write):
    """Replace the row by a record, or insert it.

    Args:
        record: the caller's.
        prepared: the same, checked.
    """

    def __init__(self, record: Record, prepared: Prepared) -> None:
        self._record: Final = record
        self._prepared: Final = prepared

    def prepare(  # noqa: D102 - Write
        self, context: Context, entity: Entity[Any], batch: Batch, member: Member
    ) -> Flow[Prepared | None]:
        codec, base = context.codec(entity), batch.base
        prepared = codec.rebased(self._prepared, base)
        latest = batch.latest.snapshot if batch.latest is not None else None
        require_same_value(context, latest or (base and codec.snapshot_of(base)), prepared)
        member.record, member.prepared = self._record, prepared
        yield from ()
        return member.prepared


class Alter(Write):
    """Let a function change the record of the row.

    Args:
        key: the row's id.
        function: changes the record in place, or returns another one.
        quiet: nothing is written when the record is unchanged.
    """

    def __init__(self, key: str, function: Callable[[Any], Any], *, quiet: bool) -> None:
        self._key: Final = key
        self._function: Final = function
        self._quiet: Final = quiet

    def prepare(  # noqa: D102 - Write
        self, context: Context, entity: Entity[Any], batch: Batch, member: Member
    ) -> Flow[Prepared | None]:
        codec, base, latest = context.codec(entity), batch.base, batch.latest
        if latest is not None:
            created = base.created if base is not None else 0
            record = codec.record_after(latest, created, context.clock_of(entity).now())
        elif base is not None:
            record = codec.fresh_record(base)
        else:
            raise entity.missing(self._key)
        given = memory_of(record)
        assert given is not None
        before = latest.snapshot if latest is not None else codec.snapshot_of(given)
        member.record = record
        record = yield from call(entity, self._function, record)
        written = memory_of(record)
        if written is not given and latest is None:
            batch.base = base = written  # the function has written the row itself
        member.record = record
        if self._quiet and latest is None and same_value(record, before):
            return None
        prepared = codec.prepare(record, base)
        if prepared.key != self._key:
            raise key_changed(entity, before, prepared.snapshot)
        require_same_value(context, before, prepared)
        member.prepared = prepared
        return prepared


def call(entity: Entity[R], function: Callable[[R], Any], record: R) -> Flow[R]:
    """Return the record that `function` changed or returned. It takes over the memory of `record`.

    Raises:
        ValidationError: the function returned something other than a record.
        Exception: any exception of `function`.
    """
    stored = memory_of(record)
    answer = yield Call(function, record)
    if answer is None or answer is record:
        return record
    if type(answer) is not entity.record:
        raise ValidationError(
            f"{entity.name}: the function given to change must return None or the record, "
            f"it returned a {type(answer).__name__}",
            entity=entity.name,
            rule="change",
        )
    if stored is not None:
        remember(answer, stored)
    return answer


def key_changed(entity: Entity[Any], before: Any, after: Any) -> ValidationError:
    """Return the error for a record with another key than the row that it was loaded from."""
    name = next(each for each in entity.key_fields if getattr(before, each) != getattr(after, each))
    text = f"{entity.name}.{name}: the key of a stored row cannot change; create another row"
    return ValidationError(text, entity=entity.name, field=name, rule="key")
