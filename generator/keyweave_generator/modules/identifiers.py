"""Names in generated code for the parts of a schema."""

from __future__ import annotations

from keyweave_generator.model import Entity
from keyweave_generator.names import plural, snake_case


def module_name(entity: Entity) -> str:
    """The module of an entity: `APIKey` gives `api_key`."""
    return snake_case(entity.name)


def attribute_name(entity: Entity) -> str:
    """The attribute of a store that holds the entity's repository: `APIKey` gives `api_keys`."""
    return plural(snake_case(entity.name))


def repository_name(entity: Entity) -> str:
    """The class of the entity's repository: `APIKey` gives `APIKeyRepository`."""
    return f"{entity.name}Repository"


def descriptor_name(entity: Entity) -> str:
    """The constant that describes the entity to the runtime: `APIKey` gives `API_KEY`."""
    return snake_case(entity.name).upper()


def merge_name(entity: Entity, field: str) -> str:
    """The constant that describes the merge of a list of the entity: `usage` of `Task` gives `TASK_USAGE`."""
    return f"{descriptor_name(entity)}_{field.upper()}"


def filter_name(entity: Entity) -> str:
    """The TypedDict of the fields by which rows of the entity can be searched: `User` gives `UserFilter`."""
    return f"{entity.name}Filter"


def normalizer_name(class_name: str) -> str:
    """The function that brings a record into its stored form: `APIKey` gives `normalize_api_key`."""
    return f"normalize_{snake_case(class_name)}"


def not_found_name(entity: Entity) -> str:
    """The error for a row that does not exist."""
    return entity.not_found_error or f"{entity.name}NotFoundError"


def exists_name(entity: Entity) -> str:
    """The error for a key that is taken."""
    return entity.exists_error or "AlreadyExistsError"
