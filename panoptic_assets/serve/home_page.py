"""The first page: the corpus, its runs with pictures, what is kept of them, and the first steps.

Belongs here: what the first page shows, and which step comes next. Does not belong here: HTTP
(``serve.live_pages``), and the pages that it leads to.
"""

import itertools
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from panoptic_assets.serve.history_page import switched
from panoptic_assets.serve.page_address import LiveAddresses, PageAddress
from panoptic_assets.spec.fields import Parameters
from panoptic_assets.spec.keys import REMAINDER
from panoptic_assets.spec.languages import N_
from resources.errors import InputError

if TYPE_CHECKING:
    from panoptic_assets.clustering.table import Clusterings
    from panoptic_assets.project import Project
    from panoptic_assets.spec.records import Record
    from resources.lance import LanceStore

RUNS_ON_A_PAGE = 24
_PICTURES = 6
"""Of a run's card: the most typical image of each of its largest clusters."""
_TAGS_SHOWN = 8
_ACTS_SHOWN = 6
_STALE_SHOWN = 5
_SWEEPS_SHOWN = 20

_MODELS = {
    "embedded:mini": N_(
        "It is built once, in a few seconds, from packages that are installed; nothing is fetched."
    ),
    "ViT-B-32": N_("Its weights, about 600 MB, are fetched once from the model hub."),
}
"""What is known of the models that come with a new project."""

Step = Literal["refresh", "embed", "cluster", "done"]


class AskedHome(Parameters):
    """A page of the list of runs."""

    page: int = Field(default=1, ge=1, lt=2**31, description="Which of its pages, from 1.")


def _home(project: "Project", asked: AskedHome, to: LiveAddresses) -> dict[str, Any]:
    from panoptic_assets.clustering.table import Clusterings
    from panoptic_assets.corpus.accounting import KINDS, read_left_out

    status = project.status()
    corpus = status["corpus"]
    clusterings = Clusterings(project.store)
    stale = [judged for judged in status["staleness"] if judged["state"] == "stale"]
    runs = _newest_first(clusterings)
    nb_pages = max(1, -(-len(runs) // RUNS_ON_A_PAGE))
    number = min(asked.page, nb_pages)
    first = (number - 1) * RUNS_ON_A_PAGE
    folder = project.layout.images
    if "://" not in folder:
        folder = os.path.normpath(folder)
    shown = runs[first : first + RUNS_ON_A_PAGE]
    return {
        "corpus": corpus,
        "folder": folder,
        "folder_name": folder.rstrip("/").rpartition("/")[2] or folder,
        "step": _step(corpus, project.layout.settings.vector_type, bool(runs)),
        "model": _model(project),
        "not_embedded": [(name, count) for name, count in corpus["not_embedded"].items() if count],
        "runs": _cards(project.store, clusterings, shown, stale),
        "first": first + 1,
        "nb_runs": len(runs),
        "number": number,
        "nb_pages": nb_pages,
        "questions": status["questions"],
        "inventory": status["inventory"],
        "unreadable": [found.error.message for found in clusterings.unreadable.values()],
        "stale": stale[:_STALE_SHOWN],
        "nb_stale": len(stale),
        "nb_judged": len(status["staleness"]),
        "sweeps": _sweeps(project, clusterings),
        "properties": _properties(project),
        "left_out": [(KINDS[kind], found) for kind, found in read_left_out(project.store).items()],
        "acts": switched(project, project.history(_ACTS_SHOWN)[::-1]),
    }


def _step(corpus: Mapping[str, Any], vector_type: str, has_runs: bool) -> Step:
    """What a person would do next; later steps never wait for a refresh that adds something."""
    if has_runs:
        return "done"
    if corpus["version"] is None or not corpus["nb_images"]:
        return "refresh"
    if corpus["not_embedded"].get(vector_type, 0) >= corpus["nb_images"]:
        return "embed"
    return "cluster"


def _model(project: "Project") -> dict[str, Any]:
    """What will see the images: its name, and what it takes to have it."""
    vector_type = project.layout.settings.vector_type
    try:
        spec = project.registry.model(vector_type)
    except InputError as error:  # a refresh would say so, too, but somebody should know before
        return {"vector_type": vector_type, "name": "", "told": "", "problem": error.message}
    name = getattr(spec, "model", "")
    return {
        "vector_type": vector_type,
        "name": name,
        "told": _MODELS.get(name, ""),
        "problem": None,
    }


def _newest_first(clusterings: "Clusterings") -> "list[Record]":
    """The runs; the one that somebody worked on last, be it on one of its clusters, comes first."""
    touched: dict[str, Any] = {}
    for record in clusterings.records.values():
        before = touched.get(record.run_key)
        if before is None or before < record.finished_at:
            touched[record.run_key] = record.finished_at
    runs = [record for record in clusterings.records.values() if record.key == record.run_key]
    return sorted(runs, key=lambda record: (touched[record.key], record.key), reverse=True)


def _cards(
    store: "LanceStore",
    clusterings: "Clusterings",
    runs: "Iterable[Record]",
    stale: Iterable[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """What the page shows of each of some runs."""
    from panoptic_assets.review.run_tree import method_name

    runs = list(runs)
    pictures = _pictures(store, [record.record_id for record in runs])
    divided: dict[str, int] = defaultdict(int)
    for record in clusterings.records.values():
        if record.key != record.run_key and record.key not in clusterings.stale:
            divided[record.run_key] += 1
    why: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for judged in stale:
        why[judged["run_key"]].append(judged)
    return [
        {
            "record": record,
            "method": method_name(record),
            "nb_images": record.counts.clustered + record.counts.remainder,
            "nb_divided": divided[record.key],
            "heat": _heat(record),
            "pictures": pictures.get(record.record_id, []),
            "stale": why[record.key],
        }
        for record in runs
    ]


def _heat(record: "Record") -> int:
    """The mean score in percent of what a random group would get, at most 100."""
    if record.mean_score is None or record.baseline_score <= 0:
        return 100
    return min(100, round(100 * record.mean_score / record.baseline_score))


def _pictures(store: "LanceStore", record_ids: list[str]) -> dict[str, list[str]]:
    """For each of some records the images that are nearest to the means of its largest clusters."""
    from resources.lance import one_of

    columns = ["record_id", "cluster", "size", "score", "medoid"]
    rows = store.read("clusters", columns, one_of("record_id", record_ids)).to_pylist()
    rows.sort(key=lambda row: (row["record_id"], row["cluster"] == REMAINDER, -row["size"]))
    return {
        record_id: [row["medoid"] for row in itertools.islice(mine, _PICTURES)]
        for record_id, mine in itertools.groupby(rows, key=lambda row: row["record_id"])
    }


def _sweeps(project: "Project", clusterings: "Clusterings") -> list[dict[str, Any]]:
    """The sweeps of the project, and how many of their runs there are."""
    found: list[dict[str, Any]] = []
    for key in project.registry.sweeps()[:_SWEEPS_SHOWN]:
        try:
            keys = [cell.key for cell in project.cells(key)]
        except InputError as error:
            found.append({"key": key, "problem": error.message})
            continue
        done = [name for name in keys if name in clusterings.records]
        found.append({"key": key, "problem": None, "nb_runs": len(keys), "done": done})
    return found


def _properties(project: "Project") -> list[dict[str, Any]]:
    """The properties that have tags, each with its largest tags."""
    tags: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for tag in project.tags():
        tags[tag["property"]].append(tag)
    return [
        {
            "name": name,
            "nb_tags": len(mine),
            "tags": sorted(mine, key=lambda tag: -tag["nb_images"])[:_TAGS_SHOWN],
        }
        for name, mine in sorted(tags.items())
    ]


HOME_PAGES: tuple[PageAddress, ...] = (
    PageAddress("", "home.html", AskedHome, _home, ("home.js",), ("home.css",)),
)
