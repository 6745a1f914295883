"""A small valid schema, and ways to change it, for tests of the generator."""

from __future__ import annotations

from pathlib import Path

from keyweave_generator.load import load_sources
from keyweave_generator.model import Entity, Field, Schema

ROOT = Path(__file__).resolve().parent.parent.parent
REAL = ROOT / "schema"

PACKAGE = """\
package: shop_store
namespace: {app: shop, version: v1, environment: dev, tenant: default}
groups:
  sales: {}
enums:
  State:
    values: [open, paid, sent]
    sets: {done: [paid, sent]}
records:
  Line:
    fields:
      sku: {type: string}
      count: {type: int, default: 1}
"""

SALE = """\
entity: Sale
group: sales
key: id
fields:
  id: {type: id}
  customer: {type: string}
  state: {type: State}
  total: {type: int, default: 0}
  tax: {type: float, default: 0}
  rebate: {type: int, optional: true}
  gift: {type: bool, optional: true}
  note: {type: string, optional: true}
  placed: {type: datetime}
  paid_at: {type: datetime, optional: true}
  sent_at: {type: datetime, optional: true}
  lines: {type: list, of: Line, default: []}
  photo: {type: bytes, optional: true}
  extra: {type: json, optional: true}
"""


def sources(more: str = "", *, package: str = PACKAGE, sale: str = SALE) -> dict[str, str]:
    """The texts of the example by file name, with `more` added to the entity."""
    return {"package.yaml": package, "sale.yaml": sale + more}


def load_example(more: str = "", *, package: str = PACKAGE, sale: str = SALE) -> Schema:
    """The example as a schema."""
    return load_sources(sources(more, package=package, sale=sale))


def only_entity(schema: Schema) -> Entity:
    """The one entity of the example."""
    (entity,) = schema.entities
    return entity


def example_fields() -> dict[str, Field]:
    """The fields of the example's entity by name."""
    return {field.name: field for field in only_entity(load_example()).fields}


def real_sources() -> dict[str, str]:
    """The texts of the engine's schema by file name."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(REAL.glob("*.yaml"))}
