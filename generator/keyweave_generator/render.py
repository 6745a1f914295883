"""Rendering: a schema becomes the texts of files. Pure: the same schema gives the same bytes, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined

from .keyspace_page import keyspace_page
from .layout import laid_out
from .manifest import fingerprint, manifest
from .model import Schema
from .modules import text
from .modules.entity import entity_module
from .modules.errors import errors_module
from .modules.fields import fields_module
from .modules.filters import filters_module
from .modules.flavour import FLAVOURS
from .modules.identifiers import module_name
from .modules.models import models_module
from .modules.package import entities_module, init_module, package_module
from .modules.repository import repository_module
from .modules.store import store_module
from .scripts import scripts


def render(schema: Schema) -> dict[str, str]:
    """Every file of the generated package: path below the output folder -> text."""
    root = schema.package
    files = {path: laid_out(source) for path, source in render_modules(schema).items()}
    for name, source in scripts().items():
        files[f"{root}/lua/{name}.lua"] = source
    files[f"{root}/py.typed"] = ""
    files[f"{root}/KEYSPACE.md"] = keyspace_page(schema)
    path = f"{root}/manifest.json"
    files[path] = manifest(schema, [*files, path])
    return files


def render_modules(schema: Schema) -> dict[str, str]:
    """Every Python module as its template prints it, before it is formatted: path below the output folder -> text."""
    environment = _environment()
    return {
        f"{schema.package}/{path}.py": environment.get_template(template).render(module=module)
        for path, template, module in _modules(schema)
    }


def _modules(schema: Schema) -> Iterator[tuple[str, str, object]]:
    """Every Python module: path below the package without its suffix, template, view model."""
    yield "__init__", "init", init_module(schema)
    yield "models", "models", models_module(schema)
    yield "errors", "errors", errors_module(schema)
    yield "package", "package", package_module(schema, fingerprint(schema))
    yield "fields", "fields", fields_module(schema)
    yield "filters", "filters", filters_module(schema)
    yield "entities/__init__", "entities", entities_module(schema)
    for entity in schema.entities:
        yield f"entities/{module_name(entity)}", "entity", entity_module(entity, schema)
    for flavour in FLAVOURS:
        yield f"{flavour.module}/__init__", "store", store_module(schema, flavour)
        for entity in schema.entities:
            repository = repository_module(entity, schema, flavour)
            yield f"{flavour.module}/{module_name(entity)}", "repository", repository


def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_template),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - the output is Python
    )
    environment.filters |= {
        "docstring": text.docstring,
        "opening": text.opening,
        "paragraph": text.paragraph,
        "names": text.names,
    }
    return environment


def _template(name: str) -> str:
    folder = resources.files("keyweave_generator") / "templates"
    return (folder / f"{name}.py.j2").read_text(encoding="utf-8")
