"""FiftyOne's exports, taken into a project: what of which images."""

import hashlib

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from panoptic_assets.cli.main import main
from panoptic_assets.corpus.manifest import File
from panoptic_assets.corpus.table import write_files
from panoptic_assets.project import Project
from panoptic_assets.spec.tag_log import Event, Tag, paths
from panoptic_assets.tags.exchange import fiftyone_import
from panoptic_assets.tags.exchange.transfer import saved_tags
from panoptic_assets.tags.table import append_events, read_log
from resources.errors import InputError
from resources.lance import LanceStore
from resources.project_folder import ProjectSettings, create, find
from resources.source import ImageSource
from tests.fiftyone_exports import array, label, labels, sample, write_dataset

NAMES = ["a/1.jpg", "b/1.jpg", "b/2.jpg", "3.jpg", "x.tif", "x.tif#page=2"]


def image(name):
    return hashlib.sha256(name.encode()).hexdigest()


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Make a project of files whose bytes are their names; its files lie where it is called so."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)

    def write(name="project", images="images"):
        root = tmp_path / images
        found = []
        for path in NAMES:
            if "#" not in path:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(path)
            found.append(File(path, image(path), "present", "", len(path), 1, "", ""))
        project = create(tmp_path / name, ProjectSettings(images=str(root)))
        write_files(LanceStore(uri=project.store), {}, found)
        return Project(project.folder)

    return write


@pytest.fixture
def dataset(tmp_path):
    """A FiftyOneDataset from another machine; it holds a copy of one image only."""
    folder = write_dataset(
        tmp_path / "set",
        sample("/nas/pictures/a/1.jpg", style=label("Gothic > late"), tags=["checked"], year=1887),
        sample("/nas/pictures/b/2.jpg", who=labels("Ann", "Bob"), title='é; "so"'),
        sample("data/1-2.jpg", style=label("Gothic"), embedding=array([3, 4])),
        sample("data/1.jpg", style=label("Gothic")),
        sample("/nas/pictures/stranger.jpg", style=label("Gothic"), embedding=array([1, 1])),
        colours={"style": {"Gothic": "#00aa00"}},
    )
    (folder / "data").mkdir()
    (folder / "data" / "1-2.jpg").write_text("b/1.jpg")
    return folder


def pairs(project, name=None):
    tables = saved_tags(project.store, name)
    named = paths(tables.tags)
    return {(named[tag_id], image_id) for tag_id, image_id in tables.images}


TAKEN = {
    ("Gothic > late", image("a/1.jpg")),
    ("checked", image("a/1.jpg")),
    ("Ann", image("b/2.jpg")),
    ("Bob", image("b/2.jpg")),
    ("Gothic", image("b/1.jpg")),
}


def test_a_dataset_is_taken_once_and_once_more_changes_nothing(make, dataset):
    """D59: by the ends of paths of another machine, and a copy by its bytes; none is guessed."""
    project = make()
    looked = project.import_fiftyone(dataset, check=True)
    assert not read_log(project.store)
    assert not (project.folder / "fiftyone.csv").exists()
    done = project.import_fiftyone(dataset)
    assert done == looked
    assert pairs(project) == TAKEN
    assert (done.tags.nb_unknown, done.tags.unknown) == (1, ("/nas/pictures/stranger.jpg",))
    assert (done.tags.nb_ambiguous, done.tags.ambiguous) == (1, ("data/1.jpg",))
    colours = {tag.name: tag.colour for tag in saved_tags(project.store, "style").tags}
    assert colours == {"Gothic": "#00aa00", "late": None}
    written = (project.folder / "fiftyone.csv").read_text(encoding="utf-8")
    assert written.splitlines() == [
        "path;year[number];title[text]",
        "a/1.jpg;1887;",
        'b/2.jpg;;"é; ""so"""',
    ]
    assert find(project.folder).settings.metadata == "fiftyone.csv"
    again = Project(project.folder).import_fiftyone(dataset)
    assert again.tags.changes == ()
    assert len(read_log(project.store)) == 3


@pytest.mark.parametrize("place", [".", "samples.json", "metadata.json"])
def test_its_tags_alone_come_in_as_any_file_of_tags(make, dataset, place):
    project = make()
    done = project.import_tags(dataset / place)
    # Of a copy, only the command for all reads the bytes.
    assert pairs(project) == TAKEN - {("Gothic", image("b/1.jpg"))}
    [note] = done.notes
    assert "embedding, year, title" in note


def test_our_own_file_comes_back_whole_on_another_machine(make, tmp_path):
    """D59: pages, trees, colours, remainders, and properties whose names are no field's."""
    project = make()
    tags = (
        Tag("9", "my tags", "9", colour="#ff0000"),
        Tag("91", "my tags", "1", "9"),
        Tag("r", "Clustering", "remainder", is_remainder=True),
    )
    given = [("91", "a/1.jpg"), ("9", "x.tif"), ("91", "x.tif#page=2"), ("r", "3.jpg")]
    event = Event("import", "", tags, tuple((tag, image(name)) for tag, name in given))
    append_events(project.store, [], [event], "me", "")
    project.export(tmp_path / "ours.json", format="fiftyone")
    other = make("other", "elsewhere")
    assert other.import_tags(tmp_path / "ours.json").nb_unknown == 0
    assert pairs(other) == pairs(project)

    def told(of):
        return {
            (tag.property, tag.name, tag.colour, tag.is_remainder)
            for tag in saved_tags(of.store).tags
        }

    assert told(other) == told(project)
    assert other.import_tags(tmp_path / "ours.json").changes == ()


def test_vectors_of_images_that_are_here_are_written_and_looking_says_how_many(make, dataset):
    """D59: samples of other images, and those without a vector, have no row."""
    project = make()
    layout = find(project.folder)
    source = ImageSource(root=layout.images)
    plan = fiftyone_import.prepare(project.store, layout, dataset, source, fields=["embedding"])
    target = fiftyone_import.vectors_file(layout, "clip")

    def write(check, replace=False):
        return fiftyone_import.write_fiftyone_vectors(plan, "embedding", target, replace, check)

    looked = write(check=True)
    assert not target.exists()
    written = write(check=False)
    assert pq.read_table(target).to_pylist() == [
        {"image_id": image("b/1.jpg"), "vector": [3.0, 4.0]}
    ]
    assert looked.nb_vectors == written.nb_vectors == 1
    assert (
        looked.notes()
        == written.notes()
        == [
            "embedding: vectors of 2 numbers, of lengths 5 to 5, kept with length 1: 1.",
            "Vectors left out, since their images are not in the corpus: 1.",
        ]
    )
    # The same numbers, written by another version of the library.
    pq.write_table(pq.read_table(target), target, compression="gzip")
    assert write(check=True).nb_vectors == 1
    for others in (b"mine", b""):
        target.write_bytes(others)
        for check in (True, False):
            with pytest.raises(InputError, match="holds other vectors"):
                write(check)
        assert target.read_bytes() == others
    assert [file.name for file in layout.folder.glob(".*.draft")] == []
    write(check=False, replace=True)
    assert pq.read_table(target).num_rows == 1
    with pytest.raises(InputError, match="No sample has an array in the field 'dino'"):
        fiftyone_import.prepare(project.store, layout, dataset, source, fields=["dino"])


def test_nothing_outside_of_an_export_is_opened_for_its_samples(make, tmp_path):
    """C8: a sample's path leads anywhere."""
    (tmp_path / "secret.jpg").write_text("b/1.jpg")
    folder = write_dataset(
        tmp_path / "set",
        *(
            sample(path, style=label("x"))
            for path in ("../secret.jpg", "\0", 5000 * "y", "/dev/zero")
        ),
        sample("/nas/a/1.jpg", style=label("x")),
    )
    project = make()
    done = project.import_fiftyone(folder)
    assert (done.tags.nb_images, done.tags.nb_unknown) == (1, 4)


def test_the_command_says_what_it_would_take(make, dataset, tmp_path):
    project = make()
    command = ["--project", str(project.folder), "import-fiftyone"]
    answer = CliRunner().invoke(
        main, [*command, str(dataset), "--check", "--vectors", "c=embedding"]
    )
    assert answer.exit_code == 0, answer.output
    assert "style: 2 new tags, 2 images would get tags" in answer.output
    assert "fiftyone.csv: 2 columns of 2 lines" in answer.output
    assert "c: 1 vector\n" in answer.output
    assert "not in the corpus: 1." in answer.output
    for arguments, told in (
        ([str(tmp_path / "none")], "is no FiftyOneDataset"),
        ([str(dataset), "--property", "Nope"], "no tags or values of 'Nope'"),
        ([str(dataset), "--vectors", "c"], "names no field"),
    ):
        answer = CliRunner().invoke(main, [*command, *arguments])
        assert answer.exit_code == 2
        assert told in answer.output
