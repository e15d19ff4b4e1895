"""Stores and projects of other versions: newer ones are refused, older ones are migrated."""

import errno
import shutil

import dagster as dg
import lancedb
import pyarrow as pa
import pytest
import yaml

from panoptic_assets.project import Project
from resources import lance as stores
from resources import project_folder as projects
from resources.errors import InputError
from resources.lance import LanceStore
from resources.project_folder import ProjectSettings, create, find
from resources.schemas import SCHEMAS, vectors_schema
from tests import processes
from tests.commands import everything, refused
from tests.tiny import write_images
from tests.workbench import Workbench


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A small project whose images were read."""
    folder = tmp_path_factory.mktemp("written")
    write_images(folder / "images", 3)
    project = create(folder, ProjectSettings(images=str(folder / "images")))
    Workbench(project, dg.DagsterInstance.ephemeral()).make("images")
    return folder


@pytest.fixture
def folder(written, tmp_path):
    """The same, to do with as a test likes."""
    return shutil.copytree(written, tmp_path / "project")


@pytest.fixture
def next_format(monkeypatch):
    """This program's next version, whose migration renames a status in the table `files`."""
    monkeypatch.setattr(stores, "FORMAT", 2)
    monkeypatch.setitem(stores.MIGRATIONS, 1, _renamed)


def _renamed(store):
    rows = store.read("files", where="status = 'present'")
    statuses = pa.array(["here"] * len(rows), pa.string())
    column = rows.schema.get_field_index("status")
    store.upsert("files", rows.set_column(column, "status", statuses).cast(SCHEMAS["files"]))


def format_of(folder):
    """The names that tell the format of a project's store."""
    return sorted(path.name for path in (folder / ".panoptic" / "store").glob("format.*"))


def written_by_the_next_version(folder, monkeypatch):
    with monkeypatch.context() as newer:
        newer.setattr(stores, "FORMAT", 2)
        newer.setitem(stores.MIGRATIONS, 1, lambda store: None)
        Project(folder).files()


def statuses(folder):
    return set(LanceStore(uri=find(folder).store).read("files")["status"].to_pylist())


def test_a_new_store_tells_its_format_and_a_project_of_the_first_one_does_not(folder):
    """Programs from before there was a format can still read it."""
    assert format_of(folder) == ["format.1.lance"]
    content = yaml.safe_load((folder / ".panoptic" / "project.yaml").read_text())
    assert "format" not in content
    assert find(folder).settings.format == 1


def test_a_store_in_memory_has_a_format():
    store = LanceStore(uri="memory://")
    store.create("vectors.a", vectors_schema(4), {})
    assert store.tables() == ["vectors.a"]
    assert store.count("format.1") == 0


def test_what_tells_no_format_is_of_the_first_one(folder):
    store = find(folder).store
    lancedb.connect(store).drop_table("format.1")
    assert len(Project(folder).files()) == 3
    assert find(folder).settings.format == 1
    assert format_of(folder) == []


@pytest.mark.parametrize(
    "command",
    [
        ("runs",),
        ("status", "--json"),
        ("refresh",),
        ("cluster", "a", "--nb-clusters", "2"),
        ("tag", "create", "a"),
        ("forget", "0000/000000.jpg", "--yes"),
        ("ui", "--port", "0"),
    ],
)
def test_commands_refuse_a_newer_store_and_touch_nothing(command, folder, monkeypatch):
    written_by_the_next_version(folder, monkeypatch)
    before = everything(folder)
    line = refused(*command, cwd=folder)
    assert f"The store {find(folder).store} has format 2" in line
    assert "reads format 1 at most: upgrade panoptic_assets" in line
    assert everything(folder) == before


def test_python_and_dagster_refuse_a_newer_store(folder, monkeypatch):
    written_by_the_next_version(folder, monkeypatch)
    before = everything(folder)
    with pytest.raises(InputError, match=r"has format 2, and this version .* format 1 at most"):
        Project(folder).runs()
    bench = Workbench(find(folder), dg.DagsterInstance.ephemeral())
    assert "upgrade panoptic_assets" in bench.refused("images")
    assert "upgrade panoptic_assets" in bench.refused("tags")
    assert everything(folder) == before


@pytest.mark.parametrize("command", [("runs",), ("init", "images"), ("ui",), ("refresh",)])
def test_a_newer_project_is_refused_whatever_else_its_file_holds(command, folder):
    file = folder / ".panoptic" / "project.yaml"
    file.write_text("format: 7\nplaces: [a, b]\n")
    before = everything(folder)
    line = refused(*command, cwd=folder)
    assert f"The project {folder} has format 7" in line
    assert "reads format 1 at most: upgrade panoptic_assets" in line
    assert everything(folder) == before
    with pytest.raises(InputError, match="upgrade panoptic_assets"):
        Project(folder)


@pytest.mark.parametrize("value", ["0", "-1", "new", "1.5", "[1]", "null"])
def test_a_format_that_is_no_number_is_refused_as_any_setting_is(value, folder):
    file = folder / ".panoptic" / "project.yaml"
    file.write_text(file.read_text() + f"format: {value}\n")
    assert "format: " in refused("runs", cwd=folder)


def test_an_older_store_is_migrated_once_by_whoever_opens_it(folder, next_format, monkeypatch):
    assert statuses(folder) == {"here"}
    assert format_of(folder) == ["format.1.lance", "format.2.lance"]
    monkeypatch.setitem(stores.MIGRATIONS, 1, None)
    assert statuses(folder) == {"here"}


def test_a_store_that_is_made_now_needs_no_migration(tmp_path, next_format, monkeypatch):
    monkeypatch.setitem(stores.MIGRATIONS, 1, None)
    store = LanceStore(uri=str(tmp_path / "store"))
    assert store.read("files").num_rows == 0
    store.create("vectors.a", vectors_schema(4), {})
    assert LanceStore(uri=store.uri).tables() == ["vectors.a"]
    assert [path.name for path in (tmp_path / "store").glob("format.*")] == ["format.2.lance"]


def test_a_migration_that_fails_leaves_the_store_what_it_was(folder, next_format, monkeypatch):
    def fail(store):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(stores.MIGRATIONS, 1, fail)
    with pytest.raises(OSError, match="No space"):
        Project(folder).files()
    assert format_of(folder) == ["format.1.lance"]
    monkeypatch.setitem(stores.MIGRATIONS, 1, _renamed)
    assert statuses(folder) == {"here"}


def _migrate(uri, killed):
    stores.FORMAT, stores.MIGRATIONS[1] = 2, _renamed
    if killed:
        stores._write_format = lambda *_: processes.os._exit(9)
    LanceStore(uri=uri).tables()


def test_a_kill_before_the_number_is_written_is_made_good(folder):
    uri = find(folder).store
    process = processes.start(_migrate, uri, True)
    process.join()
    assert process.exitcode == 9
    assert statuses(folder) == {"here"}  # by what was killed; the number is the old one
    assert format_of(folder) == ["format.1.lance"]
    process = processes.start(_migrate, uri, False)
    process.join()
    assert process.exitcode == 0
    assert format_of(folder) == ["format.1.lance", "format.2.lance"]
    with pytest.raises(InputError, match="has format 2"):
        statuses(folder)


def test_of_two_processes_one_migrates_a_store(folder):
    uri = find(folder).store
    before = LanceStore(uri=uri).version("files")
    started = [processes.start(_migrate, uri, False) for _ in range(2)]
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0, 0]
    assert format_of(folder) == ["format.1.lance", "format.2.lance"]
    table = lancedb.connect(uri).open_table("files")
    assert table.version == before + 1
    assert set(table.to_arrow()["status"].to_pylist()) == {"here"}


def test_settings_of_an_older_project_are_read_and_stay_as_people_wrote_them(folder, monkeypatch):
    file = folder / ".panoptic" / "project.yaml"
    written = f"# ours\nimages: {folder / 'images'}\nkind: mini\n"
    file.write_text(written)

    def renamed(content):
        return {("vector_type" if name == "kind" else name): v for name, v in content.items()}

    monkeypatch.setattr(projects, "FORMAT", 2)
    monkeypatch.setitem(projects.MIGRATIONS, 1, renamed)
    assert (find(folder).settings.vector_type, find(folder).settings.format) == ("mini", 2)
    assert file.read_text() == written


def test_a_store_that_another_version_made_since_it_was_opened_gets_no_table(tmp_path, monkeypatch):
    uri = str(tmp_path / "store")
    opened = LanceStore(uri=uri)
    assert opened.tables() == []
    with monkeypatch.context() as newer:
        newer.setattr(stores, "FORMAT", 2)
        LanceStore(uri=uri).create("vectors.b", vectors_schema(4), {})
    with pytest.raises(InputError, match="upgrade panoptic_assets"):
        opened.create("vectors.a", vectors_schema(4), {})
