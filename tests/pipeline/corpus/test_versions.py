"""Corpus versions: what a refresh leaves, how it is named, and what lies between two of them."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg
import lancedb
import pytest

from panoptic_assets.corpus import manifest
from panoptic_assets.corpus.table import read_manifest
from panoptic_assets.corpus.versions import (
    diff,
    find_version,
    record_version,
    replay_versions,
    versions,
)
from resources.errors import InputError
from resources.lance import LanceStore
from resources.project_folder import ProjectSettings, create
from tests import processes
from tests.commands import refused, run
from tests.tiny import write_images
from tests.workbench import Workbench, data_version


def present(path, image_id):
    return manifest.File(path, image_id, "present", None, 10, 1, "", "")


def by_path(*files):
    return {file.path: file for file in files}


A, B = present("a.jpg", "A"), present("b.jpg", "B")


@pytest.fixture
def store(tmp_path):
    return LanceStore(uri=str(tmp_path / "store"))


@pytest.fixture
def bench(tmp_path):
    """Ten images, never refreshed."""
    write_images(tmp_path / "project" / "images", 10)
    project = create(tmp_path / "project", ProjectSettings(images="images"))
    return Workbench(project, dg.DagsterInstance.ephemeral())


def image(bench, number):
    return bench.project.folder / "images" / "0000" / f"{number:06}.jpg"


def holding(files):
    """What counts of a manifest."""
    return {path: (file.status, file.image_id) for path, file in files.items()}


def test_a_refresh_that_changes_something_leaves_a_version(bench):
    bench.make("images")
    image(bench, 0).unlink()
    write_images(image(bench, 0).parent.parent, 2, 10)
    result = bench.run("images")
    first, second = bench.read.corpus_versions()
    assert (first["number"], first["nb_images"], first["changes"]["added"]) == (1, 10, 10)
    assert (second["number"], second["nb_images"], second["nb_missing"]) == (2, 11, 1)
    assert (second["changes"]["added"], second["changes"]["missing"]) == (2, 1)
    assert second["dagster_run_id"] == result.run_id
    assert second["sha256"] == manifest.corpus_version(read_manifest(bench.store).values())


def test_an_unchanged_corpus_leaves_no_version_no_commit_and_its_data_version(bench):
    before = data_version(bench.run("images"), "images")
    committed = bench.store.version("corpus_log")
    image(bench, 3).touch()
    assert data_version(bench.run("images"), "images") == before
    assert bench.store.version("corpus_log") == committed
    assert len(bench.read.corpus_versions()) == 1


def test_the_replay_of_the_log_is_the_manifest_at_every_version(bench):
    states = []
    folder = image(bench, 0).parent
    for step in range(4):
        image(bench, step).rename(folder / f"moved{step}.jpg")
        (folder / "broken.jpg").write_bytes(b"broken" * step)
        image(bench, step + 5).unlink()
        bench.make("images")
        states.append(holding(read_manifest(bench.store)))
    assert [holding(replay_versions(bench.store, number)) for number in (1, 2, 3, 4)] == states


def test_a_refresh_that_was_killed_before_the_log_is_made_up_for_by_the_next(bench):
    """The kill comes between the two commits: the manifest is new, the log is not."""
    bench.make("images")
    before = bench.store.version("corpus_log")
    write_images(image(bench, 0).parent.parent, 3, 10)
    bench.make("images")
    lancedb.connect(bench.project.store).open_table("corpus_log").restore(before)
    assert len(bench.read.corpus_versions()) == 1
    bench.make("images")  # nothing has changed since; the log has to be mended all the same
    found = bench.read.corpus_diff()
    assert (found["new"]["number"], len(found["changes"]["added"])) == (2, 3)
    assert holding(replay_versions(bench.store)) == holding(read_manifest(bench.store))


def test_a_store_that_is_older_than_the_log_starts_it_with_all_files(bench):
    bench.make("images")
    lancedb.connect(bench.project.store).drop_table("corpus_log")
    bench.make("images")
    [version] = bench.read.corpus_versions()
    assert (version["number"], version["nb_files"]) == (1, 10)


def test_every_kind_of_change_is_told(bench):
    bench.make("images")
    folder = image(bench, 0).parent
    image(bench, 0).rename(folder / "z.jpg")
    image(bench, 1).write_bytes(image(bench, 2).read_bytes()[::-1])
    image(bench, 3).unlink()
    (folder / "copy.jpg").write_bytes(image(bench, 4).read_bytes())
    bench.make("images")
    changes = bench.read.corpus_diff()["changes"]
    assert changes["moved"] == [("0000/000000.jpg", "0000/z.jpg")]
    assert changes["duplicate"] == ["0000/copy.jpg"]
    assert changes["missing"] == ["0000/000003.jpg"]
    assert [path for path, _ in changes["quarantined"]] == ["0000/000001.jpg"]


def test_a_diff_reads_backwards_too(store):
    record_version(store, by_path(A), "run")
    record_version(store, by_path(A, B), "run")
    assert diff(store).changes.added == ["b.jpg"]
    assert diff(store, "0", "1").changes.added == ["a.jpg"]
    assert diff(store, "2", "2").changes == manifest.Changes()


def test_versions_have_names(store):
    for files in (by_path(A), by_path(A, B), by_path(A)):
        record_version(store, files, "run")
    known = versions(store)
    assert [version.number for version in known] == [1, 2, 3]
    assert find_version(known, "latest").number == 3
    assert find_version(known, "2").number == 2
    assert find_version(known, known[1].sha256[:8]).number == 2
    # The corpus is what it was: the newest version of that hash is meant.
    assert find_version(known, known[0].sha256[:12]).number == 3
    assert find_version(known, f"{datetime.now().astimezone():%Y-%m-%d}").number == 3
    assert find_version(known, f"{datetime.now().astimezone():%Y}").number == 3


def test_a_date_means_the_corpus_at_the_end_of_that_day(store):
    record_version(store, by_path(A), "run")
    [first] = versions(store)
    week = [
        first.model_copy(update={"number": day, "at": datetime(2026, 11, day, 12, tzinfo=UTC)})
        for day in (2, 4, 6)
    ]
    assert find_version(week, "2026-11-05").number == 4
    assert find_version(week, "2026-11-06").number == 6
    assert find_version(week, "2026-11").number == 6
    with pytest.raises(InputError, match="no version as old as 2026-11-01"):
        find_version(week, "2026-11-01")


@pytest.mark.parametrize("name", ["7", "abc", "f" * 12, "-1", "2026-13-01", ""])
def test_a_name_of_nothing_is_refused_with_what_exists(store, name):
    record_version(store, by_path(A), "run")
    with pytest.raises(InputError, match="Known are 1 to 1"):
        find_version(versions(store), name)


def test_there_is_nothing_to_compare_before_the_first_refresh(store):
    with pytest.raises(InputError, match="no corpus version yet"):
        diff(store)


def append(uri, name, ready):
    store = LanceStore(uri=uri)
    store.read("corpus_log")
    ready.wait()
    record_version(
        store, by_path(*(present(f"{name}{number}", name) for number in range(50))), name
    )


def test_two_refreshes_at_once_leave_a_log_whose_replay_is_one_of_their_manifests(store):
    """Nothing is doubled; the next refresh makes a version of what differs."""
    record_version(store, by_path(A), "run")
    barrier = processes.CONTEXT.Barrier(2)
    both = [processes.start(append, store.uri, name, barrier) for name in "xy"]
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    numbers = [version.number for version in versions(store)]
    assert numbers == sorted(set(numbers))
    rows = store.read("corpus_log", ["version", "path"]).to_pylist()
    assert len({(row["version"], row["path"]) for row in rows}) == len(rows)
    record_version(store, by_path(B), "run")
    assert holding(replay_versions(store)) == holding(by_path(B))


def test_an_image_of_which_the_rows_are_deleted_never_was(store):
    """What a person asks to be forgotten."""
    record_version(store, by_path(A, B), "run")
    record_version(store, by_path(A, replace(B, status="missing")), "run")
    lancedb.connect(store.uri).open_table("corpus_log").delete("image_id = 'B'")
    assert holding(replay_versions(store, 1)) == holding(by_path(A))
    record_version(store, by_path(A), "run")
    assert versions(store)[-1].number == 3
    assert holding(replay_versions(store)) == holding(by_path(A))


def test_the_commands_list_versions_and_compare_them(bench):
    folder = bench.project.folder
    assert "No corpus version yet" in run("versions", cwd=folder).stdout
    bench.make("images")
    image(bench, 0).rename(image(bench, 0).parent / "z.jpg")
    bench.make("images")
    listed = run("versions", cwd=folder).stdout
    assert "10 added" in listed
    assert "1 moved" in listed
    shown = run("diff", cwd=folder).stdout
    assert "0000/000000.jpg → 0000/z.jpg" in shown
    found = json.loads(run("diff", "0", "1", "--json", cwd=folder).stdout)
    assert len(found["changes"]["added"]) == 10
    assert "There is no corpus version '9'" in refused("diff", "9", cwd=folder)
