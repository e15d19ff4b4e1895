"""The store: no crash or second writer loses or doubles a row."""

import multiprocessing
import subprocess
import sys
from datetime import timedelta

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from resources.lance import (
    SCHEMAS,
    LanceStore,
    points_schema,
    quoted,
    vectors_schema,
    vectors_table,
)
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


def test_overwriting_is_one_commit_of_rows_schema_and_metadata(store):
    for dim in (2, 3):
        rows = pa.table(
            {
                "image_id": ["a", "b"],
                "point": pa.array([[1.0] * dim] * 2, pa.list_(pa.float32(), dim)),
            },
            schema=points_schema(dim),
        )
        version = store.overwrite("points.mini.pca", rows, {"panoptic:dim": str(dim)})
    schema = store.schema_of("points.mini.pca")
    assert version == store.version("points.mini.pca") == 2
    assert schema.metadata == {b"panoptic:dim": b"3"}
    assert store.read("points.mini.pca")["point"].to_pylist() == [[1, 1, 1]] * 2
    assert store.read("points.mini.pca", version=1)["point"].to_pylist() == [[1, 1]] * 2
    assert schema.field("image_id").metadata == points_schema(3).field("image_id").metadata


def test_the_index_finds_the_rows_that_are_near_and_takes_up_new_ones(store):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(600, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def rows(start, stop):
        ids = [f"i{row:03}" for row in range(start, stop)]
        schema = vectors_schema(16)
        return pa.table({"image_id": ids, "vector": list(vectors[start:stop])}, schema=schema)

    store.overwrite("vectors.mini", rows(0, 500), {})
    store.index("vectors.mini")
    store.upsert("vectors.mini", rows(500, 600))
    store.index("vectors.mini")
    query, found = store.search("vectors.mini", vectors[[3, 550]], 10)
    for number, row in enumerate((3, 550)):
        nearest = np.argsort(-(vectors @ vectors[row]))[:10]
        names = [name for name, of in zip(found.to_pylist(), query, strict=True) if of == number]
        assert names == [f"i{other:03}" for other in nearest]
    assert store.search("vectors.mini", vectors[:1], 1)[1].to_pylist() == ["i000"]


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


VECTORS = vectors_schema(4)


def some(first, count, value=0.5):
    ids = [f"{number:06}" for number in range(first, first + count)]
    return pa.table({"image_id": ids, "vector": [[value] * 4] * count}, schema=VECTORS)


@pytest.fixture
def vectors(tmp_path):
    store = LanceStore(uri=str(tmp_path / "store"))
    store.create("vectors.x", VECTORS, {})
    return store


def test_staged_rows_are_seen_by_nobody_until_they_are_committed(vectors):
    name = vectors.stage("vectors.x", some(0, 10))
    assert vectors.count("vectors.x") == 0
    assert vectors.tables() == ["vectors.x"]
    assert vectors.staged("vectors.x") == [name]
    assert vectors.commit("vectors.x", [name]) == 10
    assert vectors.count("vectors.x") == 10
    assert vectors.staged("vectors.x") == []


def test_many_staged_parts_are_one_commit(vectors):
    names = [vectors.stage("vectors.x", some(10 * number, 10)) for number in range(5)]
    before = vectors.version("vectors.x")
    assert vectors.commit("vectors.x", names) == 50
    assert vectors.version("vectors.x") == before + 1


def test_rows_that_are_staged_twice_are_committed_once(vectors):
    names = [vectors.stage("vectors.x", some(first, 10)) for first in (0, 5)]
    assert vectors.commit("vectors.x", names) == 15
    assert vectors.commit("vectors.x", [vectors.stage("vectors.x", some(0, 15, 0.1))]) == 0
    assert vectors.read("vectors.x")["vector"].to_pylist() == [[0.5] * 4] * 15


def test_what_another_process_has_committed_is_skipped(vectors):
    name = vectors.stage("vectors.x", some(0, 10))
    assert vectors.commit("vectors.x", [name]) == 10
    assert vectors.commit("vectors.x", [name]) == 0


def test_a_part_that_was_not_written_to_its_end_is_not_staged(vectors, tmp_path):
    """A crash at any moment."""
    (tmp_path / "store" / "staging" / "vectors.x" / "half.lance" / "data").mkdir(parents=True)
    assert vectors.staged("vectors.x") == []


COMMIT = """
import sys
from resources.lance import LanceStore
store = LanceStore(uri=sys.argv[1])
names = store.staged("vectors.x")
print("ready", flush=True)
sys.stdin.readline()
print(store.commit("vectors.x", names))
"""


def test_two_processes_that_commit_the_same_parts_at_once_double_nothing(vectors, tmp_path):
    for number in range(20):
        vectors.stage("vectors.x", some(100 * number, 100))
    command = [sys.executable, "-c", COMMIT, str(tmp_path / "store")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    ids = vectors.read("vectors.x")["image_id"].to_pylist()
    assert len(ids) == len(set(ids)) == 2000


def test_clean_up_keeps_pinned_versions_and_removes_the_others(vectors):
    versions = [vectors.upsert("vectors.x", some(0, 10, value)) for value in (0.1, 0.2, 0.3, 0.4)]
    vectors.pin("vectors.x", versions[1], "record")
    vectors.optimize("vectors.x", keep=timedelta(0))
    kept = vectors.read("vectors.x", version=versions[1])["vector"].to_pylist()
    assert kept == [[pytest.approx(0.2)] * 4] * 10
    with pytest.raises(Exception, match="no longer exists"):
        vectors.read("vectors.x", version=versions[0])


def test_young_versions_are_kept_without_a_pin(vectors):
    versions = [vectors.upsert("vectors.x", some(0, 10, value)) for value in (0.1, 0.2, 0.3)]
    vectors.optimize("vectors.x")
    assert vectors.read("vectors.x", version=versions[0]).num_rows == 10


def test_small_refreshes_do_not_write_a_large_table_anew(vectors, tmp_path):
    """Pinned versions share what has not changed."""
    vectors.upsert("vectors.x", some(0, 20_000))
    vectors.pin("vectors.x", vectors.version("vectors.x"), "first")
    size = disk(tmp_path)
    for number in range(10):
        vectors.upsert("vectors.x", some(20_000 + 20 * number, 20))
        vectors.optimize("vectors.x", keep=timedelta(0))
    assert disk(tmp_path) < 1.05 * size
    assert vectors.count("vectors.x") == 20_200


def disk(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_optimizing_again_commits_nothing(vectors):
    for number in range(3):
        vectors.upsert("vectors.x", some(10 * number, 10))
    vectors.optimize("vectors.x")
    version = vectors.version("vectors.x")
    vectors.optimize("vectors.x")
    assert vectors.version("vectors.x") == version


def test_a_store_of_an_older_schema_gains_the_new_columns(tmp_path):
    old = pa.schema([field for field in SCHEMAS["files"] if field.name not in ("etag", "reader")])
    row = {"path": "a.jpg", "image_id": "A", "status": "present", "size": 1, "mtime_ns": 1}
    lancedb.connect(tmp_path).create_table("files", pa.Table.from_pylist([row], schema=old))
    store = LanceStore(uri=str(tmp_path))
    assert store.read("files", ["path", "etag"]).to_pylist() == [{"path": "a.jpg", "etag": None}]
    new = pa.Table.from_pylist([row | {"etag": "x"}], schema=SCHEMAS["files"])
    store.upsert("files", new)
    assert store.read("files")["etag"].to_pylist() == ["x"]


def test_pinning_leaves_the_folders_around_the_store_alone(tmp_path):
    place = tmp_path / "été" / "store"
    store = LanceStore(uri=str(place))
    store.create("vectors.x", VECTORS, {})
    beside = tmp_path / "%C3%A9t%C3%A9"
    beside.mkdir()
    store.pin("vectors.x", 1, "record")
    assert sorted(path.name for path in tmp_path.iterdir()) == [beside.name, "été"]
    assert list(beside.iterdir()) == []
