"""Automation: jobs, sensors and schedules, all of them off until somebody switches them on.

Belongs here: when what is computed, and what is told when that fails. Does not belong here: the
computing itself, which is the assets' and the jobs' of operations.

A sensor runs in Dagster's code server, which stays: it lists, compares and asks for runs, and never
decodes, embeds or writes, but for the question whether what is missing is gone for good. What it
must remember lies in its cursor.

Long because what asks for refreshes shares how it looks and what it waits for.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Self

import dagster as dg

from panoptic_assets.corpus import absence
from panoptic_assets.corpus import table as image_tables
from panoptic_assets.corpus.assets import images, nothing_missing
from panoptic_assets.corpus.config import ImagesConfig
from panoptic_assets.corpus.ingestion import KnownFiles
from panoptic_assets.corpus.inventory_state import read_state
from panoptic_assets.corpus.manifest import Pending
from panoptic_assets.corpus.open_questions import OpenQuestion, note_question, open_questions
from panoptic_assets.corpus.properties import inventory_file, values_at_stake
from panoptic_assets.features import table as vector_tables
from panoptic_assets.features.projecting import outdated_map
from panoptic_assets.orchestration.asset_checks import evaluation_of
from panoptic_assets.orchestration.insides import PARTITION_TAG
from panoptic_assets.orchestration.partitions import PROJECTIONS, VECTOR_TYPES
from panoptic_assets.orchestration.runs import NOT_FINISHED, pending, read_cursor
from panoptic_assets.upkeep.environment import sensor_seconds, timezone
from panoptic_assets.upkeep.jobs import project, refresh_corpus
from resources.errors import InputError, Message, text_of
from resources.lance import LanceStore
from resources.listing import Listing
from resources.notifier import Notifier, without_secrets
from resources.registry import Registry
from resources.source import ImageSource, SourceFile

if TYPE_CHECKING:
    from panoptic_assets.orchestration.insides import Job

_LOOK_TAG = "panoptic/look"
"""Dagster tag of the refreshes that one look of ``corpus_changed`` asked for, each time it did."""
_LOOK_SECONDS = sensor_seconds(60)
_LIBRARY_SECONDS = 3600
"""So long a manifest of a library counts as it was: no library should be asked each minute."""
_MOST_SECONDS = 3600
"""The longest pause before a refresh that did not succeed is asked for again."""


@dataclass(frozen=True)
class _Look:
    """What ``corpus_changed`` saw, its cursor."""

    listing: str = ""
    """Hash of the newest listing."""
    since: float = 0.0
    """When that listing was first seen, seconds since 1970."""
    handled: bool = False
    """Whether its refresh has succeeded, or none was needed."""
    metadata: str = ""
    """Size and time of the inventory when a listing was last handled."""
    requests: int = 0
    """How often its refresh was asked for."""
    requested: float = 0.0
    """When it was last asked for, seconds since 1970."""

    @classmethod
    def read(cls, cursor: str | None) -> Self:
        """What a cursor says; nothing where somebody has edited it."""
        content = read_cursor(cursor)
        types = {name: type(value) for name, value in asdict(cls()).items()}
        if {name: type(value) for name, value in content.items()} != types:
            return cls()
        return cls(**content)


@dg.sensor(
    job=refresh_corpus,
    minimum_interval_seconds=_LOOK_SECONDS,
    description="Refreshes the corpus when its folder has changed and has been quiet for one look.",
)
def corpus_changed(
    context: dg.SensorEvaluationContext,
    source: dg.ResourceParam[ImageSource],
    store: dg.ResourceParam[LanceStore],
    registry: dg.ResourceParam[Registry],
) -> dg.SensorResult:
    """Refreshes the corpus when its folder has changed and has been quiet for one look.

    A look lists the folder, with sizes and times, and reads no file. A file that was only touched
    costs one refresh, which changes nothing. While a refresh waits or runs, none is asked for. One
    that failed, or was never carried out, is asked for again: after two pauses between looks, then
    after twice as long each time, an hour at most. Where so much is gone at once that a person must
    be asked, none is asked for until somebody has answered; the question is noted.
    """
    before = _Look.read(context.cursor)
    try:
        listing = source.list(max_age=_LIBRARY_SECONDS)
        for line in listing.warnings:
            dg.get_dagster_logger().warning(line)
    except InputError as error:
        return _skipped(str(error), before)
    metadata = _stat(registry, source)
    found = _hash_of(listing, metadata)
    if found != before.listing:
        now = _Look(listing=found, since=time.time(), metadata=before.metadata)
        return _skipped(f"{_files(listing)}, other than before: waiting until nothing moves.", now)
    if before.handled:
        return _skipped(f"{_files(listing)}, as at the last refresh.", before)
    if busy := _refreshing(context.instance):
        return _skipped(f"The corpus has changed, but the run {busy} refreshes it already.", before)
    handled = replace(before, handled=True, metadata=metadata)
    known = KnownFiles.of(store)
    forgotten = image_tables.forgotten_images(store)
    todo = known.outstanding(listing, source, registry, ImagesConfig(), forgotten)
    if metadata == before.metadata and not (todo.read or todo.gone or _lacks_vectors(store)):
        # Nor is a disk away any more.
        said = f"{_files(listing)}, which a refresh has read already."
        return _skipped(said, handled, _noted(store, None))
    if asked := _question(listing, todo, known, source, store, registry):
        return _skipped(text_of(asked), before, _noted(store, asked))
    if not listing.files and not vector_tables.vector_types(store):
        return _skipped("The folder holds no image yet.", handled)
    # By the time, too: a folder that is again what it was once is still to be refreshed.
    look = f"{found[:16]} {before.since:.3f}"
    runs = _runs_of(look, context.instance) if before.requests else []
    succeeded = {run.tags.get(PARTITION_TAG) for run in runs if run.is_success}
    vector_types = [
        name for name in vector_types_to_refresh(store, registry) if name not in succeeded
    ]
    if not vector_types:
        return _skipped(f"{_files(listing)}, as at the last refresh.", handled)
    if before.requests:
        lost = next((run for run in runs if not run.is_success), None)
        failed = f"the refresh {lost.run_id} did not succeed" if lost else "no refresh was made"
        pause = min(2**before.requests * _LOOK_SECONDS, _MOST_SECONDS)
        if (left := before.requested + pause - time.time()) > 0:
            return _skipped(
                f"The corpus has changed, but {failed}: it is asked for again in {left:.0f} s.",
                before,
            )
    # At once: Dagster looks for the partitions of requests before it adds those of the result.
    context.instance.add_dynamic_partitions(str(VECTOR_TYPES.name), vector_types)
    now = replace(before, requests=before.requests + 1, requested=time.time())
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                # Dagster makes one run of a key and a sensor, whatever became of it.
                run_key=f"{vector_type} {look} {now.requests}",
                partition_key=vector_type,
                tags={_LOOK_TAG: look},
            )
            for vector_type in vector_types
        ],
        cursor=json.dumps(asdict(now)),
    )


@dg.schedule(
    job=refresh_corpus,
    cron_schedule="0 3 * * *",
    execution_timezone=timezone(),
    description="Refreshes the corpus every night, whatever has changed, and reads a share of the "
    "files again.",
)
def daily_refresh(
    context: dg.ScheduleEvaluationContext,
    store: dg.ResourceParam[LanceStore],
    registry: dg.ResourceParam[Registry],
    source: dg.ResourceParam[ImageSource],
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Refreshes the corpus every night, whatever has changed; so also what failed the day before.

    An unchanged corpus costs a listing, and the reading of a share of the files
    (``reread_share`` of the project): disks do not tell of everything that happens to files. While
    a person is asked whether files are gone for good, and they still are, nothing is asked for.
    """
    if busy := _refreshing(context.instance):
        yield dg.SkipReason(f"The run {busy} refreshes the corpus already.")
        return
    before = _asked_of_files(store)
    asked = before and _asked_now(source, store, registry)
    if before and asked == before.message:
        yield dg.SkipReason(before.text)
        return
    vector_types = vector_types_to_refresh(store, registry)
    if asked:
        vector_types = vector_types[:1]  # one is enough to ask it
    context.instance.add_dynamic_partitions(str(VECTOR_TYPES.name), vector_types)
    at = context.scheduled_execution_time.isoformat()
    share = registry.settings.reread_share
    for vector_type in vector_types:
        yield dg.RunRequest(
            run_key=f"{vector_type} {at}",
            partition_key=vector_type,
            run_config={"ops": {images.key.path[-1]: {"config": {"reread_share": share}}}}
            if share
            else None,
        )
        share = 0.0  # one run reads for all


def vector_types_to_refresh(store: LanceStore, registry: Registry) -> list[str]:
    """The vector types that have vectors and a file in the registry, else the project's default."""
    known = set(registry.models())
    return [name for name in vector_tables.vector_types(store) if name in known] or [
        registry.default_vector_type
    ]


def after(job: "Job", earlier: "Job") -> dg.SensorDefinition:
    """A sensor that asks for a job's run when the last run of another job has succeeded."""

    @dg.run_status_sensor(
        name=f"{job.name}_after_{earlier.name}",
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=[earlier],
        request_job=job,
        minimum_interval_seconds=sensor_seconds(30),
        description=f"Runs {job.name} when {earlier.name} has succeeded, once for several of its "
        "runs that wait for each other.",
    )
    def follow(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
        waiting = dg.RunsFilter(job_name=earlier.name, statuses=list(NOT_FINISHED))
        if busy := context.instance.get_runs(waiting, limit=1):
            return dg.SkipReason(f"The run {busy[0].run_id} of {earlier.name} comes first.")
        return dg.RunRequest(run_key=context.dagster_run.run_id)

    return follow


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[refresh_corpus],
    request_job=project,
    minimum_interval_seconds=sensor_seconds(30),
    description="Runs project when refresh_corpus has succeeded and the points of the vector "
    "type's map, <vector type>/pca, are of other vectors.",
)
def project_after_refresh_corpus(
    context: dg.RunStatusSensorContext, store: dg.ResourceParam[LanceStore]
) -> dg.RunRequest | dg.SkipReason:
    """Runs project when refresh_corpus has succeeded and its map's points are of other vectors.

    No job of Dagster's can make both: vector types and projections are partitions of two kinds.
    """
    vector_type = context.dagster_run.tags[PARTITION_TAG]
    key = outdated_map(store, vector_type)
    if key is None:
        return dg.SkipReason(f"The points of {vector_type} are up to date.")
    context.instance.add_dynamic_partitions(str(PROJECTIONS.name), [key])
    return dg.RunRequest(run_key=context.dagster_run.run_id, partition_key=key)


def daily(job: "Job", hour: int) -> dg.ScheduleDefinition:
    """A schedule that runs a job each day, in the time zone of all schedules."""
    return _schedule(job, "daily", f"0 {hour} * * *", f"each day at {hour}:00")


def weekly(job: "Job", hour: int) -> dg.ScheduleDefinition:
    """A schedule that runs a job each Sunday, in the time zone of all schedules."""
    return _schedule(job, "weekly", f"0 {hour} * * 0", f"each Sunday at {hour}:00")


def _schedule(job: "Job", name: str, cron: str, when: str) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=f"{name}_{job.name}",
        job=job,
        cron_schedule=cron,
        execution_timezone=timezone(),
        description=f"Runs {job.name} {when}.",
    )


@dg.run_failure_sensor(
    minimum_interval_seconds=sensor_seconds(30),
    description="Posts a line about each run that fails to the address in $PANOPTIC_NOTIFY_URL.",
)
def notify_of_failures(
    context: dg.RunFailureSensorContext, store: dg.ResourceParam[LanceStore]
) -> dg.SkipReason | None:
    """Posts a line about each run that fails to the address in $PANOPTIC_NOTIFY_URL.

    As JSON: job, partition, message, run_id. Of a fault of the program only its kind is told; the
    run's page has the rest. Runs of commands fail before somebody's eyes and are not posted; a
    question about files that are missing is posted once, whoever asks it first.
    """
    notifier = Notifier.from_environment()
    if notifier is None:
        return dg.SkipReason("Nobody is told: PANOPTIC_NOTIFY_URL is not set.")
    run = context.dagster_run
    said = _message(context)
    asked = _asked_of_files(store)
    if asked and asked.text == said and asked.asked_at.timestamp() < _began(context):
        return dg.SkipReason("Somebody was told already: the same question was asked before.")
    _post(notifier, run.job_name, run.tags.get(PARTITION_TAG), said, run.run_id)
    return None


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[refresh_corpus],
    minimum_interval_seconds=sensor_seconds(30),
    description="Posts a line about an inventory that a refresh could not read to the address in "
    "$PANOPTIC_NOTIFY_URL.",
)
def notify_of_inventory(
    context: dg.RunStatusSensorContext, store: dg.ResourceParam[LanceStore]
) -> dg.SkipReason | None:
    """Posts a line about an inventory that a refresh could not read, to $PANOPTIC_NOTIFY_URL.

    Such a refresh succeeds: images, vectors and neighbours do not wait for the inventory. It is
    posted once, by the refresh that has found it; that of a command does so before somebody's eyes.
    """
    notifier = Notifier.from_environment()
    if notifier is None:
        return dg.SkipReason("Nobody is told: PANOPTIC_NOTIFY_URL is not set.")
    state, run = read_state(store), context.dagster_run
    if state is None or state.said is None or state.found_by != run.run_id:
        return dg.SkipReason("The inventory is read as it stands, or somebody was told already.")
    _post(notifier, run.job_name, run.tags.get(PARTITION_TAG), text_of(state.said), run.run_id)
    return None


def _began(context: dg.RunFailureSensorContext) -> float:
    """When the last of a run's steps that failed began, in seconds since 1970."""
    failed = {event.step_key for event in context.get_step_failure_events()}
    steps = context.instance.get_run_step_stats(context.dagster_run.run_id)
    return max((step.start_time or 0.0 for step in steps if step.step_key in failed), default=0.0)


def _post(
    notifier: Notifier, job: str, partition: str | None, said: str, run_id: str | None
) -> None:
    document = {
        "job": job,
        "partition": partition,
        "message": without_secrets(said),
        "run_id": run_id,
    }
    try:
        notifier.post(document)
    except OSError as error:
        # Named by its kind: the address is a secret with many services.
        raise InputError(
            "What failed could not be posted ({reason}): check PANOPTIC_NOTIFY_URL and what "
            "answers there.",
            id="notice-not-posted",
            reason=type(error).__name__,
        ) from None


def _message(context: dg.RunFailureSensorContext) -> str:
    """Why a run failed, in the plain words of the step that refused, if it did so."""
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        if data.user_failure_data and data.user_failure_data.description:
            return str(data.user_failure_data.description)
        if data.error and (cause := data.error.cause or data.error).cls_name:
            return f"{event.step_key} failed: {cause.cls_name}"
    return "The run failed before its first step ended."


def _hash_of(listing: Listing, metadata: str) -> str:
    digest = hashlib.sha256(metadata.encode())
    for folder in listing.unreadable_folders:
        digest.update(f"{folder}\n".encode())
    for file in listing.files:
        stamp = f"{file.size} {file.mtime_ns} {file.ctime_ns} {file.inode} {file.etag}"
        digest.update(f"{file.path}\n{stamp}\n".encode())
    return digest.hexdigest()


def _stat(registry: Registry, source: ImageSource) -> str:
    """Size and time of the inventory; that it is away is a state as well, which a refresh notes."""
    try:
        path = inventory_file(registry, source)
        if path is None:
            return ""
        status = path.stat()
    except (InputError, OSError):
        return "away"
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def _lacks_vectors(store: LanceStore) -> bool:
    """Whether an image has no vector of some type."""
    present = image_tables.present_files(store).keys()
    return not all(
        present <= vector_tables.embedded(store, vector_type)
        for vector_type in vector_tables.vector_types(store)
    )


def _runs_of(look: str, instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """The runs that a look has asked for, those that Dagster started again too; newest first."""
    return list(instance.get_runs(dg.RunsFilter(tags={_LOOK_TAG: look})))


def _refreshing(instance: dg.DagsterInstance) -> str | None:
    """The id of a run that waits, works on the images or is about to be started again, if any."""
    return pending(
        instance,
        lambda run: (
            run.job_name == refresh_corpus.name or images.key in (run.asset_selection or ())
        ),
    )


def _question(
    listing: Listing,
    todo: Pending[SourceFile],
    known: KnownFiles,
    source: ImageSource,
    store: LanceStore,
    registry: Registry,
) -> Message | None:
    """What must be asked; the inventory is read only where that was not asked before."""
    limits = absence.Limits.of(registry.settings)
    lost = absence.lost_files(known.files, todo, listing.mounts, source.takes, source.place, limits)
    if lost is None:
        return None
    asked = _asked_of_files(store)
    if asked and lost.is_said_by(asked.message):
        return asked.message
    paths = image_tables.paths_of_images(known.files.values())
    values = values_at_stake(store, registry, source, paths, limits)
    return lost.question(values).message


def _asked_of_files(store: LanceStore) -> OpenQuestion | None:
    return next((asked for asked in open_questions(store) if asked.kind == "files"), None)


def _asked_now(source: ImageSource, store: LanceStore, registry: Registry) -> Message | None:
    """What a refresh would ask about files."""
    try:
        listing = source.list(max_age=_LIBRARY_SECONDS)
        known = KnownFiles.of(store)
        forgotten = image_tables.forgotten_images(store)
        todo = known.outstanding(listing, source, registry, ImagesConfig(), forgotten)
        return _question(listing, todo, known, source, store, registry)
    except InputError:  # which the refresh says
        return None


def _noted(store: LanceStore, question: Message | None) -> Sequence[dg.AssetCheckEvaluation]:
    """Note what is asked about files; what Dagster is told of it, if that is news.

    Whoever is told of failures is told of it first: it is not news any more once it is noted.
    """
    before = _asked_of_files(store)
    if question == (before.message if before else None):
        return []
    if question is not None and (notifier := Notifier.from_environment()):
        _post(notifier, refresh_corpus.name, None, text_of(question), None)
    note_question(store, "files", question)
    return [evaluation_of(images, nothing_missing(store))]


def _skipped(
    reason: str, look: _Look, told: Sequence[dg.AssetCheckEvaluation] = ()
) -> dg.SensorResult:
    cursor = json.dumps(asdict(look))
    return dg.SensorResult(skip_reason=reason, cursor=cursor, asset_events=told)


def _files(listing: Listing) -> str:
    return f"{len(listing.files):,} files"
