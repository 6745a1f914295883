"""Messages of the JSON decoder, made fit to be shown: without the value, which may be a secret."""

from __future__ import annotations

import re
from typing import Final

_ENUM_VALUE: Final = re.compile(r"\AInvalid enum value .*?(?=(?: - at `\$[^`]*`)?\Z)", re.DOTALL)


def without_value(text: str) -> str:
    """A message of the decoder without the value that it repeats for enums; the path at its end stays."""
    return _ENUM_VALUE.sub("not one of the enum's values", text)
