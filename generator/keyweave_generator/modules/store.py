"""The module of a store, in one flavour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keyweave_generator.model import Schema

from .flavour import Flavour
from .identifiers import attribute_name, module_name, repository_name
from .imports import Imports
from .package import package_doc
from .runtime import TYPES

_RUNTIME: Final = (
    "Context",
    "OutcomeUnknownError",
    "Session",
    "Settled",
    "Stats",
    "Sweeper",
    "open_session",
    "outcome",
    "session_over",
    "sweep",
)


@dataclass(frozen=True, slots=True)
class StoreModule:
    """The module of a store.

    Attributes:
        imports: what the module imports.
        flavour: the words of the flavour.
        doc: the documentation of the package.
        repositories: the store's attributes and their classes.
    """

    imports: Imports
    flavour: Flavour
    doc: str
    repositories: tuple[tuple[str, str], ...]

    @property
    def exported(self) -> list[str]:
        """Names of all classes."""
        return ["Store", "Transaction", *(name for _, name in self.repositories)]

    @property
    def opened(self) -> str:
        """The type of what `open` returns."""
        return "Opening[Store]" if self.flavour.wait else "Store"

    @property
    def usage(self) -> str:
        """How the result of `open` is used."""
        if self.flavour.wait:
            return "`async with` it, or `await` it and `close` the store."
        return "Use the store as a context manager, or `close` it."

    @property
    def clients(self) -> str:
        """The clients that `over` accepts."""
        module = "redis.asyncio" if self.flavour.wait else "redis"
        return f"`{module}.Redis`, `{module}.RedisCluster`, or the `master_for(...)` of a Sentinel of `{module}.sentinel`"

    @property
    def types(self) -> dict[str, str]:
        """Names of the runtime that only annotations use, with their modules."""
        return TYPES

    @property
    def slots(self) -> list[str]:
        """The attributes of a store and of a transaction."""
        return ["_session", *(attribute for attribute, _ in self.repositories)]


def store_module(schema: Schema, flavour: Flavour) -> StoreModule:
    """The view model for a schema and a flavour."""
    imports = Imports(flavour=flavour.module)
    for name in ("Callable", "Mapping", *(("Awaitable",) if flavour.wait else ())):
        imports.use("collections.abc", name)
    imports.use("datetime", "timedelta")
    imports.use("types", "TracebackType")
    imports.use("typing", "TYPE_CHECKING")
    imports.use("typing", "Any")
    imports.use("typing", "TypeVar")
    for name in (*_RUNTIME, *(("Opening",) if flavour.wait else ())):
        imports.runtime(name)
    imports.use("..package", "PACKAGE")
    return StoreModule(
        imports,
        flavour,
        package_doc(schema),
        tuple(
            (attribute_name(each), imports.use(f".{module_name(each)}", repository_name(each)))
            for each in schema.entities
        ),
    )
