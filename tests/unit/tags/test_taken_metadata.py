"""What other programs know of images, as an inventory: what no table holds, and formulas."""

import csv
import re
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from panoptic_assets.corpus.inventory import match_images, parse_inventory
from panoptic_assets.spec.languages import Language
from panoptic_assets.tags.exchange import taken_metadata
from resources.project_folder import ProjectSettings, create


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project without images."""
    folder = tmp_path_factory.mktemp("taken")
    return create(folder / "project", ProjectSettings(images=str(folder)))


def values_of(plan):
    """By property and image what the written table gives."""
    table = parse_inventory(plan.content)
    matched = match_images(table, {path: [path] for path in table.files})
    return {found.name: values for found, values in matched.values.items()}


HOSTILE = ["=HYPERLINK(1)", "+1+cmd|' /C calc'!A0", "@SUM(1)", "-1+1", "'=1", "''=1", "\t=1"]


def test_no_cell_that_a_stranger_wrote_is_a_formula_and_all_come_back(project):
    """C8: of a value, a property's name, a tag and a file; what is a number stays one."""
    columns = [("text", "text"), ("=name()", "text"), ("n", "number"), ("tags", "multi_tags")]
    rows = [
        (f"{text.strip()}.png".replace("/", ""), [text, text, "-1.5", f"a,{text},=b"])
        for text in HOSTILE
    ]
    plan = taken_metadata.prepare(project, "x.csv", columns, rows, replace=False)
    lines = list(csv.reader(plan.content.decode().splitlines(), delimiter=";"))
    cells = [cell for line in lines for cell in line if cell != "-1.5"]
    assert len(lines) == len(rows) + 1
    assert [cell for cell in cells if cell[:1] in "=+-@\t"] == []
    for name in ("text", "=name()"):
        assert values_of(plan)[name] == {path: cells[0] for path, cells in rows}
    assert set(values_of(plan)["n"].values()) == {-1.5}
    for path, (text, *_) in rows:
        assert set(values_of(plan)["tags"][path]) == {"a", "=b", " ".join(text.split())}


@settings(max_examples=40)
@example("\r")
@example("a\rb\r\n'=")
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6))
def test_any_text_comes_back_as_it_was(project, text):
    plan = taken_metadata.prepare(project, "x.csv", [("p", "text")], [("a", [text])], False)
    found = values_of(plan).get("p", {})
    assert found == ({"a": "\n".join(re.split("\r\n?", text))} if text.strip() else {})


def test_a_text_that_no_table_holds_is_left_out_and_named(project):
    """One value is no reason to refuse thousands; several that make one line too long neither."""
    long, nearly = 200_000 * "x", 60_000 * '"'
    columns = [(f"p{number}", "text") for number in range(12)]
    rows = [("a.png", [long, *["so"] * 11]), ("b.png", [nearly] * 12), ("c.png", ["\0\ud800"] * 12)]
    plan = taken_metadata.prepare(project, "x.csv", columns, rows, replace=False)
    values = values_of(plan)
    assert {"a.png", "c.png"} <= set(values["p1"])
    assert "a.png" not in values["p0"]
    assert 0 < sum("b.png" in values[name] for name, _ in columns) < 12
    assert values["p0"]["c.png"] == "\ufffd?"
    [note] = plan.notes
    assert note.startswith("Values left out, since no table has lines or cells that long: ")
    assert "of a.png (p0), b.png (p" in note
    assert "trop longues" in Language("fr").note(note)


def test_names_that_are_one_here_get_a_number_and_are_said(project):
    """Two fields that differ in how an accent is written are two columns."""
    names = [
        "\u00e9t\u00e9",
        unicodedata.normalize("NFD", "\u00e9t\u00e9"),
        "a  b",
        "a b",
        300 * "n",
    ]
    columns = [(name, "text") for name in names]
    plan = taken_metadata.prepare(project, "x.csv", columns, [("a", list("12345"))], False)
    found = {name: values["a"] for name, values in values_of(plan).items()}
    assert list(found.values()) == list("12345")
    assert list(found)[:4] == ["\u00e9t\u00e9", "\u00e9t\u00e9 (2)", "a b", "a b (2)"]
    [note] = plan.notes
    assert "'\u00e9t\u00e9 (2)'" in note
    assert "'a b' \u2192 'a b (2)'" in note
    assert "\u2026" in note
    plan = taken_metadata.prepare(project, "x.csv", columns[:1], [("a", ["1"])], False)
    assert plan.notes == []
