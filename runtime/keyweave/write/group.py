"""Group commit: callers of one process that write one row at the same time write it together, in the order of their arrival.

One caller at a time has the turn. It works on the state that the one before it left, and passes the turn on; the last one sends
the plan of all of them, and each gets its own result. Callers that come meanwhile wait in the queue. Guards keep the row safe, as in every write; the queue only spares exchanges and lost attempts.

A caller can leave at any time: before the plan is sent without its effects, afterwards with an unknown outcome. If the caller
that sends the plan is interrupted, another one of the batch sends it on, with the same ticket.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, TypeVar

from keyweave.changes.answer import Refusal, Status
from keyweave.changes.unsettled import Unsettled
from keyweave.commit.commit import commit
from keyweave.commit.compose import claims_of
from keyweave.commit.refused import refused
from keyweave.effects import ConnectionFailure, Flow, Wait
from keyweave.errors import (
    KeyweaveError,
    OutcomeUnknownError,
    TransactionConflictError,
    TransactionTooLargeError,
)
from keyweave.exchange.apply import Begun, GivenUp, Sending
from keyweave.exchange.ask import failure_error
from keyweave.exchange.confirm import unconfirmed
from keyweave.expiry.tend import sweep_after_write
from keyweave.model.entity import Entity
from keyweave.model.record import Record
from keyweave.read.lock import unlock, unlock_trailer, unlocked
from keyweave.store.context import Context
from keyweave.store.turns import WriteQueue
from keyweave.write.batch import Batch, Member, Task, Write
from keyweave.write.put import first_try, remembered
from keyweave.write.queue import exhausted, open_batch, pass_on
from keyweave.write.settle import clean_up
from keyweave.write.share_error import another, unknown_for

R = TypeVar("R", bound=Record)

_PATIENCE: Final = 1.0
"""Seconds after which a caller leaves a queue in which one function runs all the time."""

_ALONE_AFTER: Final = 8
"""Lost batches after which a caller is alone in its batch: its function may be what makes the batches lose."""

_LOST: Final = frozenset({Status.CHANGED, Status.EXISTS, Status.MISSING})
"""Refusals that mean that another writer came before."""

_OBSTACLES: Final = frozenset({Status.FREED, Status.DEAD, Status.TAKEN})
"""Refusals that may be due to an expired, freed or dangling row."""


def write_together(
    context: Context, entity: Entity[R], key: str, write: Write, queue: WriteQueue | None = None
) -> Flow[R]:
    """Write a row together with the other callers of this process, and return the record.

    Args:
        queue: in which the caller has the turn already; None to join one.

    Raises:
        StoreTimeoutError: the deadline passed in the queue; nothing was written.
        OutcomeUnknownError: the deadline passed, or the server could not be reached any more, after the plan was sent.
        TransactionConflictError: every attempt lost to other processes.
        Exception: what `write` raises, and what a write of one row raises.
    """
    record: R = yield from _Part(context, entity, key, write, queue).play()
    return record


class _Part:
    """The part that one caller plays in a queue."""

    def __init__(
        self, context: Context, entity: Entity[Any], key: str, write: Write, queue: WriteQueue | None
    ) -> None:
        self._context: Final = context
        self._entity: Final = entity
        self._key: Final = key
        self._write: Final = write
        self._name: Final = (entity.name, key)
        self._queue = queue
        self._member = Member(write, Task.ACT if queue is not None else Task.WAIT)
        self._wrote = False
        if queue is not None:
            self._member.claim()

    def play(self) -> Flow[Any]:
        """Do what is this caller's turn to do, until it has a result."""
        try:
            while self._member.task is not Task.DONE:
                if self._queue is None:
                    self._join()
                elif self._member.task is Task.WAIT:
                    yield from self._wait(self._queue)
                elif self._member.task is Task.ACT:
                    yield from self._act(self._queue)
                else:
                    yield from self._send(self._queue)
        except BaseException:
            self._leave()
            raise
        finally:
            self._member.batch = (
                None  # a batch has its callers, so only the collector of cycles would free them
            )
        if self._wrote:
            yield from sweep_after_write(self._context, self._entity)
        if self._member.error is not None:
            raise self._member.error
        return self._member.record

    def _join(self) -> None:
        member = self._member = Member(self._write, Task.WAIT)
        self._queue, first = self._context.placing.writers.join(self._name, member)
        if first:
            member.claim()
            member.task = Task.ACT

    def _wait(self, queue: WriteQueue) -> Flow[None]:
        """Wait for a turn or a result.

        Raises:
            StoreTimeoutError, OutcomeUnknownError, TransactionConflictError: the deadline has passed.
        """
        member, turns = self._member, queue.turns
        try:
            called = yield Wait(member.signal, _PATIENCE)
        except ConnectionFailure as failure:
            if queue.turns == turns and not member.sent:
                self._context.placing.writers.detach(self._name, queue)
            if not self._withdraw() and member.task is Task.DONE:
                return
            raise self._late(failure) from failure
        if called:
            if member.astray:
                self._queue = None
        elif queue.calling and queue.turns == turns and not member.sent and self._withdraw():
            # The function that runs may wait for what this caller does.
            self._context.placing.writers.detach(self._name, queue)

    def _withdraw(self) -> bool:
        """Leave the queue; return False if the caller has been given something to do meanwhile."""
        left = self._member.withdraw()
        if left:
            self._queue = None
        return left

    def _late(self, failure: ConnectionFailure) -> KeyweaveError:
        """Return the error of a caller whose deadline has passed while it waited."""
        error = failure_error(self._context, failure)
        member, batch = self._member, self._member.batch
        if not member.sent or batch is None or member.prepared is None:
            return self._exhausted() if member.lost else error
        sending, attempt = batch.sending, None
        if sending is not None:
            member.gone = sending.given_up = True  # from now on, no other plan is sent with its effects
            attempt = sending.attempt
            if attempt is None:
                return error
        unknown = OutcomeUnknownError(
            f"a write may or may not have reached the server at {self._context.address}"
        )
        if attempt is not None:
            level = self._context.durability
            unknown.unsettled = Unsettled(
                attempt.plan,
                attempt.ticket,
                attempt.until,
                batch.changes,
                member.record,
                batch.fate,
                level.level if level is not None else None,
                attempt.unconfirmed,
            )
        return unknown

    def _act(self, queue: WriteQueue) -> Flow[None]:
        """Work on the state of the row, then pass the turn on, or send what there is."""
        member = self._member
        if member.lost >= self._context.policy.attempts:
            raise self._exhausted()
        if queue.batch is None:
            queue.batch = yield from open_batch(self._context, self._entity, self._key, queue, member.lost)
        batch: Batch = queue.batch
        member.batch = batch
        queue.calling = True
        try:
            taken = yield from batch.take(self._context, self._entity, member)
        finally:
            queue.calling = False
        if taken and not batch.full:
            member.rest()
            member.task = Task.WAIT
            if self._call_next(queue):
                return
            member.claim()
        member.task = Task.SEND

    def _call_next(self, queue: WriteQueue) -> bool:
        """Give the turn to the next caller; return False if none waits."""
        following = queue.next()
        if following is None:
            return False
        following.task = Task.ACT
        following.signal.set()
        return True

    def _send(self, queue: WriteQueue) -> Flow[None]:
        """Send the plan of the batch, or send it on after another caller was interrupted."""
        context, batch = self._context, queue.batch
        if batch.sending is None:
            if not self._close(queue, batch):
                return
            if not batch.writers:
                if batch.proven:
                    yield from self._conclude(queue, batch)
                else:
                    self._repeat(queue, batch)
                return
            trailer = unlock_trailer(context, queue.lock) if queue.lock is not None else None
            batch.finish(context, self._entity)
            batch.sending = Sending(*(trailer.commands if trailer is not None else ()), fate=batch.fate)
        sending = batch.sending
        try:
            refusal = yield from self._commit(queue, batch, sending)
        except GivenUp:
            batch.fate.applied = False
            batch.reopen()
            self._repeat(queue, batch)
            return
        except KeyweaveError as error:
            batch.reopen()
            yield from self._fail(queue, batch, error)
            return
        if queue.lock is not None:
            unlocked(context, queue.lock, sending)
        if refusal is None:
            yield from self._succeed(queue, batch, sending.receipt.unconfirmed)
        else:
            batch.reopen()  # the plan was answered, so no other caller may send it on
            yield from self._meet(queue, batch, refusal)

    def _commit(self, queue: WriteQueue, batch: Batch, sending: Sending) -> Flow[Refusal | None]:
        """Commit the change of the batch.

        The plan of a caller that is alone is sent packed: no other one could take it over, or has to settle what it does not know.
        A plan that is on its way already is sent on as it is, also by the last caller that is left.
        """
        context, fresh = self._context, queue.lost == 0  # after a pause a document would be outdated
        begun: Begun | None = None
        alone = sending.attempt is None and batch.members == [self._member]
        if alone and queue.lock is None and context.durability is None:
            (change,) = batch.changes
            assert change.prepared is not None
            begun = yield from first_try(context, change.prepared, change.old, with_document=fresh)
            if begun is not None and remembered(context, begun, change.prepared, change.record):
                return None
        return (yield from commit(context, batch.changes, with_document=fresh, trailer=sending, begun=begun))

    def _close(self, queue: WriteQueue, batch: Batch) -> bool:
        """Let no caller leave the batch any more; return False if it has to be made again because one has left."""
        gone = []
        for member in batch.members:
            if member is not self._member:
                if member.claim():
                    member.sent = True
                    member.release_claim()
                else:
                    gone.append(member)
        if not gone:
            return True
        needed = any(member.prepared is not None for member in gone)
        batch.members = [member for member in batch.members if member not in gone]
        if needed:
            self._repeat(queue, batch)
        return not needed

    def _succeed(self, queue: WriteQueue, batch: Batch, lacking: str | None) -> Flow[None]:
        """Give every caller its result. `lacking` is why a durable store did not have the write confirmed, or None."""
        batch.fate.applied, batch.fate.unconfirmed = True, lacking
        queue.lost = queue.lost if queue.lock is not None else 0
        queue.outdated = False
        self._wrote = True
        for member in batch.members if lacking is not None else ():
            if member.error is None:
                member.error = unconfirmed(self._context, lacking or "", member.record)
        yield from self._conclude(queue, batch)

    def _fail(self, queue: WriteQueue, batch: Batch, failure: KeyweaveError) -> Flow[None]:
        """Give every caller of the batch the error of its plan."""
        queue.outdated = True
        if isinstance(failure, TransactionTooLargeError):
            batch.fate.applied = False
            self._divide(queue, batch, failure)
            return
        if not isinstance(failure, OutcomeUnknownError):
            batch.fate.applied = False
        for member in batch.members:
            if not isinstance(failure, OutcomeUnknownError):
                member.error = another(failure)
            elif member.error is None:
                member.error = unknown_for(failure, member.record, batch.fate)
        yield from self._conclude(queue, batch)

    def _meet(self, queue: WriteQueue, batch: Batch, refusal: Refusal) -> Flow[None]:
        """Make the batch again after a refusal, without the caller that is to blame if there is one."""
        batch.fate.applied = False
        queue.outdated = True
        elsewhere = refusal.place is not None
        if (refusal.status in _OBSTACLES or elsewhere) and (yield from self._clean_up(batch, refusal)):
            self._count_loss(batch)
            self._repeat(queue, batch)
        elif refusal.status in _LOST and not elsewhere:
            self._context.state.stats.conflict(self._entity.name)
            queue.lost += 1
            queue.current = refusal.document
            self._count_loss(batch)
            self._repeat(queue, batch)
        else:
            self._divide(queue, batch, refused(refusal))

    def _clean_up(self, batch: Batch, refusal: Refusal) -> Flow[bool]:
        return (yield from clean_up(self._context, claims_of(batch.changes[0].new_entries), refusal))

    def _count_loss(self, batch: Batch) -> None:
        for member in batch.members:
            member.lost += 1
            if member.lost >= _ALONE_AFTER:
                member.most = 1

    def _divide(self, queue: WriteQueue, batch: Batch, failure: KeyweaveError) -> None:
        """Make the batch again in two halves, or give the failure to the only caller that wrote anything."""
        writers = batch.writers
        if len(writers) == 1:
            blamed = writers[0]
            batch.members.remove(blamed)
            blamed.error = failure
            blamed.task = Task.DONE
            blamed.signal.set()
        else:
            for member in writers:
                member.most = max(1, len(writers) // 2)
        self._repeat(queue, batch)

    def _repeat(self, queue: WriteQueue, batch: Batch) -> None:
        """Let the callers of a batch come first again, in their order."""
        queue.batch = None
        queue.outdated = True
        again = [member for member in batch.members if member is not self._member and not member.gone]
        for member in again:
            member.forget()
        if self._member.task is not Task.DONE:
            place = batch.members.index(self._member) if self._member in batch.members else len(batch.members)
            again.insert(place, self._member)
            self._member.forget()
            self._member.rest()
            self._member.task = Task.WAIT
        queue.first = deque([*again, *(queue.first or ())])
        pass_on(self._context, self._name, queue)

    def _conclude(self, queue: WriteQueue, batch: Batch) -> Flow[None]:
        """End a batch: every caller of it has its result. Then release the advisory lock, and pass the turn on."""
        queue.batch = None
        present = self._member in batch.members
        for member in batch.members:
            member.task = Task.DONE
            member.signal.set()
        try:
            if queue.lock is not None and queue.lock.locks:
                yield from unlock(self._context, queue.lock)
        finally:
            if present:
                pass_on(self._context, self._name, queue)
            else:
                self._member.task = Task.ACT

    def _leave(self) -> None:
        """Leave the queue after an interruption or an error; the others go on."""
        queue, member = self._queue, self._member
        if queue is None or (member.task is Task.WAIT and self._withdraw()):
            return
        batch, task = queue.batch, member.task
        if task is Task.DONE:
            return
        member.task = Task.DONE
        if task is Task.SEND and batch is not None:
            if member in batch.members:
                batch.members.remove(member)
            if batch.sending is not None and batch.sending.attempt is not None:
                batch.sending.attempt.sent = True  # as far as anyone can know
            else:
                self._repeat(queue, batch)
                return
        if not self._send_on(queue):
            queue.batch = None
            pass_on(self._context, self._name, queue)

    def _send_on(self, queue: WriteQueue) -> bool:
        """Let another caller of the batch go on; return False if there is none."""
        batch = queue.batch
        if batch is None:
            return False
        if batch.sending is None and not batch.full and self._call_next(queue):
            return True
        batch.full = True
        for member in reversed(batch.members):
            if member.claim():
                member.task = Task.SEND
                member.signal.set()
                return True
        return False

    def _exhausted(self) -> TransactionConflictError:
        return exhausted(self._context, self._entity, self._key, max(self._member.lost, 1))
