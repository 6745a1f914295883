"""Rendering: a schema becomes file texts. Pure: the same schema gives the same bytes, and nothing is written."""

from __future__ import annotations

import ast
import dataclasses
import enum
import hashlib
import itertools
import json
from datetime import timedelta
from importlib import resources
from typing import Any

import black
from black.mode import TargetVersion
from black.parsing import InvalidInput
from jinja2 import Environment, FunctionLoader, StrictUndefined

from . import view_text, views
from .keyspace_page import keyspace_page
from .model import Schema
from .scripts import scripts
from .stamp import MARK

_MODE = black.Mode(
    line_length=view_text.WIDTH, target_versions={TargetVersion.PY311}, magic_trailing_comma=False
)


def fingerprint(schema: Schema) -> str:
    """A digest of everything that the schema says, comments and positions aside."""
    return hashlib.sha256(json.dumps(_plain(schema), sort_keys=True).encode()).hexdigest()


def render(schema: Schema) -> dict[str, str]:
    """Every file of the generated package: path below the output folder -> text."""
    environment = Environment(
        loader=FunctionLoader(_template),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - the output is Python
    )
    environment.filters |= {"docstring": view_text.docstring, "paragraph": view_text.paragraph}
    digest = fingerprint(schema)
    shared: dict[str, Any] = {
        "schema": schema,
        "fingerprint": digest,
        "enums": views.enum_views(schema),
        "classes": views.class_views(schema),
        "errors": views.error_views(schema),
        "filters": views.filter_views(schema),
        "entities": views.entity_views(schema),
        "scripts": tuple(scripts()),
        "groups": {group.name: group.partitions for group in schema.groups},
        "doc": view_text.sentence(schema.doc or f"Generated repositories of {schema.package}."),
    }
    root = schema.package
    files: dict[str, str] = {}
    for template, name in (
        ("init", "__init__"),
        ("models", "models"),
        ("errors", "errors"),
        ("package", "package"),
        *((("filters", "filters"),) if shared["filters"] else ()),
    ):
        files[f"{root}/{name}.py"] = environment.get_template(template).render(shared)
    files[f"{root}/entities/__init__.py"] = environment.get_template("entities").render(shared)
    for entity in shared["entities"]:
        files[f"{root}/entities/{entity.module}.py"] = environment.get_template("entity").render(
            shared, entity=entity
        )
    for flavour in _FLAVOURS:
        files[f"{root}/{flavour.module}/__init__.py"] = environment.get_template("store").render(
            shared, flavour=flavour
        )
        for entity in shared["entities"]:
            files[f"{root}/{flavour.module}/{entity.module}.py"] = environment.get_template(
                "repository"
            ).render(shared, flavour=flavour, entity=entity)
    formatted = {path: _formatted(path, text) for path, text in files.items()}
    for name, text in scripts().items():
        formatted[f"{root}/lua/{name}.lua"] = text
    formatted[f"{root}/py.typed"] = ""
    formatted[f"{root}/KEYSPACE.md"] = keyspace_page(schema)
    manifest = f"{root}/manifest.json"
    formatted[manifest] = _manifest(schema, digest, [*formatted, manifest])
    return formatted


@dataclasses.dataclass(frozen=True, slots=True)
class _Flavour:
    """The words in which the two flavours of a repository differ."""

    module: str
    title: str
    define: str
    wait: str
    iterator: str
    callback: str


_FLAVOURS = (
    _Flavour("sync", "blocking", "def", "", "Iterator", "T"),
    _Flavour("aio", "asyncio", "async def", "await ", "AsyncIterator", "Awaitable[T]"),
)


def _template(name: str) -> str:
    return (
        resources.files("keyweave_generator")
        .joinpath("templates", f"{name}.py.j2")
        .read_text(encoding="utf-8")
    )


def _formatted(path: str, text: str) -> str:
    try:
        return black.format_str(_pruned(text), mode=_MODE)
    except InvalidInput as error:
        raise AssertionError(f"a template made invalid Python for {path}: {error}") from error


def _pruned(text: str) -> str:
    """The module without imports of names that it does not use, so that templates need not decide."""
    tree = ast.parse(text)
    exported = "__all__ = [" in text
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used |= {
        node.value
        for node in ast.walk(tree)
        if exported and isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    lines: list[str | None] = list(text.splitlines())
    last = 0
    for node in tree.body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        last = node.end_lineno or node.lineno
        if isinstance(node, ast.Import) or node.module == "__future__":
            continue
        names = sorted({alias.asname or alias.name: alias for alias in node.names}.items(), key=_import_order)
        kept = [
            alias.name if alias.asname is None else f"{alias.name} as {alias.asname}"
            for name, alias in names
            if name in used
        ]
        for index in range(node.lineno - 1, node.end_lineno or node.lineno):
            lines[index] = None
        if kept:
            lines[node.lineno - 1] = f"from {'.' * node.level}{node.module or ''} import {', '.join(kept)}"
    imports = [line for line in lines[:last] if line is not None]
    spaced = [line for line, next_line in itertools.pairwise([*imports, "#"]) if line or next_line]
    return "\n".join([*spaced, *(line for line in lines[last:] if line is not None)])


def _import_order(item: tuple[str, ast.alias]) -> tuple[int, str]:
    """Constants, then classes, then functions, as import sorters have it."""
    name = item[1].name
    if name.isupper() and len(name) > 1:
        return (0, name)
    return (1, name) if name[:1].isupper() else (2, name)


def _manifest(schema: Schema, digest: str, paths: list[str]) -> str:
    manifest = {
        "comment": f"{MARK}. Do not edit.",
        "package": schema.package,
        "fingerprint": digest,
        "files": sorted(paths),
        "schema": _plain(schema),
    }
    return json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    """IR values as JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.compare and getattr(value, field.name) not in (None, (), "")
        }
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, timedelta):
        return view_text.micros(value)
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    if hasattr(value, "items"):
        return {str(name): _plain(item) for name, item in value.items()}
    return str(value)
