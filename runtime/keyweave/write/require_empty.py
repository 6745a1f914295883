"""Views that must be empty: a live member is an error, dead and dangling members are removed."""

from __future__ import annotations

from typing import Any

from keyweave.effects import Flow
from keyweave.errors import ViewNotEmptyError
from keyweave.exchange.ask import ask
from keyweave.exchange.heal import dangling_members, heal_entries
from keyweave.expiry.sweep import sweep_rows
from keyweave.model.entity import Entity
from keyweave.read.page import page
from keyweave.store.context import Context

_BATCH = 100


def require_empty(context: Context, entity: Entity[Any], view: str, values: tuple[str, ...]) -> Flow[None]:
    """Check that a view has no live member for `values`. Dead members are swept and dangling ones are healed.

    Raises:
        ViewNotEmptyError: the view has a live member.
        CorruptDocumentError: it has a member that cannot be read.
    """
    partition = context.partition(entity)
    key, index = partition.view(entity.name, view, values), entity.views[view]
    # A page skips the rows past their deadline. A row that is inserted later is noticed when the view is counted.
    found = yield from page(context, entity, view, values, limit=1, cursor=None, newest=True)
    if found.rows:
        fields = " and ".join(entity.views[view].fields)
        same = f"a row with the same {fields}" if fields else "a row"
        raise ViewNotEmptyError(f"{entity.name}: {same} exists already", entity=entity.name, view=view)
    kept = 0
    while True:
        (members,) = yield from ask(context, (("ZRANGE", key, kept, kept + _BATCH - 1),))
        if not members:
            return
        names = [index.key_in(member.decode()) for member in members]
        documents = yield from ask(
            context, tuple(("EXISTS", partition.document(entity.name, name)) for name in names)
        )
        present = [name for name, exists in zip(names, documents, strict=True) if exists]
        yield from sweep_rows(context, partition, [(entity.name, name) for name in present])
        missing = [member for name, member in zip(names, members, strict=True) if name not in present]
        yield from heal_entries(context, dangling_members(entity, index, values, missing))
        (scores,) = yield from ask(context, (("ZMSCORE", key, *members),))
        left = [name for name, score in zip(names, scores, strict=True) if score is not None]
        yield from _refuse_unreadable(context, entity, left)
        kept += len(left)


def _refuse_unreadable(context: Context, entity: Entity[Any], keys: list[str]) -> Flow[None]:
    """Raise the error of a row that cannot be read: pages leave it out, and it is there all the same."""
    partition = context.partition(entity)
    if keys:
        (documents,) = yield from ask(
            context, (("MGET", *[partition.document(entity.name, key) for key in keys]),)
        )
        context.codec(entity).load_all([document for document in documents if document is not None])
