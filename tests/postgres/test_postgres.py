"""A project whose Dagster instance lies in Postgres, a real one that the tests start."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from panoptic_assets.orchestration.instance import instance_of
from panoptic_assets.upkeep.retention import retain
from resources.project_folder import dagster_home, find
from tests import processes
from tests.commands import run
from tests.pipeline.test_week import REFRESH, opened
from tests.tiny import tiny_project

PASSWORD = "not-in-any-file"


def programs():
    """Where Debian puts the server's programs, or what is on the path."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
    )
    on_path = shutil.which("initdb")
    if not found and not on_path:
        pytest.skip("no Postgres is installed (Debian: apt-get install postgresql)")
    return (found[-1] if found else Path(on_path)).parent


@pytest.fixture(scope="module")
def server():
    """A server of its own with a password, on a free port; as another user where this is root."""
    pytest.importorskip("dagster_postgres", reason="the extra `postgres` is not installed")
    where = programs()
    as_user = {}
    if os.geteuid() == 0:  # as which Postgres refuses to run
        as_user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    # Not below pytest's folder, which no other user may enter.
    folder = Path(tempfile.mkdtemp(prefix="panoptic-postgres-"))
    (folder / "password").write_text(PASSWORD)
    if as_user:
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres", "postgres")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def call(program, *arguments):
        subprocess.run(
            [where / program, "-D", folder / "data", *arguments],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **as_user,
        )

    try:
        call(
            # Dagster connects for each query: with scram's 4,096 hashes half of the tests' time.
            *("initdb", "--username=dagster", "--auth=md5", "--encoding=UTF8"),
            *("--pwfile", folder / "password", "--no-sync"),
        )
        options = f"-p {port} -h 127.0.0.1 -k {folder} -c fsync=off"
        call("pg_ctl", "start", "-w", "-l", folder / "log", "-o", options)
        try:
            yield port
        finally:
            call("pg_ctl", "stop", "-w", "-m", "immediate")
    finally:
        shutil.rmtree(folder)


@dataclass(frozen=True)
class Database:
    """A database that a project's instance is to lie in."""

    port: int
    name: str

    def url(self, password=PASSWORD):
        return f"postgresql+psycopg2://dagster:{password}@127.0.0.1:{self.port}/{self.name}"

    def execute(self, statement):
        import psycopg2

        connection = psycopg2.connect(self.url().replace("+psycopg2", ""))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else None


@pytest.fixture
def database(server, request):
    """An empty database for each test."""
    name = re.sub(r"\W", "_", request.node.name)[:60]
    Database(server, "postgres").execute(f"create database {name}")
    return Database(server, name)


@pytest.fixture
def project(database, tmp_path, monkeypatch):
    """A project with the lines of the shipped dagster.yaml that name Postgres."""
    project = tiny_project(tmp_path, 10)
    settings = dagster_home(project) / "dagster.yaml"
    text = settings.read_text()
    switched = re.sub(
        r"^# (storage:|  postgres:|    postgres_url:|      env:.*)$", r"\1", text, flags=re.M
    )
    assert switched.count("postgres_url:") == 1 and switched != text
    settings.write_text(switched)
    monkeypatch.setenv("PANOPTIC_POSTGRES_URL", database.url())
    monkeypatch.setenv("PANOPTIC_SENSOR_SECONDS", "1")
    return project


def sqlite_files(project):
    return list(project.folder.rglob("*.db"))


def test_refresh_clustering_and_save_leave_everything_in_postgres(project, database):
    for arguments in (("refresh",), ("cluster", "greek", "--nb-clusters", 2), ("save", "greek")):
        run(*arguments, cwd=project.folder)
    made = database.execute(
        "select asset_key, partition from event_logs "
        "where dagster_event_type = 'ASSET_MATERIALIZATION'"
    )
    assert set(made) == {
        ('["images"]', None),
        ('["embeddings"]', "tiny"),
        ('["neighbors"]', "tiny"),
        ('["projection"]', "tiny/pca"),
        ('["clustering"]', "greek"),
        ('["saved_clustering"]', "greek"),
        ('["tags"]', None),
    }
    assert sqlite_files(project) == []
    written = [path for path in project.folder.rglob("*") if path.is_file()]
    assert not [path for path in written if PASSWORD.encode() in path.read_bytes()]


def open_and_count(folder, barrier):
    barrier.wait(60)
    with instance_of(dagster_home(find(folder)), print) as instance:
        assert instance.get_runs() == []


def test_two_processes_that_open_the_instance_at_once_make_its_tables_once(project, database):
    """They take turns; without that, one would find a table that the other is just making."""
    barrier = processes.CONTEXT.Barrier(2)
    both = [processes.start(open_and_count, project.folder, barrier) for _ in range(2)]
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    assert database.execute("select count(*) from runs") == [(0,)]


def test_a_sensor_the_queue_and_the_daemon_work_on_postgres(project, database):
    with opened(project) as week:
        week.switch_on("corpus_changed")
        week.day(REFRESH)
        assert week.corpus() == {"present": 10, "vectors": 10}
    assert database.execute("select count(*) from job_ticks where type = 'SENSOR'")[0][0] >= 2
    assert sqlite_files(project) == []


def test_old_runs_are_removed_from_postgres(project, database):
    for _ in range(2):
        run("refresh", cwd=project.folder)
    database.execute("update runs set update_timestamp = now() - interval '40 days'")
    with dg.DagsterInstance.from_config(str(dagster_home(project))) as instance:
        removed = retain(instance, 30)
        assert (removed.runs, removed.kept, removed.notes) == (3, 4, [])
        assert len(instance.get_runs()) == 4
        assert instance.get_latest_materialization_event(dg.AssetKey("images")) is not None


@pytest.mark.parametrize("fault", ["password", "server", "variable"])
def test_a_database_that_cannot_be_reached_is_one_plain_line(project, database, monkeypatch, fault):
    if fault == "password":
        monkeypatch.setenv("PANOPTIC_POSTGRES_URL", database.url("wrong-one"))
    elif fault == "server":
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        monkeypatch.setenv("PANOPTIC_POSTGRES_URL", Database(port, "x").url())
    else:
        monkeypatch.delenv("PANOPTIC_POSTGRES_URL")
    answer = run("refresh", cwd=project.folder, expect=2)
    [line] = answer.stderr.splitlines()
    assert line.startswith(f"Error: Dagster cannot open its instance in {dagster_home(project)}")
    assert PASSWORD not in line and "wrong-one" not in line
