"""Messages of the JSON decoder without the value that they quote, because the value may be secret."""

from __future__ import annotations

import re
from typing import Final

_ENUM_VALUE: Final = re.compile(r"\AInvalid enum value .*?(?=(?: - at `\$[^`]*`)?\Z)", re.DOTALL)


def without_value(text: str) -> str:
    """Return a message of the decoder without the invalid enum value that it quotes; the path at its end stays."""
    return _ENUM_VALUE.sub("not one of the enum's values", text)
