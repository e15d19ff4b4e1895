"""Contracts with Dagster: everything that `insides` takes is there, and does what we rely on.

Where one fails after an upgrade, Dagster has changed what its documentation does not promise. Its
message says what; `panoptic_assets/orchestration/insides.py` says what it is needed for.
"""

import importlib
import inspect
import io
import json
import logging
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import tomllib
from contextlib import redirect_stderr
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import select

from panoptic_assets.orchestration import insides, runs

ROOT = Path(__file__).parents[3]
PAIR = dg.StaticPartitionsDefinition(["a", "b"])


@pytest.fixture
def home(tmp_path):
    (tmp_path / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\nconcurrency: {pools: {default_limit: 1}}\n"
    )
    return tmp_path


@pytest.fixture
def instance(home):
    with insides.instance_with(home) as opened:
        yield opened


@dg.asset
def plain():
    return dg.MaterializeResult(data_version=dg.DataVersion("one"))


@dg.asset
def beside():
    raise AssertionError("not asked for")


def test_a_run_is_created_with_its_origin_and_executed_here(instance):
    """So that the UI shows it on the timeline and can do it again; the job's other assets rest."""
    job = dg.Definitions(
        [plain, beside], executor=dg.in_process_executor
    ).resolve_implicit_global_asset_job_def()
    run = insides.create_run(job, instance, "some.module", {}, {"a": "b"}, dg.AssetKey("plain"))
    origin = instance.get_run_by_id(run.run_id).remote_job_origin
    assert origin.repository_origin.get_label() == "__repository__@some.module"
    assert (origin.job_name, run.tags["a"]) == ("__ASSET_JOB", "b")
    result = insides.execute_here(job, instance, run)
    assert result.success
    [event] = result.asset_materializations_for_node("plain")
    assert event.tags["dagster/data_version"] == "one"


def test_what_a_step_raises_comes_through(instance):
    @dg.asset
    def refusing():
        raise dg.Failure("No.", allow_retries=False)

    there = dg.Definitions([refusing], executor=dg.in_process_executor)
    job = there.resolve_implicit_global_asset_job_def()
    run = insides.create_run(job, instance, "some.module", {}, {}, dg.AssetKey("refusing"))
    with pytest.raises(dg.Failure) as caught:
        insides.execute_here(job, instance, run)
    assert caught.value.description == "No."
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE


def checked(passed):
    """An asset of two partitions and its check, whose results have that value."""

    @dg.asset(partitions_def=PAIR, code_version="7")
    def source():
        return dg.MaterializeResult(data_version=dg.DataVersion("one"), metadata={"number": 1})

    spec = dg.AssetCheckSpec("good", asset=source, partitions_def=PAIR)

    @dg.multi_asset_check(specs=[spec])
    def check(context):
        description = f"of {context.partition_key}"
        return dg.AssetCheckResult(
            passed=passed, asset_key=source.key, check_name="good", description=description
        )

    @dg.asset(partitions_def=PAIR, deps=[source], code_version="8")
    def reading():
        return dg.MaterializeResult(data_version=dg.DataVersion("two"))

    return dg.Definitions(assets=[source, reading], asset_checks=[check])


def materialize(instance, partition, asset="source", passed=True):
    job = checked(passed).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance, partition_key=partition, asset_selection=[dg.AssetKey(asset)]
    ).run_id


def latest(instance, asset):
    [record] = instance.fetch_materializations(dg.AssetKey(asset), limit=1).records
    return record


def tick(instance, selector, days, reason):
    """Store a tick of a sensor, some days old."""
    from dagster._core.definitions.run_request import InstigatorType
    from dagster._core.scheduler.instigation import TickData, TickStatus

    return instance.create_tick(
        TickData(
            instigator_origin_id=selector,
            instigator_name=selector,
            instigator_type=InstigatorType.SENSOR,
            status=TickStatus.SKIPPED,
            timestamp=(datetime.now(UTC) - timedelta(days=days)).timestamp(),
            selector_id=selector,
            skip_reason=reason,
        )
    ).tick_id


# What is taken


def test_nothing_else_reaches_inside_dagster():
    reaching = [
        path.relative_to(ROOT).as_posix()
        for folder in ("panoptic_assets", "resources")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if re.search(r"\bdagster(_\w+)?\._|\bsqlalchemy\b", path.read_text(encoding="utf-8"))
    ]
    assert reaching == ["panoptic_assets/orchestration/insides.py"]


def test_the_plain_resources_know_neither_dagster_nor_the_rest_of_the_project():
    knowing = [
        path.name
        for path in sorted((ROOT / "resources").rglob("*.py"))
        if re.search(
            r"^\s*(import|from) (dagster|panoptic_assets|sklearn)\b",
            path.read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    ]
    assert knowing == []


@pytest.mark.parametrize("package", ["dagster", "dagster-webserver"])
def test_dagster_is_capped_at_the_minor_that_these_contracts_ran_against(package):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    major, minor, *_ = version(package).split(".")
    wanted = f"{package}>={major}.{minor},<{major}.{int(minor) + 1}"
    assert wanted in project["dependencies"], (
        f"{package} {version(package)} is installed: only once all contracts here hold with it may "
        "pyproject.toml name its minor."
    )


@pytest.mark.parametrize(
    ("ours", "module", "name"),
    [
        (insides.PARTITION_TAG, "storage.tags", "PARTITION_NAME_TAG"),
        (insides.MAX_RETRIES_TAG, "storage.tags", "MAX_RETRIES_TAG"),
        (insides.WILL_RETRY_TAG, "storage.tags", "WILL_RETRY_TAG"),
        (insides.AUTO_RETRY_RUN_ID_TAG, "storage.tags", "AUTO_RETRY_RUN_ID_TAG"),
        (".dagster/grpc_info", "storage.tags", "GRPC_INFO_TAG"),
        ("dagster/data_version", "definitions.data_version", "DATA_VERSION_TAG"),
    ],
)
def test_a_tag_has_the_name_that_we_write(ours, module, name):
    theirs = getattr(importlib.import_module(f"dagster._core.{module}"), name, None)
    assert theirs == ours, f"Dagster's {name} is {theirs!r}: runs and events have another tag now."


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        (runs.FINISHED, "FINISHED_STATUSES"),
        (runs.IN_PROGRESS, "IN_PROGRESS_RUN_STATUSES"),
        (runs.NOT_FINISHED, "NOT_FINISHED_STATUSES"),
    ],
)
def test_the_sets_of_statuses_are_dagsters(ours, name):
    module = importlib.import_module("dagster._core.storage.dagster_run")
    theirs = set(getattr(module, name, ()))
    assert theirs == set(ours), f"Dagster's {name} has other statuses: {theirs ^ set(ours)}."


def test_every_status_is_finished_or_not():
    assert {*runs.FINISHED, *runs.NOT_FINISHED} == set(dg.DagsterRunStatus) - {
        dg.DagsterRunStatus.MANAGED
    }, "Dagster has a status that neither `runs.FINISHED` nor `runs.NOT_FINISHED` holds."


def test_a_job_of_assets_has_the_type_that_we_name():
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

    assert isinstance(dg.define_asset_job("some"), UnresolvedAssetJobDefinition), (
        "dg.define_asset_job gives another type than `insides.Job` names."
    )


# Materializations and checks


def test_an_event_gets_the_tags_that_dagster_itself_gives(instance):
    @dg.asset(code_version="7")
    def source():
        return dg.MaterializeResult(data_version=dg.DataVersion("one"))

    @dg.asset(deps=[source], code_version="8")
    def reading():
        return dg.MaterializeResult(data_version=dg.DataVersion("two"))

    assert dg.materialize([source, reading], instance=instance).success
    record = latest(instance, "source")
    assert insides.version_of(record) == "one", "Dagster keeps a data version in another tag."
    theirs = latest(instance, "reading").asset_materialization.tags
    ours = insides.version_tags(dg.DataVersion("two"), "8", ("source", record))
    assert theirs == ours, "Dagster gives a materialization other tags of its versions."


def test_an_evaluation_is_about_what_dagster_says(instance):
    materialize(instance, "a")
    key = dg.AssetCheckKey(dg.AssetKey("source"), "good")
    theirs = insides.latest_evaluation(instance, key, "a").target_materialization_data
    assert insides.about(latest(instance, "source")) == theirs, (
        "Dagster names the materialization that a check is about in another way."
    )
    assert insides.about(None) is None


def test_the_last_evaluation_is_that_of_the_partition(instance):
    key = dg.AssetCheckKey(dg.AssetKey("source"), "good")
    assert insides.latest_evaluation(instance, key, "a") is None
    materialize(instance, "a", passed=False)
    materialize(instance, "b")
    found = {name: insides.latest_evaluation(instance, key, name) for name in "ab"}
    assert {name: (one.passed, one.description) for name, one in found.items()} == {
        "a": (False, "of a"),
        "b": (True, "of b"),
    }, "Dagster gives the last evaluation of a check without regard to its partition."


def test_a_run_gets_the_status_of_the_end_that_its_log_has(instance, monkeypatch):
    """Dagster writes its log first: what stops it then leaves a run that goes on for ever."""
    job = dg.Definitions([plain]).resolve_implicit_global_asset_job_def()
    run = instance.create_run_for_job(job)
    assert not insides.end_in_log(instance, run.run_id)
    with monkeypatch.context() as patched:
        patched.setattr(instance.run_storage, "handle_run_event", lambda *_: None)
        made = dg.materialize([plain], instance=instance)
        instance.report_run_failed(run)

    def statuses():
        return [instance.get_run_by_id(run_id).status.value for run_id in (made.run_id, run.run_id)]

    assert statuses() == ["NOT_STARTED", "NOT_STARTED"]
    assert insides.end_in_log(instance, made.run_id)
    assert insides.end_in_log(instance, run.run_id)
    assert statuses() == ["SUCCESS", "FAILURE"]


# The instance


def test_settings_take_the_place_of_those_in_the_file(home):
    with insides.instance_with(home, insides.NO_COMPUTE_LOGS) as opened:
        found = type(opened.compute_log_manager).__name__
        assert found == "NoOpComputeLogManager", "Dagster does not take settings beside the file's."
        assert opened.telemetry_enabled is False, "Dagster does not read the file beside settings."
        assert opened.root_directory == str(home)
        assert materialize(opened, "a")


def test_settings_are_checked_without_a_storage(home):
    insides.check_settings(home)
    assert [path.name for path in home.iterdir()] == ["dagster.yaml"], (
        "Reading a dagster.yaml makes files."
    )
    (home / "dagster.yaml").write_text("colour: red\n")
    with pytest.raises(dg.DagsterInvalidConfigError, match="colour"):
        insides.check_settings(home)


def test_what_interrupts_waits_for_the_end_of_a_block_also_where_the_block_fails():
    """A cancelled run's exception may otherwise be lost in SQLAlchemy, or leave a lock."""
    reached = []
    for fails in (False, True):
        with pytest.raises(KeyboardInterrupt), insides.signals_wait():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            reached.append(fails)
            if fails:
                raise ValueError
    assert reached == [False, True]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    mine = signal.getsignal(signal.SIGTERM)
    with insides.signals_wait(), insides.signals_wait():
        assert signal.getsignal(signal.SIGTERM) is not mine
    assert signal.getsignal(signal.SIGTERM) is mine
    other = threading.Thread(target=insides.signals_wait().__enter__)
    other.start()  # where no handler may be set, and none is called
    other.join()


def test_what_a_run_writes_to_the_database_is_interrupted_after_it(instance, monkeypatch):
    run = instance.create_run_for_job(
        dg.Definitions([plain]).resolve_implicit_global_asset_job_def()
    )
    tables = type(instance.run_storage)
    write = tables.add_run_tags

    def interrupted(self, run_id, tags):
        with self.connect():
            signal.raise_signal(signal.SIGINT)
            write(self, run_id, tags | {"late": "yes"})

    monkeypatch.setattr(tables, "add_run_tags", interrupted)
    with pytest.raises(KeyboardInterrupt):
        instance.add_run_tags(run.run_id, {"mine": "yes"})
    assert {"mine", "late"} <= instance.get_run_by_id(run.run_id).tags.keys()


def test_dagsters_sqlite_tables_are_waited_for_longer(instance):
    """Its own five seconds are too short for a slow disk; those of events have thirty."""
    waited = []
    for opened in (
        instance.run_storage.connect(),
        instance.schedule_storage.connect(),
        instance.event_log_storage.index_connection(),
    ):
        with opened as connection:
            waited += [connection.exec_driver_sql("PRAGMA busy_timeout").scalar()]
    assert waited == [10_000, 10_000, 30_000]


def test_a_fault_of_the_database_comes_as_one(instance):
    [path, *_] = [path for path in insides.databases(instance) if path.name == "runs.db"]
    path.write_bytes(b"no database" * 1000)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    with (
        pytest.raises(insides.DatabaseFault, match="not a database|malformed"),
        insides.database_faults(),
    ):
        instance.get_runs()


def test_an_event_that_cannot_be_stored_is_printed_as_we_expect(instance, monkeypatch):
    store = instance.event_log_storage.store_event

    def full(event):
        if event.dagster_event and event.dagster_event.event_type_value == "STEP_START":
            raise OSError("no space left")
        return store(event)

    monkeypatch.setattr(instance.event_log_storage, "store_event", full)
    stream = io.StringIO()
    with pytest.raises(OSError, match="no space"), redirect_stderr(stream):
        materialize(instance, "a")
    assert insides.LOST_EVENT in stream.getvalue(), (
        "Dagster prints an event that it cannot store with other words: they are on the terminal."
    )


# Tables


@pytest.mark.parametrize(
    ("module", "table", "columns"),
    [
        (
            "event_log.schema",
            "SqlEventLogStorageTable",
            {"id", "run_id", "dagster_event_type", "asset_key", "partition"},
        ),
        ("runs.schema", "RunTagsTable", {"run_id", "key", "value"}),
        (
            "event_log.schema",
            "AssetCheckExecutionsTable",
            {"id", "run_id", "execution_status", "asset_key", "check_name", "partition"},
        ),
        ("event_log.schema", "AssetKeyTable", {"id", "last_materialization"}),
        ("schedules.schema", "JobTickTable", {"id", "tick_body", "timestamp", "selector_id"}),
    ],
)
def test_a_table_has_the_columns_that_we_ask_for(module, table, columns):
    found = getattr(importlib.import_module(f"dagster._core.storage.{module}"), table, None)
    assert found is not None, f"Dagster has no table {table} any more."
    missing = columns - set(found.c.keys())
    assert not missing, f"Dagster's table {found.name} has no column {', '.join(sorted(missing))}."


def test_sqlite_files_tell_when_an_asset_was_last_materialized(home, instance):
    """As Dagster tells it, which takes its import."""

    @dg.asset
    def source():
        return 1

    assert insides.last_materialization_in(home, "source") is None
    for _ in range(2):
        dg.materialize([source], instance=instance)
    instance.report_runless_asset_event(dg.AssetObservation("seen"))
    told = instance.get_latest_materialization_event(dg.AssetKey("source")).timestamp
    found = insides.last_materialization_in(home, "source")
    assert found == datetime.fromtimestamp(told, UTC), "Dagster's SQLite files have changed."
    assert insides.last_materialization_in(home, "seen") is None
    instance.wipe_assets([dg.AssetKey("source")])
    assert insides.last_materialization_in(home, "source") is None


def test_sqlite_files_tell_the_tags_of_runs(home, instance):
    """As Dagster tells them, which takes its import."""

    @dg.asset
    def source():
        return 1

    told = [
        dg.materialize([source], instance=instance, tags={"who": name}).run_id
        for name in ("Ada", "Éloïse")
    ]
    dg.materialize([source], instance=instance)
    found = insides.values_of_run_tag(home, "who")
    assert found == dict(zip(told, ("Ada", "Éloïse"), strict=True)), (
        "Dagster's SQLite files have changed."
    )


def test_sqlite_files_that_are_just_made_tell_nothing_yet(tmp_path):
    """Whoever asked Dagster then would make the tables as well, and one of the two would fail."""
    (tmp_path / "history" / "runs").mkdir(parents=True)
    for _ in range(2):  # no files, then files without tables
        assert insides.values_of_run_tag(tmp_path, "who") == {}
        assert insides.last_materialization_in(tmp_path, "images") is None
        (tmp_path / "history" / "runs.db").touch()
        (tmp_path / "history" / "runs" / "index.db").touch()
    (tmp_path / "history" / "runs.db").write_bytes(b"no database" * 1000)
    with pytest.raises(sqlite3.DatabaseError):
        insides.values_of_run_tag(tmp_path, "who")


def test_the_materializations_of_one_partition_go_and_those_of_others_stay(instance):
    """Dagster's own `wipe_asset_partitions` is for no storage of the open-source Dagster."""
    key = dg.AssetKey("source")
    for partition in ("a", "b", "a"):
        materialize(instance, partition)
    with pytest.raises(NotImplementedError):
        instance.wipe_asset_partitions(key, ["a"])
    insides.remove_materializations(instance, key, ["a"])
    assert set(instance.get_materialized_partitions(key)) == {"b"}
    found = instance.event_log_storage.get_latest_storage_id_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION
    )
    assert set(found) == {"b"}, "Dagster keeps materializations elsewhere as well."
    materialize(instance, "a")
    assert set(instance.get_materialized_partitions(key)) == {"a", "b"}


def test_results_of_checks_are_those_that_dagster_calls_completed():
    from dagster._core.storage.asset_check_execution_record import (
        COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    )

    assert {status.value for status in COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES} == {
        "SUCCEEDED",
        "FAILED",
    }, "Dagster has other statuses of checks that have a result."


def test_the_files_of_sqlite_are_named(instance):
    found = {path.name for path in insides.databases(instance)}
    assert found == {"index.db", "runs.db", "schedules.db"}, "Dagster has other files of SQLite."
    assert all(path.is_file() for path in insides.databases(instance))
    assert insides.database_size(instance) is None


def test_runs_with_the_newest_of_their_kind_are_found(instance):
    old, failed = materialize(instance, "a"), materialize(instance, "b", passed=False)
    new = materialize(instance, "a")
    found = insides.runs_with_the_newest(instance)
    assert found == {failed, new}, "Dagster keeps materializations or checks in another way."
    last = materialize(instance, "a", "reading")
    assert insides.runs_with_the_newest(instance) == {failed, new, last}
    assert old not in found


def test_the_events_of_a_run_go_whole(instance):
    from dagster._core.storage.event_log.schema import (
        AssetCheckExecutionsTable,
        SqlEventLogStorageTable,
    )

    gone, kept = materialize(instance, "a"), materialize(instance, "b")
    shard = Path(instance.event_log_storage.path_for_shard(gone))
    assert shard.is_file(), "Dagster has no file of SQLite for each run: where are its events?"
    insides.remove_event_rows(instance, [gone])
    insides.remove_event_files(instance, gone)
    assert not list(shard.parent.glob(f"{gone}*"))
    for table in (SqlEventLogStorageTable, AssetCheckExecutionsTable):
        with instance.event_log_storage.index_connection() as connection:
            left = {row.run_id for row in connection.execute(select(table.c.run_id))}
        assert left == {kept}, f"Rows of {table.name} stay when a run's events are removed."


def test_a_run_that_is_gone_is_known_by_its_events(instance):
    gone, kept = materialize(instance, "a"), materialize(instance, "b")
    instance.report_runless_asset_event(dg.AssetMaterialization("c"))
    assert insides.runs_removed_in_part(instance) == set()
    instance.run_storage.delete_run(gone)
    assert insides.runs_removed_in_part(instance) == {gone}
    insides.remove_event_rows(instance, [gone])
    assert insides.runs_removed_in_part(instance) == {gone}, "Where are its events?"
    insides.remove_event_files(instance, gone)
    assert insides.runs_removed_in_part(instance) == set()
    assert [run.run_id for run in instance.get_runs()] == [kept]


def test_the_last_event_of_an_asset_can_be_emptied(instance):
    gone = materialize(instance, "a")
    materialize(instance, "b", "reading")

    def keeping():
        from dagster._core.storage.event_log.schema import AssetKeyTable

        with instance.event_log_storage.index_connection() as connection:
            rows = connection.execute(select(AssetKeyTable.c.last_materialization))
            return sum(gone in (row.last_materialization or "") for row in rows)

    assert keeping() == 1, "Dagster keeps the last event of an asset elsewhere."
    insides.clear_last_events(instance, lambda text: gone in text)
    assert keeping() == 0
    assert len(instance.all_asset_keys()) == 2


def test_ticks_go_by_their_text_and_by_their_age(instance):
    named = tick(instance, "first", 0, "the file Vases grecs.png is new")
    old, newer = (tick(instance, "second", days, "nothing") for days in (40, 35))
    young = tick(instance, "second", 1, "nothing")

    def left():
        ticks = [*instance.get_ticks("first", "first"), *instance.get_ticks("second", "second")]
        return {one.tick_id for one in ticks}

    assert left() == {named, old, newer, young}
    insides.remove_ticks_that_show(instance, lambda text: "Vases grecs.png" in text)
    assert left() == {old, newer, young}, "Dagster keeps the text of a tick elsewhere."
    before = datetime.now(UTC) - timedelta(days=30)
    assert insides.remove_old_ticks(instance, before, dry_run=True) == 2
    assert left() == {old, newer, young}
    assert insides.remove_old_ticks(instance, before, dry_run=False) == 2
    assert left() == {young}
    assert insides.remove_old_ticks(instance, datetime.now(UTC), dry_run=False) == 0, (
        "The newest tick of a sensor was removed, which tells where to go on."
    )


# Methods of an instance that are used outside of `insides`


@pytest.mark.parametrize(
    ("owner", "method", "parameters"),
    [
        ("event_log_storage", "initialize_concurrency_limit_to_default", ["concurrency_key"]),
        (
            "event_log_storage",
            "claim_concurrency_slot",
            ["concurrency_key", "run_id", "step_key", "priority"],
        ),
        ("event_log_storage", "free_concurrency_slots_for_run", ["run_id"]),
        ("event_log_storage", "get_concurrency_info", ["concurrency_key"]),
        (
            "event_log_storage",
            "get_latest_storage_id_by_partition",
            ["asset_key", "event_type", "partitions", "after_cursor"],
        ),
        ("run_storage", "delete_run", ["run_id"]),
        ("compute_log_manager", "delete_logs", ["log_key", "prefix"]),
        ("run_launcher", "terminate", ["run_id"]),
        ("", "storage_directory", []),
        (
            "",
            "optimize_for_webserver",
            ["statement_timeout", "pool_recycle", "max_overflow"],
        ),
    ],
)
def test_an_instance_has_the_methods_that_we_call(instance, owner, method, parameters):
    found = getattr(getattr(instance, owner) if owner else instance, method, None)
    assert found is not None, f"Dagster's {owner or 'instance'} has no {method} any more."
    has = list(inspect.signature(found).parameters)
    assert has == parameters, f"Dagster's {method} takes {has}."


def test_a_slot_of_a_pool_is_seen_until_it_is_freed(instance):
    storage = instance.event_log_storage
    storage.initialize_concurrency_limit_to_default("pool")
    storage.claim_concurrency_slot("pool", "somebody", "step")

    def holding():
        return [slot.run_id for slot in storage.get_concurrency_info("pool").claimed_slots]

    assert holding() == ["somebody"], "Dagster tells in another way who has a pool's slots."
    storage.free_concurrency_slots_for_run("somebody")
    assert holding() == []


# The web server and the daemon


def test_the_web_server_has_the_methods_that_ours_takes_the_place_of():
    from dagster_webserver.webserver import DagsterWebserver

    for name, parameters in {
        "build_middleware": ["self"],
        "build_routes": ["self"],
        "graphql_http_endpoint": ["self", "request"],
        "download_notebook": ["self", "request"],
    }.items():
        method = getattr(DagsterWebserver, name, None)
        assert method is not None, f"Dagster's web server has no {name}: ours refuses nothing."
        assert list(inspect.signature(method).parameters) == parameters
    assert next(iter(inspect.signature(DagsterWebserver).parameters)) == "process_context"


def test_where_sqlite_is_only_read_nothing_is_written_whatever_dagster_does(home):
    from dagster._core.test_utils import create_run_for_test
    from sqlalchemy.exc import OperationalError

    with insides.instance_with(home) as instance:
        instance.add_dynamic_partitions("runs", ["greek"])
        run = create_run_for_test(instance)
        instance.report_engine_event("told", run)

    def content():
        return {path: path.read_bytes() for path in home.rglob("*.db")}

    before = content()
    assert len(before) == 4
    with insides.sqlite_read_only(), insides.instance_with(home) as instance:
        insides.make_no_id(instance)
        made = instance.run_storage.get_run_storage_id()
        assert made == instance.run_storage.get_run_storage_id()
        assert instance.get_dynamic_partitions("runs") == ["greek"]
        assert [event.message for event in instance.all_logs(run.run_id)] == ["told"]
        assert list(instance.all_logs("of-none")) == []
        for write in (
            lambda: instance.add_dynamic_partitions("runs", ["roman"]),
            lambda: create_run_for_test(instance),
            lambda: instance.report_engine_event("lost", run),
        ):
            with pytest.raises(OperationalError, match="readonly"):
                write()
    assert content() == before, "Dagster reaches its SQLite files past SQLAlchemy's engine."
    with insides.instance_with(home) as instance:
        assert instance.run_storage.get_run_storage_id() != made
        instance.add_dynamic_partitions("runs", ["roman"])


def test_a_code_server_of_who_only_looks_opens_no_instance_of_the_project(home):
    """It would open it to write, which fails where nothing can be written."""
    with insides.instance_with(home) as instance:
        for database in home.rglob("*.db"):
            database.write_bytes(b"no database, for whoever opens it now")
        with insides.workspace(instance, __name__, read_only=True) as context:
            request = context.create_request_context()
            assert request.read_only, "Dagster's UI does not know that nothing may be changed."
            assert [one.name for one in request.code_locations] == [__name__]


def test_only_warnings_are_logged():
    levels = {name: logging.getLogger(name).level for name in ("dagster", "dagster.daemon")}
    handlers = {name: list(logging.getLogger(name).handlers) for name in levels}
    try:
        insides.log_warnings_only()
        for name in levels:
            assert not logging.getLogger(name).isEnabledFor(logging.INFO), (
                f"Dagster's logger {name} is not quiet."
            )
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
            logging.getLogger(name).handlers[:] = handlers[name]


@dg.op
def nothing() -> None:
    """Nothing to do."""


@dg.job(executor_def=dg.in_process_executor)
def small() -> None:
    """A job for the code server of a test."""
    nothing()


defs = dg.Definitions(jobs=[small])
"""What the code server of a test loads from this module."""


def test_a_code_server_is_started_shared_with_the_daemon_and_told_from_one_that_is_gone(instance):
    from dagster._core.test_utils import create_run_for_test

    with insides.workspace(instance, __name__) as context, insides.daemon(context) as check:
        check()
        request = context.create_request_context()
        [location] = request.code_locations
        [repository] = location.get_repositories().values()
        job = repository.get_full_job("small")
        run = create_run_for_test(
            instance,
            job_name="small",
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
        )
        assert insides.answers(run) is None
        instance.launch_run(run.run_id, request)
        launched = instance.get_run_by_id(run.run_id)
        assert insides.is_of_code_server(launched), "Dagster's launcher gives no tag of its server."
        assert set(json.loads(launched.tags[".dagster/grpc_info"])) <= {
            "host",
            "port",
            "socket",
            "use_ssl",
        }
        assert insides.answers(launched) is True
        deadline = time.monotonic() + 60
        while not instance.get_run_by_id(run.run_id).is_finished and time.monotonic() < deadline:
            time.sleep(0.2)
        assert instance.get_run_by_id(run.run_id).is_success
        check()
    deadline = time.monotonic() + 60  # it was told to end
    while insides.answers(launched) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert insides.answers(launched) is False, "A code server that is gone is taken for there."


def test_the_migrations_of_dagsters_tables_are_read_once_in_a_process(tmp_path):
    """What instances and databases of runs read; each is at the last one nevertheless.

    In a process of its own: in this one, the other tests have seen to it.
    """
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from alembic.script import ScriptDirectory\n"
        "from dagster._core.storage.event_log.sqlite import sqlite_event_log\n"
        "from dagster._core.storage.sql import check_alembic_revision, get_alembic_config\n"
        "from panoptic_assets.orchestration import insides\n"
        "read, load = [], ScriptDirectory._load_revisions\n"
        "ScriptDirectory._load_revisions = lambda self: read.append(self.dir) or load(self)\n"
        "config = get_alembic_config(sqlite_event_log.__file__)\n"
        "for name in 'ab':\n"
        "    home = Path(sys.argv[1], name)\n"
        "    home.mkdir()\n"
        "    (home / 'dagster.yaml').touch()\n"
        "    with insides.instance_with(home) as instance:\n"
        "        with instance.event_log_storage.run_connection('run') as connection:\n"
        "            stored, newest = check_alembic_revision(config, connection)\n"
        "    assert stored == newest is not None\n"
        "assert read and len(read) == len(set(read)), read\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert insides.read_migrations_once() is None  # twice is once


def test_the_migrations_of_others_are_read_each_time(tmp_path):
    """A program that has its own, and us as a library, makes new ones while it runs."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    insides.read_migrations_once()
    (tmp_path / "versions").mkdir()
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    assert ScriptDirectory.from_config(config).as_revision_number("head") is None
    (tmp_path / "versions" / "a.py").write_text("revision = 'a'\ndown_revision = None\n")
    assert ScriptDirectory.from_config(config).as_revision_number("head") == "a"
