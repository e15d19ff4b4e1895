"""The act of removing a run, or a divided node: what it is made of, what rests on it, its mark.

Belongs here: finding what goes and what stays, and taking it out of the store and the reports. Does
not belong here: bringing it back (``upkeep.undoing``), what Dagster is told of it
(``upkeep.changes``), and forgetting an image, which cannot be undone (``upkeep.forgetting``).

The mark comes first and makes it count. What a crash leaves of pages, partitions and
materializations is what nothing in the store stands for, which ``upkeep.reconciling`` takes away.
"""

import shutil
from collections import Counter
from dataclasses import dataclass
from typing import Any

from panoptic_assets.clustering import sweeps
from panoptic_assets.clustering.mark_log import append_mark, read_marks
from panoptic_assets.clustering.table import Clusterings, all_records
from panoptic_assets.labels.table import read_labels
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.spec import marks, tag_log
from panoptic_assets.spec.keys import parse_clustering, run_key_of
from panoptic_assets.spec.marks import Known, is_below, rests_on
from panoptic_assets.spec.people import system_user
from panoptic_assets.spec.records import Record
from panoptic_assets.spec.resolution import Document, parse
from panoptic_assets.tags.edits import Edit
from panoptic_assets.tags.table import read_log
from panoptic_assets.upkeep.config import RemovalConfig
from resources.errors import InputError
from resources.lance import LanceStore
from resources.registry import Registry
from resources.report_folder import ReportFolder

MADE_OF_RUN = ("clustering", "cluster_labels", "clustering_report", "saved_clustering")
"""Assets that have a partition for each run."""


@dataclass(frozen=True)
class RemovalPlan:
    """A run or divided node that can be removed."""

    context: Context
    config: RemovalConfig
    key: str
    records: list[Record]
    """Of the key and of all below it, older revisions too."""
    last_mark: int


@dataclass(frozen=True)
class RemovedRun:
    """What was removed."""

    plan: RemovalPlan
    id: str
    """Of the mark, by which it can be undone."""
    pages: bool
    """Whether pages went."""


def prepare(context: Context, key: str, given: Document) -> RemovalPlan:
    """Find the records that go.

    Args:
        context: What is read.
        key: Nothing: what is removed is in the configuration.
        given: Configuration.

    Raises:
        InputError: There is no such clustering, or a part of it cannot be read.
    """
    return _planned(context, parse(RemovalConfig, given))


def _planned(context: Context, config: RemovalConfig) -> RemovalPlan:
    made = read_marks(context.store, with_content=False)
    records = _records(context.store, config.key, made)
    return RemovalPlan(
        context,
        config,
        parse_clustering(config.key),
        records,
        max((mark.number for mark in made), default=0),
    )


def _records(store: LanceStore, key: str, made: list[marks.Mark]) -> list[Record]:
    run_key = run_key_of(parse_clustering(key))
    clusterings = Clusterings(store, run_key)
    clusterings.get(key)
    clusterings.check_tree(run_key)
    known = Known(made, list(all_records(store, run_key).values()))
    return [record for record in known.left if is_below(record.key, key)]


def run(plan: RemovalPlan) -> RemovalPlan:
    """Nothing is left to be computed."""
    return plan


def store(plan: RemovalPlan) -> RemovedRun:
    """Withdraw the records, in one commit; then remove the pages of a run.

    Raises:
        InputError: Another process has made a mark meanwhile, and it cannot be removed any more.
    """
    context, config, number = plan.context, plan.config, None
    while number is None:
        number = append_mark(
            context.store,
            "remove",
            plan.key,
            config.author or context.author or system_user(),
            config.reason,
            dagster_run_id=context.dagster_run_id,
            records=tuple(record.record_id for record in plan.records),
            content={"tag_events": config.tag_events},
            after=plan.last_mark,
        )
        if number is None:
            context = context.now()
            plan = _planned(context, config)
    return RemovedRun(plan, marks.mark_id(number), remove_pages(context.reports, plan.key))


def remove_pages(reports: ReportFolder, key: str) -> bool:
    """Remove the pages of a run; whether there were some. Those of a node are among its run's."""
    place = reports.path(f"runs/{run_key_of(key)}")
    if "/" in key or not place.is_dir():
        return False
    shutil.rmtree(place)
    return True


def removal(
    store: LanceStore, registry: Registry, reports: ReportFolder, key: str
) -> dict[str, Any]:
    """What a run or divided node is made of, and what rests on it; nothing is removed.

    Holds:

    - key, and whether it is a run (is_run);
    - clusterings (keys), nb_records (with older revisions), nb_labels, pages (the folder, or None),
      partitions and materializations (for each family of partitions, or asset, the keys): all of
      which goes;
    - tags (property and nb_tags of each that was saved from it), which stay unless asked; runs
      (keys of what was made from its answer) and sweeps (that it is a cell of), which stay, and
      files (of the registry), which are people's.

    Args:
        store: The store.
        registry: The files of ``configs``.
        reports: The pages.
        key: The run or divided node.

    Raises:
        InputError: There is no such clustering, or a part of it cannot be read.
    """
    made = read_marks(store, with_content=False)
    mine = _records(store, key, made)
    run_key = run_key_of(key)
    clusterings = Clusterings(store, run_key)
    keys = sorted({record.key for record in mine})
    labels = read_labels(store, clusterings, run_key)
    others = [
        other
        for other in Known(made, list(all_records(store).values())).left
        if not is_below(other.key, key) and any(rests_on(other, record) for record in mine)
    ]
    nodes = [each for each in keys if "/" in each]
    runs = [each for each in keys if "/" not in each]
    pages = reports.path(f"runs/{run_key}")
    return {
        "key": key,
        "is_run": key == run_key,
        "clusterings": keys,
        "nb_records": len(mine),
        "nb_labels": sum(
            1 for node in labels if is_below(node.rpartition("/")[0], key) and labels[node]["label"]
        ),
        "pages": str(pages) if runs and pages.is_dir() else None,
        "partitions": {"runs": runs, "nodes": nodes},
        "materializations": {
            **{asset: runs for asset in MADE_OF_RUN if runs},
            **({"nested_clustering": nodes} if nodes else {}),
        },
        "tags": [
            {"property": name, "nb_tags": count}
            for name, count in sorted(_saved_tags(store, mine).items())
        ],
        "runs": sorted({other.key for other in others}),
        "sweeps": sorted(_sweeps_with(registry, set(runs))),
        "files": [
            path.relative_to(registry.folder_path).as_posix()
            for path in map(registry.run_file, keys)
            if path.is_file()
        ],
    }


def _saved_tags(store: LanceStore, records: list[Record]) -> Counter[str]:
    ids = {record.record_id for record in records}
    rows = store.read("tags", ["property", "record_id"]).to_pylist()
    return Counter(row["property"] for row in rows if row["record_id"] in ids)


def _sweeps_with(registry: Registry, runs: set[str]) -> set[str]:
    found = set()
    for key in registry.sweeps():
        try:
            file = f"configs/sweeps/{key}.yaml"
            cells = sweeps.cells(key, sweeps.parse_sweep(registry.sweep(key), file))
        except InputError:  # nothing is known of it, as long as nobody corrects it
            continue
        if any(cell.key in runs for cell in cells):
            found.add(key)
    return found


def deletions(store: LanceStore, key: str) -> list[Edit]:
    """The edits that delete the tags that were saved from a run or node, with what lies below them.

    Args:
        store: The store.
        key: The run or divided node.

    Raises:
        InputError: There is no such clustering, or a part of it cannot be read.
    """
    mine = _records(store, key, read_marks(store, with_content=False))
    ids = {record.record_id for record in mine}
    tables = tag_log.replay([entry.event for entry in read_log(store)])
    saved = {tag.tag_id: tag for tag in tables.tags if tag.record_id in ids}
    below: set[str] = set()
    edits: list[Edit] = []
    for tag in tables.tags:  # parents first
        if tag.parent_id in below:
            below.add(tag.tag_id)
        elif tag.tag_id in saved:
            below.add(tag.tag_id)
            edits.append({"delete": {"tag": tag.tag_id, "property": tag.property}})
    return edits
