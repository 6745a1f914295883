"""Names in generated code for the parts of a schema."""

from __future__ import annotations

from keyweave_generator.model import Entity
from keyweave_generator.names import (
    CONSTANT_NAMES,
    MODULE_NAMES,
    STORE_NAMES,
    hidden,
    pascal_case,
    snake_case,
)


def module_name(entity: Entity) -> str:
    """The module of an entity: `APIKey` gives `api_key`, and `Class` gives `class_`."""
    name = snake_case(entity.name)
    return f"{name}_" if hidden(name) or name in MODULE_NAMES else name


def attribute_name(entity: Entity) -> str:
    """The attribute of a store that holds the entity's repository: `APIKey` gives `api_keys`."""
    name = entity.many
    return f"{name}_" if hidden(name) or name in STORE_NAMES else name


def repository_name(entity: Entity) -> str:
    """The class of the entity's repository: `APIKey` gives `APIKeyRepository`."""
    return f"{entity.name}Repository"


def descriptor_name(entity: Entity) -> str:
    """The constant that describes the entity to the runtime: `APIKey` gives `API_KEY`."""
    name = snake_case(entity.name).upper()
    return f"{name}_" if name in CONSTANT_NAMES else name


def merge_name(entity: Entity, field: str) -> str:
    """The constant that describes the merge of a list of the entity: `usage` of `Task` gives `TASK_USAGE`."""
    return f"{snake_case(entity.name).upper()}_{field.upper()}"


def filter_name(entity: Entity) -> str:
    """The TypedDict of the fields by which rows of the entity can be filtered: `User` gives `UserFilters`."""
    return f"{entity.name}Filters"


def fields_name(entity: Entity) -> str:
    """The TypedDict of the fields that `update` can set: `User` gives `UserFields`."""
    return f"{entity.name}Fields"


def normalizer_name(class_name: str) -> str:
    """The function that brings a record into its stored form: `UsageEntry` gives `normalize_usage_entry`.

    A name that its words in lower case would not distinguish from another one, such as `APIKey` from `ApiKey`, stays as it is.
    """
    words = snake_case(class_name)
    return f"normalize_{words if pascal_case(words) == class_name else class_name}"


def not_found_name(entity: Entity) -> str:
    """The error for a row that does not exist."""
    return entity.not_found_error or f"{entity.name}NotFoundError"


def exists_name(entity: Entity) -> str:
    """The error for a key that is taken."""
    return entity.exists_error or "AlreadyExistsError"
