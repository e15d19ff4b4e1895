"""Commands about runs: computing them, and looking at what they found.

Belongs here: ``cluster``, ``divide``, ``sweep``, ``leave-out``, ``runs``, ``run-info``,
``clusters``, ``members``. Does not belong here: saving clusters as tags (``tags``), and what
methods there are (``describing``).
"""

from pathlib import Path
from typing import Any

import click

from panoptic_assets.cli.late import LateOptions, late
from panoptic_assets.cli.listings import print_clusters, print_sweep, warn_of_stale
from panoptic_assets.cli.opening import open_project
from panoptic_assets.cli.options import (
    below_folder,
    check_tagging,
    clustering_options,
    given_clustering,
    method_choice,
    scope_of,
    scope_options,
    shared_clustering_options,
    tagging_options,
)
from panoptic_assets.cli.terminal import output_console, say, tell
from panoptic_assets.spec.keys import parse_node, parse_run_key
from panoptic_assets.spec.text import counted
from resources.errors import InputError


@click.command(cls=LateOptions, first=parse_run_key)
@click.argument("key")
@scope_options
@click.option("--without", metavar="FILE", help="Leave out the images that this file lists.")
@late(clustering_options)
@shared_clustering_options
@click.pass_obj
def cluster(folder: Path | None, key: str, without: str | None, **options: Any) -> None:
    """Divide the corpus, or a part of it, into clusters, as the run KEY."""
    parse_run_key(key)
    project = open_project(folder)
    scope = scope_of(options, project.folder)
    if without is not None:
        scope["without"] = below_folder(project.folder, without)
    project.cluster(key, **given_clustering(options, project, key), **scope)
    reader = project.snapshot()
    print_clusters(reader, key)
    warn_of_stale(reader, key)


@click.command(cls=LateOptions, first=parse_run_key)
@click.argument("key")
@late(method_choice)
@click.option(
    "--grid",
    multiple=True,
    metavar="NAME=V,V,…",
    help="Values of one parameter of the method; can be given several times.",
)
@click.option("--features", multiple=True, help="Vector types and projections.")
@click.option("--seed", type=int, multiple=True, help="Seeds of all that is random.")
@click.option("--stability", type=int, help="Subsamples of each run.")
@click.option("--show", is_flag=True, help="Only show the table of what was computed.")
@click.pass_obj
def sweep(
    folder: Path | None,
    key: str,
    method: str | None,
    grid: tuple[str, ...],
    features: tuple[str, ...],
    seed: tuple[int, ...],
    stability: int | None,
    show: bool,
) -> None:
    """Compute all runs of the sweep KEY, by configs/sweeps/KEY.yaml or by the options.

    What is computed already on the same images is not computed again; a run that fails does not
    keep the others from being computed.
    """
    parse_run_key(key)
    project = open_project(folder)
    given = {"features": list(features), "seeds": list(seed), "stability": stability}
    document = {name: value for name, value in given.items() if value}
    if method:
        document = {"methods": [{method: _grid(grid)}], **document}
        project.describe_sweep(key, document)
    elif grid or document:
        raise InputError(
            "A sweep by options needs --method; without options it is read from its file.",
            id="sweep-without-method",
        )
    rows = project.sweep(key) if show else project.run_sweep(key)
    print_sweep(rows, project.cells(key))
    if failed := sum(bool(row["failure"]) for row in rows):
        raise InputError(
            "{nb_failed} of {runs} failed, see the table.",
            id="sweep-runs-failed",
            nb_failed=failed,
            runs=counted(len(rows), "run"),
        )


def _grid(options: tuple[str, ...]) -> dict[str, Any]:
    """``nb_clusters=5,10`` as numbers, read as YAML reads them."""
    import yaml

    grid: dict[str, Any] = {}
    for option in options:
        name, equals, values = option.partition("=")
        if not (name and equals and values) or name in grid:
            raise InputError(
                "--grid {option!r} is not a parameter with its values: write it once for each "
                "parameter, as in `--grid nb_clusters=5,10,20`.",
                id="grid-without-values",
                option=option,
            )
        try:
            parsed = [yaml.safe_load(value) for value in values.split(",")]
        except yaml.YAMLError as error:
            raise InputError(
                "--grid {option!r} has a value that cannot be read.",
                id="grid-value-unreadable",
                option=option,
            ) from error
        grid[name] = parsed if len(parsed) > 1 else parsed[0]
    return grid


@click.command(cls=LateOptions, first=parse_node)
@click.argument("node")
@late(clustering_options)
@shared_clustering_options
@click.pass_obj
def divide(folder: Path | None, node: str, **options: Any) -> None:
    """Divide one cluster again: NODE is its address, such as greek/3 or greek/3/0."""
    parse_node(node)
    project = open_project(folder)
    project.divide(node, **given_clustering(options, project, node))
    reader = project.snapshot()
    print_clusters(reader, node)
    warn_of_stale(reader, node)


@click.command("leave-out")
@click.argument("run")
@click.argument("images", nargs=-1, required=True)
@click.pass_obj
def leave_out(folder: Path | None, run: str, images: tuple[str, ...]) -> None:
    """Cluster the run RUN again without IMAGES, ids or paths.

    Those that were left out before stay out. `undo` brings the run back as it was.
    """
    parse_run_key(run)
    project = open_project(folder)
    project.leave_out(run, images)
    reader = project.snapshot()
    print_clusters(reader, run)
    warn_of_stale(reader, run)


@click.command()
@click.pass_obj
def runs(folder: Path | None) -> None:
    """List all runs and the clusters that were divided again."""
    from rich.table import Table
    from rich.text import Text

    listed = open_project(folder).runs(report=lambda text: tell(text, "yellow"))
    if not listed:
        say("No runs yet: panoptic-assets cluster KEY")
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
    output_console().print(grid)


@click.command("run-info")
@click.argument("key")
@click.pass_obj
def run_info(folder: Path | None, key: str) -> None:
    """Print everything that is recorded of the run or divided node KEY, as YAML."""
    info = open_project(folder, key).run_info(key)

    import yaml

    click.echo(yaml.safe_dump(info, allow_unicode=True, sort_keys=False).rstrip())


@click.command()
@click.argument("key")
@click.pass_obj
def clusters(folder: Path | None, key: str) -> None:
    """List the clusters of the run or divided node KEY, the most coherent first."""
    print_clusters(open_project(folder, key), key)


@click.command()
@click.argument("node")
@click.option(
    "--which",
    type=click.Choice(["nearest", "farthest", "random"]),
    default="nearest",
    help="Those nearest to the cluster's mean first, the farthest first, or drawn at random.",
)
@click.option("--number", type=click.IntRange(1), help="How many at most; all by default.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, help="Of the random ones.")
@tagging_options
@click.pass_obj
def members(
    folder: Path | None,
    node: str,
    which: Any,
    number: int | None,
    seed: int,
    tag: str | None,
    property_name: str | None,
    author: str | None,
    reason: str | None,
) -> None:
    """List the images of one cluster: NODE is its address, such as greek/3.

    Before each path stands its distance to the cluster's mean, and after a p, of methods that tell
    it, how surely the image belongs there.
    """
    parse_node(node)
    check_tagging(tag, property_name, author, reason)
    project = open_project(folder)
    found = project.exemplars(node, which, number, seed)
    for row in found.to_pylist():
        probability = "" if row["probability"] is None else f"  p {row['probability']:.2f}"
        path = row["path"] or f"(missing) {row['image_id']}"
        say(f"{row['distance']:.3f}{probability}  {path}")
    if tag is not None:
        image_ids = found["image_id"].to_pylist()
        project.tag(tag, image_ids, property_name, author, reason)
