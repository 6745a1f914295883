"""The pages of the studio: what they show, what they never show, and which requests are refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import pytest
from starlette.testclient import TestClient

from compozy_store import Role, User
from keyweave.studio.app import application
from keyweave.sync.session import Session
from tests.integrity.site import Site, healthy
from tests.look.generated import project_of

TOKEN = "a-token-of-this-test"
PORT = 8411
PLANTED = ("planted", b"planted-print-1".hex(), "cGxhbnRlZC")


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with healthy(request.node.name[:40]) as opened:
        yield opened


@contextmanager
def client_of(session: Session) -> Iterator[TestClient]:
    application_ = application(session, TOKEN, PORT)
    with TestClient(application_, base_url=f"http://127.0.0.1:{PORT}", follow_redirects=False) as client:
        yield client


@pytest.fixture
def client(site: Site) -> Iterator[TestClient]:
    with client_of(site.store.session) as opened:
        yield opened


def page(client: TestClient, path: str, status: int = 200, **words: Any) -> str:
    """The text of a page, checked for what every page must have."""
    answer = client.get(f"/{TOKEN}/{path}", params=words or None)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    Balanced().check(answer.text)
    assert not [word for word in PLANTED if word in answer.text]
    return answer.text


def links(text: str, word: str = "") -> list[str]:
    """The targets of links with a text, below the token."""
    found = re.findall(r'<a[^>]* href="([^"]*)"[^>]*>([^<]*)</a>', text)
    return [
        unescape(target).removeprefix(f"/{TOKEN}/") for target, label in found if not word or label == word
    ]


class Balanced(HTMLParser):
    """Checks that tags are closed, ids are unique, and form fields and regions have names."""

    VOID: Final = {"meta", "link", "input", "br"}

    def check(self, text: str) -> None:
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.feed(text)
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))
        assert set(self.targets) <= set(self.ids)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [str(given["id"])] if "id" in given else []
        self.targets += [
            str(given[name]) for name in ("aria-labelledby", "aria-describedby") if name in given
        ]
        if tag in ("input", "select") and given.get("type") != "hidden":
            assert "label" in self.open, given
        if tag in ("nav", "section") or given.get("role") == "region":
            assert given.get("aria-label") or given.get("aria-labelledby")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_entity_is_listed_with_its_rows_and_views(client: TestClient) -> None:
    text = page(client, "")
    assert [target for target in links(text) if target.startswith("entity/")] == [
        f"entity/{name}" for name in ("APIKey", "TaskState", "User", "WorkflowState")
    ]
    assert links(text, "4") == ["rows/User"]
    assert "The server serves" in text
    assert "by_workflow, by_parent" in text


def test_every_link_of_every_page_leads_to_a_page(client: TestClient) -> None:
    waiting, seen = [""], set()
    while waiting:
        path = waiting.pop()
        if path in seen or path.startswith("#"):
            continue
        seen.add(path)
        waiting += links(page(client, path))
    assert "row/User?key=u1" in seen
    assert "row/TaskState?key=t0" in seen
    assert len(seen) > 15


def test_an_entity_offers_its_views_with_the_values_of_enums(client: TestClient) -> None:
    text = page(client, "entity/TaskState")
    assert '<input type="hidden" name="view" value="by_status">' in text
    assert "<option>RUNNING</option>" in text
    assert "One run of one task of a workflow execution." in text


def test_rows_of_a_view(client: TestClient) -> None:
    text = page(client, "rows/TaskState", view="by_status", value="FAILED")
    assert links(text, "second") == ["row/TaskState?key=second"]
    assert links(text, "root") == []
    assert "TaskState by view by_status, order created descending" in text


def test_rows_by_conditions_keep_what_was_asked(client: TestClient) -> None:
    text = page(client, "rows/User", where=["role=admin", ""], scan="1", order="", view="")
    assert links(text, "u0") == ["row/User?key=u0"]
    assert links(text, "u1") == []
    assert 'value="role=admin"' in text
    assert "checked" in text


def test_pages_of_rows_follow_each_other(client: TestClient, site: Site) -> None:
    for number in range(60):
        site.store.users.create(User(id=f"more{number}", email=f"m{number}@x", role=Role.USER))
    path, seen = "rows/User?view=all", []
    while path:
        text = page(client, path)
        seen += re.findall(r'row/User\?key=(\w+)"', text)
        path = "".join(links(text, "Next page"))
        assert bool(links(text, "First page")) == (len(seen) > 25)
    assert len(seen) == len(set(seen)) == 64


def test_a_row_shows_its_fields_keys_and_entries(client: TestClient, site: Site) -> None:
    text = page(client, "row/User", key="u1")
    assert site.document("User", "u1") in text
    assert site.view("User", "email") in text
    assert "Every entry agrees with the document." in text
    site.send(("HDEL", site.view("User", "email"), "u1@x"))
    assert "User.email: " in page(client, "row/User", key="u1")


def test_secrets_are_hidden(client: TestClient) -> None:
    for path in ("row/APIKey?key=k1", "rows/APIKey?view=by_user&value=u1"):
        assert "&lt;secret&gt;" in page(client, path)
    assert "the field is secret" in page(client, "rows/APIKey", 400, where="hash>=cA==", scan="1")


def test_text_of_rows_is_no_markup(client: TestClient, site: Site) -> None:
    site.store.users.create(User(id="<b>&\"'", email="<script>alert(1)</script>@x", role=Role.USER))
    text = page(client, "rows/User")
    assert "<script" not in text
    assert "<b>" not in text
    (link,) = [each for each in links(text) if each.startswith("row/User?key=%3Cb")]
    assert "&lt;script&gt;" in page(client, link)


MISTAKES = {
    "entity": ("entity/Usr", 400, "did you mean &#39;User&#39;?"),
    "view": ("rows/User?view=al", 400, "did you mean &#39;all&#39;?"),
    "row": ("row/User?key=ghost", 404, "ghost"),
    "cursor": ("rows/User?cursor=x", 400, "cursor"),
    "unbounded": ("rows/TaskState?where=component%3Dtask&order=task_id", 400, "the box below the conditions"),
    "page": ("nowhere", 404, "There is no page at this address"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_a_page_that_says_what_would_fit(client: TestClient, mistake: str) -> None:
    path, status, expected = MISTAKES[mistake]
    assert expected in page(client, path, status)


def test_a_check_runs_when_it_is_asked_for(client: TestClient, site: Site) -> None:
    assert "were compared" not in page(client, "check")
    assert "Clean: every index agrees" in page(client, "check", run="1")
    site.send(("HDEL", site.view("User", "email"), "u1@x"))
    text = page(client, "check", run="1")
    assert "There is drift" in text
    assert "1 \N{MULTIPLICATION SIGN} User.email" in text


def test_health_explains_findings(client: TestClient) -> None:
    text = page(client, "health")
    assert "serves reads and writes" in text
    assert "<strong>Do:</strong>" in text


def test_nothing_is_written(client: TestClient, site: Site) -> None:
    before = site.contents()
    test_every_link_of_every_page_leads_to_a_page(client)
    page(client, "check", run="1")
    assert site.contents() == before


@pytest.mark.parametrize(
    "path", ["/", "/wrong/", f"/{TOKEN[:-1]}/", f"/{TOKEN}x/", f"/x/{TOKEN}/", "/static/studio.css"]
)
def test_without_the_token_nothing_is_shown(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, "User" in answer.text) == (403, False)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        f"evil.example:{PORT}",
        "127.0.0.1",
        f"127.0.0.1:{PORT + 1}",
        f"127.0.0.1:{PORT}.evil.example",
        "",
    ],
)
def test_another_host_is_refused(client: TestClient, host: str) -> None:
    answer = client.get(f"/{TOKEN}/", headers={"host": host})
    assert (answer.status_code, "User" in answer.text) == (421, False)


def test_localhost_is_this_machine(client: TestClient) -> None:
    assert client.get(f"/{TOKEN}/", headers={"host": f"localhost:{PORT}"}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_reading_methods_are_answered(client: TestClient, method: str) -> None:
    assert client.request(method, f"/{TOKEN}/").status_code == 405
    assert client.head(f"/{TOKEN}/").status_code == 200


def test_a_key_of_several_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with project_of("market", tmp_path, monkeypatch) as project:
        store, models = project.store, project.models
        store.markets.create(models.Market(number=-7, size=3))
        fee = models.Fee(by=models.Weekday.MON, wait="a b", function="x&y=?", at=-3)
        store.fees.create(fee)
        with client_of(store.session) as client:
            (link,) = [
                each for each in links(page(client, "rows/Fee?view=by_paid&value=false")) if "row/" in each
            ]
            assert "x&amp;y=?" in page(client, link)
            assert links(page(client, "rows/Market"), "-7") == ["row/Market?key=-7"]
