"""Merging of usage, as the contract states it. Keyweave's merge is compared with this one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from compozy_store import UsageEntry

from .rows import checked_usage

_OPTIONAL_COUNTS = ("reasoning_tokens", "cached_prompt_tokens", "input_audio_tokens", "output_audio_tokens")
Identity = tuple[str, str, str]


def merged(present: Iterable[UsageEntry], added: Iterable[UsageEntry]) -> list[UsageEntry]:
    """One entry per provider, model and source, in that order. The first spelling of a source is kept.

    Raises:
        ValidationError: an entry breaks its type or limits.
    """
    groups: dict[Identity, list[UsageEntry]] = {}
    for entry in (*present, *(checked_usage(each) for each in added)):
        groups.setdefault(_identity(entry), []).append(entry)
    return [_sum(groups[identity]) for identity in sorted(groups)]


def _identity(entry: UsageEntry) -> Identity:
    return entry.provider, entry.model, "".join(entry.source.lower().split())


def _sum(entries: list[UsageEntry]) -> UsageEntry:
    total = UsageEntry(
        provider=entries[0].provider,
        model=entries[0].model,
        source=entries[0].source,
        prompt_tokens=sum(entry.prompt_tokens for entry in entries),
        completion_tokens=sum(entry.completion_tokens for entry in entries),
        total_tokens=sum(entry.total_tokens for entry in entries),
        agent_ids=sorted({agent for entry in entries for agent in entry.agent_ids}),
        captured_at=_pick(min, [entry.captured_at for entry in entries]),
        updated_at=_pick(max, [entry.updated_at for entry in entries]),
    )
    for name in _OPTIONAL_COUNTS:
        known = [count for entry in entries if (count := getattr(entry, name)) is not None]
        setattr(total, name, sum(known) if known else None)
    return total


def _pick(choose: Callable[[list[datetime]], datetime], moments: list[datetime | None]) -> datetime | None:
    known = [moment for moment in moments if moment is not None]
    return choose(known) if known else None
