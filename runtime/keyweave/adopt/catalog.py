"""What PostgreSQL's catalogue says about tables, as plain values. Nothing here decides anything."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SqlType:
    """The type of a column, without its domain.

    Attributes:
        name: as the catalogue has it, such as `int4`; of an array that of its elements.
        shown: as people write it, such as `numeric(10,2)`.
        kind: `b` base, `e` enum, `c` composite, `r` range, `m` multirange, `p` pseudo.
        array: whether it is an array of `name`.
        length: most characters; 0 for no limit.
        precision: digits of a numeric; 0 for no limit.
        scale: digits behind the point.
        labels: values of an enum, in their order.
        domain: name of the domain that the column has; empty for none.
        domain_checks: the checks of the domain, with VALUE for the column.
    """

    name: str
    shown: str
    kind: str = "b"
    array: bool = False
    length: int = 0
    precision: int = 0
    scale: int = 0
    labels: tuple[str, ...] = ()
    domain: str = ""
    domain_checks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `default` and `generated` are SQL, empty for none."""

    name: str
    type: SqlType
    nullable: bool
    default: str = ""
    generated: str = ""
    identity: bool = False
    doc: str = ""


@dataclass(frozen=True, slots=True)
class IndexPart:
    """One key of an index: a column, or an expression with an empty `column`."""

    column: str
    text: str
    descending: bool
    opclass: str


@dataclass(frozen=True, slots=True)
class Index:
    """An index, or a unique or primary key constraint with its index. `where` is SQL, empty for all rows."""

    name: str
    method: str
    parts: tuple[IndexPart, ...]
    unique: bool = False
    primary: bool = False
    where: str = ""
    included: tuple[str, ...] = ()
    nulls_not_distinct: bool = False
    deferrable: bool = False
    constraint: bool = False
    valid: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the keys; an empty name for an expression."""
        return tuple(part.column for part in self.parts)


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key. `on_delete` and `on_update` are words of SQL, such as `SET NULL`."""

    name: str
    columns: tuple[str, ...]
    target: tuple[str, str]
    target_columns: tuple[str, ...]
    on_delete: str
    on_update: str
    deferrable: bool = False
    valid: bool = True


@dataclass(frozen=True, slots=True)
class Check:
    """A check constraint. Rows may break one that is not valid."""

    name: str
    text: str
    valid: bool = True


@dataclass(slots=True)
class Table:
    """One table.

    Attributes:
        schema: the schema of PostgreSQL.
        name: the table in it.
        partitioned: whether its rows are in partitions.
        parents: the tables that it inherits from.
        children: whether tables inherit from it, whose rows a plain SELECT would include.
        exclusions: exclusion constraints, by name.
        triggers: triggers of users, by name.
        row_security: whether policies hide rows from some users.
        estimate: about how many rows it has; -1 if PostgreSQL does not know.
        moments: facts of the data about possible moments; see `read_moments`.
    """

    schema: str
    name: str
    doc: str = ""
    partitioned: bool = False
    parents: tuple[str, ...] = ()
    children: bool = False
    columns: list[Column] = field(default_factory=list)
    indexes: list[Index] = field(default_factory=list)
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    exclusions: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    row_security: bool = False
    estimate: int = -1
    moments: Moments | None = None

    @property
    def label(self) -> str:
        """`schema.table`, as messages show it."""
        return f"{self.schema}.{self.name}"

    @property
    def place(self) -> tuple[str, str]:
        """Schema and name."""
        return self.schema, self.name

    def column(self, name: str) -> Column | None:
        """The column of that name."""
        return next((each for each in self.columns if each.name == name), None)


@dataclass(frozen=True, slots=True)
class Moments:
    """Columns that may hold when a row was created and last changed, and whether the rows allow that they are managed.

    Attributes:
        created: the column; empty for none.
        updated: the column; empty for none.
        created_problem: why `created` cannot be managed by the store; empty if it can.
        updated_problem: the same of `updated`.
    """

    created: str
    updated: str
    created_problem: str = ""
    updated_problem: str = ""


@dataclass(slots=True)
class Catalog:
    """The tables of a database that are adopted.

    Attributes:
        database: its name.
        tables: in the order of their names.
        skipped: what is not adopted, as `kind schema.name`.
    """

    database: str
    tables: list[Table]
    skipped: list[str] = field(default_factory=list)
