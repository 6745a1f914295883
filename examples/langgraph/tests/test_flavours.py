"""The asyncio classes are the blocking ones with `await`: their code differs in nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import keyweave_langgraph

HOME = Path(keyweave_langgraph.__file__).parent


class Blocking(ast.NodeTransformer):
    """Takes out of the code of a class what makes it asyncio."""

    def visit_Await(self, node: ast.Await) -> Any:
        return self.visit(node.value)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> Any:
        fields = {name: value for name, value in ast.iter_fields(node) if name != "name"}
        return self.visit(ast.FunctionDef(name=without_prefix(node.name), **fields))

    def visit_AsyncFor(self, node: ast.AsyncFor) -> Any:
        return self.visit(ast.For(**dict(ast.iter_fields(node))))

    def visit_comprehension(self, node: ast.comprehension) -> Any:
        node.is_async = 0
        return self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        node.attr = without_prefix(node.attr)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> Any:
        node.id = node.id.removeprefix("Async")
        return node


METHODS = {
    "get_tuple",
    "list",
    "put",
    "put_writes",
    "delete_thread",
    "delete_for_runs",
    "copy_thread",
    "prune",
    "batch",
}


def without_prefix(name: str) -> str:
    return name[1:] if name[:1] == "a" and name[1:] in METHODS else name


def functions(module: str, *, blocking: bool) -> Iterator[tuple[str, str]]:
    """The functions of a module's class with their code, except for docstrings and what bridges the flavours."""
    tree = ast.parse((HOME / f"{module}.py").read_text("utf-8"))
    (cls,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    for node in [
        *cls.body,
        *(each for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)),
    ]:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name == "__init__":
            continue
        if node.name in {("abatch" if blocking else "batch"), "_running_loop"}:
            continue
        node.body = [
            each
            for each in node.body
            if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
        ]
        plain = Blocking().visit(node)
        yield plain.name, ast.unparse(ast.fix_missing_locations(plain))


@pytest.mark.parametrize(("module", "least"), [("saver", 15), ("memory", 3)])
def test_both_flavours_have_the_same_code(module: str, least: int) -> None:
    blocking = dict(functions(module, blocking=True))
    assert len(blocking) >= least
    assert dict(functions(f"{module}_aio", blocking=False)) == blocking
