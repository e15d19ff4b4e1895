"""Commands about what runs have in common.

Belongs here: ``compare``. Does not belong here: computing runs (``cli.clustering``).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from panoptic_assets.cli.opening import open_project
from panoptic_assets.cli.terminal import decimals, output_console, say
from panoptic_assets.spec.text import counted, printable
from resources.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from panoptic_assets.project import Project

_MATCHES_SHOWN = 40
_MOVES_SHOWN = 10
_NOTHING = "–"


@click.command()
@click.argument("sides", nargs=-1, metavar="[SIDE]…")
@click.option(
    "--against",
    default="",
    metavar="SIDE",
    help="What is taken for the truth, such as folders or property:NAME.",
)
@click.option(
    "--depth",
    type=click.IntRange(1, 60),
    default=1,
    help="Levels of the trees of runs: 1 for their own clusters, 2 with divided ones, …",
)
@click.option(
    "--remainder",
    type=click.Choice(["counted", "left_out"]),
    default="counted",
    help="Of tables of many pairs: count it as a cluster, or leave its images out.",
)
@click.option(
    "--report", is_flag=True, help="Materialize `run_comparison`, too, which writes the pages."
)
@click.option(
    "--language",
    type=click.Choice(["en", "fr"]),
    help="Of the pages that --report writes; by default English.",
)
@click.pass_obj
def compare(
    folder: Path | None,
    sides: tuple[str, ...],
    against: str,
    depth: int,
    remainder: Literal["counted", "left_out"],
    report: bool,
    language: str | None,
) -> None:
    """Compare two runs in full, or more of them all with all; without SIDE the newest ones.

    A SIDE is a run (greek), a divided node (greek/3), property:NAME for the tags that images have,
    or folders.
    """
    named = [*sides, against] if against else list(sides)
    reader = open_project(folder)
    if report:
        given = {"against": against or None, "depth": depth, "remainder": remainder}
        reader.report_comparison(*sides, language=language, **given)
    if len(named) == 2 and sides:
        _print_pair(reader.compare(named[0], named[1], depth))
        return
    _print_pairs(reader, sides, against, depth, remainder)


def _print_pair(found: dict[str, Any]) -> None:
    a, b = found["a"], found["b"]
    say(
        f"{a['key']} and {b['key']}: {counted(found['nb_common'], 'common image')}; only in "
        f"{a['key']}: {found['nb_only_a']:,}, only in {b['key']}: {found['nb_only_b']:,}"
    )
    for side in (a, b):
        if side["status"] == "stale":
            say(f"{side['key']} is stale: the clustering above it was made again.")
        for note in side["notes"]:
            say(f"Note on {side['key']}: {note}")
    _print_measures(found)
    _print_quality(a, b)
    _print_differences(found)
    _print_matches(found)
    _print_moves(found)


def _print_measures(found: dict[str, Any]) -> None:
    grid = _grid("", "remainder counted", "remainder left out")
    both = found["counted"], found["left_out"]
    for name, key in (
        ("images", "nb_images"),
        ("ARI", "adjusted_rand"),
        ("AMI", "adjusted_mutual_information"),
        ("V-measure", "v_measure"),
        ("homogeneity", "homogeneity"),
        ("completeness", "completeness"),
        ("variation of information (bits)", "variation_of_information"),
        ("stayed in the matched cluster", "nb_stayed"),
        ("moved elsewhere", "nb_moved"),
        ("in a cluster without a match", "nb_unmatched"),
    ):
        grid.add_row(name, *(_number(measures[key]) for measures in both))
    output_console().print(grid)
    for title, measures in zip(("counted", "left out"), both, strict=True):
        if measures["reason"]:
            say(f"With the remainder {title}: {measures['reason']}.")


def _print_quality(a: dict[str, Any], b: dict[str, Any]) -> None:
    told = [side for side in (a, b) if side["quality"]]
    if not told:
        return
    grid = _grid("quality of each", *(side["key"] for side in told))
    for name in told[0]["quality"]:
        shown = [_number(side["quality"][name]) for side in told]
        grid.add_row(name.removeprefix("nb_").replace("_", " "), *shown)
    output_console().print(grid)


def _print_differences(found: dict[str, Any]) -> None:
    a, b = found["a"], found["b"]
    if a["record_id"] is None or b["record_id"] is None:
        return
    if not found["differences"]:
        say("Their parameters, inputs and versions are the same.")
        return
    grid = _grid("what differs", a["key"], b["key"], numbers=False)
    for row in found["differences"]:
        values = [_NOTHING if row[side] is None else printable(row[side]) for side in ("a", "b")]
        grid.add_row(row["name"], *values)
    output_console().print(grid)


def _print_matches(found: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not found["matched"]:
        say("No cluster of one overlaps with a cluster of the other.")
        return
    a, b = found["a"]["key"], found["b"]["key"]
    grid = Table(box=None)
    grid.add_column(printable(a), overflow="fold")
    grid.add_column(printable(b), overflow="fold")
    for heading in ("images", "images", "in both", "Jaccard"):
        grid.add_column(heading, justify="right")
    for row in found["matched"][:_MATCHES_SHOWN]:
        numbers = [f"{row[name]:,}" for name in ("nb_images_a", "nb_images_b", "nb_both")]
        names = [Text(printable(row[side])) for side in ("a", "b")]
        grid.add_row(*names, *numbers, f"{row['jaccard']:.2f}")
    output_console().print(grid)
    if len(found["matched"]) > _MATCHES_SHOWN:
        more = len(found["matched"]) - _MATCHES_SHOWN
        say(f"… and {counted(more, 'pair')} of clusters more")


def _print_moves(found: dict[str, Any]) -> None:
    moves = found["moved"].group_by(["a", "b"]).aggregate([([], "count_all")])
    rows = sorted(moves.to_pylist(), key=lambda row: (-row["count_all"], row["a"], row["b"]))
    for row in rows[:_MOVES_SHOWN]:
        say(f"{counted(row['count_all'], 'image')} moved from {row['a']} to {row['b']}")
    if len(rows) > _MOVES_SHOWN:
        rest = sum(row["count_all"] for row in rows[_MOVES_SHOWN:])
        say(f"… and {counted(rest, 'image')} moved elsewhere")


def _print_pairs(
    reader: "Project",
    sides: tuple[str, ...],
    against: str,
    depth: int,
    remainder: Literal["counted", "left_out"],
) -> None:
    from rich.text import Text

    try:
        keys, pairs, notes = reader.pairs(sides, against, depth, remainder)
    except InputError:
        if sides or not reader.runs():
            raise
        keys, pairs, notes = [], {}, []  # one run alone still has its line of the leaderboard
    if keys:
        grid = _grid("ARI", *keys[1:])
        for place, key in enumerate(keys[:-1]):
            cells = [_number(pairs[key, other]) for other in keys[place + 1 :]]
            grid.add_row(Text(printable(key)), *[""] * place, *cells)
        output_console().print(grid)
    for note in notes:
        say(f"Note: {note}")
    truth = ("ARI to it", "AMI to it") if against else ()
    grid = _grid(
        "run",
        "clusters",
        "remainder",
        "mean score",
        "silhouette",
        "Davies-Bouldin",
        "Calinski-Harabasz",
        "stability",
        "CPU s",
        *truth,
    )
    for row in reader.leaderboard(against, depth, remainder):
        measured = [
            f"{row['nb_clusters']:,}",
            f"{row['remainder']:,}",
            decimals(row["mean_score"], 1),
            decimals(row["silhouette"], 3),
            decimals(row["davies_bouldin"], 2),
            decimals(row["calinski_harabasz"], 1),
            decimals(row["stability"], 2),
            decimals(row["cpu_seconds"], 2),
        ]
        if against:
            names = ("adjusted_rand", "adjusted_mutual_information")
            measured += [decimals(row.get(name), 3) for name in names]
        grid.add_row(row["key"], *("" if cell is None else cell for cell in measured))
    output_console().print(grid)


def _grid(first: str, *headings: str, numbers: bool = True) -> "Table":
    from rich.table import Table

    grid = Table(box=None)
    grid.add_column(printable(first))
    for heading in headings:
        grid.add_column(printable(heading), justify="right" if numbers else "left")
    return grid


def _number(value: float | None) -> str:
    if value is None:
        return _NOTHING
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


@click.command()
@click.argument("key")
@click.option("--projection", help="Of the map; by default the best there is.")
@click.option(
    "--language", type=click.Choice(["en", "fr"]), help="Of the pages; by default English."
)
@click.pass_obj
def report(folder: Path | None, key: str, projection: str | None, language: str | None) -> None:
    """Write the run KEY, with all that was divided below it, as pages to look through.

    `panoptic-assets ui` serves them; they can be opened from the disk, too.
    """
    from panoptic_assets.spec.keys import parse_run_key

    parse_run_key(key)
    say(str(open_project(folder).report(key, projection=projection, language=language)))
