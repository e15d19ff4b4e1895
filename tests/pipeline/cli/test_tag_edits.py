"""Edits of tags from a file."""

import pytest
from click.testing import CliRunner

from panoptic_assets.cli.main import main
from panoptic_assets.cli.tag_edits import _edits_of_csv
from tests.commands import run


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_of_edits_may_have_any_separator(separator, tmp_path):
    file = tmp_path / "edits.csv"
    cells = [
        ["Edit", "tag", "to", "images"],
        ["rename", "9", "Été", ""],
        ["assign", "9", "", "a|b"],
    ]
    file.write_bytes("\r\n".join(map(separator.join, cells)).encode("utf-8-sig"))
    assert _edits_of_csv(file) == [
        {"rename": {"tag": "9", "to": "Été"}},
        {"assign": {"tag": "9", "images": ["a", "b"]}},
    ]


def test_columns_that_are_no_fields_may_be_there_twice_or_have_no_name(tmp_path):
    file = tmp_path / "edits.csv"
    file.write_bytes(b"edit;;tag;notes;notes;\ncreate;mine;9;;;yours\n")
    assert _edits_of_csv(file) == [{"create": {"tag": "9"}}]


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
