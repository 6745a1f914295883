"""What the first step writes: decisions and losses beside the place, valid schemas of odd databases, and errors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from keyweave_generator.load import load_sources
from tests.adopt.database import database, keyweave, run, sql

SHOP = {
    "customer.yaml": """
  # decided: managed: the store sets it when the row is created; adopted rows keep theirs
  created_at: {type: datetime, managed: created}
  # decided: secret, by its name: the value is never shown in repr or logs
  password_hash: {type: bytes, secret: true}
  phone: {type: string, optional: true, doc: "As they wrote it."}
  # decided: lower(...) of the index is `normalize: lower`, the lower case of Unicode
  email: {fields: [email], normalize: lower}
  by_tags: {fields: [], each: tags, order: created, why: "The index customers_tags of PostgreSQL."}
  by_full_name: {fields: [], order: full_name asc, why: "The index customers_name of PostgreSQL."}
  # lost: the index customers_preferences: a gin index of something that is no array of simple values
  balance_positive_amount: {rule: "balance >= 0"}
  email_email_address: {rule: "email != '' and len(email) <= 200"}
  # lost: identity: no sequence counts here; the application gives the number
""",
    "category.yaml": """
  # lost: ON DELETE SET NULL: the delete is refused instead; change these rows first
  parent_id: {entity: Category, on_delete: restrict, via: by_parent_id_position}
""",
    "order.yaml": """
# lost: triggers: orders_touch; their work is the application's now
  id: {type: uuid, auto: uuid4}
  # lost: the order of the values of public.order_status: an enum here has none
  status: {type: OrderStatus, default: cart}
  # lost: the type inet: its operators; the field is the text of the value
  # hint: if rows end at this moment, add to this file: retention: {at: expires_at}
    where: "status in ['cart', 'paid'] and expires_at is not null"
  paid_has_total: {rule: "status == 'cart' or total > 0"}
  customer_id: {entity: Customer, on_delete: cascade, via: by_customer_id}
""",
    "product.yaml": """
  sku: {type: id, max_length: 20}
  price: {type: decimal, digits: 10, places: 2}
  # decided: the check products_state_check became the enum ProductState
  state: {type: ProductState, default: draft}
  # lost: generated always as (price * 1.19): the application sets the value
  # decided: not managed as updated, because it is null in 25 rows; the application sets it
  updated_at: {type: datetime, optional: true}
  category_id_title: {fields: [category_id, title], where: "state == 'draft'"}
    where: "state == 'on-sale' and stock > 0"
  # lost: the index products_search: the expression lower(title)
  # lost: the types of the members of public.measures
  category_id: {entity: Category, on_delete: restrict, via: by_category_id_price}
""",
    "order_item.yaml": """
key: [order_id, line]
  # lost: order_items_order_id_sku_key is deferrable: here it is checked with every write
""",
    "shipment.yaml": """
# decided: the table has no primary key; the key is that of shipments_code, whose columns are never null
# lost: the foreign key shipments_order_id_line_fkey (order_id, line) to public.order_items: it has 2
""",
    "package.yaml": """
# lost: the view public.open_orders: only tables are adopted
  ProductState: {values: [draft, "on-sale", gone]}
""",
}
BLOG = {
    "user.yaml": """
  # decided: the check users_role_check became the enum UserRole
  last_modified: {type: datetime, managed: updated}
""",
    "post.yaml": """
    where: "published_at is not null and deleted == false"
# lost: the check slug_shape: it has the operator ~: (slug ~ '^[a-z0-9-]+$'::text)
  # lost: ON UPDATE CASCADE: the key of a row never changes here
""",
    "page_view.yaml": """
# lost: the partitions of the table: its rows are adopted as those of one entity
  # lost: the type date: a key is an int, uuid or text, so this one is the text of the value
""",
    "blog_user.yaml": "\nentity: BlogUser\n",
    "tag.yaml": """
  TagColor: {values: [red, green, "#fff"]}
""",
}


def schema_of(url: str, *options: str) -> dict[str, str]:
    """The files that a dry run prints."""
    done = keyweave("adopt", url, "--dry-run", "--format", "json", *options)
    assert done.exit_code == 0, done.output
    return {Path(name).name: text for name, text in json.loads(done.stdout)["files"].items()}


def loaded(files: dict[str, str]) -> Any:
    return load_sources({name: text for name, text in files.items() if name.endswith(".yaml")})


@pytest.mark.parametrize(("name", "expected"), [("shop", SHOP), ("blog", BLOG)])
def test_decisions_and_losses_stand_beside_their_place(name: str, expected: dict[str, str]) -> None:
    files = schema_of(database(sql(name)))
    everything = "\n".join(files.values())
    for file, lines in expected.items():
        for line in lines.strip("\n").splitlines():
            assert f"\n{line}" in (files[file] if "Color" not in line else everything), line
    loaded(files)


def test_the_summary_counts_what_the_files_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = keyweave("adopt", database(sql("blog")), "--out", "db")
    texts = [path.read_text("utf-8") for path in Path("db").glob("*.yaml")]
    counts = {
        kind: sum(len(re.findall(rf"^ *# {kind}: ", text, re.MULTILINE)) for text in texts)
        for kind in ("decided", "lost", "hint")
    }
    assert (
        f"7 tables: {counts['decided']} decided, {counts['lost']} lost, {counts['hint']} hint" in done.output
    )
    assert counts["lost"] > 10
    assert (
        "next: read the comments, then keyweave validate db && keyweave generate --schema db" in done.output
    )


def test_an_odd_database_gives_a_valid_schema() -> None:
    files = schema_of(database(sql("odd")))
    schema = loaded(files)
    assert len(schema.entities) == 37
    checks = files["check.yaml"]
    for line in (
        'between: {rule: "((a is null or a >= -5) and (a is null or a <= 5)) and b not in [1, 2]"}',
        "# lost: the check texts: only a part of it is kept, because it has the operator !~~",
        "texts: {rule: \"(t is null or t != '') and (t is null or len(t) > 2)\"}",
        'sums: {rule: "a is null or ((a + (b * 2)) - 1) < 100"}',
        "# lost: the check invalid: it is not valid, so rows may break it: (b < 1000)",
        "# lost: NULLS NOT DISTINCT: a row with a null makes no claim",
    ):
        assert line in checks
    assert "A -> B -> C -> A is a cycle, so no row could be the first" in files["c.yaml"]
    assert "# lost: not null: a field that refers to its own entity may be null" in files["public_user2.yaml"]
    assert "# lost: tables inherit from this one" in files["parent.yaml"]
    assert "# lost: the check ((VALUE >= 1) AND (VALUE <= 100)) of the domain" in files["domain.yaml"]


def test_tables_and_schemas_can_be_chosen() -> None:
    url = database(sql("blog"))
    files = schema_of(url, "--tables", "blog.posts,tags", "--package", "my_posts")
    assert sorted(files) == [".adopt.json", "package.yaml", "post.yaml", "tag.yaml"]
    assert "package: my_posts" in files["package.yaml"]
    assert "# decided: table blog.comments is not adopted, as the caller chose" in files["package.yaml"]
    assert "to auth.users: auth.users is not adopted" in files["post.yaml"].replace("\n#   ", " ")
    assert sorted(schema_of(url, "--schema", "auth")) == [".adopt.json", "package.yaml", "user.yaml"]


def test_nothing_is_overwritten_unless_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = database("create table notes (id int primary key)")
    assert keyweave("adopt", url).exit_code == 0
    Path("schema/note.yaml").write_text("mine")
    refused = keyweave("adopt", url)
    assert refused.exit_code == 2 and Path("schema/note.yaml").read_text() == "mine"
    assert (
        "schema has package.yaml, note.yaml, .adopt.json already; nothing was written. Replace them with --force"
        in refused.output
    )
    assert keyweave("adopt", url, "--dry-run").exit_code == 0
    assert Path("schema/note.yaml").read_text() == "mine"
    assert keyweave("adopt", url, "--force").exit_code == 0
    assert "entity: Note" in Path("schema/note.yaml").read_text()


ERRORS = {
    ("nowhere",): "the source is not a URL such as postgresql://user@host:5432/database",
    (
        "postgresql://u:se/cret@h:x/d",
    ): "the source is not a valid URL of PostgreSQL; characters such as @ : / #",
    ("postgresql://u:s3cret@127.0.0.1:1/d",): "cannot connect to d on 127.0.0.1:1: ",
    (
        "URL",
        "--tables",
        "nothing",
    ): "there is no table 'nothing' (there are: public.bare, public.keyed, public.strange)",
    ("URL", "--schema", "nope"): "there is no schema 'nope' with tables (there are: public)",
    ("URL", "--tables", "seen"): "'seen' is a view: only tables hold rows",
    (
        "URL",
        "--tables",
        "bare",
    ): "no primary key, and no unique constraint over columns that are never null: public.bare; "
    "name the columns that identify a row with --key public.bare=COLUMN,COLUMN",
    ("URL", "--tables", "bare", "--key", "bare=x"): "public.bare has no column 'x' (there are: a, b)",
    ("URL", "--tables", "bare", "--key", "bare=b"): "public.bare.b may be null, so it cannot identify a row",
    ("URL", "--tables", "bare", "--key", "bare"): "--key is TABLE=COLUMN,COLUMN, not 'bare'",
    ("URL", "--tables", "strange"): "nothing is known of these types: public.strange.odd is gtsvector; "
    "keep their values as text with --as-text TYPE",
    (
        "URL",
        "--tables",
        "keyed",
        "--package",
        "class",
    ): "the package cannot be called 'class': it is a keyword of Python",
    ("URL", "--tables", "keyed", "--package", "json"): "it is a module of Python's standard library",
    ("URL", "--rows"): "which store? Name it with --url or KEYWEAVE_URL",
    ("URL", "--rows", "--force", "--schema", "public"): "--schema and --force: only for the first step",
    ("URL", "--rows", "--url", "embedded:"): "there is no schema/.adopt.json; write a schema first",
}
TABLES = """
create table bare (a int not null, b int); create table keyed (id int primary key);
create table strange (id int primary key, odd gtsvector); create view seen as select 1 as one;
"""


@pytest.fixture(scope="module")
def small() -> str:
    return database(TABLES)


@pytest.mark.parametrize("words", ERRORS, ids=" ".join)
def test_an_error_says_what_to_do(
    words: tuple[str, ...], small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = keyweave("adopt", *[small if word == "URL" else word for word in words])
    assert done.exit_code == 2
    assert ERRORS[words] in done.output
    assert "cret" not in done.output and "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_key_and_types_can_be_given(small: str) -> None:
    files = schema_of(small, "--key", "bare=a", "--as-text", "gtsvector")
    assert (
        "key: a" in files["bare.yaml"]
        and "# decided: the key is a, as the caller chose" in files["bare.yaml"]
    )
    assert "odd: {type: string, optional: true}" in files["strange.yaml"]
    loaded(files)


def test_a_map_that_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    url = database("create table notes (id int primary key, a text, b text)")
    rows = ("adopt", url, "--rows", "--url", "embedded:")
    assert keyweave("adopt", url, "--package", "adopted_fit_store").exit_code == 0
    assert "which generated package" in keyweave(*rows).output or "cannot import" in keyweave(*rows).output
    assert keyweave("generate").exit_code == 0
    place = Path("schema/.adopt.json")
    good = place.read_text()
    for text, message in (
        (good.replace('"field": "a"', '"field": "aa"'), "Note has no field 'aa' for public.notes.a"),
        (good.replace('"column": "a"', '"column": "gone"'), "public.notes has no column 'gone'"),
        (good.replace('"entity": "Note"', '"entity": "Nota"'), "has no entity 'Nota' for public.notes"),
        (good.replace('"kind": "string"', '"kind": "strong"'), "there is no kind of values 'strong'"),
        (
            good.replace('"keyweave_adopt": 1', '"keyweave_adopt": 9'),
            "has format 9; this release reads format 1",
        ),
        ("{", "is not the map of an adoption"),
    ):
        place.write_text(text)
        done = keyweave(*rows)
        assert done.exit_code == 2 and message in done.output, done.output
    place.write_text(good)
    run(url, "alter table notes add column c text")
    assert "public.notes has a column 'c' that the map lacks" in keyweave(*rows).output
    place.write_text(good.replace('"left_out": []', '"left_out": ["c"]'))
    assert keyweave(*rows).exit_code == 0
