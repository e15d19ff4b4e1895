"""The store: no crash or second writer loses or doubles a row."""

import shutil
import time
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path

import boto3
import lance
import lancedb
import numpy as np
import pyarrow as pa
import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from resources.lance import LanceStore, VersionGoneError, quoted
from resources.project_folder import ProjectSettings, create
from resources.schemas import SCHEMAS, points_schema, vectors_schema, vectors_table
from tests import processes


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


def fragments(store, table="assignments"):
    return lance.dataset(f"{store.uri}/{table}.lance").get_fragments()


def data_files(store, table="vectors.a"):
    return {path.name for path in Path(store.uri, f"{table}.lance", "data").iterdir()}


def test_a_pinned_version_can_be_read_row_for_row_after_clean_up_however_old_it_is(store):
    store.upsert("assignments", assignments("a@0", 4))
    pinned = store.upsert("assignments", assignments("a@1", 4))
    before = store.read("assignments")
    for _ in range(2):
        store.pin("assignments", pinned, "a.1")
    loose = store.replace("assignments", assignments("a@1", 1), "true")
    store.replace("assignments", assignments("a@2", 2), "true")
    store.optimize("assignments", keep=timedelta(0))
    assert store.read("assignments", version=pinned).equals(before)
    assert store.read("assignments").num_rows == 2
    with pytest.raises(VersionGoneError):
        store.read("assignments", version=loose)


@pytest.mark.parametrize(("missing", "readable"), [(1, True), (0, False)])
def test_a_version_stays_readable_for_the_window_after_its_successor(
    store, monkeypatch, missing, readable
):
    """Its own age does not count: a reader may have opened it just before the successor."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return committed + timedelta(days=3, microseconds=-missing)

    version = store.upsert("assignments", assignments("a@1", 4))
    time.sleep(0.01)
    successor = store.replace("assignments", assignments("a@1", 1), "true")
    versions = lance.dataset(f"{store.uri}/assignments.lance").versions()
    committed = next(v["timestamp"] for v in versions if v["version"] == successor)
    monkeypatch.setattr("resources.lance.datetime", Clock)
    store.optimize("assignments", keep=timedelta(days=3))
    with nullcontext() if readable else pytest.raises(VersionGoneError):
        assert store.read("assignments", version=version).num_rows == 4


def test_by_default_versions_of_this_week_are_kept(store):
    version = store.upsert("assignments", assignments("a@1", 4))
    store.replace("assignments", assignments("a@1", 1), "true")
    store.optimize("assignments")
    assert store.read("assignments", version=version).num_rows == 4


def test_small_fragments_are_joined_and_a_tidy_table_is_left_alone(store):
    for number in range(12):
        store.upsert("assignments", assignments(f"a@{number}", 3))
    rows = store.read("assignments").num_rows
    assert len(fragments(store)) == 12
    store.optimize("assignments")
    assert (len(fragments(store)), store.read("assignments").num_rows) == (1, rows)
    version = store.version("assignments")
    store.optimize("assignments", keep=timedelta(0))
    assert store.version("assignments") == version


def test_rows_that_were_deleted_free_their_disk(store):
    store.create("vectors.a", vectors_schema(4), {})
    store.upsert("vectors.a", vectors(*range(1000)))
    store.replace("vectors.a", vectors(), "image_id >= 'i500'")
    store.optimize("vectors.a", keep=timedelta(0))
    assert [fragment.physical_rows for fragment in fragments(store, "vectors.a")] == [500]


def test_new_rows_do_not_make_clean_up_rewrite_a_large_fragment(store):
    store.create("vectors.a", vectors_schema(4), {})
    store.upsert("vectors.a", vectors(*range(5000)))
    large = data_files(store)
    for number in range(5000, 5020):
        store.upsert("vectors.a", vectors(number, number - 5000))
        store.optimize("vectors.a", keep=timedelta(0))
    assert large < data_files(store)
    assert len(data_files(store)) < 10


def test_pinned_versions_force_no_second_copy_of_their_rows(store):
    """The data of ten pinned refreshes is the vectors that some version holds, each once."""
    store.create("vectors.a", vectors_schema(512), {})
    rng = np.random.default_rng(0)
    written = 0
    for number in range(10):
        chosen = range(4000) if number == 0 else range(40 * number, 40 * number + 40)
        rows = vectors(*chosen, dim=512).drop_columns("vector")
        numbers = pa.array(rng.standard_normal(512 * len(chosen), dtype=np.float32))
        rows = rows.append_column("vector", pa.FixedSizeListArray.from_arrays(numbers, 512))
        written += len(chosen) * 512 * 4
        store.pin("vectors.a", store.upsert("vectors.a", rows), f"a.{number}")
        store.optimize("vectors.a", keep=timedelta(0))
    data = Path(store.uri, "vectors.a.lance", "data")
    assert sum(path.stat().st_size for path in data.iterdir()) <= 1.05 * written


def _write_and_read(uri, barrier, number):
    store = LanceStore(uri=uri)
    barrier.wait()
    for start in range(0, 200, 10):
        store.upsert("vectors.a", vectors(*range(start, start + 10)))
        seen = sum(batch.num_rows for batch in store.batches("vectors.a", ["image_id", "vector"]))
        assert seen >= start + 10


def _optimize(uri, barrier, number):
    store = LanceStore(uri=uri)
    barrier.wait()
    for _ in range(20):
        store.optimize("vectors.a")


def test_clean_up_disturbs_no_reader_or_writer_of_another_process(vector_store):
    uri = vector_store.uri
    _together(_write_and_read, (uri, 1), (uri, 2), others=[(_optimize, (uri, 3))])
    assert ids(vector_store) == [f"i{n:03}" for n in range(200)]


def test_a_store_below_a_folder_with_accents_stays_in_it(tmp_path):
    store = LanceStore(uri=str(tmp_path / "corpus d'été 図" / "store"))
    version = store.upsert("assignments", assignments("a@1", 4))
    store.pin("assignments", version, "a.1")
    store.upsert("assignments", assignments("a@1", 5))
    assert store.read("assignments", version=version).num_rows == 4
    store.commit("assignments", [store.stage("assignments", assignments("a@2", 2))])
    store.optimize("assignments", keep=timedelta(0))
    assert store.read("assignments").num_rows == 7
    assert [path.name for path in tmp_path.iterdir()] == ["corpus d'été 図"]


def test_pinning_removes_no_folder_that_was_there_before(tmp_path):
    """Lance makes a second, empty folder of a tag below the percent-encoded path."""
    mine = tmp_path / "%C3%A9t%C3%A9" / "empty"
    mine.mkdir(parents=True)
    store = LanceStore(uri=str(tmp_path / "été" / "empty" / "store"))
    store.pin("assignments", store.upsert("assignments", assignments("a@1", 4)), "a.1")
    assert list(mine.iterdir()) == []


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


@pytest.fixture
def old_table(store):
    """``files`` as a store made it before its newest columns were thought of, with one row."""
    names = SCHEMAS["files"].names
    old = pa.schema(list(SCHEMAS["files"])[: names.index("etag")])
    rows = pa.Table.from_pylist([{"path": "old.jpg", "size": 7}], old)
    lancedb.connect(store.uri).create_table("files", rows)
    return store


def test_a_table_made_before_a_column_existed_is_read_with_nulls(old_table):
    row = {"path": "old.jpg", "size": 7, "etag": None}
    assert old_table.read("files", list(row)).to_pylist() == [row]
    assert old_table.schema_of("files").equals(SCHEMAS["files"], check_metadata=True)


def test_a_table_made_before_a_column_existed_takes_rows_that_have_it(old_table):
    row = {"path": "new.jpg", "etag": "x"}
    old_table.upsert("files", pa.Table.from_pylist([row], SCHEMAS["files"]))
    assert old_table.read("files", ["path", "etag"], "etag = 'x'").to_pylist() == [row]
    version = old_table.version("files")
    assert old_table.count("files") == 2
    assert old_table.version("files") == version


def _open_and_write(uri, barrier, path):
    store = LanceStore(uri=uri)
    barrier.wait()
    row = {"path": path, "etag": path}
    store.upsert("files", pa.Table.from_pylist([row], SCHEMAS["files"]))


def test_processes_that_open_an_old_table_at_once_add_its_column_once(old_table):
    uri = old_table.uri
    _together(_open_and_write, (uri, "a"), (uri, "b"), (uri, "c"))
    assert old_table.schema_of("files").names == SCHEMAS["files"].names
    rows = old_table.read("files", ["path", "etag"]).sort_by("path").to_pylist()
    assert [(row["path"], row["etag"]) for row in rows] == [
        *((name, name) for name in "abc"),
        ("old.jpg", None),
    ]


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
    with pytest.raises((ValueError, KeyError, TypeError)):
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
    barrier = processes.CONTEXT.Barrier(2)
    process = processes.start(_stage_until_killed, store.uri, barrier)
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


def _together(target, *arguments, others=()):
    calls = [*((target, given) for given in arguments), *others]
    barrier = processes.CONTEXT.Barrier(len(calls))
    started = [
        processes.start(function, given[0], barrier, *given[1:]) for function, given in calls
    ]
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0] * len(started)


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


def test_a_store_can_be_in_memory():
    store = LanceStore(uri="memory://", storage_options={"timeout": "10s"})
    store.upsert("assignments", assignments("a@1", 3))
    assert store.read("assignments").num_rows == 3
    assert store.tables() == ["assignments"]


@pytest.fixture(scope="module")
def object_store():
    """URI and options of a store in a bucket of an S3 server; keys come from the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        server = ThreadedMotoServer(port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        boto3.client("s3", "us-east-1", endpoint_url=endpoint).create_bucket(Bucket="corpus")
        options = {"endpoint": endpoint, "region": "us-east-1", "allow_http": "true"}
        yield "s3://corpus/store", options
        server.stop()


def test_an_object_store_holds_a_store(object_store, tmp_path):
    uri, options = object_store
    store = LanceStore(uri=f"{uri}/{tmp_path.name}", storage_options=options)
    store.create("vectors.a", vectors_schema(4), {"model": "one"})
    for start in range(10):
        pinned = store.upsert("vectors.a", vectors(start, start + 1))
    store.pin("vectors.a", pinned, "a.1")
    store.replace("vectors.a", vectors(), "image_id >= 'i008'")
    name = store.stage("vectors.a", vectors(20, 20, 21))
    assert store.staged("vectors.a") == [name]
    assert (store.commit("vectors.a", [name]), store.commit("vectors.a", [name])) == (2, 0)
    store.optimize("vectors.a", keep=timedelta(0))
    assert ids(store) == [f"i{n:03}" for n in [*range(8), 20, 21]]
    assert store.read("vectors.a", version=pinned).num_rows == 11
    assert store.tables() == ["vectors.a"]


def plainly(uri, options):
    """The same database, as whoever has LanceDB's package opens it."""
    return lancedb.connect(uri, storage_options=options or None)


@pytest.fixture(params=["folder", "S3"])
def place(request, tmp_path):
    """URI and options of a store that does not exist yet."""
    if request.param == "folder":
        return str(tmp_path / "corpus d'été" / "store"), {}
    _, options = request.getfixturevalue("object_store")
    return f"s3://corpus/{tmp_path.name}", options


def test_lancedb_opens_what_a_store_holds_and_goes_on_with_it(place):
    uri, options = place
    store = LanceStore(uri=uri, storage_options=options)
    pinned = store.upsert("assignments", assignments("a@1", 4))
    store.pin("assignments", pinned, "a.1")
    store.replace("assignments", assignments("a@2", 3), "true")
    database = plainly(uri, options)
    table = database.open_table("assignments")
    assert database.list_tables().tables == ["assignments", "format.1"]
    assert table.schema.equals(SCHEMAS["assignments"], check_metadata=True)
    assert table.to_arrow()["record_id"].to_pylist() == ["a@2"] * 3
    assert table.tags.list()["a.1"]["version"] == pinned
    table.checkout(pinned)
    assert table.count_rows() == 4
    table.checkout_latest()
    keys = ["record_id", "image_id"]
    merge = table.merge_insert(keys).when_matched_update_all().when_not_matched_insert_all()
    merge.execute(assignments("a@2", 5, "9"))
    assert store.read("assignments")["cluster"].to_pylist() == ["9"] * 5


def test_a_store_opens_what_lancedb_made_and_goes_on_with_it(place):
    uri, options = place
    database = plainly(uri, options)
    table = database.create_table("assignments", schema=SCHEMAS["assignments"])
    table.add(assignments("a@1", 4))
    pinned = table.version
    table.tags.create("a.1", pinned)
    table.add(assignments("a@2", 2))
    store = LanceStore(uri=uri, storage_options=options)
    assert store.tables() == ["assignments"]
    assert store.schema_of("assignments").equals(SCHEMAS["assignments"], check_metadata=True)
    assert store.read("assignments", version=pinned).num_rows == 4
    store.upsert("assignments", assignments("a@2", 3, "9"))
    store.optimize("assignments", keep=timedelta(0))
    assert store.read("assignments", version=pinned).num_rows == 4
    rows = plainly(uri, options).open_table("assignments").to_arrow().sort_by("record_id")
    assert rows["cluster"].to_pylist() == ["0"] * 4 + ["9"] * 3


def test_an_index_that_lancedb_made_is_searched_and_takes_up_new_rows(store):
    store.create("vectors.a", vectors_schema(8), {})
    numbers = np.random.default_rng(0).standard_normal((300, 8), dtype=np.float32)

    def rows(start, stop):
        ids = [f"i{row:03}" for row in range(start, stop)]
        schema = vectors_schema(8)
        return pa.table({"image_id": ids, "vector": list(numbers[start:stop])}, schema=schema)

    store.upsert("vectors.a", rows(0, 290))
    table = lancedb.connect(store.uri).open_table("vectors.a")
    config = lancedb.index.IvfFlat(distance_type="cosine", num_partitions=1)
    table.create_index("vector", config=config)
    store.upsert("vectors.a", rows(290, 300))
    store.index("vectors.a")
    _, found = store.search("vectors.a", numbers[[3, 295]], 1)
    assert found.to_pylist() == ["i003", "i295"]
    parts = lance.dataset(f"{store.uri}/vectors.a.lance").list_indices()
    assert {number for part in parts for number in part["fragment_ids"]} == {0, 1}


def test_two_stores_in_memory_have_nothing_in_common():
    one, other = LanceStore(uri="memory://"), LanceStore(uri="memory://")
    one.upsert("assignments", assignments("a@1", 3))
    assert (one.count("assignments"), other.count("assignments"), other.tables()) == (3, 0, [])


def test_what_is_known_of_a_table_ends_when_another_takes_its_place(store, tmp_path):
    """Its versions have the same numbers: nothing of them may be remembered."""
    store.upsert("assignments", assignments("a@1", 4))
    assert store.count("assignments") == 4
    other = LanceStore(uri=str(tmp_path / "other"))
    other.upsert("assignments", assignments("a@2", 2))
    shutil.rmtree(tmp_path / "store" / "assignments.lance")
    shutil.copytree(
        tmp_path / "other" / "assignments.lance", tmp_path / "store" / "assignments.lance"
    )
    assert store.read("assignments")["record_id"].to_pylist() == ["a@2"] * 2


def test_a_folder_may_have_characters_that_urls_encode(tmp_path):
    store = LanceStore(uri=str(tmp_path / "100% #1? [a]{b}~" / "store"))
    version = store.upsert("assignments", assignments("a@1", 4))
    store.pin("assignments", version, "a.1")
    store.commit("assignments", [store.stage("assignments", assignments("a@2", 2))])
    assert store.tables() == ["assignments"]
    assert store.read("assignments", version=version).num_rows == 4
    assert [path.name for path in tmp_path.iterdir()] == ["100% #1? [a]{b}~"]


def _commit_to_object_store(uri, barrier, options, names):
    store = LanceStore(uri=uri, storage_options=options)
    barrier.wait()
    for name in names:
        store.commit("vectors.b", [name])


def test_processes_that_commit_the_same_rows_to_an_object_store_leave_each_once(object_store):
    uri, options = object_store
    store = LanceStore(uri=uri, storage_options=options)
    store.create("vectors.b", vectors_schema(4), {})
    names = [store.stage("vectors.b", vectors(*range(n, n + 10))) for n in range(0, 100, 10)]
    _together(_commit_to_object_store, (uri, options, names), (uri, options, names))
    assert ids(store, "vectors.b") == [f"i{n:03}" for n in range(100)]
    assert store.staged("vectors.b") == []


def test_without_a_uri_the_store_is_the_projects(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    create(tmp_path, ProjectSettings(images="images", store="elsewhere/lance"))
    monkeypatch.setenv("PANOPTIC_PROJECT", str(tmp_path))
    LanceStore().upsert("assignments", assignments("a@1", 3))
    assert (tmp_path / "elsewhere" / "lance" / "assignments.lance").is_dir()


def test_the_store_of_a_moment_is_read_as_it_was(store):
    early = store.upsert("assignments", assignments("a@1", 3))
    store.upsert("assignments", assignments("a@2", 2))
    then = store.at({"assignments": early})
    assert then.read("assignments")["record_id"].to_pylist() == ["a@1"] * 3
    assert (then.version("assignments"), then.count("assignments")) == (early, 3)
    assert [batch.num_rows for batch in then.batches("assignments", ["image_id"])] == [3]
    assert store.count("assignments") == 5


def test_a_table_that_a_moment_did_not_have_yet_has_no_rows(store):
    store.upsert("assignments", assignments("a@1", 3))
    then = store.at({"assignments": 0})
    assert then.version("assignments") == then.count("assignments") == 0
    assert then.read("assignments").num_rows == 0
    assert list(then.batches("assignments", ["image_id"])) == []


def test_of_a_table_only_some_rows_may_be_seen(store):
    store.upsert("assignments", assignments("a@1", 3))
    store.upsert("assignments", assignments("a@2", 2))
    seen = store.at({}, {"assignments": "record_id = 'a@1' OR record_id = 'none'"})
    assert seen.read("assignments")["record_id"].to_pylist() == ["a@1"] * 3
    assert seen.read("assignments", where="record_id = 'a@2'").num_rows == 0
    assert seen.count("assignments") == 3
    assert [batch.num_rows for batch in seen.batches("assignments", ["image_id"])] == [3]


def test_a_version_that_was_removed_is_named(store):
    early = store.upsert("assignments", assignments("a@1", 3))
    store.upsert("assignments", assignments("a@2", 2))
    store.optimize("assignments", timedelta(0))
    with pytest.raises(VersionGoneError, match=f"Version {early} of the table assignments"):
        store.at({"assignments": early}).read("assignments")


def holding(store, needle):
    return [
        path.name
        for path in Path(store.uri).rglob("*")
        if path.is_file() and needle in path.read_bytes()
    ]


def test_erased_rows_are_in_no_file_of_a_table_with_pins_and_an_index(store):
    vectors = np.random.default_rng(0).standard_normal((600, 16)).astype(np.float32)
    flat = pa.array(vectors.ravel())
    rows = pa.table(
        {
            "image_id": [f"image-{number:04}" for number in range(600)],
            "vector": pa.FixedSizeListArray.from_arrays(flat, 16),
        },
        schema=vectors_schema(16),
    )
    table = vectors_table("t")
    store.create(table, vectors_schema(16), {"panoptic:model": "{}"})
    store.upsert(table, rows.slice(0, 300))
    store.pin(table, store.version(table), "a.1")
    store.upsert(table, rows.slice(300))
    store.index(table)
    needles = [b"image-0007", vectors[7].tobytes()]
    assert all(holding(store, needle) for needle in needles)

    erased = store.erase(table, "image_id = 'image-0007'")

    assert [holding(store, needle) for needle in needles] == [[], []]
    assert (erased.nb_rows, erased.nb_pins) == (1, 1)
    assert store.count(table) == 599
    assert store.schema_of(table).metadata[b"panoptic:model"] == b"{}"
    again = store.erase(table, "image_id = 'image-0007'")
    assert (again.nb_rows, again.nb_versions) == (0, 0)
    store.index(table)
    _, found = store.search(table, vectors[8:9], 1)
    assert found.to_pylist() == ["image-0008"]


def test_tables_with_staged_rows_are_listed_whether_they_exist_or_not(store):
    assert store.tables_with_staged_rows() == []
    store.stage("assignments", assignments("a@1", 2))
    store.stage("files", SCHEMAS["files"].empty_table())
    lancedb.connect(store.uri).drop_table("files")
    assert store.tables_with_staged_rows() == ["assignments", "files"]
