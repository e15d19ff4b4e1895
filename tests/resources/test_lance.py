"""The store: no crash or second writer loses or doubles a row."""

import multiprocessing
import shutil
import time

import pyarrow as pa
import pytest

from resources.lance import SCHEMAS, LanceStore, quoted, vectors_schema, vectors_table
from resources.project import ProjectSettings, create


@pytest.fixture
def store(tmp_path):
    return LanceStore(uri=str(tmp_path / "store"))


def assignments(record_id, n, cluster="0"):
    rows = [
        {"record_id": record_id, "image_id": f"i{i}", "key": "a", "cluster": cluster, "distance": 0}
        for i in range(n)
    ]
    return pa.Table.from_pylist(rows, SCHEMAS["assignments"])


def test_a_table_that_does_not_exist_has_no_rows(store):
    assert store.read("files", ["path"]).column_names == ["path"]
    assert store.read("files").num_rows == store.version("files") == 0
    assert store.schema_of("files") is None
    assert list(store.batches("files", ["path"])) == []
    store.optimize("files")


def test_reading_returns_every_row_and_not_a_page(store):
    store.upsert("assignments", assignments("a@1", 5000))
    assert store.read("assignments").num_rows == 5000
    assert store.read("assignments", ["image_id"], "key = 'a'").num_rows == 5000
    assert sum(batch.num_rows for batch in store.batches("assignments", ["image_id"])) == 5000


def test_rows_with_a_known_key_are_updated(store):
    store.upsert("assignments", assignments("a@1", 5))
    store.upsert("assignments", assignments("a@1", 7, cluster="1"))
    assert store.read("assignments")["cluster"].to_pylist() == ["1"] * 7


def test_replacing_is_one_commit_and_leaves_other_rows_alone(store):
    store.upsert("assignments", assignments("a@1", 10))
    before = store.upsert("assignments", assignments("a@2", 10))
    after = store.replace("assignments", assignments("a@1", 3, "9"), "record_id = 'a@1'")
    assert after == before + 1
    rows = store.read("assignments").to_pylist()
    assert sum(row["record_id"] == "a@2" for row in rows) == 10
    assert [row["cluster"] for row in rows if row["record_id"] == "a@1"] == ["9"] * 3


def test_replacing_by_nothing_removes_the_rows(store):
    store.upsert("assignments", assignments("a@1", 10))
    store.replace("assignments", assignments("a@1", 0), "record_id = 'a@1'")
    assert store.read("assignments").num_rows == 0


def test_a_row_is_inserted_once(store):
    row = {"record_id": "a@1", "key": "a", "revision": 1, "run_key": "a", "content": "{}"}
    assert store.insert("records", row)
    assert not store.insert("records", row | {"content": "other"})
    assert store.read("records")["content"].to_pylist() == ["{}"]


def test_a_pinned_version_can_be_read_after_later_writes(store):
    version = store.upsert("assignments", assignments("a@1", 4))
    store.pin("assignments", version, "a.1")
    store.pin("assignments", version, "a.1")
    store.replace("assignments", assignments("a@1", 1), "true")
    store.optimize("assignments")
    assert store.read("assignments", version=version).num_rows == 4
    assert store.read("assignments").num_rows == 1


def test_a_store_below_a_folder_with_accents_stays_in_it(tmp_path):
    store = LanceStore(uri=str(tmp_path / "corpus d'été 図" / "store"))
    version = store.upsert("assignments", assignments("a@1", 4))
    store.pin("assignments", version, "a.1")
    store.upsert("assignments", assignments("a@1", 5))
    assert store.read("assignments", version=version).num_rows == 4
    assert [path.name for path in tmp_path.iterdir()] == ["corpus d'été 図"]


def test_more_tables_than_one_page_are_listed(store):
    names = {vectors_table(f"type-{number}") for number in range(25)}
    for name in names:
        store.create(name, vectors_schema(4), {})
    assert set(store.tables()) == names


def test_metadata_of_a_table_is_that_of_its_first_creator(store):
    store.create("vectors.a", vectors_schema(4), {"model": "one"})
    schema = store.create("vectors.a", vectors_schema(4), {"model": "two"})
    assert schema.metadata == {b"model": b"one"}
    assert store.schema_of("vectors.a").metadata == {b"model": b"one"}


def test_texts_are_quoted(store):
    row = {"path": "l'été; --.jpg", "status": "present"}
    store.upsert("files", pa.Table.from_pylist([row], SCHEMAS["files"]))
    assert store.count("files", f"path = {quoted(row['path'])}") == 1


def vectors(*numbers, dim=4):
    """Rows of the images ``i000``, …; a vector holds its image's number."""
    rows = [{"image_id": f"i{i:03}", "vector": [i] * dim} for i in numbers]
    return pa.Table.from_pylist(rows, vectors_schema(dim))


def ids(store, table="vectors.a"):
    return sorted(store.read(table, ["image_id"])["image_id"].to_pylist())


@pytest.fixture
def vector_store(store):
    store.create("vectors.a", vectors_schema(4), {"model": "one"})
    return store


def test_staged_rows_are_seen_by_no_reader_until_they_are_committed(vector_store):
    name = vector_store.stage("vectors.a", vectors(1, 2))
    before = vector_store.count("vectors.a"), vector_store.tables()
    assert (before, vector_store.commit("vectors.a", [name])) == ((0, ["vectors.a"]), 2)
    rows = vector_store.read("vectors.a").sort_by("image_id")
    assert rows.to_pylist() == vectors(1, 2).to_pylist()


def test_a_group_is_one_commit_and_equal_ids_in_it_are_one_row(vector_store):
    before = vector_store.version("vectors.a")
    names = [vector_store.stage("vectors.a", vectors(*n)) for n in ((1, 2), (2, 3), (3, 3, 4))]
    assert vector_store.commit("vectors.a", names) == 4
    assert vector_store.version("vectors.a") == before + 1
    assert ids(vector_store) == ["i001", "i002", "i003", "i004"]


def test_committing_again_doubles_nothing(vector_store):
    name = vector_store.stage("vectors.a", vectors(1, 2))
    assert vector_store.commit("vectors.a", [name, name]) == 2
    version = vector_store.version("vectors.a")
    assert vector_store.commit("vectors.a", [name]) == 0
    assert vector_store.version("vectors.a") == version


def test_after_a_crash_between_commit_and_removal_the_next_commit_adds_nothing(
    vector_store, monkeypatch
):
    name = vector_store.stage("vectors.a", vectors(1, 2))
    monkeypatch.setattr(LanceStore, "discard", lambda *_: None)
    vector_store.commit("vectors.a", [name])
    monkeypatch.undo()
    assert vector_store.staged("vectors.a") == [name]
    assert vector_store.commit("vectors.a", vector_store.staged("vectors.a")) == 0
    assert (ids(vector_store), vector_store.staged("vectors.a")) == (["i001", "i002"], [])


def test_a_commit_leaves_known_rows_as_they_are(vector_store):
    vector_store.upsert("vectors.a", vectors(1))
    other = vectors(1, 2).set_column(1, vectors_schema(4).field(1), vectors(8, 9)["vector"])
    vector_store.commit("vectors.a", [vector_store.stage("vectors.a", other)])
    rows = vector_store.read("vectors.a").sort_by("image_id")
    assert [row[0] for row in rows["vector"].to_pylist()] == [1, 9]


def test_rows_that_a_crash_left_staged_are_listed_and_can_be_discarded(store, vector_store):
    names = sorted(vector_store.stage("vectors.a", vectors(n)) for n in range(12))
    another_process = LanceStore(uri=store.uri)
    assert another_process.staged("vectors.a") == names
    another_process.discard("vectors.a", [*names[1:], names[1]])
    assert another_process.staged("vectors.a") == names[:1]
    assert another_process.staged("vectors.b") == []


def test_rows_staged_for_a_table_that_was_made_again_for_another_model_are_discarded(
    vector_store, tmp_path
):
    name = vector_store.stage("vectors.a", vectors(1, 2))
    shutil.rmtree(tmp_path / "store" / "vectors.a.lance")
    vector_store.create("vectors.a", vectors_schema(4), {"model": "two"})
    assert vector_store.commit("vectors.a", [name]) == 0
    assert (ids(vector_store), vector_store.staged("vectors.a")) == ([], [])


@pytest.mark.parametrize("rows", [vectors(1, dim=5), vectors(1).select(["image_id"])])
def test_rows_that_do_not_fit_their_table_are_not_staged(vector_store, rows):
    with pytest.raises((ValueError, TypeError)):
        vector_store.stage("vectors.a", rows)
    assert vector_store.staged("vectors.a") == []


def test_a_name_that_leaves_the_folder_of_staged_rows_is_refused(vector_store):
    with pytest.raises(ValueError, match="not the name of staged rows"):
        vector_store.discard("vectors.a", ["../../vectors.a.lance/data/x"])


def _commit_staged(uri, barrier, names):
    store = LanceStore(uri=uri)
    store.version("vectors.a")
    barrier.wait()
    for start in range(0, len(names), 2):
        store.commit("vectors.a", names[start : start + 2])


def test_processes_that_commit_the_same_staged_rows_at_once_leave_each_once(vector_store):
    names = [vector_store.stage("vectors.a", vectors(*range(n, n + 50))) for n in range(0, 500, 50)]
    _together(_commit_staged, *[(vector_store.uri, names)] * 3)
    assert ids(vector_store) == [f"i{n:03}" for n in range(500)]
    assert vector_store.staged("vectors.a") == []


def _stage_until_killed(uri, barrier):
    store = LanceStore(uri=uri)
    barrier.wait()
    rows = vectors(*range(2000), dim=512)
    while True:
        store.stage("vectors.big", rows)


def test_a_killed_process_leaves_only_whole_staged_rows(store):
    store.create("vectors.big", vectors_schema(512), {})
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    process = context.Process(target=_stage_until_killed, args=(store.uri, barrier))
    process.start()
    barrier.wait(60)
    while not store.staged("vectors.big"):
        time.sleep(0.001)
    process.kill()
    process.join()
    names = store.staged("vectors.big")
    assert [store.commit("vectors.big", [name]) for name in names] == [2000] + [0] * (
        len(names) - 1
    )


def _insert_vectors(uri, barrier):
    store = LanceStore(uri=uri)
    barrier.wait()
    store.create("vectors.a", vectors_schema(4), {"model": "one"})
    for start in range(0, 500, 50):
        rows = [{"image_id": f"i{i:03}", "vector": [1, 0, 0, 0]} for i in range(start, start + 50)]
        store.upsert("vectors.a", pa.Table.from_pylist(rows, vectors_schema(4)))


def _insert_events(uri, barrier, author):
    store = LanceStore(uri=uri)
    barrier.wait()
    for _ in range(10):
        number = store.count("tag_log") + 1
        while not store.insert("tag_log", {"event_id": f"{number:012d}", "author": author}):
            number += 1


def _together(target, *arguments):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(arguments))
    processes = [
        context.Process(target=target, args=(given[0], barrier, *given[1:])) for given in arguments
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def test_writers_that_insert_the_same_new_ids_at_once_leave_each_once(store):
    """Without the primary-key metadata both succeed and every row is there twice."""
    _together(_insert_vectors, (store.uri,), (store.uri,), (store.uri,))
    ids = [
        image_id
        for batch in store.batches("vectors.a", ["image_id"])
        for image_id in batch["image_id"].to_pylist()
    ]
    assert sorted(ids) == [f"i{i:03}" for i in range(500)]


def test_events_appended_by_two_processes_at_once_are_all_kept(store):
    _together(_insert_events, (store.uri, "one"), (store.uri, "two"))
    rows = store.read("tag_log", ["event_id", "author"]).sort_by("event_id").to_pylist()
    assert [row["event_id"] for row in rows] == [f"{number:012d}" for number in range(1, 21)]
    assert sorted(row["author"] for row in rows) == ["one"] * 10 + ["two"] * 10


def test_a_store_can_be_any_lancedb_uri():
    store = LanceStore(uri="memory://", storage_options={"timeout": "10s"})
    store.upsert("assignments", assignments("a@1", 3))
    assert store.read("assignments").num_rows == 3
    assert store.tables() == ["assignments"]


def test_without_a_uri_the_store_is_the_projects(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    create(tmp_path, ProjectSettings(images="images", store="elsewhere/lance"))
    monkeypatch.setenv("PANOPTIC_PROJECT", str(tmp_path))
    LanceStore().upsert("assignments", assignments("a@1", 3))
    assert (tmp_path / "elsewhere" / "lance" / "assignments.lance").is_dir()
