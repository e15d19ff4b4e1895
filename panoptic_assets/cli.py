"""The command line: ``panoptic-assets``.

Belongs here: commands that materialize assets through Dagster on the project's own instance, and
commands that print what the API reads. Does not belong here: anything that another door could not
do as well.

Exit codes: 0 done, 2 what was asked cannot be done (one line says why), 1 a fault of the program.
"""

import functools
import logging
import os
import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click
from filelock import FileLock, Timeout
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from panoptic_assets.config import METHODS
from resources.errors import InputError
from resources.project import ENVIRONMENT_VARIABLE, ProjectFolder, ProjectSettings, create, find

if TYPE_CHECKING:
    import dagster as dg

    from panoptic_assets.api import Project
    from panoptic_assets.tables import Divisions

_SAMPLE = Path(__file__).parent / "sample"
_DEMO_RUN = "demo"
_HOST_TAG = "panoptic/host"
"""Tag of the runs that a command executes itself, with the name of its machine."""


class _PlainError(click.ClickException):
    exit_code = 2


class _Group(click.Group):
    """Shows input that cannot be used as one line."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except InputError as error:
            raise _PlainError(str(error)) from error
        except PermissionError as error:
            raise _PlainError(
                f"{error.filename} may not be written or read: change its permissions."
            ) from error


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
    click.echo(f"{project.folder} is a project of {project.images}.")
    click.echo("Next: panoptic-assets refresh")


@main.command()
@click.pass_obj
def demo(folder: Path | None) -> None:
    """Run the whole chain on the sample of 253 images that the project ships."""
    started = time.monotonic()
    project = _Runner(_create(folder, str(_SAMPLE), "mini"))
    project.refresh(["mini"])
    project.divide_corpus(_DEMO_RUN, {})
    node = _DEMO_RUN
    for _ in range(2):
        # The last cluster is the least coherent one; k-means leaves no remainder.
        node = project.reader.clusters(node)["node"].to_pylist()[-1]
        project.divide_node(node, {"method": {"kmeans": {"nb_clusters": 2}}})
    project.save(_DEMO_RUN, {})
    _print_clusters(project.reader, _DEMO_RUN)
    _print_tags(project.reader, None)
    click.echo(f"Done in {time.monotonic() - started:.0f} s.")
    click.echo(f"The data: {project.folder.store}")
    command = f"DAGSTER_HOME={shlex.quote(str(project.home))} dagster dev"
    if Path.cwd() != project.folder.folder:
        command = f"{ENVIRONMENT_VARIABLE}={shlex.quote(str(project.folder.folder))} {command}"
    if Path.cwd() != Path(__file__).parent.parent:
        command += " -m panoptic_assets.definitions"
    click.echo(f"The Dagster UI, at http://127.0.0.1:3000: {command}")


@main.command()
@click.option(
    "--vector-type", multiple=True, help="Vector types to embed; the default one if none."
)
@click.option("--batch-size", type=int, help="Images embedded, and committed, at a time.")
@click.pass_obj
def refresh(folder: Path | None, vector_type: tuple[str, ...], batch_size: int | None) -> None:
    """Read what is new in the images' folder, and embed it."""
    runner = _Runner(find(folder))
    given = {} if batch_size is None else {"batch_size": batch_size}
    runner.refresh(list(vector_type) or [runner.registry.default_vector_type], given)


def _click_type(annotation: Any) -> Any:
    if get_origin(annotation) is Literal:
        return click.Choice(get_args(annotation))
    return annotation


def _method_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every parameter of every method."""
    names = [method.model_fields["name"].default for method in METHODS]
    takers: dict[str, list[Any]] = {}
    for method in METHODS:
        for name, field in method.model_fields.items():
            if name != "name":
                takers.setdefault(name, []).append((method, field))
    for name, found in reversed(takers.items()):
        methods = ", ".join(method.model_fields["name"].default for method, _ in found)
        field = found[0][1]
        command = click.option(
            f"--{name.replace('_', '-')}",
            type=_click_type(field.annotation),
            help=f"{field.description} ({methods})",
        )(command)
    command = click.option("--features", help="The vector type to cluster.")(command)
    command = click.option("--seed", type=int, help="Seed of all that is random.")(command)
    command = click.option(
        "--replace", is_flag=True, help="Allow other parameters than the key's record has."
    )(command)
    return click.option("--method", type=click.Choice(names), help="The clustering method.")(
        command
    )


@main.command()
@click.argument("key")
@click.option("--files", metavar="PATTERN", help="Only images with such a path, as 'animals/*'.")
@_method_options
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
@_method_options
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
    runner = _Runner(find(folder))
    given = {"property": property_name, "author": author, "reason": reason}
    runner.save(key, {k: v for k, v in given.items() if v is not None} | {"replace": replace})
    _print_tags(runner.reader, property_name or "Clustering")


@main.command()
@click.pass_obj
def runs(folder: Path | None) -> None:
    """List all runs and the clusters that were divided again."""
    listed = _reader(folder).runs()
    if not listed:
        click.echo("No runs yet: panoptic-assets cluster KEY")
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
            *(str(run[name]) for name in ("nb_images", "nb_clusters", "remainder")),
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

    def __init__(self, folder: ProjectFolder):
        from panoptic_assets.api import Project
        from resources.lance import LanceStore
        from resources.registry import Registry

        self.folder = folder
        self.reader = Project(folder.folder)
        self.store: LanceStore = LanceStore(
            uri=folder.store, storage_options=folder.settings.storage_options
        )
        self.registry: Registry = Registry(folder=str(folder.folder))
        self.home = Path(os.environ.get("DAGSTER_HOME") or folder.dagster_home)

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
            ),
            store=self.store,
            models=OpenClipModels(folder=str(self.folder.folder)),
            registry=self.registry,
        )
        return dg.Definitions.merge(assembled, dg.Definitions(loggers={"console": _plain_logger()}))

    def refresh(self, vector_types: list[str], given: dict[str, Any] | None = None) -> None:
        from panoptic_assets.keys import parse_name

        for vector_type in vector_types:
            self.registry.model(parse_name(vector_type, "vector type"))
        self.materialize("images")
        for vector_type in vector_types:
            self.materialize("embeddings", vector_type, given)

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

    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home / "panoptic-assets.lock")
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        _err().print("Waiting for another panoptic-assets command to end …")
        held = lock.acquire()
    with held, dg.DagsterInstance.from_config(str(home)) as instance:
        mine = dg.RunsFilter(
            statuses=list(IN_PROGRESS_RUN_STATUSES), tags={_HOST_TAG: socket.gethostname()}
        )
        for run in instance.get_runs(mine):
            instance.report_run_failed(run, "The command that started this run was killed.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        _wait_for_pool(instance)
        yield instance


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
            _err().print(
                f"Waiting for the Dagster run {busy[0]}, which writes to the store. If its process "
                "is gone, terminate the run in the Dagster UI.",
                soft_wrap=True,
            )
            told = True
        time.sleep(1)


def _report(name: str, partition: str | None, result: Any, seconds: float) -> None:
    [event] = result.asset_materializations_for_node(name)
    numbers = ", ".join(
        f"{key.removeprefix('nb_').replace('_', ' ')} {value.value:g}"
        for key, value in event.metadata.items()
        if isinstance(value.value, (int, float))
    )
    what = name if partition is None else f"{name} {partition}"
    _err().print(Text(f"✓ {what}: {numbers} ({seconds:.1f} s)"), soft_wrap=True)


def _plain_logger() -> "dg.LoggerDefinition":
    """What assets say while they run, without Dagster's own events: those are in the UI."""
    import dagster as dg

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            meta = getattr(record, "dagster_meta", {})
            if meta.get("dagster_event") is None:
                _err().print(
                    Text(f"  {meta.get('orig_message', record.getMessage())}"), soft_wrap=True
                )

    def build(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("panoptic_assets", logging.INFO)
        logger.addHandler(Handler())
        return logger

    return dg.LoggerDefinition(build)


def _create(folder: Path | None, images: str, vector_type: str) -> ProjectFolder:
    place = images if "://" in images else str(Path(images).absolute())
    settings = ProjectSettings(images=place, vector_type=vector_type)
    return create(folder or Path.cwd(), settings)


def _reader(folder: Path | None, key: str | None = None) -> "Project":
    from panoptic_assets.api import Project
    from panoptic_assets.keys import parse_division

    if key is not None:
        parse_division(key)
    return Project(folder)


def _given(options: dict[str, Any], runner: _Runner, key: str) -> dict[str, Any]:
    """The options that were given, in the form of a run's configuration.

    A parameter without ``--method`` is one of the method that the key's record or file names.
    """
    from panoptic_assets.assets.clusterings import registry_config
    from panoptic_assets.config import method_of

    given = {k: v for k, v in options.items() if v is not None and v is not False}
    common = ("features", "seed", "replace")
    document: dict[str, Any] = {name: given.pop(name) for name in common if name in given}
    method = given.pop("method", None)
    if method or given:
        record = runner.divisions(key).records.get(key)
        asset = "nested_clustering" if "/" in key else "clustering"
        known = record.config if record else registry_config(runner.registry, key, asset) or {}
        document["method"] = {method or method_of(known) or "kmeans": given}
    return document


def _print_clusters(reader: "Project", key: str) -> None:
    from panoptic_assets.reports.markdown import score_text

    info = reader.run_info(key)
    click.echo(
        f"{key}: {_counted(info['counts']['clustered'], 'image')} in "
        f"{_counted(info['nb_clusters'], 'cluster')}, the most coherent (lowest score) first; all "
        f"of them together score {info['baseline_score']:.1f}"
    )
    grid = Table(box=None)
    grid.add_column("node")
    for heading in ("images", "score"):
        grid.add_column(heading, justify="right")
    for row in reader.clusters(key).to_pylist():
        grid.add_row(row["node"], str(row["size"]), score_text(row["score"], row["size"]))
    _out().print(grid)


def _print_tags(reader: "Project", property_name: str | None) -> None:
    roots: dict[str, Tree] = {}
    branches: dict[str, Tree] = {}
    for tag in reader.tags(property_name):
        root = roots.setdefault(tag["property"], Tree(Text(tag["property"], "bold")))
        above = branches.get(tag["parent_id"], root)
        branches[tag["tag_id"]] = above.add(
            Text(f"{tag['name']} ({_counted(tag['nb_images'], 'image')})")
        )
    if not roots:
        click.echo("No tags yet: panoptic-assets save KEY")
    for root in roots.values():
        _out().print(root)


def _warn_of_stale(reader: "Project", key: str) -> None:
    stale = [
        run["key"]
        for run in reader.runs()
        if run["status"] == "stale" and run["key"].startswith(f"{key}/")
    ]
    if stale:
        _err().print(
            Text(
                f"Stale now, and left out of saves until divided again: {', '.join(stale)}",
                "yellow",
            ),
            soft_wrap=True,
        )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _out() -> Console:
    """For tables and trees; what is piped is not folded to 80 columns."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)


def _err() -> Console:
    return Console(stderr=True, highlight=False, markup=False)


if __name__ == "__main__":
    main()
