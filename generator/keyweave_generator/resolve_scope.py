"""The state that the stages of one entity share: its node, its fields, and how names are looked up and mistakes reported."""

from __future__ import annotations

from .expression import compile_expression
from .expression_compile import ExpressionError
from .model import Expression, Field
from .names import error_name_problem, word_problem
from .node import Node
from .problems import Problems, quote, suggestion
from .resolve_field import Types, resolve_fields


class EntityScope:
    """One entity file that is being resolved. Mistakes are reported to `problems`, with the entity's name in front.

    `declared` holds the names of all fields; `fields` only those without a mistake.
    """

    def __init__(self, node: Node, name: str, types: Types, problems: Problems) -> None:
        self.node = node
        self.name = name
        self.types = types
        self.problems = problems
        self.fields = resolve_fields(node, types, problems, owner=name, in_entity=True)
        fields = node.get("fields")
        self.declared = set(fields.names()) if fields is not None else set()

    def refuse(self, node: Node, message: str, *, key: bool = False) -> None:
        """Report a mistake at the value of `node`, or at its key."""
        self.problems.add(node.key_position if key else node.position, f"{self.name}: {message}")

    def children(self, key: str) -> list[Node]:
        """The usable entries of a mapping of the entity, such as its views."""
        child = self.node.get(key)
        return child.items() if child is not None else []

    def elements(self, node: Node, key: str) -> list[Node]:
        """The usable elements of a list below `node`."""
        child = node.get(key)
        return child.elements() if child is not None else []

    def field(self, node: Node, what: str, name: str | None = None) -> Field | None:
        """The field that `node` names. A missing field is reported; one with a mistake has been reported before."""
        wanted = node.text if name is None else name
        if wanted in self.fields:
            return self.fields[wanted]
        if self.declared and wanted not in self.declared:
            self.refuse(
                node,
                f"{what}: no field {quote(wanted)}{suggestion(wanted, self.declared)}",
                key=name is not None,
            )
        return None

    def named(self, node: Node, what: str) -> bool:
        """Return whether the key of `node` can be a name; report it when it cannot."""
        reason = word_problem(node.name)
        if reason is not None:
            self.refuse(node, f"{what} cannot be called {quote(node.name)}: {reason}", key=True)
        return reason is None

    def check_error(self, node: Node | None, name: str) -> None:
        """Report an error's name that is taken."""
        if node is not None and name:
            reason = error_name_problem(name)
            if reason is not None:
                self.refuse(node, f"an error cannot be called {quote(name)}: {reason}")

    def condition(self, node: Node | None, what: str) -> Expression | None:
        """Compile the condition at `node`; None when it has a mistake, or mentions a field that has one."""
        return self.compiled(node.text, node, what) if node is not None else None

    def compiled(self, text: str, node: Node, what: str) -> Expression | None:
        """Compile a condition; None, and a mistake at `node`, when it has one. A field that has a mistake is reported elsewhere."""
        try:
            return compile_expression(text, self.fields, self.types.enums, wants="bool")
        except ExpressionError as error:
            broken = [*self.types.broken, *(self.declared - set(self.fields))]
            if self.declared and not any(name in text for name in broken):
                self.refuse(node, f"{what}: {error}")
            return None
