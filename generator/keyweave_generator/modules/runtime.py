"""The names of the runtime that generated code uses. Only this module knows in which module of `keyweave` a name is."""

from __future__ import annotations

from typing import Final

_NAMES: Final = {
    "keyweave.checking": ("Report",),
    "keyweave.context": ("Context", "Stats"),
    "keyweave.entity": ("Entity", "Package", "Reference", "Retention", "Unique", "View"),
    "keyweave.entry": ("CREATED", "REVISION", "ClaimEntry", "Entry", "ViewEntry"),
    "keyweave.errors": (
        "AlreadyExistsError",
        "CheckViolationError",
        "NotFoundError",
        "UniqueViolationError",
    ),
    "keyweave.flows": (
        "checking",
        "counting",
        "examining",
        "fetching",
        "gathering",
        "growing",
        "joining",
        "merging",
        "paging",
        "reading",
        "removing",
        "searching",
        "sweeping",
        "touching",
        "transacting",
        "writing",
    ),
    "keyweave.health": ("Health",),
    "keyweave.keyspace": ("join",),
    "keyweave.keytext": ("key_text",),
    "keyweave.merging": ("Merge", "add", "first", "greatest", "least", "union"),
    "keyweave.moment": ("duration_micros", "to_micros"),
    "keyweave.normalizing": ("compact", "fill_zero", "trim"),
    "keyweave.page": ("Page",),
    "keyweave.record": ("Record", "Value"),
    "keyweave.session_{flavour}": ("Session", "open_session"),
    "keyweave.sweeper_{flavour}": ("Sweeper",),
}
"""Names by module. `{flavour}` is replaced by the flavour of the importing module."""

MODULE_OF: Final = {name: module for module, names in _NAMES.items() for name in names}
"""The module of each name."""
