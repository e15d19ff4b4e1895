"""The report of a run: overview, a page for each cluster, the map, the record.

Belongs here: what these pages show, and in which order. Does not belong here: reading the run
(``panoptic_assets.review.run_tree``), and how pages are written (``pages``).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from panoptic_assets.review.pages import PageWriter, Picture, shell
from panoptic_assets.review.run_map import MapPoints, map_script
from panoptic_assets.review.run_tree import ClusterView, RunTree, method_name
from panoptic_assets.spec.languages import N_, Language
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


def write_run(reports: ReportFolder, tree: RunTree, points: MapPoints, spoken: Language) -> int:
    """Write the report of a run; it takes the place of the one before when it is whole.

    Args:
        reports: Where to; the thumbnails are there already.
        tree: The run.
        points: Where its images lie.
        spoken: The language of the pages.

    Returns:
        How many pages were written.
    """
    key = tree.record.key
    place = f"runs/{key}"
    with reports.new(place) as folder:
        writer = _writer(reports, folder, place, spoken)
        pages = RunPages(tree)
        writer.write("index.html", "run.html", **pages.overview())
        nb_pages = 1
        for cluster, above in tree.with_parents():
            for number in range(nb_parts(cluster)):
                values = pages.cluster(cluster, above, number)
                writer.write(page_of(cluster.node, number), "cluster.html", **values)
                nb_pages += 1
        (folder / "map-data.js").write_bytes(map_script(tree, points, spoken))
        scripts = ["map-data.js", writer.library("plotly"), writer.static("map.js")]
        writer.write("map.html", "map.html", scripts, **pages.map(points))
        writer.write("record.html", "record.html", **pages.record())
    return nb_pages + 2


def write_first_page(reports: ReportFolder, records: Sequence[Record], spoken: Language) -> None:
    """Write the page that leads to all reports.

    Args:
        reports: Where to.
        records: The runs that have a report, in the order of the list.
        spoken: The language of the page.
    """
    runs = [
        {
            "key": record.key,
            "method": method_name(record),
            "features": record.config["features"],
            "nb_images": record.counts.clustered + record.counts.remainder,
            "nb_clusters": record.nb_clusters,
            "finished_at": record.finished_at,
        }
        for record in records
    ]
    _writer(reports, reports.root, "", spoken).write("index.html", "index.html", runs=runs)


def _writer(reports: ReportFolder, folder: Path, place: str, spoken: Language) -> PageWriter:
    scripts, styles = ("page.js", "gallery.js"), ("page.css", "run.css")
    return PageWriter(reports, folder, place, scripts, styles, spoken)


def nb_parts(cluster: ClusterView) -> int:
    """Pages that the images of a cluster take."""
    return max(1, math.ceil(cluster.size / PICTURES_ON_A_PAGE))


@dataclass(frozen=True)
class RunPages:
    """What the pages of a run show, of its files and of those that a server makes alike."""

    tree: RunTree
    remarks: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """By cluster the remark that counts on it; a written report shows none."""

    @property
    def _key(self) -> str:
        return self.tree.record.key

    def overview(self) -> dict[str, Any]:
        """Of the page that people come to."""
        tree, record = self.tree, self.tree.record
        nested = [cluster for cluster in tree.walk() if cluster.clustering]
        return self._values(
            "overview",
            cards=[self._card(cluster) for cluster in tree.clusters],
            clusters=tree.clusters,
            nb_divided=len(nested),
            facts=self._facts(record),
            commands=[
                (N_("Save the whole tree as tags"), shell(_PROGRAM, "save", record.key)),
                (N_("Name its clusters"), shell(_PROGRAM, "label", record.key)),
                (N_("Compare all runs"), shell(_PROGRAM, "compare")),
                (N_("Make this report again"), shell(_PROGRAM, "report", record.key)),
            ],
            notes=record.notes,
            stale=tree.stale,
        )

    def cluster(
        self, cluster: ClusterView, above: Sequence[ClusterView], number: int
    ) -> dict[str, Any]:
        """Of one page of a cluster's images.

        Args:
            cluster: The cluster.
            above: Those that it is a part of, from the top.
            number: Which of its pages, from 0.
        """
        size = PICTURES_ON_A_PAGE
        part = slice(number * size, (number + 1) * size)
        card = self._card(cluster)
        return self._values(
            "cluster",
            cluster=cluster,
            above=above,
            card=card,
            cards=card["below"],
            groups=self._groups(cluster, part),
            number=number,
            count=nb_parts(cluster),
            first=number * size + 1,
            last=min(cluster.size, (number + 1) * size),
        )

    def map(self, points: MapPoints) -> dict[str, Any]:
        """Of the map; its data and Plotly are scripts beside it."""
        nb_without = len(self.tree.image_ids) - len(points.rows)
        return self._values("map", points=points, nb_without=nb_without)

    def record(self) -> dict[str, Any]:
        """Everything that is recorded of the run and of the clusterings below it."""
        records = [self.tree.record] + [
            cluster.clustering for cluster in self.tree.walk() if cluster.clustering
        ]
        return self._values("record", records=[_described(record) for record in records])

    def _values(self, page: str, **values: Any) -> dict[str, Any]:
        return {"page": page, "tree": self.tree, "record_": self.tree.record, **values}

    def _facts(self, record: Record) -> list[tuple[str, str, float | None]]:
        """Name, kind of number and value of each."""
        counts = record.counts
        in_run = counts.clustered + counts.remainder
        facts: list[tuple[str, str, float | None]] = [
            (N_("images"), "count", in_run),
            (N_("clusters"), "count", record.nb_clusters),
            (N_("remainder"), "percent", counts.remainder / max(1, in_run)),
            (N_("mean score"), "score", record.mean_score),
            (N_("a random group’s score"), "score", record.baseline_score),
        ]
        if record.quality and record.quality.silhouette is not None:
            facts.append((N_("silhouette"), "measure", record.quality.silhouette))
        if record.stability is not None:
            facts.append((N_("stability"), "measure", record.stability))
        if counts.not_embedded:
            facts.append((N_("not embedded"), "count", counts.not_embedded))
        return facts

    def _card(self, cluster: ClusterView) -> dict[str, Any]:
        """What the overview shows of a cluster."""
        farthest = np.argsort(-cluster.distances, kind="stable")[:OUTLIERS]
        outliers = cluster.rows[farthest].tolist() if cluster.size > EXEMPLARS else []
        commands = [
            (N_("Divide it"), shell(_PROGRAM, "divide", cluster.node, "--nb-clusters", "2")),
            (N_("Name it, with all clusters of the run"), shell(_PROGRAM, "label", self._key)),
            (N_("Save it, with all clusters of the run"), shell(_PROGRAM, "save", self._key)),
            (N_("List its images"), shell(_PROGRAM, "members", cluster.node)),
            (N_("Make it a tag"), f"{shell(_PROGRAM, 'members', cluster.node)} --tag 'NAME'"),
        ]
        return {
            "cluster": cluster,
            "medoid": self._picture(cluster.medoid),
            "exemplars": [self._picture(int(row)) for row in cluster.rows[:EXEMPLARS]],
            "outliers": [self._picture(row) for row in outliers],
            "agreement": _agreement(cluster),
            "commands": commands,
            "remark": self.remarks.get(cluster.node),
            "below": [self._card(other) for other in cluster.clusters],
        }

    def _groups(
        self, cluster: ClusterView, part: slice
    ) -> list[tuple[str, list[tuple[Picture, float, float | None]]]]:
        """The pictures of a page, each with its distance and certainty.

        Those of a consensus stand under what the runs say of them.
        """
        groups: dict[str, list[tuple[Picture, float, float | None]]] = {}
        for place in range(*part.indices(cluster.size)):
            certainty = None
            heading = ""
            if cluster.certainties is not None:
                certainty = float(cluster.certainties[place])
                if cluster.is_agreed:
                    heading = _kind_of(certainty)
            picture = self._picture(int(cluster.rows[place]))
            shown = (picture, float(cluster.distances[place]), certainty)
            groups.setdefault(heading, []).append(shown)
        return list(groups.items())

    def _picture(self, row: int) -> Picture:
        return Picture.fitted(self.tree.image_ids[row], self.tree.name(row), *self.tree.shapes[row])


def _kind_of(agreement: float) -> str:
    if agreement >= CORE_AGREEMENT:
        return N_("Core: agreement of 0.9 or more")
    if agreement >= DOUBTFUL_AGREEMENT:
        return N_("In between")
    return N_("Doubtful: agreement below 0.6")


def _agreement(cluster: ClusterView) -> tuple[int, int] | None:
    """How many images of a consensus' cluster are its core, and how many are doubtful."""
    if cluster.certainties is None or not cluster.is_agreed:
        return None
    return (
        int((cluster.certainties >= CORE_AGREEMENT).sum()),
        int((cluster.certainties < DOUBTFUL_AGREEMENT).sum()),
    )


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
