"""Numbers of bytes in a form for people: 1kb is 1,024 bytes, as in the server's own configuration."""

from __future__ import annotations

import re
from typing import Final

from keyweave.errors import ConfigurationError

_UNITS: Final = {"": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40}


def read_size(text: str) -> int:
    """Return the number of bytes of a text such as `512mb`, `2gb` or `1048576`.

    Raises:
        ConfigurationError: the text is not a size, or the size is not positive.
    """
    match = re.fullmatch(r"\s*(\d{1,15})\s*([kmgt]?b)?\s*", text, re.IGNORECASE)
    size = int(match[1]) * _UNITS[(match[2] or "").lower()] if match else 0
    if size <= 0:
        raise ConfigurationError(
            f"{text!r} is not a size: give a number of bytes, or a number with kb, mb, gb or tb"
        )
    return size


def size_text(size: int) -> str:
    """Return a number of bytes as a short text, such as `1.5 MB`."""
    number = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1024:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TB"
