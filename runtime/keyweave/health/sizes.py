"""Numbers of bytes as people write and read them: 1kb is 1,024 bytes, as in the server's own configuration."""

from __future__ import annotations

import re
from typing import Final

from keyweave.errors import ConfigurationError

_UNITS: Final = {"": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40}


def read_size(text: str) -> int:
    """The bytes that `512mb`, `2gb` or `1048576` stands for.

    Raises:
        ConfigurationError: it is no size, or not positive.
    """
    match = re.fullmatch(r"\s*(\d{1,15})\s*([kmgt]?b)?\s*", text, re.IGNORECASE)
    size = int(match[1]) * _UNITS[(match[2] or "").lower()] if match else 0
    if size <= 0:
        raise ConfigurationError(f"{text!r} is no size: write bytes, or a number with kb, mb, gb or tb")
    return size


def size_text(size: int) -> str:
    """A number of bytes in few characters, such as `1.5 MB`."""
    number = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1024:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TB"
