"""The command line: ``panoptic-assets``.

Belongs here: commands that materialize assets through Dagster on the project's own instance, and
commands that print what the API reads. Does not belong here: anything that another door could not
do as well.

Exit codes: 0 done, 2 what was asked cannot be done (one line says why), 130 interrupted by Ctrl-C,
1 a fault of the program.
"""

import errno
import functools
import io
import logging
import os
import re
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click
from filelock import FileLock, Timeout
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from panoptic_assets.config import METHODS, PROJECTION_METHODS, SaveConfig, parse
from resources.errors import InputError
from resources.project import (
    ENVIRONMENT_VARIABLE,
    ProjectFolder,
    ProjectSettings,
    create,
    dagster_home,
    find,
)

if TYPE_CHECKING:
    import dagster as dg

    from panoptic_assets.api import Project
    from panoptic_assets.tables import Divisions
    from resources.lance import LanceStore

_SAMPLE = Path(__file__).parent / "sample"
_DEMO_RUN = "demo"
_INTERRUPTED = 128 + signal.SIGINT
_HOST_TAG = "panoptic/host"
"""Tag of the runs that a command executes itself, with the name of its machine."""


_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What a name may hold and a terminal must not get: escape sequences, line separators, what turns
the direction of writing around, and bytes that are not UTF-8."""

_REMEDIES = {
    errno.EACCES: "change its permissions",
    errno.EPERM: "change its permissions",
    errno.EROFS: "the disk is read-only: choose a folder on another one",
    errno.ENOSPC: "make room and run the command again; what was committed is kept",
    errno.EDQUOT: "make room and run the command again; what was committed is kept",
    errno.EFBIG: "allow larger files and run the command again; what was committed is kept",
    errno.ENOTDIR: "move the file away that lies where a folder must be, or choose another folder",
    errno.EEXIST: "move the file away that lies where a folder must be, or choose another folder",
    errno.EISDIR: "move the folder away that lies where a file must be",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "allow more open files (ulimit -n)",
}
_LANCE_ERROR = re.compile(r"LanceError\(IO\): (?P<reason>.*)", re.DOTALL)


class _PlainError(click.ClickException):
    exit_code = 2

    def __init__(self, message: str):
        super().__init__(_printable(message))


class _Group(click.Group):
    """Shows as one line what a person can mend: input, disks, networks."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (click.Abort, KeyboardInterrupt):
            _tell("Interrupted: what was committed is kept, and the same command goes on from it.")
            sys.stdout.flush()
            # Without waiting for threads: decoding a huge scan takes seconds, and cannot be
            # stopped. They write nothing.
            os._exit(_INTERRUPTED)
        except InputError as error:
            raise _PlainError(str(error)) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read the output has gone: click's part
                raise
            raise _PlainError(_about(error)) from error
        except RuntimeError as error:
            found = _LANCE_ERROR.search(str(error))
            if not found:
                raise
            number = re.search(r"\(os error (\d+)\)", found["reason"])
            remedy = _remedy(int(number[1]) if number else None)
            raise _PlainError(f"The store failed: {_brief(found['reason'])}: {remedy}.") from error


def _about(error: OSError) -> str:
    named = [str(name) for name in (error.filename, error.filename2) if name is not None]
    reason = error.strerror or str(error) or type(error).__name__
    return f"{': '.join([*named, reason])}: {_remedy(error.errno)}."


def _remedy(number: int | None) -> str:
    return _REMEDIES.get(number or 0, "check the path, the disk and the network, then try again")


def _brief(reason: str) -> str:
    """Another library's words on one line, without the place in its own source, cut."""
    line = " ".join(re.sub(r",? \S+\.rs:\d+:\d+", "", reason).split())
    return line if len(line) <= 300 else f"{line[:300]}…"


def _printable(text: str) -> str:
    """Text as one line that only says what it is: ``\\x1b`` in place of an escape sequence."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--project",
    type=click.Path(path_type=Path),
    envvar=ENVIRONMENT_VARIABLE,
    help="The project's folder; by default the working directory's.",
)
@click.version_option(package_name="panoptic-assets")
@click.pass_context
def main(context: click.Context, project: Path | None) -> None:
    """Turn a folder of images into clusters one can trust."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name may have letters that a terminal lacks
            stream.reconfigure(errors="backslashreplace")
    context.obj = project


@main.command()
@click.argument("images", metavar="FOLDER_OF_IMAGES")
@click.option(
    "--vector-type", default="mini", help="Default vector type: a file of configs/models."
)
@click.pass_obj
def init(folder: Path | None, images: str, vector_type: str) -> None:
    """Make the working directory a project of a folder of images, or of its URL (s3://…)."""
    from panoptic_assets.keys import parse_name

    parse_name(vector_type, "vector type")
    project = _create(folder, images, vector_type)
    _say(f"{project.folder} is a project of {project.images}.")
    _say("Next: panoptic-assets refresh")


@main.command()
@click.pass_obj
def demo(folder: Path | None) -> None:
    """Run the whole chain on the sample of 253 images that the project ships."""
    started = time.monotonic()
    project = _Runner(_demo_project(folder))
    known = bool(project.reader.runs())
    project.refresh(["mini"])
    try:
        project.divide_corpus(_DEMO_RUN, {})
        node = _DEMO_RUN
        for _ in range(2):
            # The last cluster is the least coherent one; k-means leaves no remainder.
            node = project.reader.clusters(node)["node"].to_pylist()[-1]
            project.divide_node(node, {"method": {"kmeans": {"nb_clusters": 2}}})
        project.save(_DEMO_RUN, {})
    except InputError as error:
        if not known:
            raise
        # What is refused is refused in words for other commands, whose options this one lacks.
        raise InputError(
            f"The demo of {project.folder.folder} was changed since it was made, and is left as "
            "you made it. For a new demo, run `panoptic-assets demo` in an empty folder; to save "
            f"this one's clusters as they are now: `panoptic-assets save {_DEMO_RUN} --replace`. "
            f"(What stopped the demo: {error})"
        ) from error
    _print_clusters(project.reader, _DEMO_RUN)
    _print_tags(project.reader, None)
    _say(f"Done in {time.monotonic() - started:.0f} s.")
    _say(f"The data: {project.folder.store}")
    command = f"DAGSTER_HOME={shlex.quote(str(project.home))} dagster dev"
    if Path.cwd() != project.folder.folder:
        command = f"{ENVIRONMENT_VARIABLE}={shlex.quote(str(project.folder.folder))} {command}"
    if Path.cwd() != Path(__file__).parent.parent:
        command += " -m panoptic_assets.definitions"
    _say(f"The Dagster UI, at http://127.0.0.1:3000: {command}")


@main.command()
@click.option(
    "--vector-type", multiple=True, help="Vector types to embed; the default one if none."
)
@click.option("--batch-size", type=int, help="Images in one pass of the model.")
@click.option(
    "--readers",
    type=click.IntRange(1, 64),
    help="Threads that read and decode; more help where the source is slow to answer.",
)
@click.pass_obj
def refresh(
    folder: Path | None,
    vector_type: tuple[str, ...],
    batch_size: int | None,
    readers: int | None,
) -> None:
    """Read what is new in the images' folder, embed it, and find its nearest neighbours."""
    runner = _Runner(find(folder), readers)
    given = {} if batch_size is None else {"batch_size": batch_size}
    runner.refresh(list(vector_type) or [runner.registry.default_vector_type], given)


@main.command("import-vectors")
@click.argument("key")
@click.argument("vectors", metavar="FILE")
@click.option("--ids", help="With a .npy: text file with the image id or path of each row.")
@click.option("--model", required=True, help="What made the vectors, in words; recorded.")
@click.pass_obj
def import_vectors(
    folder: Path | None, key: str, vectors: str, ids: str | None, model: str
) -> None:
    """Make the vectors in a Parquet or .npy FILE the vector type KEY.

    Rows are named by image id or by path; a row of no image of the corpus is left out.
    """
    from pydantic import ValidationError

    from panoptic_assets import imports
    from panoptic_assets.keys import parse_name
    from panoptic_assets.tables import model_identity, read_manifest
    from resources.lance import vectors_table
    from resources.project import explain
    from resources.vectors_file import VectorsFile

    parse_name(key, "vector type")
    runner = _Runner(find(folder))
    places = [_below(runner.folder.folder, place) if place else None for place in (vectors, ids)]
    try:
        file = VectorsFile(vectors=places[0] or "", ids=places[1], model=model)
    except ValidationError as error:
        raise InputError(explain(error)) from error
    # Refused here, before the registry names a file that cannot be used.
    stored = model_identity(runner.store, key)
    if stored and (differing := file.differences(stored)):
        raise InputError(
            f"The key {key!r} has vectors of another model ({'; '.join(differing)}): choose a new "
            "key."
        )
    batches = file.batches(runner.folder.folder)
    imports.check(batches, read_manifest(runner.store), vectors_table(key), runner.store)
    runner.registry.write_vectors_file(key, file)
    runner.materialize("embeddings", key)


def _below(folder: Path, place: str) -> str:
    """A path as the registry writes it: relative where the project can be moved with it."""
    absolute = Path(place).absolute()
    return str(absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute)


def _click_type(annotation: Any) -> Any:
    if get_origin(annotation) is Literal:
        return click.Choice(get_args(annotation))
    [*choices] = [choice for choice in get_args(annotation) if choice is not type(None)]
    return choices[0] if choices else annotation


def _method_options(
    methods: tuple[Any, ...], what: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for every parameter of every method."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        names = [method.model_fields["name"].default for method in methods]
        takers: dict[str, list[Any]] = {}
        for method in methods:
            for name, field in method.model_fields.items():
                if name != "name":
                    takers.setdefault(name, []).append((method, field))
        for name, found in reversed(takers.items()):
            command = _option(name, found)(command)
        command = click.option("--seed", type=int, help="Seed of all that is random.")(command)
        command = click.option(
            "--replace", is_flag=True, help="Allow other parameters than the key's record has."
        )(command)
        return click.option("--method", type=click.Choice(names), help=f"The {what} method.")(
            command
        )

    return add


def _option(name: str, found: list[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option of one parameter, which several methods may take, each with values of its own."""
    methods = ", ".join(method.model_fields["name"].default for method, _ in found)
    types = [_click_type(field.annotation) for _, field in found]
    if all(isinstance(kind, click.Choice) for kind in types):
        kind: Any = click.Choice(list(dict.fromkeys(c for one in types for c in one.choices)))
    else:
        kind = types[0]
    flags = f"--{name.replace('_', '-')}"
    if kind is bool:
        flags = f"{flags}/--no-{name.replace('_', '-')}"
    help_text = f"{found[0][1].description} ({methods})"
    return click.option(flags, type=kind, default=None, help=help_text)


_clustering_options = _method_options(METHODS, "clustering")
_features_option = click.option(
    "--features", help="What to cluster: a vector type or a projection, as mini/umap."
)


@main.command("project")
@click.argument("key")
@click.option("--nb-dimensions", type=int, help="Dimensions of the points; 2 by default.")
@_method_options(PROJECTION_METHODS, "projection")
@click.pass_obj
def make_projection(folder: Path | None, key: str, **options: Any) -> None:
    """Compute the points of the projection KEY, <vector type>/<name>, such as mini/umap."""
    from panoptic_assets.keys import parse_projection

    parse_projection(key)
    runner = _Runner(find(folder))
    runner.project(key, _given_projection(options, runner, key))


@main.command()
@click.argument("key")
@click.option("--files", metavar="PATTERN", help="Only images with such a path, as 'animals/*'.")
@_clustering_options
@_features_option
@click.pass_obj
def cluster(folder: Path | None, key: str, files: str | None, **options: Any) -> None:
    """Divide the corpus into clusters, as the run KEY."""
    from panoptic_assets.keys import parse_run_key

    parse_run_key(key)
    runner = _Runner(find(folder))
    given = _given(options, runner, key)
    if files is not None:
        given["scope"] = {"files": {"pattern": files}}
    runner.divide_corpus(key, given)
    _print_clusters(runner.reader, key)
    _warn_of_stale(runner.reader, key)


@main.command()
@click.argument("node")
@_clustering_options
@_features_option
@click.pass_obj
def divide(folder: Path | None, node: str, **options: Any) -> None:
    """Divide one cluster again: NODE is its address, such as greek/3 or greek/3/0."""
    from panoptic_assets.keys import parse_node

    parse_node(node)
    runner = _Runner(find(folder))
    runner.divide_node(node, _given(options, runner, node))
    _print_clusters(runner.reader, node)
    _warn_of_stale(runner.reader, node)


@main.command()
@click.argument("key")
@click.option("--property", "property_name", help="Name of the property; Clustering by default.")
@click.option("--replace", is_flag=True, help="Allow to replace the property's tags.")
@click.option("--author", help="Who saves; the user of the system by default.")
@click.option("--reason", help="Why, for the tag log.")
@click.pass_obj
def save(
    folder: Path | None,
    key: str,
    property_name: str | None,
    replace: bool,
    author: str | None,
    reason: str | None,
) -> None:
    """Save the whole tree of the run KEY as tags."""
    from panoptic_assets.keys import parse_run_key

    parse_run_key(key)
    if property_name == "":  # in a Launchpad an empty field is one that was not filled in
        raise InputError("--property is empty: give a name, or leave the option out.")
    given = {"property": property_name, "author": author, "reason": reason}
    given = {name: value for name, value in given.items() if value is not None}
    parse(SaveConfig, given)
    runner = _Runner(find(folder))
    runner.save(key, given | {"replace": replace})
    _print_tags(runner.reader, property_name or "Clustering")


@main.command()
@click.pass_obj
def runs(folder: Path | None) -> None:
    """List all runs and the clusters that were divided again."""
    listed = _reader(folder).runs()
    if not listed:
        _say("No runs yet: panoptic-assets cluster KEY")
        return
    grid = Table("key", "status", "method", "features", box=None)
    for heading in ("images", "clusters", "remainder"):
        grid.add_column(heading, justify="right")
    grid.add_column("finished")
    for run in listed:
        grid.add_row(
            run["key"],
            Text(run["status"], "yellow" if run["status"] == "stale" else "green"),
            run["method"],
            run["features"],
            *(f"{run[name]:,}" for name in ("nb_images", "nb_clusters", "remainder")),
            f"{run['finished_at'].astimezone():%Y-%m-%d %H:%M}",
        )
    _out().print(grid)


@main.command("run-info")
@click.argument("key")
@click.pass_obj
def run_info(folder: Path | None, key: str) -> None:
    """Print everything that is recorded of the run or divided node KEY, as YAML."""
    import yaml

    info = _reader(folder, key).run_info(key)
    click.echo(yaml.safe_dump(info, allow_unicode=True, sort_keys=False).rstrip())


@main.command()
@click.argument("key")
@click.pass_obj
def clusters(folder: Path | None, key: str) -> None:
    """List the clusters of the run or divided node KEY, the most coherent first."""
    _print_clusters(_reader(folder, key), key)


@main.command()
@click.argument("property_name", metavar="[PROPERTY]", required=False)
@click.pass_obj
def tags(folder: Path | None, property_name: str | None) -> None:
    """Show the tags of a property, or of all, as a tree."""
    _print_tags(_reader(folder), property_name)


class _Runner:
    """Materializes assets of one project on its Dagster instance, in this process."""

    def __init__(self, folder: ProjectFolder, readers: int | None = None):
        from panoptic_assets.api import Project
        from resources.lance import LanceStore
        from resources.registry import Registry

        self.folder = folder
        self.source_options = {} if readers is None else {"readers": readers}
        self.home = dagster_home(folder)
        self.store: LanceStore = _store_of(folder)
        self.reader = Project(folder.folder)
        self.registry: Registry = Registry(folder=str(folder.folder))

    @functools.cached_property
    def definitions(self) -> "dg.Definitions":
        import dagster as dg

        from panoptic_assets.definitions import build_defs
        from resources.models import OpenClipModels
        from resources.source import ImageSource

        assembled = build_defs(
            source=ImageSource(
                root=self.folder.images,
                include=self.folder.settings.include,
                exclude=self.folder.settings.exclude,
                storage_options=self.folder.settings.images_options,
                **self.source_options,
            ),
            store=self.store,
            models=OpenClipModels(folder=str(self.folder.folder)),
            registry=self.registry,
        )
        return dg.Definitions.merge(assembled, dg.Definitions(loggers={"console": _plain_logger()}))

    def refresh(self, vector_types: list[str], given: dict[str, Any] | None = None) -> None:
        from panoptic_assets.keys import parse_name
        from panoptic_assets.tables import vector_types as vector_types_of

        for vector_type in vector_types:
            self.registry.model(parse_name(vector_type, "vector type"))
        self.materialize("images")
        for vector_type in vector_types:
            self.materialize("embeddings", vector_type, given)
            if vector_type in vector_types_of(self.store):  # not, as long as there is no image
                self.materialize("neighbors", vector_type)

    def project(self, key: str, given: dict[str, Any]) -> None:
        from panoptic_assets.assets.features import resolve_projection
        from panoptic_assets.keys import vector_type_of
        from panoptic_assets.tables import present_files, read_vectors

        # Refused here, before Dagster stores a partition and a failed run.
        resolve_projection(key, given, self.store, self.registry)
        read_vectors(self.store, vector_type_of(key), present_files(self.store))
        self.materialize("projection", key, given)

    def divide_corpus(self, key: str, given: dict[str, Any]) -> None:
        from panoptic_assets.assets.clusterings import resolve_clustering
        from panoptic_assets.tables import images_in

        # Refused here, before Dagster stores a partition and a failed run.
        config = resolve_clustering(key, given, self.divisions(key), self.registry)
        images_in(config.scope, self.store)
        self.materialize("clustering", key, given)

    def divide_node(self, key: str, given: dict[str, Any]) -> None:
        from panoptic_assets.assets.clusterings import present_members, resolve_nested
        from panoptic_assets.keys import parse_node

        divisions = self.divisions(key)
        present_members(parse_node(key), divisions, self.store)
        resolve_nested(key, given, divisions, self.registry)
        self.materialize("nested_clustering", key, given)

    def save(self, key: str, given: dict[str, Any]) -> None:
        self.divisions(key).get(key)
        self.materialize("saved_clustering", key, given)
        self.materialize("tags")

    def divisions(self, key: str) -> "Divisions":
        from panoptic_assets.keys import run_key_of
        from panoptic_assets.tables import Divisions

        return Divisions(self.store, run_key_of(key))

    def materialize(
        self, asset: str, partition: str | None = None, given: dict[str, Any] | None = None
    ) -> None:
        """Materialize an asset in a Dagster run of its own; raises InputError when it refuses."""
        import dagster as dg

        job = self.definitions.resolve_implicit_global_asset_job_def()
        with _instance(self.home) as instance:
            if partition is not None:
                definition = self.definitions.get_assets_def(asset).partitions_def
                assert isinstance(definition, dg.DynamicPartitionsDefinition)  # noqa: S101
                instance.add_dynamic_partitions(str(definition.name), [partition])
            started = time.monotonic()
            try:
                result = job.execute_in_process(
                    instance=instance,
                    asset_selection=[dg.AssetKey(asset)],
                    partition_key=partition,
                    tags={_HOST_TAG: socket.gethostname()},
                    run_config={
                        "loggers": {"console": {}},
                        "ops": {asset: {"config": given}} if given else {},
                    },
                )
            except dg.DagsterExecutionInterruptedError as interruption:
                raise click.Abort from interruption
            except dg.Failure as failure:
                raise InputError(failure.description or "The run failed.") from failure
        _report(asset, partition, result, time.monotonic() - started)


@contextmanager
def _instance(home: Path) -> "Iterator[dg.DagsterInstance]":
    """The project's Dagster instance, for one command at a time.

    Two processes that create its SQLite files at once fail ("table already exists"). And a command
    that was killed leaves its run started and its slot of the pool taken, for which the next
    command would wait for ever: but whoever holds this lock knows that such a run is over.
    """
    import dagster as dg
    from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

    lock = FileLock(home / "panoptic-assets.lock")
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        _tell("Waiting for another panoptic-assets command to end …")
        held = lock.acquire()
    with held, _open_instance(home) as instance:
        mine = dg.RunsFilter(
            statuses=list(IN_PROGRESS_RUN_STATUSES), tags={_HOST_TAG: socket.gethostname()}
        )
        for run in instance.get_runs(mine):
            instance.report_run_failed(run, "The command that started this run was killed.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        _wait_for_pool(instance)
        yield instance


def _open_instance(home: Path) -> "dg.DagsterInstance":
    import dagster as dg
    from dagster._core.instance.ref import InstanceRef

    # Dagster copies what a step prints through two processes of its own, which take half a second
    # a step and answer Ctrl-C with stack traces. What a command prints is on its terminal.
    overrides = {
        "compute_logs": {
            "module": "dagster._core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",
        }
    }
    try:
        reference = InstanceRef.from_dir(str(home), overrides=overrides)
        return dg.DagsterInstance.from_ref(reference)
    except OSError:
        raise
    # Whatever its YAML reader, its own checks or its database raise comes through here as it is.
    except Exception as error:
        database = getattr(error, "orig", None)
        reason = _brief(str(database or error)).rstrip(".")
        remedy = (
            "Check the room on the disk and the permissions there, or the database's address."
            if database
            else "Correct dagster.yaml there; the project's own is written anew once it is deleted."
        )
        raise InputError(
            f"Dagster cannot open its instance in {home}: {reason}. {remedy}"
        ) from error


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
            _tell(
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
    _tell(f"✓ {what}: {listed(event.metadata)} ({seconds:.1f} s)")
    for check in result.get_asset_check_evaluations():
        if not check.passed:
            style = "yellow" if check.severity.value == "WARN" else "red"
            found = listed(check.metadata) or "see the Dagster UI"
            _tell(f"  Check {check.check_name} failed: {found}. {check.description}", style)


def _plain_logger() -> "dg.LoggerDefinition":
    """What assets say while they run, without Dagster's own events: those are in the UI."""
    import dagster as dg

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            meta = getattr(record, "dagster_meta", {})
            if meta.get("dagster_event") is None:
                _tell(f"  {meta.get('orig_message', record.getMessage())}")

    def build(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("panoptic_assets", logging.INFO)
        logger.addHandler(Handler())
        return logger

    return dg.LoggerDefinition(build)


def _create(folder: Path | None, images: str, vector_type: str) -> ProjectFolder:
    return create(folder or Path.cwd(), ProjectSettings.of(images, vector_type))


def _demo_project(folder: Path | None) -> ProjectFolder:
    """The demo's project; one that another installation made is a project of that one's sample."""
    try:
        existing = find(folder or Path.cwd())
    except InputError:
        return _create(folder, str(_SAMPLE), "mini")
    images = Path(existing.images)
    same = images.parts[-2:] == _SAMPLE.parts[-2:] and images.is_dir()
    if same and existing.settings.vector_type == "mini":
        return existing
    return _create(folder, str(_SAMPLE), "mini")


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
            f"says: {_brief(str(error))})"
        ) from error
    return store


def _reader(folder: Path | None, key: str | None = None) -> "Project":
    from panoptic_assets.api import Project
    from panoptic_assets.keys import parse_division

    if key is not None:
        parse_division(key)
    project = find(folder)
    _store_of(project)
    return Project(project.folder)


def _given(options: dict[str, Any], runner: _Runner, key: str) -> dict[str, Any]:
    """The options that were given, in the form of a run's configuration."""

    def known() -> dict[str, Any] | None:
        from panoptic_assets.assets.clusterings import registry_config

        record = runner.divisions(key).records.get(key)
        asset = "nested_clustering" if "/" in key else "clustering"
        return record.config if record else registry_config(runner.registry, key, asset)

    return _document(options, ("features", "seed", "replace"), known, "kmeans")


def _given_projection(options: dict[str, Any], runner: _Runner, key: str) -> dict[str, Any]:
    """The options that were given, in the form of a projection's configuration."""

    def known() -> dict[str, Any] | None:
        from panoptic_assets.assets.features import registry_projection
        from panoptic_assets.tables import projection_record

        record = projection_record(runner.store, key)
        return record.cause.config if record else registry_projection(runner.registry, key)

    return _document(options, ("nb_dimensions", "seed", "replace"), known, "pca")


def _document(
    options: dict[str, Any],
    common: tuple[str, ...],
    known: Callable[[], dict[str, Any] | None],
    default: str,
) -> dict[str, Any]:
    """Options as configuration.

    A parameter without ``--method`` is one of the method that the key's record or file names.
    """
    from panoptic_assets.config import method_of

    given = {k: v for k, v in options.items() if v is not None}
    if not given.get("replace"):
        given.pop("replace", None)
    document: dict[str, Any] = {name: given.pop(name) for name in common if name in given}
    method = given.pop("method", None)
    if method or given:
        document["method"] = {method or method_of(known() or {}) or default: given}
    return document


def _print_clusters(reader: "Project", key: str) -> None:
    from panoptic_assets.reports.markdown import score_text

    info = reader.run_info(key)
    stale = " (stale: the clustering above it was made again)" if info["status"] == "stale" else ""
    _say(
        f"{key}{stale}: {_counted(info['counts']['clustered'], 'image')} in "
        f"{_counted(info['nb_clusters'], 'cluster')}, the most coherent (lowest score) first; all "
        f"of them together score {info['baseline_score']:.1f}"
    )
    grid = Table(box=None)
    grid.add_column("node")
    for heading in ("images", "score"):
        grid.add_column(heading, justify="right")
    for row in reader.clusters(key).to_pylist():
        grid.add_row(row["node"], f"{row['size']:,}", score_text(row["score"], row["size"]))
    _out().print(grid)


def _print_tags(reader: "Project", property_name: str | None) -> None:
    roots: dict[str, Tree] = {}
    branches: dict[str, Tree] = {}
    for tag in reader.tags(property_name):
        root = roots.setdefault(tag["property"], Tree(Text(_printable(tag["property"]), "bold")))
        above = branches.get(tag["parent_id"], root)
        branches[tag["tag_id"]] = above.add(
            Text(_printable(f"{tag['name']} ({_counted(tag['nb_images'], 'image')})"))
        )
    if not roots:
        _say("No tags yet: panoptic-assets save KEY")
    for root in roots.values():
        _out().print(root)


def _warn_of_stale(reader: "Project", key: str) -> None:
    stale = [
        run["key"]
        for run in reader.runs()
        if run["status"] == "stale" and run["key"].startswith(f"{key}/")
    ]
    if stale:
        _tell(f"Stale now, and left out of saves until divided again: {', '.join(stale)}", "yellow")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _say(text: str) -> None:
    """A line of the answer."""
    click.echo(_printable(text))


def _tell(text: str, style: str = "") -> None:
    """A line about the work."""
    _err().print(Text(_printable(text), style), soft_wrap=True)


def _out() -> Console:
    """For tables and trees; what is piped is not folded to 80 columns."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)


def _err() -> Console:
    return Console(stderr=True, highlight=False, markup=False)


if __name__ == "__main__":
    main()
