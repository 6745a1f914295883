"""A blog: replies are a tree that is deleted with its post, and groups are counted without reading them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from keyweave.errors import CheckViolationError, ReferenceViolationError, ViewNotEmptyError
from tests.generator.accepted.stage import Stage

CASE = "blog"
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)


def author(stage: Stage, handle: str = "ada", **more: Any) -> Any:
    return stage.package.Author(**{"handle": handle, "about": "Writes.", "links": {"home": "x"}, **more})


def post(stage: Stage, slug: str = "first", **more: Any) -> Any:
    given = {
        "slug": slug,
        "author": "ada",
        "editor": "bob",
        "title": "First",
        "text": "",
        "visibility": stage.package.Visibility.MEMBERS_ONLY,
        "tags": ["b", "a", "b"],
        "published_at": NOON,
    }
    return stage.package.Post(**{**given, **more})


def comment(stage: Stage, key: str, **more: Any) -> Any:
    given = {
        "id": key,
        "post": "first",
        "text": key,
        "hidden": True,
        "flagged": False,
        "reactions": {"+1": 2},
    }
    return stage.package.Comment(**{**given, **more})


def test_a_blog_at_work(stage: Stage) -> None:
    ada, bob, first = author(stage), author(stage, "bob"), post(stage)
    root = comment(stage, "root", reply_to=None)
    stage.create(ada, bob, first)
    stage.comments.create(root)
    reply = comment(stage, "reply", reply_to="root")
    stage.create(reply)
    for record in (ada, bob, first, root, reply):
        stage.visit(record)
        stage.write_again(record)
    assert [row.handle for row in stage.authors.get_many(["bob", "ada"])] == ["bob", "ada"]
    assert stage.posts.touch_published_at("first", NOON.replace(hour=13)) is True
    assert stage.posts.get("first").published_at == NOON.replace(hour=13)
    assert stage.comments.tree("root") == [stage.comments.get("root"), stage.comments.get("reply")]
    stage.remove(reply, root, first, bob, ada)
    stage.finish()


def test_a_tree_is_read_by_depth_and_deleted_with_its_root(stage: Stage) -> None:
    stage.create(author(stage), author(stage, "bob"), post(stage))
    parents = {"a": None, "b": "a", "c": "b", "d": "a", "e": None, "f": "e"}
    for key, parent in parents.items():
        stage.comments.create(comment(stage, key, reply_to=parent))
    assert [row.id for row in stage.comments.tree("a")] == ["a", "b", "d", "c"]
    assert [row.id for row in stage.comments.tree("a", max_depth=1)] == ["a", "b", "d"]
    assert stage.comments.tree("nobody") == []
    stage.comments.delete("b")
    assert [row.id for row in stage.comments.by_post("first").reverse()] == ["a", "d", "e", "f"]
    with pytest.raises(ReferenceViolationError, match="reply_to"):
        stage.comments.create(comment(stage, "g", reply_to="b"))
    stage.posts.delete("first")
    assert [stage.comments.find(key) for key in parents] == [None] * 6


def test_deleting_an_author_deletes_posts_and_no_editor(stage: Stage) -> None:
    stage.create(author(stage), author(stage, "bob"), post(stage))
    with pytest.raises(
        ReferenceViolationError, match="Author 'bob': rows of Post refer to it by editor"
    ) as caught:
        stage.authors.delete("bob")
    assert (caught.value.entity, caught.value.field, caught.value.target) == ("Author", "editor", "Post")
    stage.authors.delete("ada")
    assert stage.posts.find("first") is None
    stage.authors.delete("bob")


def test_rows_are_asked_for_by_what_refers_to_them(stage: Stage) -> None:
    stage.create(author(stage), author(stage, "bob"), author(stage, "cy"), post(stage))
    stage.posts.create(post(stage, "second", author="bob", editor=None))
    root = comment(stage, "root", reply_to=None)
    for record in (root, comment(stage, "reply", reply_to="root", hidden=False, flagged=None)):
        stage.comments.create(record)
    assert [row.slug for row in stage.posts.where().scan().order_by("revision").page()] == ["second", "first"]
    assert [
        row.slug
        for row in stage.posts.where()
        .scan()
        .order_by("revision")
        .having(stage.comments.where(flagged=False))
        .page()
    ] == ["first"]
    assert stage.posts.where(author="bob").having(stage.comments.where()).page().rows == []
    found = (
        stage.authors.where(handle="bob").having(stage.posts.where(slug="first"), via="editor").page().rows
    )
    assert (
        found
        == stage.authors.where(handle="bob")
        .having(stage.posts.where(slug="second"), via="author")
        .page()
        .rows
        != []
    )
    assert stage.authors.where(handle="cy").having(stage.posts.where(), via="author").page().rows == []
    replied_to = stage.comments.where(post="first").having(stage.comments.where(hidden=False)).page().rows
    assert [row.id for row in replied_to] == ["root"]
    assert [
        [row.id for row in rows]
        for _, rows in stage.posts.with_comments(stage.posts.where().scan().order_by("revision"))
    ] == [
        [],
        ["reply", "root"],
    ]


def test_groups_are_counted(stage: Stage) -> None:
    visibility = stage.package.Visibility
    stage.create(author(stage), author(stage, "bob"), post(stage))
    stage.posts.create(post(stage, "second", visibility=visibility.DRAFT, published_at=None))
    counts = {visibility.DRAFT: 1, visibility.MEMBERS_ONLY: 1}
    assert stage.posts.by_visibility().group_counts() == counts
    assert stage.posts.by_author_visibility("ada").group_counts() == counts
    assert stage.posts.by_author_visibility("bob").group_counts() == {}
    for key, hidden, flagged in [("a", True, None), ("b", False, True), ("c", False, False)]:
        stage.comments.create(comment(stage, key, reply_to=None, hidden=hidden, flagged=flagged))
    assert stage.comments.by_post_hidden("first").group_counts() == {False: 2, True: 1}
    assert stage.comments.by_flag().group_counts() == {False: 1, True: 1}
    assert visibility.MEMBERS_ONLY.is_readable
    assert not visibility.DRAFT.is_readable


def test_only_the_first_of_a_view_is_created(stage: Stage) -> None:
    stage.create(author(stage), author(stage, "bob"))
    stage.posts.create(post(stage), if_none="by_author_visibility")
    with pytest.raises(ViewNotEmptyError) as caught:
        stage.posts.create(post(stage, "second"), if_none="by_author_visibility")
    assert caught.value.view == "by_author_visibility"
    stage.posts.create(post(stage, "second", author="bob", editor=None), if_none="by_author_visibility")


@pytest.mark.parametrize(
    ("change", "check"),
    [({"published_at": None}, "readable_is_published"), ({"editor": "ada"}, "nobody_edits_himself")],
)
def test_a_check_names_itself(stage: Stage, change: dict[str, Any], check: str) -> None:
    stage.create(author(stage), author(stage, "bob"))
    with pytest.raises(CheckViolationError) as caught:
        stage.posts.create(post(stage, **change))
    assert caught.value.rule == check


def test_a_handle_is_unique(stage: Stage) -> None:
    stage.create(author(stage))
    with pytest.raises(stage.package.HandleTakenError):
        stage.authors.create(author(stage))
