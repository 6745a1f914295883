"""Plans that only insert rows of one entity. What they check and write is grouped, so one row more costs little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from keyweave.changes.answer import Applied, Guard, Outcome, Refusal
from keyweave.changes.plan import Plan
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.model.entry import CREATED, REVISION

Group: TypeAlias = list[Any]
"""The words of the entries of one list or constraint, as `apply` expects them behind `inserts`: four, then those of the rows."""

_HEAD: Final = 4

_MOMENTS: Final = (CREATED, REVISION)


class Insertion(Plan):
    """A plan that inserts rows without a deadline.

    Args:
        partition: the partition of the rows.
        op: the plan's id.
        entity: the entity of the rows.
        keys: their ids, each once.
    """

    __slots__ = ("_entity", "_rows")

    def __init__(self, partition: Partition, op: str, entity: Entity[Any], keys: Sequence[str]) -> None:
        super().__init__(partition, op)
        self._entity: Final = entity
        self._rows: Final = len(keys)
        prefix = self._partition_of(entity).document_prefix(entity.name)
        self._documents = {prefix + key: number for number, key in enumerate(keys, 1)}
        self._guard_words += ("absents", len(keys))
        self.guards += [Guard("absent", entity, key) for key in keys]
        self.written += [(entity, key) for key in keys]

    def insert(self, prefixes: Mapping[str, str], bodies: Sequence[bytes], rows: Sequence[Any]) -> None:
        """Write the rows, with one command for each view and each constraint.

        Args:
            prefixes: what the keys of each view begin with, as `places` expects it.
            bodies: as in `Prepared`, of each row in order.
            rows: the rows as they will be read.
        """
        entity = self._entity
        self.changes_documents, self.only_removes = True, False
        groups = self._groups(prefixes, rows)
        self._verbs |= dict.fromkeys(("insert", *(group[0] for group in groups)))
        cut = len(self.partition.document_prefix(entity.name))
        self._row_words += ("inserts", 1, self._rows, cut, *bodies, len(groups))
        for group in groups:
            self._row_words += group

    def _groups(self, prefixes: Mapping[str, str], rows: Sequence[Any]) -> list[Group]:
        """Return the groups of the entries of rows, which are numbered from 1 on."""
        entity, places = self._entity, self._entity.places
        texts = {view.order for view in entity.views.values() if view.by_text}
        lists: dict[str, Group] = {}
        constraints: dict[str, Group] = {}
        for number, row in enumerate(rows, 1):
            sets, claims = places(prefixes, row)
            for order, member, score, keys in sets:
                word: tuple[Any, ...] = (number, score)
                if order in texts:
                    word = (member,)
                elif score in _MOMENTS:
                    word = (number,)
                for key in keys:
                    group = lists.get(key)
                    if group is None:
                        scores = "text" if order in texts else "revision" if len(word) == 1 else ""
                        number_of = self._views.setdefault(key, len(self._views) + 1)
                        group = lists[key] = ["add", number_of, 0, scores]
                    group += word
            for claim in claims:
                group = constraints.get(claim.unique)
                if group is None:
                    group = ["claim", self._claim(entity, claim.unique), 0, ""]
                    constraints[claim.unique] = group
                group += (number, claim.value)
        every = list(range(1, len(rows) + 1))
        groups = [*lists.values(), *constraints.values()]
        for group in groups:
            if group[3] == "revision" and group[_HEAD:] == every:
                group[2:] = 0, "every"
            else:
                group[2] = (len(group) - _HEAD) // (1 if group[3] else 2)
        return groups

    def outcome(self, reply: Sequence[Any]) -> Outcome:  # noqa: D102 - Plan
        outcome = super().outcome(reply)
        if isinstance(outcome, Refusal):
            return outcome
        ((first, _, _),) = outcome.heads
        return Applied(tuple([(first + each, first + each, 0) for each in range(self._rows)]))
