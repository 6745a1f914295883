"""Reading rows: by key, by several keys, by unique value. A row past its deadline counts as missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from keyweave.changes.change import Change
from keyweave.document.codec import Codec
from keyweave.document.head import HEAD_LENGTH, read_head
from keyweave.effects import Command, Flow
from keyweave.errors import CorruptDocumentError, StoreUnavailableError, ValidationError
from keyweave.exchange.ask import ask, ask_script
from keyweave.exchange.deadline import TIME, deadline_passed, deadlines_passed, micros_of
from keyweave.exchange.handshake import require_built
from keyweave.exchange.heal import heal_claim
from keyweave.model.entity import Entity
from keyweave.model.entry import ClaimEntry
from keyweave.model.keytext import checked_text
from keyweave.model.record import Record, memory_of, remember
from keyweave.read.readable import load_each
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

_BATCH = 500


def get(context: Context, entity: Entity[R], key: str, partition_value: Any = None) -> Flow[R]:
    """Return the row `key`.

    Args:
        partition_value: of the field that selects the partition, if the caller knows it; a row with another one does not count.

    Raises:
        NotFoundError: the entity's own error, when there is no live row.
    """
    record = yield from find(context, entity, key, partition_value=partition_value)
    if record is None:
        raise entity.missing(key)
    return record


def find(context: Context, entity: Entity[R], key: str, partition_value: Any = None) -> Flow[R | None]:
    """Return the row `key`, or None when there is no live row; `partition_value` as for `get`."""
    if partition_value is not None:
        partition_value = entity.partition_value(partition_value)
    if context.router is not None:
        if partition_value is None or context.unit is not None or context.router.moving:
            found: R | None = yield from context.router.row(
                find, context, entity, key, partition_value=partition_value
            )
            return found
        context = context.router.known(context, entity, partition_value)
    if type(key) is not str or not key.isascii():
        checked_text(key)
    unit = context.unit
    if unit is not None:
        change = unit.change_of(entity, key)
        if change is not None:
            present: R | None = buffered_record(context, change)
            return present if partition_value is None or selects(entity, present, partition_value) else None
    partition = context.partition(entity)
    (document,) = yield from _read(context, entity, ("GET", partition.document(entity.name, key)))
    if document is None:
        return None
    record: R = context.codecs[entity.name].load(document, key)
    if not (yield from is_live(context, entity, record)):
        return None
    if partition_value is not None:
        if not selects(entity, record, partition_value):
            return None
        if context.homing and unit is None:
            context.state.homes.put(entity.name, key, partition)
    if unit is not None:
        remember_loaded(context, entity, key, record)
    return record


def selects(entity: Entity[Any], record: Any, partition_value: Any) -> bool:
    """Return whether there is a record, and it has this value of the field that selects the partition."""
    return record is not None and getattr(record, entity.partition_by) == partition_value


def exists(context: Context, entity: Entity[Any], key: str, partition_value: Any = None) -> Flow[bool]:
    """Return whether there is a live row `key`; only the head of its document is read, unless a value has to be compared.

    Args:
        partition_value: as for `get`.

    Raises:
        CorruptDocumentError: its document has no head.
    """
    if partition_value is not None:
        return (yield from find(context, entity, key, partition_value=partition_value)) is not None
    if context.router is not None:
        return bool((yield from context.router.row(exists, context, entity, key)))
    checked_text(key)
    change = context.unit.change_of(entity, key) if context.unit is not None else None
    if change is not None:
        return change.prepared is not None
    name = context.partition(entity).document(entity.name, key)
    (start,) = yield from _read(context, entity, ("GETRANGE", name, 0, HEAD_LENGTH - 1))
    if not start:
        return False
    head = read_head(start)
    if head is None:
        return (yield from find(context, entity, key)) is not None  # raises what is wrong with the document
    if not head.expires or not (yield from deadline_passed(context, context.partition(entity), head.expires)):
        return True
    context.state.stats.meet_expired(entity.name)
    return False


def _read(context: Context, entity: Entity[Any], command: Command) -> Flow[list[Any]]:
    """Return the reply of a read of rows. If they may have a deadline, the exchange also sets a clock that is not fresh."""
    if entity.name in context.retention and context.clock_of(entity).stale():
        return _read_with_time(context, entity, command)
    return ask(context, (command,))


def _read_with_time(context: Context, entity: Entity[Any], command: Command) -> Flow[list[Any]]:
    reply, time = yield from ask(context, (command, TIME))
    context.clock_of(entity).set(micros_of(time))
    return [reply]


def get_many(
    context: Context,
    entity: Entity[R],
    keys: Sequence[str],
    partition_value: Any = None,
    *,
    readable: bool = False,
) -> Flow[list[R | None]]:
    """Return the rows of `keys` in the same order, with None for each key without a live row.

    Args:
        readable: leave out rows that cannot be read, as lists do.
        partition_value: as for `get`; of all rows.
    """
    if partition_value is not None:
        partition_value = entity.partition_value(partition_value)
    if context.router is not None:
        return (
            yield from context.router.several(
                get_many, context, entity, keys, readable=readable, partition_value=partition_value
            )
        )
    if isinstance(keys, str):
        raise ValidationError(f"{entity.name}: expected several keys, got one string", entity=entity.name)
    wanted = [checked_text(key) for key in keys]
    partition, codec = context.partition(entity), context.codec(entity)
    found: dict[str, R | None] = {}
    for start in range(0, len(wanted), _BATCH):
        part = wanted[start : start + _BATCH]
        command: Command = ("MGET", *[partition.document(entity.name, key) for key in part])
        (documents,) = yield from _read(context, entity, command)
        present = [key for key, document in zip(part, documents, strict=True) if document is not None]
        stored = [document for document in documents if document is not None]
        records = load_each(context, entity, stored) if readable else _load_all(codec, present, stored)
        found |= dict.fromkeys(part)
        rows = [(key, record) for key, record in zip(present, records, strict=True) if record is not None]
        live = yield from which_live(context, entity, [record for _, record in rows])
        found |= {key: record for (key, record), lives in zip(rows, live, strict=True) if lives}
    unit = context.unit
    if unit is not None:
        for key in found:
            change = unit.change_of(entity, key)
            if change is not None:
                found[key] = buffered_record(context, change)
    if partition_value is not None:
        found = {key: row if selects(entity, row, partition_value) else None for key, row in found.items()}
    return [found[key] for key in wanted]


def _load_all(codec: Codec, keys: list[str], documents: list[bytes]) -> list[Any]:
    try:
        return codec.load_all(documents)
    except CorruptDocumentError:
        # One by one, so that the error names the row.
        return [codec.load(document, key) for key, document in zip(keys, documents, strict=True)]


def find_by(context: Context, entity: Entity[R], claim: ClaimEntry) -> Flow[R | None]:
    """Return the row that owns a unique value, or None. `claim.owner` is ignored."""
    if context.router is not None:
        found: R | None = yield from context.router.claim(find_by, context, entity, claim)
        return found
    value = checked_text(claim.value)
    if context.unbuilt:
        yield from require_built(context, entity, claim.unique)
    unit = context.unit
    if unit is not None:
        change = unit.owner(entity, claim.unique, value)
        if change is not None:
            present: R | None = buffered_record(context, change)
            return present
    previous: str | None = None
    key: str | None
    record: R | None
    while True:
        key, record = yield from context.strategy.owner(context, entity, claim.unique, value)
        if key is None or key == previous:
            return None
        if unit is not None and unit.change_of(entity, key) is not None:
            return None
        owned = ClaimEntry(claim.unique, value, key)
        if record is None:
            try:
                released = yield from heal_claim(context.without_retries(), entity, owned)
            except StoreUnavailableError:
                return None  # a server or user that may not write keeps the claim
            if not released:
                return None
        elif owned in entity.entries(record):
            return record
        previous = key  # another row may have claimed the value meanwhile, so it is looked up again


def owner_by_script(
    context: Context, entity: Entity[R], unique: str, value: str
) -> Flow[tuple[str | None, R | None]]:
    """Return the owner of a unique value, or None, and the owner's live row, or None."""
    partition = context.partition(entity)
    keys, arguments = (partition.claims(entity.name, unique),), (
        partition.document_prefix(entity.name),
        value,
    )
    reply = yield from ask_script(context, "lookup", keys, arguments)
    if reply is None:
        return None, None
    owner, document = reply
    if document is None:
        return owner.decode(), None
    record: R = context.codecs[entity.name].load(document)
    return owner.decode(), record if (yield from is_live(context, entity, record)) else None


def owner_by_keys(
    context: Context, entity: Entity[R], unique: str, value: str
) -> Flow[tuple[str | None, R | None]]:
    """Return what `owner_by_script` returns, in two round trips."""
    claims = context.partition(entity).claims(entity.name, unique)
    (owner,) = yield from ask(context, (("HGET", claims, value),))
    if owner is None:
        return None, None
    found = yield from find(context, entity, owner.decode())
    return owner.decode(), found


def get_by(context: Context, entity: Entity[R], claim: ClaimEntry) -> Flow[R]:
    """Return the row that owns a unique value. `claim.owner` is ignored.

    Raises:
        NotFoundError: the entity's own error, when no live row owns it.
    """
    record = yield from find_by(context, entity, claim)
    if record is None:
        raise entity.missing("")
    return record


def is_live(context: Context, entity: Entity[Any], record: Record) -> Flow[bool]:
    """Return whether the deadline of a loaded record has not passed."""
    stored = memory_of(record)
    if stored is None or stored.expires == 0:
        return True
    passed = yield from deadline_passed(context, context.partition(entity), stored.expires)
    if passed:
        context.state.stats.meet_expired(type(record).__name__)
    return not passed


def which_live(context: Context, entity: Entity[Any], records: Sequence[Record]) -> Flow[list[bool]]:
    """Return for each loaded record whether its deadline has not passed. The server is asked for its time once at most."""
    stored = [memory_of(record) for record in records]
    expires = [memory.expires if memory is not None else 0 for memory in stored]
    if not any(expires):
        return [True] * len(records)
    passed = yield from deadlines_passed(context, context.partition(entity), expires)
    for record, ended in zip(records, passed, strict=True):
        if ended:
            context.state.stats.meet_expired(type(record).__name__)
    return [not ended for ended in passed]


def buffered_record(context: Context, change: Change) -> Any:
    """Return a new record with the values of a buffered change, or None for a buffered deletion."""
    prepared = change.prepared
    if prepared is None:
        return None
    record = msgspec.json.decode(b"{" + prepared.body[1:], type=change.entity.record)
    source = memory_of(change.record) if change.record is not None else None
    if source is not None:
        for name in change.entity.managed:
            setattr(record, name, getattr(prepared.snapshot, name))
        codec = context.codec(change.entity)
        remember(record, codec.memory(prepared, source.revision, source.created, source.expires))
    return record


def remember_loaded(context: Context, entity: Entity[Any], key: str, record: Record) -> None:
    """Record in the transaction what it has read of a row."""
    stored = memory_of(record)
    if context.unit is not None and stored is not None:
        context.unit.loaded[entity.name, key] = stored
