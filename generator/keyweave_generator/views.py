"""View models: the IR as the strings that templates print. What a template would have to decide is decided here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from .model import (
    Entity,
    Enum,
    Field,
    Managed,
    Merge,
    MergeRule,
    OrderBy,
    RecordType,
    Schema,
    TypeKind,
    TypeRef,
    View,
)
from .names import member_name, plural, snake_case
from .view_models import (
    Access,
    ClassView,
    EntityView,
    EntryView,
    EnumView,
    ErrorView,
    FieldView,
    FilterView,
    HavingView,
    MergeView,
    ReferenceView,
    UniqueView,
)

HEAD_MEMBERS = ("revision", "created", "expires", "op")

_ANNOTATIONS = {
    "string": "str",
    "id": "str",
    "int": "int",
    "float": "float",
    "bool": "bool",
    "datetime": "datetime",
    "duration": "timedelta",
    "bytes": "bytes",
    "json": "Any",
}

_FILTERABLE = {"string", "id", "int", "bool"}

_COMBINE = {
    MergeRule.SUM: "add",
    MergeRule.MIN: "least",
    MergeRule.MAX: "greatest",
    MergeRule.UNION: "union",
    MergeRule.FIRST: "first",
}


def sentence(text: str) -> str:
    """Text as it can stand in a docstring: one line, no quotes or backslashes that would end it."""
    return " ".join(text.split()).replace("\\", "\\\\").replace('"""', "'''")


def enum_views(schema: Schema) -> list[EnumView]:
    """Every enum of a schema."""
    return [_enum(enum) for enum in schema.enums]


def class_views(schema: Schema) -> list[ClassView]:
    """Every Struct of a schema, nested records first."""
    return [_class(record.name, record.doc, record.fields, "Value", schema) for record in schema.records] + [
        _class(entity.name, entity.doc, entity.fields, "Record", schema) for entity in schema.entities
    ]


def error_views(schema: Schema) -> list[ErrorView]:
    """Every error class that the schema names, once."""
    found: dict[str, ErrorView] = {}
    for entity in schema.entities:
        name = not_found_name(entity)
        found[name] = ErrorView(
            name, "NotFoundError", f"The {entity.name} is not there, or its retention has ended."
        )
        if entity.exists_error:
            found[entity.exists_error] = ErrorView(
                entity.exists_error, "AlreadyExistsError", f"A {entity.name} with this key is there."
            )
        for unique in entity.uniques:
            if unique.error and unique.error != "UniqueViolationError":
                doc = unique.doc or f"Another {entity.name} has the same {' and '.join(unique.fields)}."
                found.setdefault(unique.error, ErrorView(unique.error, "UniqueViolationError", sentence(doc)))
    return [found[name] for name in sorted(found)]


def not_found_name(entity: Entity) -> str:
    """Name of the entity's error for a missing row."""
    return entity.not_found_error or f"{entity.name}NotFoundError"


def entity_views(schema: Schema) -> list[EntityView]:
    """Every entity of a schema."""
    return [_entity(entity, schema) for entity in schema.entities]


def annotation(type_: TypeRef) -> str:
    """The Python type of a field, without bounds."""
    if type_.kind is TypeKind.SCALAR:
        return _ANNOTATIONS[type_.name]
    if type_.kind is TypeKind.LIST:
        assert type_.of is not None
        return f"list[{annotation(type_.of)}]"
    if type_.kind is TypeKind.MAP:
        assert type_.of is not None
        return f"dict[str, {annotation(type_.of)}]"
    return type_.name


def micros(duration: timedelta) -> int:
    """A duration in microseconds."""
    return duration // timedelta(microseconds=1)


def _enum(enum: Enum) -> EnumView:
    sets = tuple(
        (
            name,
            ", ".join(f"{enum.name}.{member_name(value)}" for value in values) + ",",
            sentence(f"One of {', '.join(values)}."),
        )
        for name, values in enum.sets.items()
    )
    return EnumView(
        enum.name,
        sentence(enum.doc or enum.name),
        tuple((member_name(v), repr(v)) for v in enum.values),
        sets,
    )


def _class(name: str, doc: str, fields: Iterable[Field], parent: str, schema: Schema) -> ClassView:
    fields = tuple(fields)
    secrets = ", ".join(repr(field.name) for field in fields if field.secret)
    steps = _normalizing(fields, schema)
    return ClassView(
        name,
        parent,
        sentence(doc or name),
        tuple(_field(field) for field in fields),
        f"frozenset({{{secrets}}})" if secrets else "",
        f"normalize_{snake_case(name)}" if steps else "",
        steps,
    )


def _field(field: Field) -> FieldView:
    inner = _bounded(field)
    default = ""
    if field.managed is not None:
        return FieldView(field.name, "datetime | None", " = None", "Set by the store.")
    if field.optional:
        inner, default = f"{inner} | None", " = None"
    elif field.has_default:
        default = f" = msgspec.field(default_factory=lambda: {_literal(field.type, field.default)})"
    return FieldView(field.name, inner, default, sentence(field.doc))


def _literal(type_: TypeRef, value: object) -> str:
    if type_.kind is TypeKind.ENUM:
        return f"{type_.name}.{member_name(str(value))}"
    if isinstance(value, timedelta):
        return f"timedelta(microseconds={micros(value)})"
    return repr(value)


def _bounded(field: Field) -> str:
    base = annotation(field.type)
    bounds: list[str] = []
    if field.type.kind is TypeKind.SCALAR and field.type.name == "datetime":
        bounds.append("tz=True")
    for word, value in (("ge", field.min), ("le", field.max), ("max_length", field.max_length)):
        if value is not None:
            bounds.append(f"{word}={value!r}")
    least = field.min_length
    if field.type.kind is TypeKind.SCALAR and field.type.name == "id":
        least = max(1, least or 0)
    if least is not None:
        bounds.append(f"min_length={least!r}")
    if field.pattern is not None:
        bounds.append(f"pattern={field.pattern!r}")
    return f"Annotated[{base}, Meta({', '.join(bounds)})]" if bounds else base


def _normalizing(fields: Iterable[Field], schema: Schema) -> tuple[str, ...]:
    """Statements that bring a record called `record` into its stored form and note in `changed` whether they did."""
    steps: list[str] = []
    for field in fields:
        if field.trim:
            steps.append(f'changed = trim(record, "{field.name}") or changed')
    for field in fields:
        if field.when_zero is not None:
            steps.append(f'changed = fill_zero(record, "{field.name}", {field.when_zero.python}) or changed')
    for field in fields:
        nested = _record_of(field.type, schema)
        if nested is None or not _normalizing(nested.fields, schema):
            continue
        call = f"normalize_{snake_case(nested.name)}"
        place = f"record.{field.name}"
        if field.type.kind is TypeKind.LIST:
            steps.append(f"for element in {place} or ():\n    changed = {call}(element) or changed")
        elif field.type.kind is TypeKind.MAP:
            steps.append(
                f"for element in ({place} or {{}}).values():\n    changed = {call}(element) or changed"
            )
        else:
            steps.append(f"if {place} is not None:\n    changed = {call}({place}) or changed")
    return tuple(steps)


def _record_of(type_: TypeRef, schema: Schema) -> RecordType | None:
    if type_.kind is TypeKind.RECORD:
        return next(record for record in schema.records if record.name == type_.name)
    if (
        type_.of is not None
        and type_.kind in (TypeKind.LIST, TypeKind.MAP)
        and type_.of.kind is TypeKind.RECORD
    ):
        return _record_of(type_.of, schema)
    return None


def _has_record(type_: TypeRef) -> bool:
    return type_.kind is TypeKind.RECORD or (type_.of is not None and _has_record(type_.of))


def _names(names: Iterable[str]) -> str:
    """A tuple literal of strings."""
    items = [repr(name) for name in names]
    return f"({', '.join(items)},)" if items else "()"


def _text(field: Field, value: str) -> str:
    """Key text of a stored value, written out where it is text already."""
    if field.type.kind is TypeKind.ENUM or field.type.name in ("string", "id"):
        return value
    return f"key_text({value})"


def _entity(entity: Entity, schema: Schema) -> EntityView:
    fields = {field.name: field for field in entity.fields}
    steps = _normalizing(entity.fields, schema)
    entries = [_view_entry(view, entity, fields) for view in entity.views]
    entries += [
        _claim_entry(unique.name, unique.fields, unique.normalize, entity, fields)
        for unique in entity.uniques
    ]
    accesses = tuple(_access(view, fields, schema) for view in entity.views)
    filters = _filters(entity)
    havings = _havings(entity, schema)
    orders = list(dict.fromkeys(_order(view) for view in entity.views)) or ["created"]
    merges = tuple(_merge(merge, entity, schema) for merge in entity.merges)
    errors = {not_found_name(entity)} | ({entity.exists_error} if entity.exists_error else set())
    errors |= {
        unique.error for unique in entity.uniques if unique.error and unique.error != "UniqueViolationError"
    }
    retention = entity.retention
    used = {entity.name} | {merge.record for merge in entity.merges}
    filter_enums = {field.type.name for field in filters if field.type.kind is TypeKind.ENUM}
    constant = snake_case(entity.name).upper()
    return EntityView(
        name=entity.name,
        module=snake_case(entity.name),
        attribute=plural(snake_case(entity.name)),
        repository=f"{entity.name}Repository",
        doc=sentence(entity.doc or entity.name),
        group=entity.group,
        key=entity.key,
        partition_by=entity.partition_by,
        constant=constant,
        known=_names([*HEAD_MEMBERS, *(field.name for field in entity.fields)])[1:-1],
        json=_names(
            field.name for field in entity.fields if field.type.name == "json" and field.type.of is None
        ),
        nested=_names(field.name for field in entity.fields if _has_record(field.type)),
        managed=_names(field.name for field in entity.fields if field.managed is not None),
        normalized=_names(
            field.name
            for field in entity.fields
            if field.trim or field.when_zero is not None or _normalizing((field,), schema)
        ),
        always=tuple(entry for entry in entries if not entry.condition),
        sometimes=tuple(entry for entry in entries if entry.condition),
        checks=tuple(
            (
                check.name,
                check.rule.python,
                check.rule.fields[0] if check.rule.fields else "",
                sentence(check.doc or check.rule.source),
            )
            for check in entity.checks
        ),
        manage=tuple(
            (field.name, "created" if field.managed is Managed.CREATED else "revision")
            for field in entity.fields
            if field.managed is not None
        ),
        normalizer=f"normalize_{snake_case(entity.name)}" if steps else "None",
        steps=steps,
        views=accesses,
        groups=tuple(access for access in accesses if access.group_type),
        uniques=tuple(
            UniqueView(
                unique.name,
                ", ".join(f"{name}: {annotation(fields[name].type)}" for name in unique.fields),
                _claim_value(unique.fields, unique.normalize, lambda name: f"key_text({name})"),
                unique.error or "UniqueViolationError",
                _names(unique.fields),
                sentence(unique.doc or f"One {entity.name} for each {' and '.join(unique.fields)}."),
            )
            for unique in entity.uniques
        ),
        references=tuple(
            ReferenceView(
                reference.field, reference.entity, repr(reference.on_delete.value == "cascade"), reference.via
            )
            for reference in entity.references
        ),
        merges=merges,
        tree_via=entity.hierarchy.via if entity.hierarchy is not None else "",
        retention_rule=retention.when.python if retention is not None else "",
        retention_after=str(micros(retention.after)) if retention is not None else "",
        retention_recommended=(
            str(tuple(micros(bound) for bound in retention.recommended))
            if retention is not None and retention.recommended is not None
            else "None"
        ),
        not_found=not_found_name(entity),
        exists=entity.exists_error or "AlreadyExistsError",
        view_names=", ".join(repr(view.name) for view in entity.views),
        touches=tuple(
            field.name
            for field in entity.fields
            if field.type.kind is TypeKind.SCALAR and field.type.name == "datetime" and field.managed is None
        ),
        havings=havings,
        filter_parameters="".join(
            f"{field.name}: {annotation(field.type)} | None = None, " for field in filters
        ),
        filter_arguments=", ".join(f"{field.name}={field.name}" for field in filters),
        orders=", ".join(repr(order) for order in orders),
        default_order=repr(orders[0]),
        model_names=tuple(
            sorted(
                used
                | filter_enums
                | {
                    access.group_type
                    for access in accesses
                    if access.group_type and access.group_type != "bool"
                }
            )
        ),
        error_names=tuple(sorted(errors)),
        merging_names=", ".join(
            sorted({_COMBINE[rule] for merge in entity.merges for rule in merge.rules.values()})
        ),
    )


def filter_views(schema: Schema) -> list[FilterView]:
    """A TypedDict for each entity that refers to another one: what a search by its rows can ask for."""
    return [
        FilterView(
            f"{entity.name}Filter",
            f"Fields by which a search can ask for rows of {entity.name}, combined with AND.",
            tuple(f"{field.name}: {annotation(field.type)}" for field in _filters(entity)),
        )
        for entity in schema.entities
        if entity.references
    ]


def _filters(entity: Entity) -> list[Field]:
    return [
        field
        for field in entity.fields
        if not field.secret
        and (
            field.type.kind is TypeKind.ENUM
            or (field.type.kind is TypeKind.SCALAR and field.type.name in _FILTERABLE)
        )
    ]


def _havings(entity: Entity, schema: Schema) -> tuple[HavingView, ...]:
    incoming = [
        (other, reference)
        for other in schema.entities
        for reference in other.references
        if reference.entity == entity.name
    ]
    names = [other.name for other, _ in incoming]
    return tuple(
        HavingView(
            f"having_{snake_case(other.name)}"
            + (f"_by_{reference.field}" if names.count(other.name) > 1 else ""),
            f"{other.name}Filter",
            other.name,
            reference.field,
        )
        for other, reference in incoming
    )


def _order(view: View) -> str:
    return (view.order_field or "") if view.order is OrderBy.FIELD else view.order.value


def _view_entry(view: View, entity: Entity, fields: dict[str, Field]) -> EntryView:
    values = [_text(fields[name], f"record.{name}") for name in view.fields]
    score = {OrderBy.CREATED: "CREATED", OrderBy.REVISION: "REVISION"}.get(view.order, "")
    if view.order is OrderBy.FIELD:
        assert view.order_field is not None
        kind = fields[view.order_field].type.name
        place = f"record.{view.order_field}"
        score = {"datetime": f"to_micros({place})", "duration": f"duration_micros({place})"}.get(kind, place)
    text = f"({', '.join(values)},)" if values else "()"
    condition = " and ".join(f"record.{name} is not None" for name in view.fields if fields[name].optional)
    return EntryView(condition, f'ViewEntry("{view.name}", {text}, record.{entity.key}, {score})')


def _claim_value(names: tuple[str, ...], steps: tuple[str, ...], text: object) -> str:
    assert callable(text)
    suffix = "".join({"lower": ".lower()", "trim": ".strip()"}[step] for step in sorted(steps, reverse=True))
    parts = [f"{text(name)}{suffix}" for name in names]
    return parts[0] if len(parts) == 1 else f"join(({', '.join(parts)}))"


def _claim_entry(
    name: str, names: tuple[str, ...], steps: tuple[str, ...], entity: Entity, fields: dict[str, Field]
) -> EntryView:
    value = _claim_value(names, steps, lambda field: _text(fields[field], f"record.{field}"))
    condition = " and ".join(f"record.{field} is not None" for field in names if fields[field].optional)
    return EntryView(condition, f'ClaimEntry("{name}", {value}, record.{entity.key})')


def _access(view: View, fields: dict[str, Field], schema: Schema) -> Access:
    parameters = [f"{name}: {annotation(fields[name].type)}" for name in view.fields]
    values = [f"key_text({name})" for name in view.fields]
    group_type, convert, texts = "", "", "()"
    if view.fields:
        last = fields[view.fields[-1]]
        if last.type.kind is TypeKind.ENUM:
            enum = next(enum for enum in schema.enums if enum.name == last.type.name)
            group_type, convert, texts = enum.name, f"{enum.name}(group)", _names(enum.values)
        elif last.type.name == "bool":
            group_type, convert, texts = "bool", 'group == "true"', "('false', 'true')"
    return Access(
        view.name,
        "".join(f"{parameter}, " for parameter in parameters),
        f"({', '.join(values)},)" if values else "()",
        "True",
        _order(view),
        sentence(view.why),
        "".join(f"{parameter}, " for parameter in parameters[:-1]),
        f"({', '.join(values[:-1])},)" if values[:-1] else "()",
        group_type,
        convert,
        texts,
        _names(view.fields),
    )


def _merge(merge: Merge, entity: Entity, schema: Schema) -> MergeView:
    record = next(record for record in schema.records if record.name == merge.record)
    parts = []
    for name in merge.key:
        place = f"value.{name}"
        steps = merge.normalize.get(name, ())
        if "lower" in steps and "trim" in steps:
            place = f"compact({place})"
        elif "lower" in steps:
            place = f"{place}.lower()"
        elif "trim" in steps:
            place = f"{place}.strip()"
        parts.append(
            place
            if next(f for f in record.fields if f.name == name).type.name in ("string", "id")
            else f"str({place})"
        )
    required = {field.name for field in record.fields if not field.optional}
    combines, tidies = [], []
    for name, rule in merge.rules.items():
        call = f"{_COMBINE[rule]}(left.{name}, right.{name})"
        if name in required and rule is not MergeRule.UNION:
            call += f" or {'left.' + name}" if rule is not MergeRule.SUM else " or 0"
        combines.append(f"left.{name} = {call}")
        if rule is MergeRule.UNION:
            tidies.append(f"value.{name} = union(value.{name}, None)")
    normalizer = f"normalize_{snake_case(record.name)}" if _normalizing(record.fields, schema) else "None"
    return MergeView(
        merge.field,
        merge.record,
        f"{snake_case(entity.name).upper()}_{merge.field.upper()}",
        f"({', '.join(parts)},)",
        tuple(combines),
        tuple(tidies),
        normalizer,
    )
