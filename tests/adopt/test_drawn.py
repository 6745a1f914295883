"""Random databases give schemas that the generator accepts, and names follow the generator's rules."""

from __future__ import annotations

import pytest

from keyweave.adopt import naming
from keyweave.adopt.choice import Choices
from keyweave.adopt.make import make
from keyweave.adopt.moments import read_moments
from keyweave.adopt.read_catalog import read_catalog
from keyweave.adopt.source import snapshot
from keyweave.adopt.write_schema import files
from keyweave_generator import names
from keyweave_generator.load import load_sources
from tests.adopt.database import database, run
from tests.adopt.draw import WORDS, Drawn

DROP = """
do $$ declare s text; begin
    for s in select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema' loop
        execute format('drop schema %I cascade', s);
    end loop;
    create schema public;
end $$;
"""


def accepted(url: str, seed: str) -> None:
    """Draw a database in the place of the one before, and load the schema that is made of it."""
    run(url, DROP)
    run(url, Drawn(seed).sql())
    with snapshot(url) as connection:
        catalog = read_catalog(connection)
        for table in catalog.tables:
            table.moments = read_moments(connection, table)
    texts = files(make(catalog, Choices()))
    schema = load_sources({name: text for name, text in texts.items() if name.endswith(".yaml")})
    assert len(schema.entities) == len(catalog.tables)
    assert sum(len(entity.fields) for entity in schema.entities) == sum(
        len(table.columns) for table in catalog.tables
    )


def test_random_databases_give_schemas_that_are_accepted() -> None:
    url = database()
    for number in range(5):
        accepted(url, f"suite {number}")


@pytest.mark.parametrize("word", [word for word in WORDS if naming.snake(word)])
def test_names_are_those_that_the_generator_makes(word: str) -> None:
    one = naming.snake(word)
    assert naming.plural(one) == names.plural(one)
    assert naming.pascal(one) == names.pascal_case(one)
    assert naming.module(naming.pascal(one)) == names.snake_case(names.pascal_case(one))
    assert naming.member(word) == names.member_name(word)
    field = naming.field_name(word, "owner", 3, ())
    assert names.field_name_problem(field) is None and field not in ("true", "false", "null")
    if one == word and one.isalpha():
        assert bool(naming.package_problem(one)) is (names.package_name_problem(one) is not None)


@pytest.mark.parametrize(
    ("table", "entity"),
    [
        ("order_items", "order_item"),
        ("statuses", "status"),
        ("addresses", "address"),
        ("boxes", "box"),
        ("categories", "category"),
        ("people", "person"),
        ("news", "news"),
        ("bus", "bus"),
        ("analysis", "analysis"),
        ("user", "user"),
        ("houses", "house"),
        ("sizes", "size"),
        ("quizzes", "quiz"),
        ("caches", "cache"),
        ("branches", "branch"),
        ("movies", "movie"),
        ("s", "s"),
    ],
)
def test_an_entity_has_the_singular_of_its_table(table: str, entity: str) -> None:
    assert naming.singular(table) == entity
