"""The report of a run: overview, a page for each cluster, the map, the record.

Belongs here: what these pages show, and in which order. Does not belong here: reading the run
(``panoptic_assets.review.run_tree``), and how pages are written (``pages``).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from panoptic_assets.review.map_data import Colouring, map_data
from panoptic_assets.review.pages import PageWriter, Picture, moment, shell
from panoptic_assets.review.run_tree import ClusterView, RunTree, method_name
from panoptic_assets.spec.markdown import number_text
from panoptic_assets.spec.records import Record
from resources.report_folder import ReportFolder, page_of

EXEMPLARS = 6
"""Typical images of a cluster on the overview."""
OUTLIERS = 3
"""And images that are the farthest from its mean."""
PICTURES_ON_A_PAGE = 200

CORE_AGREEMENT = 0.9
DOUBTFUL_AGREEMENT = 0.6
"""Of a consensus: in so many of the runs an image of the core, or less, a doubtful one, is together
with the other images of its cluster."""

_PROGRAM = "panoptic-assets"


@dataclass(frozen=True)
class MapPoints:
    """Where the images of a run lie on its map."""

    title: str
    """What the points are, such as ``projection mini/umap``."""
    rows: npt.NDArray[np.int64]
    """(m,) rows of the tree's images that have a point."""
    points: npt.NDArray[np.float32]
    """(m, d)."""
    tags: list[Colouring]
    """For each property that images of the run carry tags of: a colouring of all its images."""


def write_run(reports: ReportFolder, tree: RunTree, points: MapPoints) -> int:
    """Write the report of a run; it takes the place of the one before when it is whole.

    Args:
        reports: Where to; the thumbnails are there already.
        tree: The run.
        points: Where its images lie.

    Returns:
        How many pages were written.
    """
    key = tree.record.key
    place = f"runs/{key}"
    with reports.new(place) as folder:
        writer = _writer(reports, folder, place)
        pages = _Pages(tree, writer)
        pages.overview()
        count = sum(pages.cluster(cluster, above) for cluster, above in _with_parents(tree))
        (folder / "map-data.js").write_bytes(_map_script(tree, points))
        pages.map(points)
        pages.record()
    return count + 3


def write_first_page(reports: ReportFolder, records: Sequence[Record]) -> None:
    """Write the page that leads to all reports.

    Args:
        reports: Where to.
        records: The runs that have a report, in the order of the list.
    """
    runs = [
        {
            "key": record.key,
            "summary": f"{method_name(record)} on {record.config['features']}, "
            f"{number_text(record.counts.clustered + record.counts.remainder)} images in "
            f"{number_text(record.nb_clusters)} clusters, {moment(record.finished_at)}",
        }
        for record in records
    ]
    _writer(reports, reports.root, "").write(
        "index.html",
        "index.html",
        runs=runs,
        comparison=_has_comparison(reports),
    )


def _has_comparison(reports: ReportFolder) -> bool:
    return (reports.path("comparison") / "index.html").is_file()


def _writer(reports: ReportFolder, folder: Path, place: str) -> PageWriter:
    return PageWriter(reports, folder, place, ("page.js", "gallery.js"), ("page.css", "run.css"))


def _with_parents(tree: RunTree) -> Iterator[tuple[ClusterView, list[ClusterView]]]:
    def walk(
        cluster: ClusterView, above: list[ClusterView]
    ) -> Iterator[tuple[ClusterView, list[ClusterView]]]:
        yield cluster, above
        for below in cluster.clusters:
            yield from walk(below, [*above, cluster])

    for cluster in tree.clusters:
        yield from walk(cluster, [])


@dataclass(frozen=True)
class _Pages:
    tree: RunTree
    writer: PageWriter

    @property
    def _key(self) -> str:
        return self.tree.record.key

    def overview(self) -> None:
        """The page that people come to."""
        tree, record = self.tree, self.tree.record
        nested = [cluster for cluster in tree.walk() if cluster.clustering]
        self._write(
            "index.html",
            "run.html",
            page="overview",
            cards=[self._card(cluster) for cluster in tree.clusters],
            clusters=tree.clusters,
            nb_divided=len(nested),
            facts=self._facts(record),
            commands=[
                ("Save the whole tree as tags", shell(_PROGRAM, "save", record.key)),
                ("Name its clusters", shell(_PROGRAM, "label", record.key)),
                ("Compare all runs", shell(_PROGRAM, "compare")),
                ("Make this report again", shell(_PROGRAM, "report", record.key)),
            ],
            notes=record.notes,
            stale=tree.stale,
        )

    def cluster(self, cluster: ClusterView, above: list[ClusterView]) -> int:
        """The pages of one cluster, all its images on them; returns how many there are."""
        size = PICTURES_ON_A_PAGE
        count = max(1, math.ceil(cluster.size / size))
        for number in range(count):
            part = slice(number * size, (number + 1) * size)
            self._write(
                page_of(cluster.node, number),
                "cluster.html",
                page="cluster",
                cluster=cluster,
                above=above,
                card=self._card(cluster),
                cards=[self._card(below) for below in cluster.clusters],
                groups=self._groups(cluster, part),
                number=number,
                count=count,
                first=number * size + 1,
                last=min(cluster.size, (number + 1) * size),
                pages=[page_of(cluster.node, other) for other in range(count)],
            )
        return count

    def map(self, points: MapPoints) -> None:
        """The map; its data and Plotly are scripts beside it."""
        self._write(
            "map.html",
            "map.html",
            scripts=["map-data.js", self.writer.library("plotly"), self.writer.static("map.js")],
            page="map",
            points=points,
            nb_without=len(self.tree.image_ids) - len(points.rows),
        )

    def record(self) -> None:
        """Everything that is recorded of the run and of the clusterings below it."""
        records = [self.tree.record] + [
            cluster.clustering for cluster in self.tree.walk() if cluster.clustering
        ]
        self._write("record.html", "record.html", page="record", records=map(_described, records))

    def _write(self, name: str, template: str, scripts: Sequence[str] = (), **values: Any) -> None:
        self.writer.write(
            name,
            template,
            scripts,
            tree=self.tree,
            record_=self.tree.record,
            page_of=page_of,
            has_comparison=_has_comparison(self.writer.reports),
            **values,
        )

    def _facts(self, record: Record) -> list[tuple[str, str]]:
        counts = record.counts
        in_run = counts.clustered + counts.remainder
        facts = [
            ("images", number_text(in_run)),
            ("clusters", number_text(record.nb_clusters)),
            ("remainder", f"{100 * counts.remainder / max(1, in_run):.1f} %"),
            ("mean score", "–" if record.mean_score is None else f"{record.mean_score:.1f}"),
            ("a random group's score", f"{record.baseline_score:.1f}"),
        ]
        if record.quality and record.quality.silhouette is not None:
            facts.append(("silhouette", f"{record.quality.silhouette:.3f}"))
        if record.stability is not None:
            facts.append(("stability", f"{record.stability:.2f}"))
        if counts.not_embedded:
            facts.append(("not embedded", number_text(counts.not_embedded)))
        return facts

    def _card(self, cluster: ClusterView) -> dict[str, Any]:
        """What the overview shows of a cluster."""
        farthest = np.argsort(-cluster.distances, kind="stable")[:OUTLIERS]
        outliers = cluster.rows[farthest].tolist() if cluster.size > EXEMPLARS else []
        commands = [
            ("Divide it", shell(_PROGRAM, "divide", cluster.node, "--nb-clusters", "2")),
            ("Name it, with all clusters of the run", shell(_PROGRAM, "label", self._key)),
            ("Save it, with all clusters of the run", shell(_PROGRAM, "save", self._key)),
            ("List its images", shell(_PROGRAM, "members", cluster.node)),
            ("Make it a tag", f"{shell(_PROGRAM, 'members', cluster.node)} --tag 'NAME'"),
        ]
        return {
            "cluster": cluster,
            "page": page_of(cluster.node),
            "medoid": self._picture(cluster.medoid),
            "exemplars": [self._picture(int(row)) for row in cluster.rows[:EXEMPLARS]],
            "outliers": [self._picture(row) for row in outliers],
            "agreement": _agreement(cluster),
            "commands": commands,
        }

    def _groups(self, cluster: ClusterView, part: slice) -> list[tuple[str, list[Picture]]]:
        """The pictures of a page; those of a consensus under what the runs say of them."""
        groups: dict[str, list[Picture]] = {}
        for place in range(*part.indices(cluster.size)):
            remark = f"distance {cluster.distances[place]:.3f}"
            heading = ""
            if cluster.certainties is not None:
                certainty = float(cluster.certainties[place])
                remark = f"{cluster.certainty} {certainty:.2f}, {remark}"
                if cluster.is_agreed:
                    heading = _kind_of(certainty)
            row = int(cluster.rows[place])
            groups.setdefault(heading, []).append(self._picture(row, remark))
        return list(groups.items())

    def _picture(self, row: int, remark: str = "") -> Picture:
        return Picture.fitted(
            self.tree.image_ids[row], self.tree.name(row), *self.tree.shapes[row], remark
        )


def _kind_of(agreement: float) -> str:
    if agreement >= CORE_AGREEMENT:
        return f"Core: agreement of {CORE_AGREEMENT} or more"
    if agreement >= DOUBTFUL_AGREEMENT:
        return "In between"
    return f"Doubtful: agreement below {DOUBTFUL_AGREEMENT}"


def _agreement(cluster: ClusterView) -> tuple[int, int] | None:
    """How many images of a consensus' cluster are its core, and how many are doubtful."""
    if cluster.certainties is None or not cluster.is_agreed:
        return None
    return (
        int((cluster.certainties >= CORE_AGREEMENT).sum()),
        int((cluster.certainties < DOUBTFUL_AGREEMENT).sum()),
    )


def _map_script(tree: RunTree, points: MapPoints) -> bytes:
    rows = points.rows.tolist()
    first = [place.split("/")[1] for place in tree.places]
    top = {cluster.number: titled(cluster) for cluster in tree.clusters}
    nothing = frozenset(top[cluster.number] for cluster in tree.clusters if cluster.is_remainder)
    colourings = [
        Colouring("cluster", [top[number] for number in first], list(top.values()), nothing)
    ]
    if any(cluster.clusters for cluster in tree.clusters):
        all_nodes = {cluster.node: cluster for cluster in tree.walk()}
        deepest = [_path(all_nodes[place]) for place in tree.places]
        order = [_path(cluster) for cluster in tree.walk() if not cluster.clusters]
        grey = frozenset(_path(c) for c in tree.walk() if c.is_remainder)
        colourings.append(Colouring("deepest cluster", deepest, order, grey))
    folders = [(path or "").rpartition("/")[0] or "." for path in tree.paths]
    colourings.append(Colouring("folder", folders, sorted(set(folders))))
    colourings += points.tags
    distances, certainties = _of_rows(tree)
    if certainties is not None:
        colourings.append(Colouring(tree.clusters[0].certainty, certainties))
    colourings.append(Colouring("distance to the cluster's mean", distances))
    return map_data(
        points.points,
        [tree.image_ids[row] for row in rows],
        [tree.name(row) for row in rows],
        [tree.places[row] for row in rows],
        [
            Colouring(
                one.name,
                one.values[points.rows]
                if isinstance(one.values, np.ndarray)
                else [one.values[row] for row in rows],
                one.order,
                one.nothing,
            )
            for one in colourings
        ],
    )


def _of_rows(
    tree: RunTree,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    """Distance and certainty of each image in the root's clusters."""
    distances = np.full(len(tree.image_ids), np.nan, np.float32)
    certainties = np.full(len(tree.image_ids), np.nan, np.float32)
    for cluster in tree.clusters:
        distances[cluster.rows] = cluster.distances
        if cluster.certainties is not None:
            certainties[cluster.rows] = cluster.certainties
    return distances, None if np.isnan(certainties).all() else certainties


def titled(cluster: ClusterView) -> str:
    """A cluster's number, or ``remainder``, and its name when it has one."""
    return f"{cluster.number} {cluster.name}".rstrip()


def _path(cluster: ClusterView) -> str:
    path = cluster.node.partition("/")[2].replace("/", " › ")
    return f"{path} {cluster.name}".rstrip()


def _described(record: Record) -> dict[str, Any]:
    """A record for people: what it was made with, of what, where, and the whole as YAML."""
    document = record.model_dump(mode="json")
    return {
        "record": record,
        "parameters": list(_flat(record.config)),
        "yaml": yaml.safe_dump(document, allow_unicode=True, sort_keys=False),
    }


def _flat(document: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in document.items():
        where = f"{above}{name}"
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{where}.")
        else:
            yield where, "none" if value is None else str(value)
