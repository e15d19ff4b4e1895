"""Tables and trees of what the API reads.

Belongs here: what several commands print. Does not belong here: what only one does.
"""

from typing import TYPE_CHECKING, Any

from panoptic_assets.cli.terminal import decimals, output_console, say, tell
from panoptic_assets.spec.text import counted, printable

if TYPE_CHECKING:
    from panoptic_assets.clustering.sweeps import Cell
    from panoptic_assets.project import Project


def print_sweep(rows: list[dict[str, Any]], asked: "list[Cell]") -> None:
    """The runs of a sweep, what became of them, and the best number of clusters."""
    from rich.table import Table
    from rich.text import Text

    from panoptic_assets.clustering import sweeps

    grid = Table(box=None)
    grid.add_column("run")
    grid.add_column("status")
    columns = ("clusters", "remainder", "mean score", "silhouette", "stability", "CPU s", "MiB")
    for heading in columns:
        grid.add_column(heading, justify="right")
    for found in rows:
        memory = found["peak_memory"]
        cells = [
            found["clusters"],
            found["remainder"],
            decimals(found["mean_score"], 1),
            decimals(found["silhouette"], 3),
            decimals(found["stability"], 2),
            decimals(found["cpu_seconds"], 2),
            None if memory is None else f"{memory / 2**20:,.0f}",
        ]
        style = {"done": "green", "failed": "red"}.get(found["status"], "")
        shown = ["" if cell is None else str(cell) for cell in cells]
        grid.add_row(found["key"], Text(found["status"], style), *shown)
    output_console().print(grid)
    for found in rows:
        if found["failure"]:
            say(f"{found['key']} failed: {found['failure']}")
    for label, best in sweeps.best_numbers(rows, asked).items():
        what = f" ({label})" if label else ""
        parts = [
            f"{best.by_silhouette} by the silhouette" if best.by_silhouette else "",
            f"{best.by_elbow} by the elbow of the score" if best.by_elbow else "",
        ]
        if said := ", ".join(part for part in parts if part):
            say(f"Best nb_clusters{what}: {said}.")


def print_clusters(reader: "Project", key: str) -> None:
    """The clusters of a run or of a divided node, with what must be known of them."""
    from rich.table import Table
    from rich.text import Text

    from panoptic_assets.spec.markdown import score_text

    info = reader.run_info(key)
    stale = " (stale: the clustering above it was made again)" if info["status"] == "stale" else ""
    say(
        f"{key}{stale}: {counted(info['counts']['clustered'], 'image')} in "
        f"{counted(info['nb_clusters'], 'cluster')}, the most coherent (lowest score) first; all "
        f"of them together score {info['baseline_score']:.1f}"
    )
    rows = reader.clusters(key).to_pylist()
    grid = Table(box=None)
    grid.add_column("node")
    for heading in ("images", "score"):
        grid.add_column(heading, justify="right")
    if stable := any(row["stability"] is not None for row in rows):
        grid.add_column("stability", justify="right")
    columns = [name for name in ("name", "label") if any(row[name] for row in rows)]
    for name in columns:
        grid.add_column(name)
    for row in rows:
        cells = [row["node"], f"{row['size']:,}", score_text(row["score"], row["size"])]
        if stable:
            cells.append("" if row["stability"] is None else f"{row['stability']:.2f}")
        # A name may look like rich's mark-up for a style.
        grid.add_row(*cells, *(Text(printable(row[name] or "")) for name in columns))
    output_console().print(grid)
    for note in info["notes"]:
        say(f"Note: {note}")


def print_labels(reader: "Project", run_key: str) -> None:
    """The labels of a run's clusters, and why some have none."""
    from rich.table import Table
    from rich.text import Text

    rows = reader.labels(run_key).to_pylist()
    grid = Table("node", box=None)
    if scored := any(row["score"] is not None for row in rows):
        grid.add_column("score", justify="right")
    grid.add_column("label")
    grid.add_column("alternatives")
    for row in rows:
        cells = [Text(row["node"])]
        if scored:
            cells.append(Text(decimals(row["score"], 2) or ""))
        label = Text("(none)", "yellow") if row["label"] is None else Text(printable(row["label"]))
        grid.add_row(*cells, label, Text(printable(", ".join(row["alternatives"] or []))))
    output_console().print(grid)
    for row in rows:
        if row["reason"]:
            say(f"{row['node']}: {row['reason']}")


def warn_of_stale(reader: "Project", key: str) -> None:
    """Name the clusterings below a run or node that are stale now."""
    stale = [
        run["key"]
        for run in reader.runs(key.partition("/")[0])
        if run["status"] == "stale" and run["key"].startswith(f"{key}/")
    ]
    if stale:
        tell(f"Stale now, and left out of saves until divided again: {', '.join(stale)}", "yellow")


def print_tags(reader: "Project", property_name: str | None) -> None:
    """The tags of a property, or of all, as trees."""
    from rich.text import Text
    from rich.tree import Tree

    roots: dict[str, Tree] = {}
    branches: dict[str, Tree] = {}
    for tag in reader.tags(property_name):
        root = roots.setdefault(tag["property"], Tree(Text(printable(tag["property"]), "bold")))
        above = branches.get(tag["parent_id"], root)
        line = Text(printable(f"{tag['name']} ({counted(tag['nb_images'], 'image')})"))
        if tag["colour"]:
            line.append(f"  {tag['colour']}", tag["colour"])
        branches[tag["tag_id"]] = above.add(line)
    if not roots:
        say("No tags yet: panoptic-assets save KEY")
    for root in roots.values():
        output_console().print(root)
