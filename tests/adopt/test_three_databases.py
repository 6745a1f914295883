"""The engine's tables, a shop and a blog: the schema is valid, the package holds every row, and both sides are equal."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from tests.adopt.database import adoption, database, run, sql, store_url

ENGINE_ROWS = """
insert into users (id, email, role, created_at) select 'u' || n, 'U' || n || '@x', 'user', timestamptz '2016-01-01' + n * interval '1 day'
from generate_series(1, 40) n;
insert into api_keys (id, user_id, hash, fingerprint, prefix, created_at)
select 'k' || n, 'u' || n, decode(md5(n::text), 'hex'), decode(md5('f' || n), 'hex'), 'p' || n, timestamptz '2017-01-01' + n * interval '1 day'
from generate_series(1, 40) n;
insert into workflow_states (workflow_exec_id, workflow_id, status, input, created_at, updated_at)
select 'w' || n, 'flow', 'RUNNING', jsonb_build_object('n', n / 4.0, 't', 'ü' || n), timestamptz '2018-01-01' + n * interval '1 day',
       timestamptz '2019-01-01' + n * interval '1 day' from generate_series(1, 40) n;
insert into task_states (task_exec_id, task_id, workflow_exec_id, workflow_id, component, status, parent_state_id, output, created_at, updated_at)
select 't' || n, 't', 'w' || 1 + n % 40, 'flow', 'task', 'RUNNING', case when n > 50 then 't' || n - 50 end, case when n % 2 = 0 then '[1.5]'::jsonb end,
       timestamptz '2018-02-01' + n * interval '1 hour', timestamptz '2019-02-01' + n * interval '1 hour' from generate_series(1, 150) n;
"""

DATABASES = {"engine": (sql("engine"), ENGINE_ROWS), "shop": (sql("shop"),), "blog": (sql("blog"),)}


@pytest.mark.parametrize("name", DATABASES)
def test_a_database_comes_over_whole(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adopted = adoption(database(*DATABASES[name]), tmp_path, monkeypatch)
    written = adopted.schema()
    assert "next: read the comments, then keyweave validate && keyweave generate" in written.output
    tables = adopted.tables()
    for label, table in tables.items():
        (count,) = run(adopted.url, f"select count(*) from {label}")[0]
        assert (table["read"], table["written"], table["store_rows"]) == (count, count, count), table
        assert table["source_hash"] == table["store_hash"] != f"{0:064x}"
        assert table["equal"] and table["status"] == 0, table
    package: Any = importlib.import_module(f"{adopted.package}.sync")
    with package.Store.open(store_url(), namespace=adopted.namespace) as store:
        assert store.check().clean
        USES[name](store, adopted.url)
    again = adopted.tables()
    assert {label: (each["written"], each["present"]) for label, each in again.items()} == {
        label: (0, each["written"]) for label, each in tables.items()
    }


def _engine(store: Any, url: str) -> None:
    rows = store.task_states.by_workflow_exec_id("w3").list()
    assert len(rows) == 4
    (moments,) = run(url, "select created_at, updated_at from task_states where task_exec_id = 't7'")
    row = store.task_states.get("t7")
    assert (row.created_at, row.updated_at) == moments
    assert store.users.get_by_email("u9@X").id == "u9"
    assert store.users.all().reverse().first().id == "u1"


def _shop(store: Any, url: str) -> None:
    customer = store.customers.get_by_email("ANN.7@example.org")
    assert customer.full_name == "Ann 7"
    ((created,),) = run(url, "select created_at from customers where id = 7")
    assert customer.created_at == created
    prices = [row.price for row in store.products.by_category_id_price(3)]
    assert prices == sorted(prices, reverse=True) and len(prices) == 5
    assert store.customers.by_tags('vip "x"').count() == 30
    (expected,) = run(
        url, "select count(*) from products where state = 'on-sale' and stock > 0 and category_id = 3"
    )[0]
    assert store.products.on_sale(3).count() == expected > 0
    item = store.order_items.by_sku("SKU-9").first()
    assert store.orders.get(item.order_id).id == item.order_id


def _blog(store: Any, url: str) -> None:
    (expected,) = run(url, "select count(*) from blog.posts where published_at is not null and not deleted")[
        0
    ]
    assert store.posts.latest().count() == expected
    comment = store.comments.by_post_id(20).first()
    assert store.posts.get(comment.post_id).created_at.microsecond == 123456
    tree = store.comments.by_parent_id(5).keys()
    assert tree == [125, 65] or set(tree) == {65}
    assert store.page_views.get("2024-06-01", "/p/0").hits == 0


USES = {"engine": _engine, "shop": _shop, "blog": _blog}
