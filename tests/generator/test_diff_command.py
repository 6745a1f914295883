"""`keyweave diff`: which schema it compares with, what it prints, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from keyweave_generator.changes.finding import Level
from keyweave_generator.cli import app
from tests.generator.example import PACKAGE, SALE
from tests.generator.history import GRAVE, HARMLESS, Sample, environment


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["diff", *arguments])


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sample:
    """A repository with the example schema in its first commit, as the current folder."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment().items():
        if name.startswith("GIT_"):
            monkeypatch.setenv(name, value)
    made = Sample(tmp_path / "shop")
    made.write()
    made.commit()
    monkeypatch.chdir(made.root)
    return made


def rules(result: Result) -> list[str]:
    """The rules that a review in JSON found."""
    return [finding["rule"] for finding in json.loads(result.stdout)["findings"]]


def test_nothing_changed_is_one_line_and_status_0(sample: Sample) -> None:
    result = run()
    assert result.exit_code == 0
    assert result.stdout == f"against {sample.git('rev-parse', 'HEAD')[:12]}: no change\n"


def test_work_that_is_not_committed_is_compared_with_the_last_commit(sample: Sample) -> None:
    sample.write(GRAVE)
    before = sample.git("status", "--porcelain")
    result = run()
    assert result.exit_code == 1
    assert result.stdout.startswith(
        "schema/sale.yaml:12:10: error FIELD_TYPE_CHANGED (STORAGE): Sale.note: the type was string and is int\n"
    )
    assert sample.git("status", "--porcelain") == before


def test_a_branch_is_compared_with_where_it_left_the_default_branch(sample: Sample) -> None:
    base = sample.git("rev-parse", "HEAD")
    sample.git("checkout", "--quiet", "-b", "topic")
    sample.write(HARMLESS)
    sample.commit()
    sample.git("checkout", "--quiet", "main")
    sample.write(GRAVE)
    sample.commit()
    sample.git("checkout", "--quiet", "topic")
    result = run("--format", "json")
    assert rules(result) == ["FIELD_ADDED"]
    assert json.loads(result.stdout)["against"] == base[:12]


@pytest.mark.parametrize("name", ["main~1", "v1", "a-branch", "a full name"])
def test_a_revision_may_have_any_name(sample: Sample, name: str) -> None:
    sample.git("tag", "v1")
    sample.git("branch", "a-branch")
    name = sample.git("rev-parse", "HEAD") if name == "a full name" else name
    sample.write(GRAVE)
    sample.commit()
    assert rules(run("--against", name, "--format", "json")) == ["FIELD_TYPE_CHANGED"]


def test_a_removal_is_reported_in_the_old_file_under_the_revisions_name(sample: Sample) -> None:
    sample.write(SALE.replace("  note: {type: string, optional: true}\n", ""))
    first = run("--against", "main").stdout.splitlines()[0]
    assert first.startswith("main:schema/sale.yaml:12:3: warning FIELD_REMOVED (API): ")


def test_two_folders_need_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, sale in (("old", SALE), ("new", GRAVE)):
        Path(folder).mkdir()
        Path(folder, "package.yaml").write_text(PACKAGE)
        Path(folder, "sale.yaml").write_text(sale)
    assert run("--against", "old", "--schema", "new").exit_code == 1
    assert rules(run("--against", "old", "--schema", "new", "--format", "json")) == ["FIELD_TYPE_CHANGED"]
    result = run("--schema", "new")
    assert result.exit_code == 2
    assert "is not in a git repository; name a folder with --against" in result.stderr


def test_the_schema_may_be_anywhere_in_the_repository(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample.write(folder="services/shop/db")
    sample.commit()
    sample.write(GRAVE, folder="services/shop/db")
    assert run("--schema", "services/shop/db").stdout.startswith("services/shop/db/sale.yaml:12:10: error")
    monkeypatch.chdir(sample.root / "services/shop")
    assert run("--schema", "db").stdout.startswith("db/sale.yaml:12:10: error")
    assert run("--schema", "../../schema").exit_code == 0
    monkeypatch.chdir(sample.root / "services/shop/db")
    assert run("--schema", ".").stdout.startswith("sale.yaml:12:10: error")
    assert run("--schema", str(sample.root / "schema")).exit_code == 0


@pytest.mark.parametrize("folder", ["schema", "other"])
def test_where_there_was_no_schema_everything_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    made = Sample(tmp_path)
    monkeypatch.chdir(tmp_path)
    made.write(folder=folder)
    for _ in ("before the first commit", "after one without the folder"):
        result = run("--schema", folder)
        assert (result.exit_code, result.stdout) == (
            0,
            "everything is new: there is no schema to compare with\n",
        )
        made.git("rm", "-r", "--cached", "--quiet", "--ignore-unmatch", ".")
        made.git("commit", "--quiet", "--allow-empty", "--message", "empty")


@pytest.mark.parametrize(
    ("level", "sale", "status"),
    [
        (Level.ERROR, GRAVE, 1),
        (Level.ERROR, HARMLESS, 0),
        (Level.WARNING, GRAVE, 1),
        (Level.WARNING, HARMLESS, 0),
        (Level.INFO, HARMLESS, 1),
        (Level.INFO, SALE, 0),
    ],
)
def test_the_level_decides_the_exit_status(sample: Sample, level: Level, sale: str, status: int) -> None:
    sample.write(sale)
    for form in ("text", "json", "markdown", "github"):
        assert run("--level", level.value, "--format", form).exit_code == status
    assert json.loads(run("--level", level.value, "--format", "json").stdout)["reached"] is bool(status)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--against", "nowhere"), "keyweave diff: there is neither a folder nor a revision 'nowhere'"),
        (("--against", "--upload-pack=x"), "keyweave diff: there is neither a folder nor a revision"),
        (("--against", "main:schema/sale.yaml"), "keyweave diff: there is neither a folder nor a revision"),
        (("--schema", "nowhere"), "nowhere: cannot read the schema folder: No such file or directory"),
    ],
)
def test_a_comparison_that_is_not_possible_is_status_2(
    sample: Sample, arguments: tuple[str, ...], message: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(message)


def test_a_bad_schema_is_reported_on_either_side(sample: Sample) -> None:
    sample.write(SALE + "view: {}\n")
    sample.commit()
    now = run()
    assert (now.exit_code, now.stdout) == (2, "")
    assert now.stderr.startswith("schema/sale.yaml:19:1: unknown key 'view'")
    sample.write()
    before = run("--against", "HEAD")
    assert (before.exit_code, before.stdout) == (2, "")
    assert before.stderr.startswith("HEAD:schema/sale.yaml:19:1: unknown key 'view'")


def test_a_file_or_a_link_in_place_of_the_folder_is_status_2(sample: Sample) -> None:
    sample.git("rm", "-r", "--quiet", "schema")
    (sample.root / "schema").write_text("a file\n")
    sample.commit()
    sample.git("rm", "--quiet", "schema")
    sample.write()
    result = run("--against", "HEAD")
    assert (result.exit_code, "schema is not a folder in" in result.stderr) == (2, True)
    (sample.root / "schema/more.yaml").symlink_to("sale.yaml")
    sample.commit()
    (sample.root / "schema/more.yaml").unlink()
    result = run("--against", "HEAD")
    assert (result.exit_code, "schema/more.yaml is a symbolic link" in result.stderr) == (2, True)


def test_a_shallow_clone_without_the_ancestor_is_reported(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample.git("checkout", "--quiet", "-b", "topic")
    sample.write(HARMLESS)
    sample.commit()
    sample.git("checkout", "--quiet", "main")
    sample.commit("more")
    sample.git("clone", "--quiet", "--depth=1", "--no-single-branch", f"file://{sample.root}", "../clone")
    clone = Sample(sample.root.parent / "clone")
    clone.git("checkout", "--quiet", "topic")
    monkeypatch.chdir(clone.root)
    result = run()
    assert result.exit_code == 2
    assert "have no common ancestor here" in result.stderr
    assert rules(run("--against", "origin/main", "--format", "json")) == ["FIELD_ADDED"]


def test_missing_git_is_reported(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    result = run()
    assert (result.exit_code, result.stderr) == (
        2,
        "keyweave diff: git cannot be run: No such file or directory\n",
    )


def test_the_json_has_a_stable_shape(sample: Sample) -> None:
    sample.write(
        SALE + "views:\n  by_note: {fields: [note], order: created, why: Notes.}\n",
        package=PACKAGE + "ignore:\n  - {rule: GROUP_ADDED, reason: Nothing yet.}\n",
    )
    review = json.loads(run("--against", "HEAD", "--format", "json").stdout)
    assert review.keys() == {"against", "level", "reached", "counts", "findings", "ignored"}
    assert review["counts"] == {"error": 0, "warning": 1, "info": 1, "ignored": 0}
    view = review["findings"][1]
    texts = {name: view.pop(name) for name in ("message", "code", "data", "deploy", "action")}
    assert all(isinstance(text, str) and text for text in texts.values())
    assert view == {
        "rule": "VIEW_ADDED",
        "category": "INDEX",
        "level": "warning",
        "side": "new",
        "file": "schema/sale.yaml",
        "line": 20,
        "column": 3,
        "entity": "Sale",
        "field": "by_note",
        "commands": ["keyweave backfill"],
        "cost": {
            "entries_per_row": 1,
            "every_row": False,
            "bytes_per_row": [50, 145],
            "micros_per_insert": 2.1,
            "micros_per_update": 0.0,
        },
    }


def test_help_has_examples() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for word in ("Examples", "keyweave diff --against", "merge base", "Exit status", "ignore"):
        assert word in result.stdout


def test_a_folder_that_was_moved_is_not_called_new(sample: Sample) -> None:
    sample.write(GRAVE)
    (sample.root / "schema").rename(sample.root / "db")
    commit = sample.git("rev-parse", "HEAD")[:12]
    result = run("--schema", "db")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        f"keyweave diff: found no earlier schema in db at {commit}; there was one in schema, which is gone; "
        f"compare with it: keyweave diff --schema db --against {commit}:schema\n"
    )
    command = result.stderr.split("keyweave diff ")[-1].split()
    assert rules(run(*command, "--format", "json")) == ["FIELD_TYPE_CHANGED"]
    named = run("--schema", "db", "--against", "main")
    assert named.exit_code == 1
    assert "found no earlier schema in db at main" in named.stderr


def test_a_schema_beside_another_one_is_new(sample: Sample) -> None:
    sample.write()
    (sample.root / "other").mkdir()
    for path in (sample.root / "schema").iterdir():
        (sample.root / "other" / path.name).write_bytes(path.read_bytes())
    result = run("--schema", "other")
    assert result.exit_code == 0
    assert result.stdout.startswith("everything is new")


RULED = SALE + """\
checks:
  not_free: {rule: rebate != 100}
  gift_is_told: {rule: gift == false or note is not null}
retention:
  when: note not in ['open']
  after: 30d
"""


def _as_an_older_generator(sample: Sample) -> None:
    """Give the committed package the meaning that comparisons with null had in an older generator."""
    assert CliRunner().invoke(app, ["generate"]).exit_code == 0
    path = sample.root / "generated" / "shop_store" / "manifest.json"
    text = path.read_text(encoding="utf-8")
    for guard in ("record.rebate is not None and ", "record.note is not None and "):
        assert guard in text
        text = text.replace(guard, "")
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("against", ["HEAD", "folder"])
def test_a_rule_that_an_older_generator_evaluated_in_another_way_is_a_finding(
    sample: Sample, against: str
) -> None:
    sample.write(RULED)
    _as_an_older_generator(sample)
    sample.commit()
    if against == "folder":
        sample.write(RULED, folder="elsewhere/schema")
        (sample.root / "generated").rename(sample.root / "elsewhere" / "generated")
        against = "elsewhere/schema"
    result = run("--against", against, "--format", "json")
    assert rules(result) == ["CHECK_CHANGED", "RETENTION_CONDITION_CHANGED"]
    text = run("--against", against).stdout
    assert "check not_free reads the same and means something else: rebate != 100" in text
    assert "the condition reads the same and means something else: note not in ['open']" in text
    assert result.exit_code == 1


def test_a_rule_that_means_another_because_its_field_became_optional_is_a_finding(sample: Sample) -> None:
    sample.write(RULED.replace("rebate: {type: int, optional: true}", "rebate: {type: int}"))
    sample.commit()
    sample.write(RULED)
    found = rules(run("--format", "json"))
    assert "CHECK_CHANGED" in found and "RETENTION_CONDITION_CHANGED" not in found


def test_manifests_of_others_are_not_read(sample: Sample) -> None:
    sample.write(RULED)
    for number, text in enumerate(
        ("", "[]", '{"package": "shop_store"}', '{"package": "shop_store", "schema": 1}')
    ):
        folder = sample.root / f"other{number}"
        folder.mkdir()
        (folder / "manifest.json").write_text(text, encoding="utf-8")
    sample.commit()
    assert rules(run("--format", "json")) == []
