"""Properties from a file of metadata: stored in one commit, read back by name."""

import os
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from panoptic_assets.corpus.properties import apply_inventory
from panoptic_assets.project import Project
from resources.errors import InputError
from resources.lance import LanceStore
from resources.project_folder import ProjectSettings, create

PATHS = {"i1": ["a.jpg"], "i2": ["é/b.jpg", "c.jpg"], "i3": ["d.jpg"]}
TEXT = """\
path;titre;prix[number];fait[date];motif[tag];sujets[multi_tags]
a.jpg;Amphore;1,5;1887;frise > grecque;cheval,animal > cheval
b.jpg;=1+1;deux;2024-03-09;;
elsewhere.jpg;x;1;2024;x;x
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "images").mkdir()
    return create(tmp_path, ProjectSettings(images=str(tmp_path / "images"), metadata="méta.csv"))


@pytest.fixture
def store(project):
    return LanceStore(uri=project.store)


@pytest.fixture
def apply(project, store):
    def _apply(text=TEXT, paths=PATHS, folder=""):
        path = project.folder / project.settings.metadata
        path.write_text(text, encoding="utf-8")
        return apply_inventory(store, path, paths, folder)

    return _apply


def values(project, name):
    rows = Project(project.folder).property_values(name)
    return dict(zip(*(rows[column].to_pylist() for column in rows.column_names), strict=True))


def test_the_columns_of_the_file_become_properties_of_images(project, apply):
    report = apply()
    assert Project(project.folder).properties() == [
        {"name": "fait", "type": "date", "nb_images": 2},
        {"name": "motif", "type": "tag", "nb_images": 1},
        {"name": "prix", "type": "number", "nb_images": 1},
        {"name": "sujets", "type": "multi_tags", "nb_images": 1},
        {"name": "titre", "type": "text", "nb_images": 2},
    ]
    assert values(project, "titre") == {"i1": "Amphore", "i2": "=1+1"}
    assert values(project, "prix") == {"i1": 1.5}
    assert values(project, "fait") == {
        "i1": datetime(1887, 1, 1, tzinfo=UTC),
        "i2": datetime(2024, 3, 9, tzinfo=UTC),
    }
    assert values(project, "motif") == {"i1": ["frise > grecque"]}
    assert values(project, "sujets") == {"i1": ["animal > cheval", "cheval"]}
    assert (report.nb_rows, report.nb_properties, report.nb_values) == (3, 5, 7)
    assert (report.nb_unmatched, report.unmatched) == (1, ("elsewhere.jpg",))
    assert [(f.line, f.column, f.value) for f in report.findings.first] == [(3, "prix", "deux")]


def test_a_value_has_its_type_in_arrow(project, apply):
    apply()
    rows = Project(project.folder).property_values("fait")
    assert rows.schema.field("value").type == pa.timestamp("us", tz="UTC")
    assert rows["image_id"].to_pylist() == ["i1", "i2"]


def test_the_same_values_commit_nothing_and_have_the_same_digest(store, apply):
    first = apply()
    version = store.version("property_values")
    header, *lines = TEXT.splitlines()
    again = apply("\n".join([header, *reversed(lines)]))
    assert store.version("property_values") == version
    assert (first.changed, again.changed) == (True, False)
    assert first.digest == again.digest


def test_a_changed_value_is_one_commit_and_another_digest(project, store, apply):
    first = apply()
    version = store.version("property_values")
    second = apply(TEXT.replace("Amphore", "Vase"))
    assert store.version("property_values") == version + 1
    assert values(project, "titre")["i1"] == "Vase"
    assert first.digest != second.digest


def test_another_type_or_name_for_the_same_cells_is_a_change(apply):
    texts = ["path;t[text]\na.jpg;x\n", "path;t[tag]\na.jpg;x\n", "path;u[text]\na.jpg;x\n"]
    reports = [apply(text) for text in texts]
    assert all(report.changed for report in reports)
    assert len({report.digest for report in reports}) == 3


def test_a_file_with_a_renamed_image_still_gives_it_its_values(project, apply):
    apply("path;t\na.jpg;x\n")
    apply("path;t\nmoved/a.jpg;x\n", PATHS | {"i1": ["moved/a.jpg"]})
    assert values(project, "t") == {"i1": "x"}


def test_lines_may_name_files_by_whole_paths(project, apply):
    apply("path;t\n/srv/vases/é/b.jpg;x\n", folder="/srv/vases")
    assert values(project, "t") == {"i2": "x"}


def test_what_the_file_no_longer_says_is_removed(project, apply):
    apply()
    apply("path;titre\na.jpg;Amphore\n")
    assert [entry["name"] for entry in Project(project.folder).properties()] == ["titre"]
    assert values(project, "titre") == {"i1": "Amphore"}


def test_without_a_file_the_values_are_removed_in_one_commit(project, store, apply):
    apply()
    version = store.version("property_values")
    reports = [apply_inventory(store, None, PATHS) for _ in range(2)]
    assert [report.changed for report in reports] == [True, False]
    assert store.version("property_values") == version + 1
    assert Project(project.folder).properties() == []


def test_a_project_that_never_had_a_file_gets_no_table(store):
    report = apply_inventory(store, None, PATHS)
    assert (report.changed, report.nb_values) == (False, 0)
    assert "property_values" not in store.tables()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist or is not a file: put it there, or correct or empty `metadata`"),
        ("folder", "does not exist or is not a file"),
        ("fifo", "does not exist or is not a file"),
        (b"titre;prix\n", "m.csv: No column names the files"),
        (b"path;t\na.jpg;\xe9\n", "m.csv: Line 2 is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_and_leaves_the_values(
    project, store, apply, tmp_path, content, message
):
    apply()
    path = tmp_path / "m.csv"
    if content == "folder":
        path.mkdir()
    elif content == "fifo":
        os.mkfifo(path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        apply_inventory(store, path, PATHS)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert values(project, "titre") == {"i1": "Amphore", "i2": "=1+1"}


def test_an_unknown_property_is_said_with_those_that_exist(project, apply):
    with pytest.raises(InputError, match="There is no property 'x'. Existing ones: none yet"):
        Project(project.folder).property_values("x")
    apply("path;l'été\na.jpg;x\n")
    assert values(project, "l'été") == {"i1": "x"}
    with pytest.raises(InputError, match="Existing ones: l'été"):
        Project(project.folder).property_values("x")
