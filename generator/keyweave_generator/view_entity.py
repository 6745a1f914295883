"""The view model of an entity."""

from __future__ import annotations

from .model import Check, Entity, Managed, Schema, TypeKind
from .names import plural, snake_case
from .view_access import (
    access_view,
    claim_entry,
    claim_value,
    filter_fields,
    generation_argument,
    having_views,
    order_of,
    view_entry,
)
from .view_fields import has_json, has_record, normalizing_steps
from .view_merges import COMBINE, merge_view
from .view_models import EntityView, ReferenceView, UniqueView
from .view_text import annotation, kind, micros, names_literal, sentence

HEAD_MEMBERS = ("revision", "created", "expires", "op")


def not_found_name(entity: Entity) -> str:
    """Name of the entity's error for a missing row."""
    return entity.not_found_error or f"{entity.name}NotFoundError"


def entity_view(entity: Entity, schema: Schema) -> EntityView:
    """Everything that templates say about an entity."""
    fields = {field.name: field for field in entity.fields}
    steps = normalizing_steps(entity.fields, schema)
    entries = [view_entry(view, entity, fields) for view in entity.views]
    entries += [
        claim_entry(unique.name, unique.fields, unique.normalize, entity, fields) for unique in entity.uniques
    ]
    references = {reference.field for reference in entity.references}
    accesses = tuple(access_view(view, fields, references, schema) for view in entity.views)
    filters = filter_fields(entity)
    havings = having_views(entity, schema)
    orders = list(dict.fromkeys(order_of(view) for view in entity.views)) or ["created"]
    merges = tuple(merge_view(merge, entity, schema) for merge in entity.merges)
    errors = {not_found_name(entity)} | ({entity.exists_error} if entity.exists_error else set())
    errors |= {
        unique.error for unique in entity.uniques if unique.error and unique.error != "UniqueViolationError"
    }
    retention = entity.retention
    used = {entity.name} | {merge.record for merge in entity.merges} | {having.entity for having in havings}
    asked = [*filters, *(fields[name] for unique in entity.uniques for name in unique.fields)]
    asked_enums = {field.type.name for field in asked if field.type.kind is TypeKind.ENUM}
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
        known=names_literal([*HEAD_MEMBERS, *(field.name for field in entity.fields)])[1:-1],
        json=names_literal(field.name for field in entity.fields if has_json(field.type, schema)),
        nested=names_literal(field.name for field in entity.fields if has_record(field.type)),
        created=_managed(entity, Managed.CREATED),
        updated=_managed(entity, Managed.UPDATED),
        normalized=names_literal(
            field.name
            for field in entity.fields
            if field.trim or field.when_zero is not None or normalizing_steps((field,), schema)
        ),
        renamed=_renamed(entity),
        enums=names_literal(field.name for field in entity.fields if field.type.kind is TypeKind.ENUM),
        filters=", ".join(f'"{field.name}": "{kind(field.type)}"' for field in filters),
        always=tuple(entry for entry in entries if not entry.condition),
        sometimes=tuple(entry for entry in entries if entry.condition),
        checks=tuple(
            (
                check.name,
                check.rule.python,
                check.rule.fields[0] if check.rule.fields else "",
                _message(entity, check),
            )
            for check in entity.checks
        ),
        normalizer=f"normalize_{snake_case(entity.name)}" if steps else "None",
        steps=steps,
        views=accesses,
        groups=tuple(access for access in accesses if access.group_type),
        uniques=tuple(
            UniqueView(
                unique.name,
                ", ".join(f"{name}: {annotation(fields[name].type)}" for name in unique.fields),
                claim_value(
                    unique.fields,
                    unique.normalize,
                    lambda name: f'key_text({name}, "{kind(fields[name].type)}")',
                ),
                unique.error or "UniqueViolationError",
                names_literal(unique.fields),
                sentence(unique.doc or f"One {entity.name} for each {' and '.join(unique.fields)}."),
                f", normalize={names_literal(unique.normalize)}" if unique.normalize else "",
                generation_argument(unique),
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
                | asked_enums
                | {
                    access.group_type
                    for access in accesses
                    if access.group_type and access.group_type != "bool"
                }
            )
        ),
        error_names=tuple(sorted(errors)),
        merging_names=", ".join(
            sorted({COMBINE[rule] for merge in entity.merges for rule in merge.rules.values()})
        ),
    )


def _managed(entity: Entity, managed: Managed) -> str:
    """The name of the field that shows a managed value, as a literal."""
    return repr(next((field.name for field in entity.fields if field.managed is managed), None))


def _renamed(entity: Entity) -> str:
    """The old and new names of renamed fields as Python; empty when there are none."""
    pairs = [(field.renamed_from, field.name) for field in entity.fields if field.renamed_from]
    return repr(tuple(pairs)) if pairs else ""


def _message(entity: Entity, check: Check) -> str:
    """What a violation of the check says, as a literal."""
    return repr(f"{entity.name}: check {check.name}: {' '.join((check.doc or check.rule.source).split())}")
