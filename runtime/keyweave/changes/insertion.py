"""Plans that only insert rows of one entity. What they check and write is grouped, so one row more costs little."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from keyweave.changes.answer import Applied, Guard, Outcome, Refusal
from keyweave.changes.plan import Plan
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.model.entry import CREATED, REVISION, Entry, ViewEntry

Group: TypeAlias = list[Any]
"""The words of the entries of one list or constraint, as `apply` expects them behind `inserts`: four, then those of the rows."""

_HEAD: Final = 4


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

    def insert(self, bodies: Sequence[bytes], entries: Sequence[list[Entry]]) -> None:
        """Write the rows, with one command for each view and each constraint.

        Args:
            bodies: as in `Prepared`, of each row in order.
            entries: every entry of each row.
        """
        entity = self._entity
        self.changes_documents, self.only_removes = True, False
        groups = entry_groups(entity, entries, self._view, self._claim)
        self._verbs |= dict.fromkeys(("insert", *(group[0] for group in groups)))
        cut = len(self.partition.document_prefix(entity.name))
        self._row_words += ("inserts", 1, self._rows, cut, *bodies, len(groups))
        for group in groups:
            self._row_words += group

    def outcome(self, reply: Sequence[Any]) -> Outcome:  # noqa: D102 - Plan
        outcome = super().outcome(reply)
        if isinstance(outcome, Refusal):
            return outcome
        ((first, _, _),) = outcome.heads
        return Applied(tuple([(first + each, first + each, 0) for each in range(self._rows)]))


def entry_groups(
    entity: Entity[Any],
    rows: Sequence[list[Entry]],
    number_view: Callable[[Entity[Any], str, Sequence[str]], int],
    number_claims: Callable[[Entity[Any], str], int],
) -> list[Group]:
    """Return the groups of the entries of rows, which are numbered from 1 on.

    Args:
        entity: the entity of the rows.
        rows: every entry of each row.
        number_view: returns the number of the list for some values of a view.
        number_claims: returns the number of the claims of a unique constraint.
    """
    groups: list[Group] = []
    known: dict[Any, Group] = {}
    latest: dict[str, tuple[Any, Group, str]] = {}
    for number, entries in enumerate(rows, 1):
        for entry in entries:
            if isinstance(entry, ViewEntry):
                values = entry.values
                found = latest.get(entry.view)
                # Neighbours are often in one list. Comparing values is faster than hashing them: Python code hashes a member of an
                # enum.
                if found is None or found[0] != values:
                    place = (entry.view, values)
                    group = known.get(place)
                    if group is None:
                        view = number_view(entity, entry.view, values)
                        group = known[place] = ["add", view, 0, _scores(entity, entry)]
                        groups.append(group)
                    found = latest[entry.view] = values, group, group[3]
                _, group, scores = found
                if scores == "revision":
                    group.append(number)
                elif scores:
                    group.append(entry.member)
                else:
                    group += (number, entry.score)
            else:
                group = known.get(entry.unique)
                if group is None:
                    group = ["claim", number_claims(entity, entry.unique), 0, ""]
                    known[entry.unique] = group
                    groups.append(group)
                group += (number, entry.value)
    every = list(range(1, len(rows) + 1))
    for group in groups:
        if group[3] == "revision" and group[_HEAD:] == every:
            group[2:] = 0, "every"
        else:
            group[2] = (len(group) - _HEAD) // (1 if group[3] else 2)
    return groups


def _scores(entity: Entity[Any], entry: ViewEntry) -> str:
    """Return what stands for the scores of a view's entries: `revision`, `text`, or nothing for numbers of their own."""
    if entity.views[entry.view].by_text:
        return "text"
    return "revision" if entry.score in (CREATED, REVISION) else ""
