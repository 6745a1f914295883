"""Patterns of a schema as regular expressions: `$` stands for the end of the text, and never for a line break before it.

Python's `$` also matches before a line break that ends the text. In ECMAScript, and so in JSON Schema, it does not. The
form that is made here means the same in both.
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(
    r"""\\.                                     # an escape
    |\(\?\#[^)]*\)                              # a comment
    |\((?:\?(?P<set>[a-zA-Z]+)?(?:-(?P<unset>[a-zA-Z]+))?(?P<end>[:)])?)?  # a group, and its flags
    |\)
    |\[\^?\]?(?:\\.|[^\]\\])*\]                 # a set of characters
    |.""",
    re.DOTALL | re.VERBOSE,
)
_END: Final = r"$(?!\n)"


def strict_end(pattern: str) -> str:
    """A pattern whose `$` is the end of the text. Where `(?m)` gives `$` another meaning, it stays."""
    found: list[str] = []
    several = [False]
    verbose = [False]
    comment = False
    for token in _TOKEN.finditer(pattern):
        text = token[0]
        comment = comment and text != "\n"
        if comment:
            pass
        elif text == "#" and verbose[-1]:
            comment = True
        elif text == "$" and not several[-1]:
            text = _END
        elif text.startswith("(") and not text.startswith("(?#"):
            for stack, flag in ((several, "m"), (verbose, "x")):
                on = (stack[-1] or flag in (token["set"] or "")) and flag not in (token["unset"] or "")
                if token["end"] == ")":
                    stack[-1] = on
                else:
                    stack.append(on)
        elif text == ")" and len(several) > 1:
            several.pop()
            verbose.pop()
        found.append(text)
    return "".join(found)
