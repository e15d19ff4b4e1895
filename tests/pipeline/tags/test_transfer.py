"""Tags to and from files: what is written, refused, and brought back."""

import csv
import json
import os
import re
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from panoptic_assets.cli.main import main
from panoptic_assets.corpus.manifest import File
from panoptic_assets.corpus.table import write_files
from panoptic_assets.manual.contents import FOLDER
from panoptic_assets.project import Project
from panoptic_assets.spec.tag_log import Event, Tag
from panoptic_assets.tags.config import EditsConfig
from panoptic_assets.tags.exchange import transfer
from panoptic_assets.tags.exchange.transfer import FORMATS, import_tags
from panoptic_assets.tags.table import append_events, read_log
from resources.errors import InputError
from resources.lance import LanceStore
from resources.project_folder import ProjectSettings, create, find

FILES = {
    "a.jpg": "a" * 64,
    "copy/a.jpg": "a" * 64,
    "=b;\n\"'.jpg": "b" * 64,
    "été 🍌.jpg": "c" * 64,
    "x/a.jpg": "d" * 64,
}
TAGS = (
    Tag("9", "Clustering", "9", None, "greek@1", "greek/9", colour="#ff0000"),
    Tag("91", "Clustering", "=cmd()", "9"),
    Tag("r", "Clustering", "remainder", is_remainder=True),
    Tag("up", "Époque", ".."),
    Tag("con", "Époque", "CON"),
)
GIVEN = [("9", "a"), ("91", "b"), ("r", "d"), ("up", "a"), ("con", "a"), ("con", "c"), ("9", "e")]


def project(folder, images):
    folder.mkdir()
    images.mkdir(exist_ok=True)
    made = create(folder, ProjectSettings(images=str(images)))
    store = LanceStore(uri=made.store)
    known = {}
    for path, image_id in FILES.items():
        file = images / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(image_id)
        known[path] = File(path, image_id, "present", "", 64, 1, "", "")
    known["gone.jpg"] = File("gone.jpg", "e" * 64, "missing", "", 64, 1, "", "")
    write_files(store, {}, known.values())
    return made


@pytest.fixture
def empty(tmp_path):
    """A project of the same images, without tags."""
    return project(tmp_path / "empty", tmp_path / "images")


@pytest.fixture
def tagged(tmp_path):
    made = project(tmp_path / "tagged", tmp_path / "images")
    store = LanceStore(uri=made.store)
    event = Event("import", "", TAGS, tuple((tag, 64 * image) for tag, image in GIVEN))
    append_events(store, [], [event, Event("create_property", "Vide")], "me", "")
    return Project(made.folder)


def store_of(made):
    return LanceStore(uri=made.store)


def content(store):
    """Tags by path with their colours, and who carries them."""
    tables = transfer.saved_tags(store)
    named = transfer.tag_log.paths(tables.tags)
    tree = {(t.property, named[t.tag_id], t.colour, t.is_remainder) for t in tables.tags}
    of = {tag.tag_id: (tag.property, named[tag.tag_id]) for tag in tables.tags}
    return tables.properties, tree, {(image, *of[tag]) for tag, image in tables.images}


def run(*arguments, folder, expect=0):
    answer = CliRunner().invoke(main, ["--project", str(folder), *map(str, arguments)])
    assert answer.exit_code == expect, answer.output
    return answer.output


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def config(**given):
    return EditsConfig(author="someone", **given)


@pytest.mark.parametrize("name", ["t.json", "t.csv", "t.parquet"])
def test_a_round_trip_into_another_project_brings_the_tags_back(tagged, empty, tmp_path, name):
    """A24, A25, D59: who carries which tag; as JSON the whole tree, colours and all."""
    done = tagged.export(tmp_path / name)
    assert (done.nb_images, done.nb_tags, done.nb_without_file) == (5, 5, 1)
    imported = import_tags(store_of(empty), tmp_path / name, config())
    assert imported.nb_unknown == 0
    properties, tree, pairs = content(store_of(empty))
    expected = content(LanceStore(uri=str(tagged.folder / ".panoptic" / "store")))
    assert pairs == expected[2]
    if name == "t.json":
        assert (properties, tree) == expected[:2]
    assert [entry.event.kind for entry in read_log(store_of(empty))] == ["import"] * len(properties)
    assert import_tags(store_of(empty), tmp_path / name, config()).changes == ()


def test_json_of_a_project_is_the_same_after_a_round_trip_but_for_the_numbers_of_events(
    empty, tmp_path
):
    """A25: two siblings of one name stay two, ids stay, and what was refused stays refused."""
    made = project(tmp_path / "twins", tmp_path / "images")
    tags = tuple(Tag(16 * digit, "Clustering", "vase") for digit in "12")
    pairs = (("1" * 16, "a" * 64), ("2" * 16, "d" * 64))
    import_event = Event("import", "Clustering", tags, pairs)
    refusal = Event("refuse", "Clustering", images=(("1" * 16, "c" * 64),))
    append_events(store_of(made), [], [import_event, refusal], "me", "")
    texts = []
    for each in (made, empty):
        file = tmp_path / "twins.json"
        if texts:
            [change] = import_tags(store_of(empty), file, config()).changes
            assert (change.nb_new_tags, change.nb_images, change.nb_refused) == (2, 2, 1)
        Project(each.folder).export(file, replace=True)
        texts.append(re.sub(r'"event": \d+', "", file.read_text(encoding="utf-8")))
    assert texts[0] == texts[1]


def test_panoptics_csv_comes_back_but_for_images_without_a_file(tagged, empty, tmp_path):
    """A23, C13: what Panoptic reads; a file of its own with whole paths is read as well."""
    tagged.export(tmp_path / "p.csv", format="panoptic")
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file, delimiter=";")
    assert header == ["path", "Clustering[tag]", "Époque[multi_tags]"]
    assert ["copy/a.jpg", "9", "..,CON"] in lines
    assert ["'=b;\n\"'.jpg", "'=cmd()", ""] in lines
    import_tags(store_of(empty), tmp_path / "p.csv", config())
    whole = content(LanceStore(uri=str(tagged.folder / ".panoptic" / "store")))
    assert content(store_of(empty))[2] == {pair for pair in whole[2] if pair[0] != 64 * "e"}

    images = empty.images
    (tmp_path / "own.csv").write_text(f"path;Style[tag]\n{images}/x/a.jpg;rococo\n")
    import_tags(store_of(empty), tmp_path / "own.csv", config(), folder=images)
    assert (64 * "d", "Style", "rococo") in content(store_of(empty))[2]


def test_lists_of_tags_of_an_earlier_export_are_not_read(tagged, empty, tmp_path):
    """C13: they tell the trees of the CSV that they were written with, and of no other."""
    file, listed = tmp_path / "p.csv", tmp_path / "p-tags-Clustering.csv"
    tagged.export(file, format="panoptic")
    assert import_tags(store_of(empty), file, config(), check=True).notes == (
        "Trees and colours are those of the lists of tags beside the file: p-tags-Clustering.csv.",
    )
    only = import_tags(store_of(empty), file, config(), property_name="Époque", check=True)
    assert only.notes == ()
    tagged.export(file, format="csv", replace=True)
    imported = import_tags(store_of(empty), file, config())
    assert imported.notes == ()
    whole = content(LanceStore(uri=str(tagged.folder / ".panoptic" / "store")))
    assert content(store_of(empty))[2] == whole[2]

    tagged.edit([{"move": {"tag": "91", "under": ""}}, {"recolour": {"tag": "9", "colour": ""}}])
    file.unlink()
    with pytest.raises(InputError, match="p-tags-Clustering.csv exists already"):
        tagged.export(file, format="panoptic")
    assert listed.exists() and not file.exists()
    done = tagged.export(file, format="panoptic", replace=True)
    assert not listed.exists()
    assert done.notes == (
        "Lists of tags of an earlier export to this place, removed: p-tags-Clustering.csv.",
    )


def test_two_properties_whose_names_are_one_to_a_disk_keep_their_trees(tagged, empty, tmp_path):
    store = LanceStore(uri=str(tagged.folder / ".panoptic" / "store"))
    names = ["m/n", "m:n", "q[1]", "q(1)"]
    tags = [Tag(name, name, f"above {name}") for name in names]
    tags += [Tag(f"x{name}", name, "x", name) for name in names]
    more = Event("import", "", tuple(tags), tuple((f"x{name}", 64 * "a") for name in names))
    append_events(store, read_log(store), [more], "me", "")
    done = tagged.export(tmp_path / "p.csv", format="panoptic")
    assert len(done.beside) == len({place.name.casefold() for place in done.beside}) == 5
    assert done.notes == ("Properties called otherwise there: q[1] → q(1) (2).",)
    import_tags(store_of(empty), tmp_path / "p.csv", config())
    found = {(name, path) for _, name, path in content(store_of(empty))[2] if path[-1] == "x"}
    assert found == {
        ("m/n", "above m/n > x"),
        ("m:n", "above m:n > x"),
        ("q(1)", "above q(1) > x"),
        ("q(1) (2)", "above q[1] > x"),
    }


def test_rows_hold_every_file_and_the_event_that_gave_the_tag(tagged, tmp_path):
    tagged.export(tmp_path / "t.parquet", property="Clustering")
    rows = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert [(row["image_id"][0], row["path"], row["tag"], row["event"]) for row in rows] == [
        ("a", "a.jpg", "9", 1),
        ("a", "copy/a.jpg", "9", 1),
        ("b", "=b;\n\"'.jpg", "9 > =cmd()", 1),
        ("d", "x/a.jpg", "remainder", 1),
        ("e", None, "9", 1),
    ]
    assert rows[0]["node"] == "greek/9"
    assert rows[0]["record_id"] == "greek@1"


def test_a_run_is_exported_as_it_is_without_saving(bench, tmp_path):
    """E17, A24: one label for each image that was clustered."""
    bench.make("clustering", "greek", method={"kmeans": {"nb_clusters": 3}})
    bench.read.export(tmp_path / "t.csv", run="greek")
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["image_id"] for row in rows} == {
        row["image_id"] for row in bench.read.assignments("greek").to_pylist()
    }
    assert {(row["property"], row["event"]) for row in rows} == {("greek", "")}
    assert {row["node"] for row in rows} == {"greek/0", "greek/1", "greek/2"}
    with pytest.raises(InputError, match="a property or a run, not both"):
        bench.read.export(tmp_path / "u.csv", property="greek", run="greek")


def test_the_recipe_for_fiftyone_finds_files_and_labels(tagged, tmp_path):
    """K10: label and cluster in two fields."""
    tagged.export(tmp_path / "f.json", format="fiftyone")
    samples = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))["samples"]
    assert len(samples) == len(FILES)
    for sample in samples:
        assert Path(sample["filepath"]).read_text() == sample["image_id"]
    [first, *_] = samples
    assert first["labels"]["Clustering"]["label"] == "9"
    assert first["labels"]["Clustering"]["cluster"] == "greek/9"
    assert [label["label"] for label in first["labels"]["Époque"]] == ["..", "CON"]


def test_the_recipe_in_the_manual_makes_samples_for_fiftyone(tagged, tmp_path, monkeypatch):
    """D59, E17: the labels in FiftyOne's own words."""
    page = (FOLDER / "en" / "how-to" / "exchange.md").read_text(encoding="utf-8")
    [recipe] = re.findall(r"```python\n(import json\n.*?)```", page, re.DOTALL)
    datasets = {}

    class Dataset:
        def __init__(self, name):
            datasets[name] = self

            self.app_config = SimpleNamespace()

        def add_samples(self, samples, dynamic):
            self.samples = samples

        def save(self):
            self.is_saved = True

    class Fields(dict):
        def __init__(self, filepath=None, **fields):
            super().__init__(fields, filepath=filepath)

    module = SimpleNamespace(
        Dataset=Dataset,
        Sample=Fields,
        Classification=dict,
        Classifications=dict,
        ColorScheme=dict,
    )
    monkeypatch.setitem(sys.modules, "fiftyone", module)
    monkeypatch.chdir(tmp_path)
    tagged.export("vases.json", format="fiftyone")
    exec(recipe, {})
    [first, *_] = datasets["vases"].samples
    assert first["Clustering"]["cluster"] == "greek/9"
    assert [label["label"] for label in first["Époque"]["classifications"]] == ["..", "CON"]
    [colours] = datasets["vases"].app_config.color_scheme["fields"]
    assert (colours["path"], colours["valueColors"]) == (
        "Clustering",
        [{"value": "9", "color": "#ff0000"}],
    )


def test_images_of_another_store_are_copied(tagged, tmp_path):
    files = fsspec.filesystem("memory")
    for path, image_id in FILES.items():
        if path != "x/a.jpg":
            files.pipe(f"/corpus/{path}", image_id.encode())
    settings = tagged.folder / ".panoptic" / "project.yaml"
    settings.write_text("images: memory://corpus\n")
    done = Project(tagged.folder).export(tmp_path / "tree", property="Clustering", format="folders")
    assert done.unreadable == ("x/a.jpg",)
    assert (tmp_path / "tree" / "9" / "a.jpg").read_text() == 64 * "a"
    assert not (tmp_path / "tree" / "9" / "a.jpg").is_symlink()
    Project(tagged.folder).export(tmp_path / "f.json", format="fiftyone")
    assert '"filepath": "a.jpg"' in (tmp_path / "f.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("copy", [False, True])
def test_folders_hold_each_image_under_its_tags_and_nothing_else(tagged, tmp_path, copy):
    destination = tmp_path / "tree"
    done = tagged.export(destination, format="folders", copy=copy)
    assert done.unreadable == ()
    found = {
        str(file.relative_to(destination)): file.read_text()[0]
        for file in destination.rglob("*")
        if file.is_file()
    }
    assert found == {
        "Clustering/9/a.jpg": "a",
        "Clustering/9/=cmd()/=b;__'.jpg": "b",
        "Clustering/remainder/a.jpg": "d",
        "Époque/__/a.jpg": "a",
        "Époque/_CON/a.jpg": "a",
        "Époque/_CON/été 🍌.jpg": "c",
    }
    assert (destination / "Clustering/9/a.jpg").is_symlink() is not copy
    assert names_in(tmp_path) == ["images", "tagged", "tree"]


def test_two_images_of_one_name_lie_side_by_side(tagged, tmp_path):
    store = LanceStore(uri=str(tagged.folder / ".panoptic" / "store"))
    log = read_log(store)
    more = Event("assign", "Clustering", images=(("9", "d" * 64),))
    append_events(store, log, [more], "me", "")
    tagged.export(tmp_path / "tree", property="Clustering", format="folders")
    assert names_in(tmp_path / "tree" / "9") == ["=cmd()", "a (2).jpg", "a.jpg"]


def test_files_that_cannot_be_had_are_named(tagged, tmp_path):
    (tmp_path / "images" / "x" / "a.jpg").unlink()
    (tmp_path / "images" / "a.jpg").unlink()
    done = tagged.export(tmp_path / "tree", property="Clustering", format="folders")
    assert done.unreadable == ("a.jpg", "x/a.jpg")
    # The other file of that image is there.
    assert names_in(tmp_path / "tree" / "9") == ["=cmd()", "a.jpg"]


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tagged, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.rglob("*"))
    for destination, options, message in [
        ("t.xyz", {}, "does not say which format"),
        ("t", {}, "does not say which format"),
        ("no/t.csv", {}, "There is no folder"),
        ("t.csv", {"format": "json"}, "end it in .json"),
        ("there.csv", {}, "exists already"),
        ("link", {"format": "csv"}, "exists already"),
        ("full", {"format": "csv"}, "is a folder"),
        ("full", {"format": "folders"}, "is not an empty folder"),
        ("link", {"format": "folders"}, "is not an empty folder"),
        ("there.csv", {"format": "folders", "replace": True}, "is not an empty folder"),
        ("t.csv", {"copy": True}, "holds no images"),
        ("images/t", {"format": "folders"}, "lies in the folder of images"),
        ("t.csv", {"property": "Nope"}, "There is no property 'Nope'"),
        ("t.csv", {"property": "Vide"}, "There are no tags to export"),
        ("t.csv", {"run": "nope"}, "nope"),
        ("t.csv", {"run": "../x"}, "is not"),
    ]:
        with pytest.raises(InputError) as caught:
            tagged.export(tmp_path / destination, **options)
        assert message in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
    after = [path for path in sorted(tmp_path.rglob("*")) if "store" not in path.parts]
    assert after == [path for path in before if "store" not in path.parts]
    assert (tmp_path / "there.csv").read_text() == "mine"
    tagged.export(tmp_path / "there.csv", replace=True)
    assert (tmp_path / "there.csv").read_text(encoding="utf-8").startswith("image_id,path")


def test_a_comma_in_a_tag_leaves_no_file_for_panoptic(tagged, tmp_path):
    store = LanceStore(uri=str(tagged.folder / ".panoptic" / "store"))
    more = Event("rename", "Époque", tag_id="con", name="a, b")
    append_events(store, read_log(store), [more], "me", "")
    with pytest.raises(InputError, match="rename the tag"):
        tagged.export(tmp_path / "p.csv", format="panoptic")
    assert names_in(tmp_path) == ["images", "tagged"]


def test_an_import_of_strangers_leaves_them_out_or_is_refused(empty, tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("path;A[tag];B[multi_tags]\na.jpg;x;y,z\nno.jpg;x;\nnor.jpg;;y\n")
    done = import_tags(store_of(empty), file, config(), property_name="A")
    assert (done.nb_images, done.nb_unknown, done.unknown) == (1, 2, ("no.jpg", "nor.jpg"))
    assert [change.property for change in done.changes] == ["A"]
    file.write_text("path;A[tag]\nno.jpg;x\n")
    with pytest.raises(InputError, match="None of the 1 images .* 'no.jpg'"):
        import_tags(store_of(empty), file, config())
    assert len(read_log(store_of(empty))) == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.txt", b"", "does not say what the file is"),
        ("none.csv", None, "There is no file"),
        ("t.csv", b"path;A[tag]\na.jpg;x\x01y\n", "is no name of a tag"),
        ("t.csv", b"path;B[tag]\na.jpg;x\n", "no tags of 'A'; there are some of 'B'"),
        ("t.json", b"{}", "no JSON document"),
        ("t.parquet", b"PAR1", "no Parquet file"),
    ],
)
def test_files_that_say_nothing_of_tags_are_refused(empty, tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_bytes(text)
    with pytest.raises(InputError) as caught:
        import_tags(store_of(empty), tmp_path / name, config(), property_name="A")
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert read_log(store_of(empty)) == []


def test_parquet_of_other_columns_is_refused(empty, tmp_path):
    pq.write_table(pa.table({"image_id": [1], "tag": ["x"]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="no column image_id or path or property of texts"):
        import_tags(store_of(empty), tmp_path / "t.parquet", config())


def test_parquet_with_two_columns_of_one_name_or_damaged_text_is_refused(empty, tmp_path):
    ids = pa.array(["a" * 64], pa.string())
    damaged = pa.array([b"\xff"]).view(pa.string())
    for names, columns in (
        (["image_id", "property", "tag", "tag"], [ids, ids, ids, ids]),
        (["image_id", "property", "tag", "tag_id"], [ids, ids, damaged, ids]),
    ):
        file = tmp_path / "tags.parquet"
        pq.write_table(pa.Table.from_arrays(columns, names), file)
        with pytest.raises(InputError, match=r"tags\.parquet"):
            import_tags(store_of(empty), file, config(), empty.images, None, "add", False)


def test_tags_of_one_path_that_a_merge_left_are_one_to_an_import(tagged, tmp_path):
    """Two children of one name: a round trip gives each image its tag, and no second tag."""
    made = find(tagged.folder)
    store = store_of(made)
    twins = (Tag("t1", "Clustering", "0", "9"), Tag("t2", "Clustering", "0", "9"))
    event = Event("save", "Clustering", twins, (("t1", "a" * 64), ("t2", "b" * 64)), run_key="r")
    append_events(store, read_log(store), [event], "Zoé", "")
    file = tmp_path / "tags.json"
    Project(tagged.folder).edit([])
    Project(tagged.folder).export(file, "Clustering")
    done = import_tags(store, file, config(), made.images, None, "add", False)
    assert all(change.nb_new_tags == 0 for change in done.changes)


def test_a_pipe_is_no_file_of_edits_and_the_working_directory_no_destination(
    tagged, tmp_path, monkeypatch
):
    monkeypatch.chdir(tagged.folder)
    os.mkfifo(tmp_path / "pipe.yaml")
    for arguments, message in (
        (["tag", "apply", str(tmp_path / "pipe.yaml")], "is not a file"),
        (["export", ".", "--format", "folders"], "is the working directory"),
        (["export", "x.csv", "--property", ""], "There is no property"),
    ):
        answer = CliRunner().invoke(main, arguments)
        assert answer.exit_code == 2, (arguments, answer.output)
        assert message in answer.stderr, (arguments, answer.stderr)


def test_imports_at_once_are_all_there(empty, tmp_path):
    """Each is appended after what the other one did, and tags of one name are made once."""
    for name in "xyz":
        (tmp_path / f"{name}.csv").write_text(f"path;A[multi_tags]\na.jpg;{name},same\n")
    threads = [
        threading.Thread(
            target=import_tags, args=(store_of(empty), tmp_path / f"{name}.csv", config())
        )
        for name in "xyz"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tables = transfer.saved_tags(store_of(empty))
    assert [tag.name for tag in tables.tags] == ["same", "x", "y", "z"]


def test_the_command_line_exports_looks_and_imports(tagged, empty, tmp_path, monkeypatch):
    """C17, C18: tags travel with the names that people gave them; Dagster shows the result."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.delenv("PANOPTIC_PROJECT", raising=False)
    file = tmp_path / "t.json"
    assert "t.json (json): 5 images, 5 tags" in run("export", file, folder=tagged.folder)
    assert "exists already" in run("export", file, folder=tagged.folder, expect=2)
    said = run("import-tags", file, "--check", folder=empty.folder)
    assert "Clustering: 3 new tags, 4 images would get tags" in said
    assert read_log(store_of(empty)) == []
    said = run("import-tags", file, "--reason", "from a colleague", folder=empty.folder)
    assert "Époque: 2 new tags, 2 images got tags" in said
    strangers = tmp_path / "strangers.csv"
    strangers.write_text("path;Clustering[tag]\na.jpg;9\nno.jpg;9\n")
    looked = run("import-tags", strangers, "--check", folder=empty.folder)
    assert "Left out, since they are not in the corpus: 1 image: no.jpg" in looked
    assert "The tags already are what" in looked
    assert "✓ tags" in said
    assert [tag["path"] for tag in Project(empty.folder).tags("Époque")] == ["..", "CON"]
    assert Project(empty.folder).tag_log()[0]["reason"] == "from a colleague"
    run("tag", "undo", 1, folder=empty.folder)
    assert {tag["property"] for tag in Project(empty.folder).tags()} == {"Époque"}
    assert set(FORMATS) == set(
        next(p for p in main.get_command(None, "export").params if p.name == "wanted").type.choices
    )
