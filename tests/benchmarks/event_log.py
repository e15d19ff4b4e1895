"""What runs and looks add to Dagster's instance, and what a look of the sensor costs.

    python -m tests.benchmarks.event_log
    python -m tests.benchmarks.event_log --files 10000 --files 100000

On two busy cores, with a model that costs nothing:

                                                 kB each                a year
    a refresh of an unchanged corpus               407.6      148.8 MB for 365
    a refresh of 100 new images                    402.9        21.0 MB for 52
    a clustering (10 clusters, new keys)           243.2       24.3 MB for 100
    a clustering computed again                    242.2       24.2 MB for 100
    a look that finds nothing                        1.7      2.4 MB for 1,440
    retention: 32 runs removed, 12 kept; 18.0 MB before, 6.7 MB after
    a look at 10,000 files: 0.09 CPU s; the one that asks: 0.12 CPU s
    a look at 100,000 files: 1.04 CPU s; the one that asks: 1.48 CPU s

Most of a run is its own SQLite file. Looks of a year are those of a day: Dagster removes them then.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickData, TickStatus

from panoptic_assets.upkeep.automation import corpus_changed
from panoptic_assets.upkeep.retention import retain
from resources.project_folder import dagster_home
from resources.registry import Registry
from resources.source import ImageSource
from tests.tiny import tiny_project, write_images
from tests.workbench import Workbench

_REPEATED = 8
_WARMED = 3
"""Runs before the measured ones: the first of a job stores pictures of the job."""


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, action="append", help="Sizes of a folder to look at.")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="panoptic-event-log-"))
    try:
        growth(folder / "growth")
        for count in arguments.files or [10_000]:
            look(folder / f"{count}", count)
    finally:
        shutil.rmtree(folder)


def growth(folder: Path) -> None:
    """Bytes that one more of each adds, on SQLite."""
    folder.mkdir()
    project = tiny_project(folder, 250)
    home = dagster_home(project)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        bench = Workbench(project, instance)
        instance.add_dynamic_partitions("vector_types", ["tiny"])

        def refresh(_: int) -> None:
            bench.definitions.resolve_job_def("refresh_corpus").execute_in_process(
                instance=instance, partition_key="tiny", run_config=quiet
            )

        def grow(number: int) -> None:
            write_images(folder / "images", 100, start=1000 + 100 * number)
            refresh(number)

        def tick(number: int) -> None:
            instance.create_tick(
                TickData(
                    instigator_origin_id="x" * 40,
                    instigator_name="corpus_changed",
                    instigator_type=InstigatorType.SENSOR,
                    status=TickStatus.SKIPPED,
                    timestamp=time.time(),
                    skip_reason="10,000 files, as at the last refresh.",
                    cursor="x" * 250,
                    selector_id="y" * 40,
                )
            )

        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        print(f"{'':42}{'kB each':>10}{'a year':>22}")
        for what, work, times, a_year in (
            ("a refresh of an unchanged corpus", refresh, _REPEATED, 365),
            ("a refresh of 100 new images", grow, _REPEATED, 52),
            ("a clustering (10 clusters, new keys)", _cluster(bench), _REPEATED, 100),
            ("a clustering computed again", _again(bench), _REPEATED, 100),
            ("a look that finds nothing", tick, 2000, 1440),
        ):
            added = _added(home, work, times)
            told = f"{added * a_year / 1e6:,.1f} MB for {a_year:,}"
            print(f"{what:42}{added / 1e3:10,.1f}{told:>22}")
        before = _size(home)
        with instance.run_storage.connect() as connection:
            connection.exec_driver_sql("update runs set update_timestamp = '2020-01-01 00:00:00'")
        removed = retain(instance, 30)
        print(
            f"retention: {removed.runs} runs removed, {removed.kept} kept; "
            f"{before / 1e6:,.1f} MB before, {_size(home) / 1e6:,.1f} MB after"
        )


def _cluster(bench: Workbench) -> Callable[[int], None]:
    return lambda number: bench.run("clustering", f"run-{number}") and None


def _again(bench: Workbench) -> Callable[[int], None]:
    return lambda _: bench.run("clustering", "run-0") and None


def look(folder: Path, count: int) -> None:
    """Seconds of a look at a folder in which nothing has changed."""
    folder.mkdir()
    project = tiny_project(folder, 1)
    for number in range(count):
        path = folder / "images" / f"{number // 1000:04}" / f"{number:07}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    bench = Workbench(project, dg.DagsterInstance.ephemeral())
    cursor, spent = None, []
    for _ in range(7):
        context = dg.build_sensor_context(
            instance=bench.instance,
            cursor=cursor,
            definitions=bench.definitions,
            resources={
                "source": ImageSource(root=project.images),
                "store": bench.store,
                "registry": Registry(folder=str(project.folder)),
            },
            sensor_name="corpus_changed",
        )
        started = time.process_time()
        with partition_loading_context(dynamic_partitions_store=bench.instance):
            cursor = corpus_changed.evaluate_tick(context).cursor
        spent.append(time.process_time() - started)
    unchanged = statistics.median(spent[3:])
    print(
        f"a look at {count:,} files: {unchanged:.2f} CPU s; the one that asks: {spent[1]:.2f} CPU s"
    )


def _added(home: Path, work: Callable[[int], None], times: int) -> float:
    for number in range(_WARMED):
        work(10_000 + number)
    before = _size(home)
    for number in range(times):
        work(number)
    return (_size(home) - before) / times


def _size(home: Path) -> int:
    return sum(path.stat().st_size for path in home.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
