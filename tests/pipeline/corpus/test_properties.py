"""Properties from an inventory: stored in one commit, read back by name."""

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from panoptic_assets.corpus.properties import ids_and_values, read_inventory, write_properties
from panoptic_assets.project import Project
from panoptic_assets.spec.extended_dates import day_number
from resources.errors import InputError
from resources.lance import LanceStore
from resources.project_folder import ProjectSettings, create
from resources.schemas import SCHEMAS
from tests.spreadsheets import xlsx

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
    """Reads an inventory and writes its values; whether they are others, and what was read."""

    def _apply(text=TEXT, paths=PATHS, folder=""):
        path = project.folder / project.settings.metadata
        path.write_text(text, encoding="utf-8")
        report = read_inventory(store, path, paths, folder)
        return write_properties(store, report.rows), report

    return _apply


def values(project, name):
    rows = Project(project.folder).property_values(name)
    return dict(zip(rows["image_id"].to_pylist(), rows["value"].to_pylist(), strict=True))


def test_the_columns_of_the_file_become_properties_of_images(project, apply):
    _, report = apply()
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
        "i1": "1887",
        "i2": "2024-03-09",
    }
    assert values(project, "motif") == {"i1": ["frise > grecque"]}
    assert values(project, "sujets") == {"i1": ["animal > cheval", "cheval"]}
    assert (report.nb_rows, report.rows.num_rows) == (3, 7)
    assert report.nb_images == {"fait": 2, "motif": 1, "prix": 1, "sujets": 1, "titre": 2}
    assert report.nb_unmatched == 1
    assert [(one.line, one.name) for one in report.unmatched] == [(4, "elsewhere.jpg")]
    assert [(f.line, f.column, f.value) for f in report.findings.first] == [(3, "prix", "deux")]


def test_a_value_has_its_type_in_arrow(project, apply):
    apply()
    rows = Project(project.folder).property_values("prix")
    assert rows.schema.field("value").type == pa.float64()
    assert rows["image_id"].to_pylist() == ["i1"]


def test_a_date_is_what_was_written_with_what_it_means_and_the_days_that_it_spans(project, apply):
    apply("path;fait[date]\na.jpg;vers 1850\nb.jpg;avant 450 av. J.-C.\n")
    rows = Project(project.folder).property_values("fait").to_pylist()
    assert rows == [
        {
            "image_id": "i1",
            "value": "vers 1850",
            "edtf": "1850~",
            "first_day": (date(1845, 1, 1) - date(1970, 1, 1)).days,
            "last_day": (date(1855, 12, 31) - date(1970, 1, 1)).days,
        },
        {
            "image_id": "i2",
            "value": "avant 450 av. J.-C.",
            "edtf": "../-0450",
            "first_day": None,
            "last_day": day_number(-450, 12, 31),
        },
    ]


def test_a_date_of_a_table_that_is_older_than_edtf_is_its_one_day(project, store):
    """Its row has a moment alone, which stood for the whole date."""
    columns = ["image_id", "property", "type", "text", "number", "date", "tags"]
    schema = pa.schema([SCHEMAS["property_values"].field(name) for name in columns])
    old = pa.Table.from_pylist(
        [
            {
                "image_id": "i1",
                "property": "fait",
                "type": "date",
                "date": datetime(1887, 3, 1, tzinfo=UTC),
            },
            {
                "image_id": "i2",
                "property": "fait",
                "type": "date",
                "date": datetime(1887, 3, 9, 13, 45, tzinfo=UTC),
            },
        ],
        schema,
    )
    new = old
    for name in ("edtf", "first_day", "last_day"):
        field = SCHEMAS["property_values"].field(name)
        new = new.append_column(field, pa.nulls(2, field.type))
    for rows in (old, new):
        ids, dates = ids_and_values(rows)
        assert ids == ["i1", "i2"]
        assert [one.edtf for one in dates] == ["1887-03-01", "1887-03-09T13:45:00Z"]
        assert all(one.first_day == one.last_day for one in dates)
    store.upsert("property_values", new)
    assert values(project, "fait") == {"i1": "1887-03-01", "i2": "1887-03-09T13:45:00Z"}


def test_the_same_values_commit_nothing_and_have_the_same_digest(store, apply):
    changed, first = apply()
    version = store.version("property_values")
    header, *lines = TEXT.splitlines()
    changed_again, again = apply("\n".join([header, *reversed(lines)]))
    assert store.version("property_values") == version
    assert (changed, changed_again) == (True, False)
    assert first.digest == again.digest


def test_a_changed_value_is_one_commit_and_another_digest(project, store, apply):
    _, first = apply()
    version = store.version("property_values")
    _, second = apply(TEXT.replace("Amphore", "Vase"))
    assert store.version("property_values") == version + 1
    assert values(project, "titre")["i1"] == "Vase"
    assert first.digest != second.digest


def test_another_type_or_name_for_the_same_cells_is_a_change(apply):
    texts = ["path;t[text]\na.jpg;x\n", "path;t[tag]\na.jpg;x\n", "path;u[text]\na.jpg;x\n"]
    applied = [apply(text) for text in texts]
    assert all(changed for changed, _ in applied)
    assert len({report.digest for _, report in applied}) == 3


def test_a_file_with_a_renamed_image_still_gives_it_its_values(project, apply):
    apply("path;t\na.jpg;x\n")
    apply("path;t\nmoved/a.jpg;x\n", PATHS | {"i1": ["moved/a.jpg"]})
    assert values(project, "t") == {"i1": "x"}


def test_lines_may_name_files_by_whole_paths(project, apply):
    apply("path;t\n/srv/vases/é/b.jpg;x\n", folder="/srv/vases")
    assert values(project, "t") == {"i2": "x"}


def test_a_spreadsheet_is_an_inventory_as_a_csv_file_is(project, store):
    path = project.folder / "inventaire.xlsx"
    rows = [["Nom du fichier", "titre", "prix"], ["a.jpg", "Amphore", 1.5], ["B", "Lampe", 2.0]]
    path.write_bytes(xlsx(("Objets", rows)))
    write_properties(store, read_inventory(store, path, PATHS).rows)
    assert values(project, "titre") == {"i1": "Amphore", "i2": "Lampe"}
    assert values(project, "prix") == {"i1": 1.5, "i2": 2.0}


def test_what_the_file_no_longer_says_is_removed(project, apply):
    apply()
    apply("path;titre\na.jpg;Amphore\n")
    assert [entry["name"] for entry in Project(project.folder).properties()] == ["titre"]
    assert values(project, "titre") == {"i1": "Amphore"}


def test_without_a_file_the_values_are_removed_in_one_commit(project, store, apply):
    apply()
    version = store.version("property_values")
    rows = read_inventory(store, None, PATHS).rows
    assert [write_properties(store, rows) for _ in range(2)] == [True, False]
    assert store.version("property_values") == version + 1
    assert Project(project.folder).properties() == []


def test_a_project_that_never_had_a_file_gets_no_table(store):
    report = read_inventory(store, None, PATHS)
    assert report.rows.num_rows == 0 and not write_properties(store, report.rows)
    assert "property_values" not in store.tables()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "m.csv cannot be read (No such file or directory)"),
        (b"titre;prix\n", "m.csv: No column names the files"),
        (b"path;t\na.jpg;\0\n", "m.csv: Line 2 holds a NUL byte"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_and_leaves_the_values(
    project, store, apply, tmp_path, content, message
):
    apply()
    path = tmp_path / "m.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_inventory(store, path, PATHS)
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
