"""The words of the entries of new rows: one group for each list and each constraint, whatever the number of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from keyweave.model.entity import Entity
from keyweave.model.entry import CREATED, REVISION, Entry, ViewEntry

Group: TypeAlias = list[Any]
"""The words of the entries of one list or constraint, as `apply` expects them behind `inserts`: four, then those of the rows."""

_HEAD: Final = 4


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
