"""The options of a connection: how each is read from a URL's query or an argument, and which values it may have.

No message quotes a value that may be a credential.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote

from keyweave.errors import ConfigurationError

_LONGEST: Final = 86_400.0
_LONGEST_POLL: Final = 0.01
LEAST_WORDS: Final = 100
_SWITCHES: Final = {
    "true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip


def decoded(name: str, text: str) -> str:
    """Return a percent-decoded part of a URL."""
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{name}: the percent-encoding is not UTF-8") from None
    if "\x00" in plain and name != "password":
        raise ConfigurationError(f"{name}: contains a NUL character")
    return plain


def suggestion(name: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    """Return the end of a message that suggests a known name, if one is similar."""
    from difflib import get_close_matches  # only a mistake needs it

    close = get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _number(name: str, value: object) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = math.nan
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigurationError(f"{name}: must be a number of seconds")
    return float(value)


def _seconds(name: str, value: object) -> float:
    number = _number(name, value)
    if not 0 < number <= _LONGEST:
        raise ConfigurationError(
            f"{name}: must be more than 0 and at most {_LONGEST:.0f} seconds, got {number:g}"
        )
    return number


def _seconds_or_zero(name: str, value: object) -> float:
    return 0.0 if _number(name, value) == 0 else _seconds(name, value)


def _instant(name: str, value: object) -> float:
    number = _number(name, value)
    if not 0 <= number <= _LONGEST_POLL:
        raise ConfigurationError(f"{name}: must be from 0 to {_LONGEST_POLL:g} seconds, got {number:g}")
    return number


def natural(name: str, value: object) -> int:
    """Return a whole number, 0 or more."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigurationError(f"{name}: must be a whole number, 0 or more")
    return value


def _positive(name: str, value: object) -> int:
    number = natural(name, value)
    if not 1 <= number <= 100_000:
        raise ConfigurationError(f"{name}: must be from 1 to 100000, got {number}")
    return number


def command_words(name: str, value: object) -> int:
    """Return a number of words that is enough for every command that does not depend on the number of rows."""
    number = natural(name, value)
    if not LEAST_WORDS <= number <= 1_000_000:
        raise ConfigurationError(f"{name}: must be from {LEAST_WORDS} to 1000000, got {number}")
    return number


def _switch(name: str, value: object) -> bool:
    if isinstance(value, str):
        value = _SWITCHES.get(value.lower())
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name}: must be true or false")
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{name}: must be a non-empty string")
    return value


def _credential(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"{name}: must be a string")
    return value


def _file(name: str, value: object) -> str:
    return _text(name, str(value) if hasattr(value, "__fspath__") else value)


def _word(name: str, value: object) -> str:
    text = _text(name, value)
    if not all("!" <= character <= "~" for character in text):
        raise ConfigurationError(f"{name}: must be printable ASCII without spaces")
    return text


OPTIONS: Final[Mapping[str, Callable[[str, object], Any]]] = {
    "db": natural,
    "username": _credential,
    "password": _credential,
    "timeout": _seconds,
    "connect_timeout": _seconds,
    "deadline": _seconds,
    "pool_size": _positive,
    "pool_timeout": _seconds_or_zero,
    "pipelining": _positive,
    "tls_ca_file": _file,
    "tls_cert_file": _file,
    "tls_key_file": _file,
    "tls_verify": _switch,
    "tls_check_hostname": _switch,
    "client_name": _word,
    "health_check_interval": _seconds_or_zero,
    "busy_poll": _instant,
    "command_words": command_words,
}
"""How each option is read: its name and value become the value of the setting."""
