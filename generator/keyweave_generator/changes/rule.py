"""Rules: an id, a purpose, a category, a level, an effect, and the function that finds the change in one kind of pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from .finding import Category, Change, Effect, Level

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Rule(Generic[P]):
    """One kind of change to look for.

    Attributes:
        id: its name in reports and ignores.
        compares: the class of pairs that it examines.
        purpose: the change, in a sentence.
        category: what the change touches.
        level: how severe it is.
        effect: what it does to code, data and a rolling deploy, and what to do.
        find: yields every such change of a pair.
    """

    id: str
    compares: type[P]
    purpose: str
    category: Category
    level: Level
    effect: Effect
    find: Callable[[P], Iterator[Change]]


def rule(
    id: str,  # noqa: A002 - the word that reports use
    compares: type[P],
    category: Category,
    level: Level,
    purpose: str,
    effect: Effect | None = None,
) -> Callable[[Callable[[P], Iterator[Change]]], Rule[P]]:
    """Turn a function into a rule."""

    def made(find: Callable[[P], Iterator[Change]]) -> Rule[P]:
        return Rule(id, compares, purpose, category, level, effect or Effect(), find)

    return made
