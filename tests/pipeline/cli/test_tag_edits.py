"""Edits of tags from a file."""

import pytest
from click.testing import CliRunner

from panoptic_assets.cli.main import main
from panoptic_assets.cli.tag_edits import _edits_of_table
from tests.commands import run
from tests.spreadsheets import xlsx


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_of_edits_may_have_any_separator(separator, tmp_path):
    file = tmp_path / "edits.csv"
    cells = [
        ["Edit", "tag", "to", "images"],
        ["rename", "9", "Été", ""],
        ["assign", "9", "", "a|b"],
    ]
    file.write_bytes("\r\n".join(map(separator.join, cells)).encode("utf-8-sig"))
    assert _edits_of_table(file) == [
        {"rename": {"tag": "9", "to": "Été"}},
        {"assign": {"tag": "9", "images": ["a", "b"]}},
    ]


def test_a_spreadsheet_may_hold_edits(tmp_path):
    file = tmp_path / "edits.xlsx"
    file.write_bytes(xlsx(("Tags", [["edit", "tag", "to"], ["rename", "9", "Été"]])))
    assert _edits_of_table(file) == [{"rename": {"tag": "9", "to": "Été"}}]


def test_columns_that_are_no_fields_may_be_there_twice_or_have_no_name(tmp_path):
    file = tmp_path / "edits.csv"
    file.write_bytes(b"edit;;tag;notes;notes;\ncreate;mine;9;;;yours\n")
    assert _edits_of_table(file) == [{"create": {"tag": "9"}}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"edit;tag;Tag\ncreate;9;9\n", "two columns have the name 'tag'"),
        (b"tag;to\n9;x\n", "the first line names no column `edit`"),
        (b"edit;tag;to\nrename;9;x;y\n", "line 2 has 4 cells, the header has 3"),
        (b'edit;tag\n\ncreate;"a\nb"\nundo;"c\n', "line 5 cannot be read"),
        (b"edit;event\n\nundo;last\n", "line 3: event is the number of one, not 'last'"),
        (b"edit;tag\ncreate;\xe9\n", "line 2 is not UTF-8"),
        (b"", "edits.csv has no edits"),
    ],
)
def test_a_table_that_holds_no_edits_is_refused_with_the_line(content, message, tmp_path):
    file = tmp_path / "edits.csv"
    file.write_bytes(content)
    answer = CliRunner().invoke(main, ["--project", str(tmp_path), "tag", "apply", str(file)])
    assert answer.exit_code == 2
    assert message in answer.output
    assert len(answer.output.splitlines()) == 1


def test_a_colour_is_shown_and_taken_away(vectors_bench):
    """As every edit, each is an event that is undone to what was there before it."""
    folder = vectors_bench.project.folder
    vectors_bench.make("tags", edits=[{"create": {"tag": "Vases"}}])
    run("tag", "recolour", "Vases", "#4477AA", cwd=folder)
    assert "Vases (0 images)  #4477aa" in run("tags", cwd=folder).stdout
    run("tag", "recolour", "Vases", "", cwd=folder)
    assert "#" not in run("tags", cwd=folder).stdout
    assert "Vases: no colour" in run("history", cwd=folder).stdout
    run("undo", cwd=folder)
    assert "#4477aa" in run("tags", cwd=folder).stdout


def test_a_tag_that_comes_back_under_a_taken_name_gets_a_number_and_that_is_said(vectors_bench):
    """A25: by the command, in the history, and to whoever undoes an act of it."""
    folder = vectors_bench.project.folder
    vectors_bench.make(
        "tags",
        edits=[
            *({"create": {"tag": tag}} for tag in ("vase", "coupe", "coupe > a")),
            {"rename": {"tag": "vase", "to": "amphore"}},
            {"rename": {"tag": "coupe", "to": "vase"}},
            {"delete": {"tag": "vase > a"}},
        ],
    )
    note = "Another tag has the name by now, so a number was added; rename one, or merge them: "
    assert f"{note}'vase' → 'vase (2)'." in run("tag", "undo", 4, cwd=folder).stdout
    shown = run("tags", cwd=folder).stdout
    assert "vase (2)" in shown
    assert "amphore" not in shown
    assert "tag-4; renamed: vase (2)" in run("history", "--number", 1, cwd=folder).stdout
    assert "event 4; renamed: vase (2)" in run("tag", "log", cwd=folder).stdout
    assert note not in run("redo", cwd=folder).stdout
    assert note in run("undo", "tag-4", cwd=folder).stdout
    done = run("undo", "tag-3", cwd=folder).stdout
    assert "(`panoptic-assets redo tag-3`" in done
    edits = folder / "edits.yaml"
    edits.write_text(
        "edits: [{redo: {event: 3}}, {move: {tag: 'vase (2)', under: vase}}, "
        "{delete: {tag: vase}}, {undo: {event: 12}}]\n"
    )
    assert run("tag", "apply", "edits.yaml", cwd=folder).stdout.splitlines()[-2:] == [
        "  Still deleted by event 6, which can be undone as well: 'a'.",
        "  Still deleted by event 13, which can be undone as well: 'vase (2)'.",
    ]
