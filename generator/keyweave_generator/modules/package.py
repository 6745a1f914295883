"""The modules that put a package together: its front, its descriptor, and the list of its entities."""

from __future__ import annotations

from dataclasses import dataclass

from keyweave_generator.literal import literal, tuple_of
from keyweave_generator.model import Schema
from keyweave_generator.scripts import scripts
from keyweave_generator.stamp import FORMAT

from .errors import error_classes
from .identifiers import descriptor_name, module_name
from .imports import Imports
from .text import names_literal, sentence


@dataclass(frozen=True, slots=True)
class InitModule:
    """The front of a package: what users import."""

    imports: Imports
    package: str
    doc: str
    exported: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EntitiesModule:
    """The front of the folder of entities: the descriptor of each."""

    imports: Imports
    descriptors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PackageModule:
    """The package's descriptor.

    Attributes:
        imports: what the module imports.
        arguments: of the descriptor.
    """

    imports: Imports
    arguments: str


def package_doc(schema: Schema) -> str:
    """The documentation of the package."""
    return sentence(schema.doc or f"Generated repositories of {schema.package}.")


def init_module(schema: Schema) -> InitModule:
    """The view model for a schema."""
    imports = Imports(classes=".models")
    names = [imports.use(".package", "PACKAGE")]
    names += [imports.schema_class(each.name) for each in schema.enums]
    names += [imports.schema_class(each.name) for each in schema.records]
    names += [imports.schema_class(each.name) for each in schema.entities]
    names += [imports.use(".errors", each.name) for each in error_classes(schema)]
    return InitModule(imports, schema.package, package_doc(schema), tuple(names))


def entities_module(schema: Schema) -> EntitiesModule:
    """The view model for a schema."""
    imports = Imports()
    names = (imports.use(f".{module_name(each)}", descriptor_name(each)) for each in schema.entities)
    return EntitiesModule(imports, tuple(names))


def package_module(schema: Schema, fingerprint: str) -> PackageModule:
    """The view model for a schema."""
    imports = Imports()
    imports.use("pkgutil", "get_data")
    imports.runtime("Package")
    space = schema.namespace
    groups = ", ".join(f"{literal(group.name)}: {group.partitions}" for group in schema.groups)
    descriptors = tuple_of(imports.use(".entities", descriptor_name(each)) for each in schema.entities)
    arguments = {
        "name": literal(schema.package),
        "namespace": names_literal((space.app, space.version, space.environment, space.tenant)),
        "groups": f"{{{groups}}}",
        "entities": descriptors,
        "scripts": f"_scripts({', '.join(map(literal, scripts()))})",
        "fingerprint": literal(fingerprint),
        "format": str(FORMAT),
    }
    return PackageModule(imports, ", ".join(f"{name}={value}" for name, value in arguments.items()))
