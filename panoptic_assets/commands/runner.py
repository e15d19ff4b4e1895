"""Materializing assets of one project on its Dagster instance, in this process.

Belongs here: the instance that commands share, one command at a time, and the runs that they start.
Does not belong here: the commands.
"""

import functools
import logging
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from uuid import uuid4

import click
from filelock import FileLock, Timeout

from panoptic_assets.commands.terminal import brief, counted, say, tell
from panoptic_assets.config import parse
from resources.errors import InputError
from resources.project import (
    ProjectFolder,
    dagster_home,
    find,
)

if TYPE_CHECKING:
    import dagster as dg

    from panoptic_assets.api import Project
    from panoptic_assets.core.exchange import Mode
    from panoptic_assets.forgetting import Forgotten, Target
    from panoptic_assets.staleness import Judge
    from panoptic_assets.sweeps import Cell
    from panoptic_assets.tables.divisions import Divisions
    from panoptic_assets.verification import Verifier
    from resources.lance import LanceStore
    from resources.source import ImageSource

_HOST_TAG = "panoptic/host"
"""Tag of the runs that a command executes itself, with the name of its machine."""

# Dagster copies what a step prints through two processes of its own, which take half a second
# a step and answer Ctrl-C with stack traces. What a command prints is on its terminal.
_NO_COMPUTE_LOGS = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}


_LATER = "Nothing else may run meanwhile: wait until it has ended, then run the command again."


class Runner:
    """Materializes assets of one project on its Dagster instance, in this process."""

    def __init__(self, folder: ProjectFolder, readers: int | None = None):
        from panoptic_assets.api import Project
        from resources.lance import LanceStore
        from resources.models import OpenClipModels
        from resources.registry import Registry
        from resources.reports import ReportFolder

        self.folder = folder
        self.source_options = {} if readers is None else {"readers": readers}
        self.home = dagster_home(folder)
        self.store: LanceStore = _store_of(folder)
        self.reader = Project(folder.folder)
        self.registry: Registry = Registry(folder=str(folder.folder))
        self.reports: ReportFolder = ReportFolder(folder=str(folder.folder))
        self.reports.recover()
        self.models: OpenClipModels = OpenClipModels(folder=str(folder.folder))

    @functools.cached_property
    def definitions(self) -> "dg.Definitions":
        """The code location, of this project."""
        import dagster as dg

        from panoptic_assets.definitions import build_defs

        assembled = build_defs(
            source=self.source,
            store=self.store,
            models=self.models,
            registry=self.registry,
            reports=self.reports,
        )
        return dg.Definitions.merge(assembled, dg.Definitions(loggers={"console": _plain_logger()}))

    @property
    def source(self) -> "ImageSource":
        """The folder of images."""
        from resources.source import ImageSource

        settings = self.folder.settings
        source: ImageSource = ImageSource(
            root=self.folder.images,
            include=settings.include,
            exclude=settings.exclude,
            storage_options=settings.images_options,
            **self.source_options,
        )
        return source

    @contextmanager
    def verifier(self, pixels: bool = True) -> "Iterator[Verifier]":
        """Verifies divisions, with the event log of the project's Dagster instance for a witness.

        Args:
            pixels: Whether files are read.
        """
        from panoptic_assets.assets.verification import seals_in_log
        from panoptic_assets.verification import Verifier

        with instance_lock(self.home):  # only while its database may be created
            instance = open_instance(self.home, _NO_COMPUTE_LOGS)
        with instance:
            yield Verifier(
                self.store,
                self.models,
                self.registry,
                self.source,
                tell,
                seals_in_log(instance),
                pixels,
            )

    def refresh(
        self,
        vector_types: list[str],
        given: dict[str, Any] | None = None,
        accept_missing: bool = False,
    ) -> None:
        """Read what is new, embed it, find its neighbours."""
        from panoptic_assets.forgetting import unfinished
        from panoptic_assets.keys import parse_name
        from panoptic_assets.tables.vectors import vector_types as vector_types_of

        for vector_type in vector_types:
            self.registry.model(parse_name(vector_type, "vector type"))
        if unfinished(self.store):
            tell("Forgetting an image was interrupted: `panoptic-assets forget` ends it.", "yellow")
        self.materialize("images", None, {"accept_missing": True} if accept_missing else None)
        for vector_type in vector_types:
            self.materialize("embeddings", vector_type, given)
            if vector_type in vector_types_of(self.store):  # not, as long as there is no image
                self.materialize("neighbors", vector_type)

    def project(self, key: str, given: dict[str, Any]) -> None:
        """Compute the points of a projection."""
        from panoptic_assets.assets.features import resolve_projection
        from panoptic_assets.keys import vector_type_of
        from panoptic_assets.tables.images import present_files
        from panoptic_assets.tables.vectors import read_vectors

        # Refused here, before Dagster stores a partition and a failed run.
        resolve_projection(key, given, self.store, self.registry)
        read_vectors(self.store, vector_type_of(key), present_files(self.store))
        self.materialize("projection", key, given)

    def divide_corpus(
        self, key: str, given: dict[str, Any], tags: dict[str, str] | None = None
    ) -> None:
        """Divide the corpus as a run, which gets some Dagster tags."""
        from panoptic_assets.dividing import resolve_clustering
        from panoptic_assets.selection import select

        # Refused here, before Dagster stores a partition and a failed run.
        config = resolve_clustering(key, given, self.divisions(key), self.registry)
        select(key, config, self.store, self.registry, self.models, tell)
        self.materialize("clustering", key, given, tags)

    def sweep(self, key: str, cells: "list[Cell]") -> dict[str, str]:
        """Compute the runs of a sweep that are not current; for each that failed, why."""
        from panoptic_assets.staleness import Judge

        failures = {}
        judge = Judge(self.store, self.registry)
        for number, cell in enumerate(cells, start=1):
            try:
                if self._is_current(cell, judge):
                    continue
                tell(f"{number} of {len(cells)}: {cell.key}")
                self.divide_corpus(cell.key, cell.config, {"panoptic/sweep": key})
            except InputError as error:
                tell(f"  {error}", "yellow")
                failures[cell.key] = str(error)
        return failures

    def _is_current(self, cell: "Cell", judge: "Judge") -> bool:
        """Whether a run has this configuration, and would have the same answer now."""
        from panoptic_assets.config import identity_of
        from panoptic_assets.dividing import resolve_clustering

        config = resolve_clustering(cell.key, cell.config, judge.divisions, self.registry)
        record = judge.divisions.records.get(cell.key)
        if record is None or record.config != identity_of(config):
            return False
        if record.computed_id != record.record_id:  # a refresh assigned images to it
            return False
        return judge.division(cell.key).state == "up to date"

    def divide_node(self, key: str, given: dict[str, Any]) -> None:
        """Divide one cluster again."""
        from panoptic_assets.dividing import present_members, resolve_nested
        from panoptic_assets.keys import parse_node

        divisions = self.divisions(key)
        present_members(parse_node(key), divisions, self.store)
        resolve_nested(key, given, divisions, self.registry)
        self.materialize("nested_clustering", key, given)

    def label(self, key: str, given: dict[str, Any]) -> None:
        """Name the clusters of a run's tree."""
        from panoptic_assets.config import LabelsConfig, ZeroShot
        from panoptic_assets.tables.divisions import clusters_to_label
        from panoptic_assets.vision_labels import suggest
        from panoptic_assets.zero_shot_labels import find_encoder, read_vocabulary
        from resources.source import ImageSource

        # Refused here, before Dagster stores a failed run.
        config = parse(LabelsConfig, given)
        divisions = self.divisions(key)
        record = divisions.get(key)
        if isinstance(config.method, ZeroShot):
            read_vocabulary(config.method, self.store, self.registry)
            find_encoder(config.method, record, self.store, self.registry, self.models, tell)
        else:
            clusters = clusters_to_label(divisions, key, config.label_remainder)
            suggest(clusters, config.method, config.seed, self.store, ImageSource())
        self.materialize("cluster_labels", key, given)

    def save(self, key: str, given: dict[str, Any]) -> None:
        """Save a run's tree as tags, and replay the tag log."""
        self.divisions(key).get(key)
        self.materialize("saved_clustering", key, given)
        self.materialize("tags")

    def report(self, key: str, given: dict[str, Any]) -> Path:
        """Write the report of a run; return its first page."""
        # Refused here, before Dagster stores a partition and a failed run.
        self.divisions(key).get(key)
        self.materialize("clustering_report", key, given)
        return self.reports.path(f"runs/{key}") / "index.html"

    def edit(self, edits: list[Any], author: str | None, reason: str | None) -> None:
        """Change tags: all of the edits, or none."""
        from panoptic_assets.assets.tags import check_edits
        from panoptic_assets.config import EditsConfig

        given = {"edits": edits, "author": author, "reason": reason}
        given = {name: value for name, value in given.items() if value is not None}
        # Refused here, before Dagster stores a failed run.
        config = parse(EditsConfig, given)
        check_edits(self.store, config, self.folder.images, lambda note: tell(note, "yellow"))
        self.materialize("tags", None, given)

    def tag(
        self,
        image_ids: list[str],
        tag: str,
        property_name: str | None,
        author: str | None,
        reason: str | None,
    ) -> None:
        """Give images a tag, which is made if it is missing."""
        from panoptic_assets.core.edits import DEFAULT_PROPERTY, assigning
        from panoptic_assets.tables.tags import read_log

        events = [entry.event for entry in read_log(self.store)]
        property_name = DEFAULT_PROPERTY if property_name is None else property_name
        self.edit(assigning(tag, image_ids, events, property_name), author, reason)

    def recommend(self, given: dict[str, Any]) -> None:
        """Compute which images could get which tags."""
        from panoptic_assets.config import RecommendationsConfig
        from panoptic_assets.core.tags import replay
        from panoptic_assets.keys import parse_name
        from panoptic_assets.tables.images import present_files
        from panoptic_assets.tables.tags import properties_with_tags, read_log
        from panoptic_assets.tables.vectors import read_vectors

        # Refused here, before Dagster stores a failed run.
        config = parse(RecommendationsConfig, given)
        replayed = replay([entry.event for entry in read_log(self.store)])
        properties_with_tags(replayed, config.property or None)
        vector_type = parse_name(
            config.vector_type or self.registry.default_vector_type, "vector type"
        )
        read_vectors(self.store, vector_type, present_files(self.store))
        self.materialize("tag_recommendations", None, given)

    def compare(self, given: dict[str, Any]) -> None:
        """Write the pages that compare runs."""
        from panoptic_assets.comparisons import Sides, chosen
        from panoptic_assets.config import ComparisonConfig

        # Refused here, before Dagster stores a failed run.
        config = parse(ComparisonConfig, given)
        chosen(Sides(self.store, config.depth), config.runs, config.against)
        self.materialize("run_comparison", None, given)

    def import_tags(
        self,
        file: Path,
        property_name: str | None,
        mode: "Mode",
        check: bool,
        author: str | None,
        reason: str | None,
    ) -> None:
        """Import tags from a file, or only say what that would change."""
        from panoptic_assets.config import EditsConfig
        from panoptic_assets.exchange import import_tags

        config = parse(EditsConfig, {"author": author or "", "reason": reason or ""})
        done = import_tags(self.store, file, config, self.folder.images, property_name, mode, check)
        for note in done.notes:
            tell(note, "yellow")
        if done.nb_unknown:
            more = ", …" if done.nb_unknown > len(done.unknown) else ""
            tell(
                f"Left out, since they are not in the corpus: {counted(done.nb_unknown, 'image')}:"
                f" {', '.join(done.unknown)}{more}",
                "yellow",
            )
        for change in done.changes:
            say(
                f"{change.property}: {counted(change.nb_new_tags, 'new tag')}, "
                f"{counted(change.nb_images, 'image')} {'would get' if check else 'got'} tags"
            )
        if not done.changes:
            say(f"The tags already are what {file} says.")
        if not check:
            self.materialize("tags")

    def forget(self, images: "list[Target]", author: str, reason: str) -> "list[Forgotten]":
        """Take images out of everything that is kept, and complete what was interrupted."""
        from panoptic_assets.assets.reports import write_index
        from panoptic_assets.forgetting import begin, complete
        from resources import history

        try:
            unseen = ui_lock(self.home).acquire(timeout=0)
        except Timeout as error:
            raise InputError(f"`panoptic-assets ui` has this project open. {_LATER}") from error
        with unseen, instance_of(self.home, wait=False) as instance, _alone(instance):
            begin(self.store, self.folder.images, images, author, reason)
            return complete(
                self.store,
                self.folder,
                self.reports,
                lambda since, shows: history.clear(instance, since, shows),
                lambda: write_index(self.store, self.reports),
                tell,
            )

    def divisions(self, key: str) -> "Divisions":
        """The divisions of the run that a key belongs to."""
        from panoptic_assets.keys import run_key_of
        from panoptic_assets.tables.divisions import Divisions

        return Divisions(self.store, run_key_of(key))

    def divisions_of_all(self) -> "Divisions":
        """The divisions of all runs."""
        from panoptic_assets.tables.divisions import Divisions

        return Divisions(self.store)

    def materialize(
        self,
        asset: str,
        partition: str | None = None,
        given: dict[str, Any] | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        """Materialize an asset in a Dagster run of its own; raises InputError when it refuses."""
        import dagster as dg

        job = self.definitions.resolve_implicit_global_asset_job_def()
        with instance_of(self.home, _NO_COMPUTE_LOGS) as instance:
            _wait_for_pool(instance)
            if partition is not None:
                definition = self.definitions.get_assets_def(asset).partitions_def
                assert isinstance(definition, dg.DynamicPartitionsDefinition)  # noqa: S101
                instance.add_dynamic_partitions(str(definition.name), [partition])
            started = time.monotonic()
            try:
                result = self._execute(
                    job,
                    instance,
                    {asset: {"config": given}} if given else {},
                    tags,
                    asset_selection=[dg.AssetKey(asset)],
                    partition_key=partition,
                )
            except dg.Failure as failure:
                raise InputError(failure.description or "The run failed.") from failure
        _report(asset, partition, result, time.monotonic() - started)

    def backfill(self, given: dict[str, Any]) -> dict[str, Any]:
        """Apply refresh policies; what became of the runs, as ``assets.refresh.summary`` says."""
        import dagster as dg

        from panoptic_assets.config import BackfillConfig

        # Refused here, before Dagster stores a failed run.
        config = parse(BackfillConfig, given)
        for key in config.keys:
            self.divisions(key).get(key)
        job = self.definitions.resolve_job_def("backfill_runs")
        with instance_of(self.home, _NO_COMPUTE_LOGS) as instance:
            _wait_for_pool(instance)
            try:
                result = self._execute(job, instance, {"backfill": {"config": given}})
            except dg.Failure as failure:
                if "results" not in failure.metadata:
                    raise InputError(failure.description or "The run failed.") from failure
                metadata: Any = failure.metadata
            else:
                [output] = [
                    event.step_output_data
                    for event in result.events_for_node("backfill")
                    if event.is_successful_output
                ]
                metadata = output.metadata
        return {name: value.value for name, value in metadata.items()}

    @staticmethod
    def _execute(
        job: "dg.JobDefinition",
        instance: "dg.DagsterInstance",
        ops: dict[str, Any],
        tags: dict[str, str] | None = None,
        **selection: Any,
    ) -> Any:
        import dagster as dg
        from dagster._core.storage.tags import MAX_RETRIES_TAG

        try:
            with redirect_stderr(cast("IO[str]", _WithoutLostEvents(sys.stderr))):
                return job.execute_in_process(
                    instance=instance,
                    # Whoever started the command sees that it was killed, and starts it again.
                    tags={_HOST_TAG: socket.gethostname(), MAX_RETRIES_TAG: "0", **(tags or {})},
                    run_config={"loggers": {"console": {}}, "ops": ops},
                    **selection,
                )
        except dg.DagsterExecutionInterruptedError as interruption:
            raise click.Abort from interruption


class _WithoutLostEvents:
    """A stream without events that Dagster could not store: it writes them there with their SQL.

    That it could not is raised as well, and said in one line.
    """

    def __init__(self, stream: IO[str]):
        self._stream = stream

    def write(self, text: str) -> int:
        if text.startswith("Exception while writing logger call to event log"):
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def instance_of(
    home: Path, overrides: Mapping[str, Any] | None = None, wait: bool = True
) -> "Iterator[dg.DagsterInstance]":
    """The project's Dagster instance, for one command at a time.

    Without ``wait`` it is refused while another command works.

    Two processes that create its SQLite files at once fail ("table already exists"). And a command
    that was killed leaves its run started and its slot of the pool taken, for which the next
    command would wait for ever: but whoever holds this lock knows that such a run is over.
    """
    import dagster as dg
    from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES
    from sqlalchemy.exc import DBAPIError

    lock = instance_lock(home)
    try:
        held = lock.acquire(timeout=0)
    except Timeout as error:
        if not wait:
            raise InputError(f"Another panoptic-assets command is running. {_LATER}") from error
        tell("Waiting for another panoptic-assets command to end …")
        held = lock.acquire()
    with held, open_instance(home, overrides) as instance:
        mine = dg.RunsFilter(
            statuses=list(IN_PROGRESS_RUN_STATUSES), tags={_HOST_TAG: socket.gethostname()}
        )
        try:
            for run in instance.get_runs(mine):
                instance.report_run_failed(run, "The command that started this run was killed.")
                instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            yield instance
        except DBAPIError as error:
            # Dagster passes on what its database raises: on a full disk at any of its events.
            reason = brief(str(error.orig)).rstrip(".")
            raise InputError(
                f"Dagster's database in {home} failed: {reason}. Check the room on the disk and "
                "the permissions there, or the database's address, then run the command again; "
                "what was committed is kept."
            ) from error


@contextmanager
def _alone(instance: "dg.DagsterInstance") -> Iterator[None]:
    """Take the writers' pool, or refuse: while it is taken, no run of the UI begins to write."""
    import dagster as dg
    from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

    from panoptic_assets.assets.running import POOL

    running = instance.get_runs(dg.RunsFilter(statuses=list(IN_PROGRESS_RUN_STATUSES)), limit=1)
    if running:
        raise InputError(
            f"The Dagster run {running[0].run_id} is in progress. {_LATER} If its process is gone, "
            "terminate the run in the Dagster UI."
        )
    storage = instance.event_log_storage
    mine = str(uuid4())  # of no run: what a killed command leaves is freed by the next one
    _wait_for_pool(instance)
    storage.initialize_concurrency_limit_to_default(POOL)
    storage.claim_concurrency_slot(POOL, mine, "forget")
    try:
        yield
    finally:
        storage.free_concurrency_slots_for_run(mine)


def instance_lock(home: Path) -> FileLock:
    """Held while a command works on an instance, and while its database may be created."""
    return FileLock(home / "panoptic-assets.lock")


def ui_lock(home: Path) -> FileLock:
    """Held while `panoptic-assets ui` shows an instance, and starts its runs."""
    return FileLock(home / "panoptic-assets-ui.lock")


def open_instance(home: Path, overrides: Mapping[str, Any] | None = None) -> "dg.DagsterInstance":
    """The Dagster instance in a folder, with some settings in place of its ``dagster.yaml``'s.

    Raises:
        InputError: Dagster cannot read its settings or reach its database.
    """
    import dagster as dg
    from dagster._core.instance.ref import InstanceRef

    try:
        reference = InstanceRef.from_dir(str(home), overrides=overrides)
        return dg.DagsterInstance.from_ref(reference)
    except OSError:
        raise
    # Whatever its YAML reader, its own checks or its database raise comes through here as it is.
    except Exception as error:
        database = getattr(error, "orig", None)
        reason = brief(str(database or error)).rstrip(".")
        remedy = (
            "Check the room on the disk and the permissions there, or the database's address."
            if database
            else "Correct dagster.yaml there; the project's own is written anew once it is deleted."
        )
        raise InputError(
            f"Dagster cannot open its instance in {home}: {reason}. {remedy}"
        ) from error


def last_materialization(folder: ProjectFolder, asset: str) -> datetime | None:
    """When an asset was last materialized; None where the Dagster instance does not know.

    An instance whose files are not there yet is left without them.
    """
    import dagster as dg
    import yaml

    home = dagster_home(folder)
    settings = yaml.safe_load((home / "dagster.yaml").read_text(encoding="utf-8"))
    if "storage" not in (settings or {}) and not any(home.glob("*/*.db")):
        return None
    with open_instance(home, _NO_COMPUTE_LOGS) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    return None if event is None else datetime.fromtimestamp(event.timestamp, UTC)


def _wait_for_pool(instance: "dg.DagsterInstance") -> None:
    """Wait until no run of the UI or of another tool writes to the store.

    Inside a run Dagster would wait just so, but silently and deaf to Ctrl-C.
    """
    from panoptic_assets.assets.running import POOL

    told = False
    while True:
        busy = []
        for slot in instance.event_log_storage.get_concurrency_info(POOL).claimed_slots:
            run = instance.get_run_by_id(slot.run_id)
            if run is None or run.is_finished:
                instance.event_log_storage.free_concurrency_slots_for_run(slot.run_id)
            else:
                busy.append(slot.run_id)
        if not busy:
            return
        if not told:
            tell(
                f"Waiting for the Dagster run {busy[0]}, which writes to the store. If its process "
                "is gone, terminate the run in the Dagster UI."
            )
            told = True
        time.sleep(1)


def _report(name: str, partition: str | None, result: Any, seconds: float) -> None:
    from panoptic_assets.reports.markdown import number_text

    def listed(metadata: Mapping[str, "dg.MetadataValue"]) -> str:
        return ", ".join(
            f"{key.removeprefix('nb_').replace('_', ' ')} {number_text(value.value)}"
            for key, value in metadata.items()
            # What did not occur is not worth a word, but for the images themselves.
            if isinstance(value.value, (int, float)) and (value.value or key == "nb_images")
        )

    [event] = result.asset_materializations_for_node(name)
    what = name if partition is None else f"{name} {partition}"
    tell(f"✓ {what}: {listed(event.metadata)} ({seconds:.1f} s)")
    for check in result.get_asset_check_evaluations():
        if not check.passed:
            style = "yellow" if check.severity.value == "WARN" else "red"
            found = listed(check.metadata) or "see the Dagster UI"
            tell(f"  Check {check.check_name} failed: {found}. {check.description}", style)


def _plain_logger() -> "dg.LoggerDefinition":
    """What assets say while they run, without Dagster's own events: those are in the UI."""
    import dagster as dg

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            meta = getattr(record, "dagster_meta", {})
            if meta.get("dagster_event") is None:
                tell(f"  {meta.get('orig_message', record.getMessage())}")

    def build(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("panoptic_assets", logging.INFO)
        logger.addHandler(Handler())
        return logger

    return dg.LoggerDefinition(build)


def _store_of(project: ProjectFolder) -> "LanceStore":
    """The project's store, opened once to see that it can be."""
    from resources.lance import LanceStore

    store: LanceStore = LanceStore(
        uri=project.store, storage_options=project.settings.storage_options
    )
    try:
        store.tables()
    except OSError:
        raise
    except (ValueError, RuntimeError) as error:  # LanceDB's words for a bad URI and for no network
        raise InputError(
            f"The store {project.store} cannot be opened: check `store` and `storage_options` in "
            f"{project.settings_file}, the network, and the secrets in the environment. (LanceDB "
            f"says: {brief(str(error))})"
        ) from error
    return store


def open_project(folder: Path | None, key: str | None = None) -> "Project":
    """The API of the project in a folder, or around the working directory; checks a key first."""
    from panoptic_assets.api import Project
    from panoptic_assets.keys import parse_division

    if key is not None:
        parse_division(key)
    project = find(folder)
    _store_of(project)
    return Project(project.folder)
