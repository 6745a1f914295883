"""Records in pydantic models and FastAPI: what pydantic asks a class for. It imports pydantic, so records import it late.

A body is checked against types and limits, as msgspec knows them; the checks of the schema are those of a write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from pydantic_core import PydanticCustomError, core_schema

from keyweave.model.message import without_value


def schema_of(record: Any, to_dict: Callable[..., Any]) -> core_schema.CoreSchema:
    """Return the schema by which pydantic validates and serializes a class of records.

    Args:
        to_dict: the method of every record; a field may hide it.
    """

    def validate(value: Any) -> Any:
        if isinstance(value, record):
            return value
        if not isinstance(value, Mapping):
            raise PydanticCustomError(
                "record_type", "Expected an object or a {record}", {"record": record.__name__}
            )
        try:
            return msgspec.json.decode(msgspec.json.encode(value), type=record)
        except (TypeError, ValueError, msgspec.MsgspecError, RecursionError) as error:
            rule, _, path = without_value(str(error)).partition(" - at `$")
            raise PydanticCustomError(
                "record", "{rule}", {"rule": rule, "field": path.rstrip("`").removeprefix(".")}
            ) from None

    def serialize(value: Any, info: core_schema.SerializationInfo) -> Any:
        return to_dict(value, mode="json" if info.mode_is_json() else "python")

    return core_schema.no_info_plain_validator_function(
        validate,
        ref=f"{record.__module__}.{record.__qualname__}:{id(record)}",
        serialization=core_schema.plain_serializer_function_ser_schema(serialize, info_arg=True),
    )


def json_schema_of(record: Any) -> dict[str, Any]:
    """Return the JSON Schema of a class of records, with the classes and enums inside it in place."""
    (whole,), parts = msgspec.json.schema_components((record,), ref_template="{name}")

    def inline(schema: Any) -> Any:
        if isinstance(schema, list):
            return [inline(each) for each in schema]
        if not isinstance(schema, dict):
            return schema
        if set(schema) >= {"$ref"}:
            rest = {name: value for name, value in schema.items() if name != "$ref"}
            return inline(parts[schema["$ref"]]) | rest
        # What stands beside "default" and "enum" are values, which may have members of any name.
        return {
            name: value if name in ("default", "enum", "examples") else inline(value)
            for name, value in schema.items()
        }

    found: dict[str, Any] = inline(whole)
    return found
