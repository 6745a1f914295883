"""Commands on sorted sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tools.simulate.server.database import Database, Refused
from tools.simulate.server.sorted_set import SortedSet, score_text
from tools.simulate.server.strings import integer

_EMPTY: Final = SortedSet()


def _set_at(database: Database, key: bytes) -> SortedSet:
    return database.sorted_set(key) or _EMPTY


def _number(word: bytes) -> float:
    try:
        return float(word)
    except ValueError:
        raise Refused("ERR value is not a valid float") from None


def _bounds(found: SortedSet, low: bytes, high: bytes) -> tuple[int, int]:
    """The first position within two bounds of the score, and the first behind them."""
    start = found.first_at(_bound(low), beyond=low[:1] == b"(")
    stop = found.first_at(_bound(high), beyond=high[:1] != b"(")
    return start, max(start, stop)


def _bound(word: bytes) -> float:
    try:
        return float(word[1:] if word[:1] == b"(" else word)
    except ValueError:
        raise Refused("ERR min or max is not a float") from None


def zadd(database: Database, words: Sequence[bytes]) -> int:
    """ZADD key [NX | XX] score member [score member]..."""
    key, at = words[0], 1
    options = set()
    while words[at].upper() in (b"NX", b"XX"):
        options.add(words[at].upper())
        at += 1
    added = 0
    scores = [_number(words[place]) for place in range(at, len(words), 2)]
    found = _set_at(database, key)
    for score, member in zip(scores, words[at + 1 :: 2], strict=True):
        known = member in found.scores
        if (known and b"NX" in options) or (not known and b"XX" in options):
            continue
        added += database.add_member(key, member, score)
        found = _set_at(database, key)
    return added


def zrem(database: Database, words: Sequence[bytes]) -> int:
    """ZREM key member..."""
    database.sorted_set(words[0])
    return sum(database.remove_member(words[0], member) for member in words[1:])


def zcard(database: Database, words: Sequence[bytes]) -> int:
    """ZCARD key."""
    return len(_set_at(database, words[0]).order)


def zscore(database: Database, words: Sequence[bytes]) -> bytes | None:
    """ZSCORE key member."""
    score = _set_at(database, words[0]).scores.get(words[1])
    return None if score is None else score_text(score)


def zmscore(database: Database, words: Sequence[bytes]) -> list[bytes | None]:
    """ZMSCORE key member..."""
    scores = _set_at(database, words[0]).scores
    found = [scores.get(member) for member in words[1:]]
    return [None if score is None else score_text(score) for score in found]


def zrank(database: Database, words: Sequence[bytes]) -> int | None:
    """ZRANK key member."""
    return _set_at(database, words[0]).rank(words[1])


def zrevrank(database: Database, words: Sequence[bytes]) -> int | None:
    """ZREVRANK key member."""
    found = _set_at(database, words[0])
    rank = found.rank(words[1])
    return None if rank is None else len(found.order) - 1 - rank


def zrange(database: Database, words: Sequence[bytes]) -> list[bytes]:
    """ZRANGE key start stop [WITHSCORES]."""
    return _range(database, words, newest=False)


def zrevrange(database: Database, words: Sequence[bytes]) -> list[bytes]:
    """ZREVRANGE key start stop [WITHSCORES]."""
    return _range(database, words, newest=True)


def _range(database: Database, words: Sequence[bytes], *, newest: bool) -> list[bytes]:
    found = _set_at(database, words[0])
    members = found.members(integer(words[1]), integer(words[2]), newest=newest)
    if len(words) > 3:
        return [word for score, member in members for word in (member, score_text(score))]
    return [member for _, member in members]


def zcount(database: Database, words: Sequence[bytes]) -> int:
    """ZCOUNT key min max."""
    start, stop = _bounds(_set_at(database, words[0]), words[1], words[2])
    return stop - start


def zrangebyscore(database: Database, words: Sequence[bytes]) -> list[bytes]:
    """ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]."""
    found = _set_at(database, words[0])
    start, stop = _bounds(found, words[1], words[2])
    return _scored(found.order[start:stop], words)


def zrevrangebyscore(database: Database, words: Sequence[bytes]) -> list[bytes]:
    """ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]."""
    found = _set_at(database, words[0])
    start, stop = _bounds(found, words[2], words[1])
    return _scored(found.order[start:stop][::-1], words)


def _scored(part: list[tuple[float, bytes]], words: Sequence[bytes]) -> list[bytes]:
    """Return members as the words after the bounds ask for them."""
    with_scores, at = False, 3
    while at < len(words):
        if words[at].upper() == b"WITHSCORES":
            with_scores = True
            at += 1
        else:
            offset, count = integer(words[at + 1]), integer(words[at + 2])
            part = part[offset:] if count < 0 else part[offset : offset + count]
            at += 3
    if with_scores:
        return [word for score, member in part for word in (member, score_text(score))]
    return [member for _, member in part]


def zlexcount(database: Database, words: Sequence[bytes]) -> int:
    """ZLEXCOUNT key min max, of members that have one score."""
    return len(_lexical(database, words[0], words[1], words[2]))


def zrangebylex(database: Database, words: Sequence[bytes]) -> list[bytes]:
    """ZRANGEBYLEX key min max [LIMIT offset count]."""
    return _limited(_lexical(database, words[0], words[1], words[2]), words)


def zrevrangebylex(database: Database, words: Sequence[bytes]) -> list[bytes]:
    """ZREVRANGEBYLEX key max min [LIMIT offset count]."""
    return _limited(_lexical(database, words[0], words[2], words[1])[::-1], words)


def _lexical(database: Database, key: bytes, low: bytes, high: bytes) -> list[bytes]:
    """The members between two bounds, in their order."""
    for word in (low, high):
        if word not in (b"-", b"+") and word[:1] not in (b"[", b"("):
            raise Refused("ERR min or max not valid string range item")
    return [
        member
        for _, member in _set_at(database, key).order
        if not _outside(member, low, b"-", above=False) and not _outside(member, high, b"+", above=True)
    ]


def _outside(member: bytes, bound: bytes, open_end: bytes, *, above: bool) -> bool:
    """Whether a member is above a high bound, or below a low one."""
    if bound in (b"-", b"+"):
        return bound != open_end
    if member == bound[1:]:
        return bound[:1] == b"("
    return (member > bound[1:]) == above


def _limited(members: list[bytes], words: Sequence[bytes]) -> list[bytes]:
    if len(words) < 6:
        return members
    offset, count = integer(words[4]), integer(words[5])
    if offset < 0:
        return []
    return members[offset:] if count < 0 else members[offset : offset + count]


def zremrangebyscore(database: Database, words: Sequence[bytes]) -> int:
    """ZREMRANGEBYSCORE key min max."""
    found = _set_at(database, words[0])
    start, stop = _bounds(found, words[1], words[2])
    return sum(database.remove_member(words[0], member) for _, member in found.order[start:stop])


def zremrangebyrank(database: Database, words: Sequence[bytes]) -> int:
    """ZREMRANGEBYRANK key start stop."""
    found = _set_at(database, words[0])
    part = list(found.members(integer(words[1]), integer(words[2]), newest=False))
    return sum(database.remove_member(words[0], member) for _, member in part)


def zinter(database: Database, words: Sequence[bytes]) -> list[bytes]:
    """ZINTER number key... [WEIGHTS weight...]."""
    count = integer(words[0])
    sets = [_set_at(database, key) for key in words[1 : count + 1]]
    weights = [1.0] * count
    if len(words) > count + 1:
        weights = [_number(word) for word in words[count + 2 : 2 * count + 2]]
    shared = set(sets[0].scores).intersection(*[each.scores for each in sets[1:]])
    ordered = sorted(
        (sum(weight * each.scores[member] for weight, each in zip(weights, sets, strict=True)), member)
        for member in shared
    )
    return [member for _, member in ordered]


def zintercard(database: Database, words: Sequence[bytes]) -> int:
    """ZINTERCARD number key... [LIMIT limit]."""
    count = integer(words[0])
    sets = [_set_at(database, key) for key in words[1 : count + 1]]
    size = len(set(sets[0].scores).intersection(*[each.scores for each in sets[1:]]))
    limit = integer(words[count + 2]) if len(words) > count + 1 else 0
    return min(size, limit) if limit else size


def zscan(database: Database, words: Sequence[bytes]) -> list[Any]:
    """ZSCAN key cursor [COUNT number]: every member at once, which a server may do."""
    order = _set_at(database, words[0]).order
    return [b"0", [word for score, member in order for word in (member, score_text(score))]]
