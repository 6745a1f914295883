"""Which metrics a query asks for."""

from __future__ import annotations

import re
from typing import Final

_WORDS: Final = frozenset(
    "abs and avg bool by clamp_max clamp_min count group_left group_right histogram_quantile ignoring increase irate "
    "label_replace max min offset on or rate sum time topk unless vector without".split()
)
"""Words of PromQL that our queries use."""


def metrics_in(query: str) -> set[str]:
    """The names of metrics in a query: every word outside of strings, selectors and groupings that PromQL lacks."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", query)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\boffset\s+\w+", "", bare)
    return set(re.findall(r"\b[a-zA-Z_:][\w:]*", bare)) - _WORDS
