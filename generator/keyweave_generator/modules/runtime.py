"""The names of the runtime that generated code uses. Only this module knows in which module of `keyweave` a name is."""

from __future__ import annotations

from typing import Final

_NAMES: Final = {
    "keyweave.errors": (
        "AlreadyExistsError",
        "CheckViolationError",
        "KeyweaveError",
        "NotFoundError",
        "OutcomeUnknownError",
        "UniqueViolationError",
    ),
    "keyweave.expiry.sweep": ("sweep",),
    "keyweave.keyspace.keys": ("escape", "join"),
    "keyweave.model.entity": ("Condition", "Entity", "Package", "Reference", "Retention", "Unique", "View"),
    "keyweave.model.entry": ("CREATED", "REVISION", "ClaimEntry", "Entry", "ViewEntry"),
    "keyweave.model.exact": ("EXACT", "DecimalLimits", "decimal_score"),
    "keyweave.model.ids": ("ksuid", "uuid4", "uuid4_text", "uuid7", "uuid7_text"),
    "keyweave.model.identity": ("id_text", "joined_id"),
    "keyweave.model.keytext": ("key_text",),
    "keyweave.model.member": ("text_member",),
    "keyweave.model.merge": (
        "Merge",
        "add",
        "add_exact",
        "first",
        "greatest",
        "least",
        "union",
        "union_of_sets",
    ),
    "keyweave.model.moment": ("duration_micros", "time_micros", "to_days", "to_micros"),
    "keyweave.model.normalize": ("compact", "fill_zero", "trim", "trimmed"),
    "keyweave.model.numbering": ("int_id",),
    "keyweave.model.places": ("Places", "Sets"),
    "keyweave.model.record": ("ManagedMoment", "NOT_WRITTEN", "Record", "Value"),
    "keyweave.query": ("Choice", "Elements", "IsNot", "Ordered", "Text"),
    "keyweave.read": (
        "_gather",
        "_get",
        "_lock",
        "_tree",
    ),
    "keyweave.read.query": ("view_query", "where_query"),
    "keyweave.store.context": ("Context",),
    "keyweave.store.stats": ("Stats",),
    "keyweave.write": ("_delete", "_delete_many", "_merge", "_require", "_save", "_touch", "_update"),
    "keyweave.changes.unsettled": ("Settled",),
    "keyweave.write.outcome": ("outcome",),
    "keyweave.{flavour}.repository": ("RepositoryOfRecords", "Repository"),
    "keyweave.{flavour}.rows": ("Groups", "Pairs", "Rows"),
    "keyweave.{flavour}.session": ("Session", "open_session", "session_over"),
    "keyweave.aio.session": ("Opening",),
    "keyweave.{flavour}.sweeper": ("Sweeper",),
}
"""Names by module. `{flavour}` stands for the flavour of the module that imports them. A name with an underscore in front is
a module of flows, imported under that alias, because a parameter of a method may have the module's own name."""

MODULE_OF: Final = {name: module for module, names in _NAMES.items() for name in names}
"""The module of each name."""

TYPES: Final = {"Health": "keyweave.health.report", "Report": "keyweave.integrity.drift"}
"""Names that only annotations use, with their modules: a store that is opened loads neither."""
