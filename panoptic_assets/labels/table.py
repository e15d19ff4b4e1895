"""Labels in the store: the names that clusters of a run's tree were given.

Belongs here: their rows, and which of them are of the clusters of now. Does not belong here:
finding labels (``labels.zero_shot``, ``labels.vision_language``).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.labels.naming import ClusterToLabel, Suggestion
from panoptic_assets.spec.keys import REMAINDER as REMAINDER_NAME
from resources.lance import LanceStore, quoted
from resources.schemas import SCHEMAS

BY_HAND = "by_hand"
"""The method of names that somebody gave."""


def clusters_to_label(
    clusterings: Clusterings, run_key: str, label_remainder: bool = False
) -> list[ClusterToLabel]:
    """The clusters of a run's whole tree, stale clusterings left out, parents before children.

    Args:
        clusterings: Those of the run.
        run_key: The run.
        label_remainder: Whether remainders are among them.

    Raises:
        InputError: There is no such run.
    """
    clusterings.get(run_key)
    members: dict[str, list[str]] = {}
    for key in clusterings.valid(run_key):
        rows = clusterings.assignments(key)
        for image_id, cluster in zip(
            rows["image_id"].to_pylist(), rows["cluster"].to_pylist(), strict=True
        ):
            members.setdefault(f"{key}/{cluster}", []).append(image_id)
    found = []
    for node in clusterings.nodes(run_key):
        clustering, _, cluster = node.rpartition("/")
        is_remainder = cluster == REMAINDER_NAME
        if label_remainder or not is_remainder:
            found.append(
                ClusterToLabel(
                    node=node,
                    # Images that are assigned later do not change what its cluster is.
                    record_id=clusterings.get(clustering).computed_id,
                    image_ids=tuple(members[node]),
                    is_remainder=is_remainder,
                    parent=clustering if "/" in clustering else None,
                )
            )
    return found


def label_rows(
    run_key: str,
    clusters: Iterable[ClusterToLabel],
    suggestions: Iterable[Suggestion],
    method: str,
    config: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """What the table `labels` holds of a run's clusters.

    Args:
        run_key: The run.
        clusters: What was to be named.
        suggestions: One for each of them, in any order.
        method: The method's name.
        config: Its configuration, as plain data.
    """
    record_ids = {cluster.node: cluster.record_id for cluster in clusters}
    return [
        {
            **asdict(suggestion),
            "record_id": record_ids[suggestion.node],
            "cluster": suggestion.node.rpartition("/")[2],
            "run_key": run_key,
            "alternatives": list(suggestion.alternatives),
            "method": method,
            "config": json.dumps(config, ensure_ascii=False, sort_keys=True),
        }
        for suggestion in suggestions
    ]


def write_labels(store: LanceStore, run_key: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Make these rows the labels of a run, in one commit; those that it had are gone.

    Args:
        store: The store.
        run_key: The run.
        rows: As :func:`label_rows` and :func:`stored_labels` give them.
    """
    mine = f"run_key = {quoted(run_key)}"
    found = pa.Table.from_pylist(list(map(dict, rows)), schema=SCHEMAS["labels"])
    store.replace("labels", found, mine)
    store.optimize("labels")


def stored_labels(store: LanceStore, run_key: str) -> list[dict[str, Any]]:
    """The rows of a run's labels as they are stored, also those of clusters of older records."""
    rows = store.read("labels", where=f"run_key = {quoted(run_key)}")
    order = [(name, "ascending") for name in ("record_id", "cluster")]
    found: list[dict[str, Any]] = rows.sort_by(order).to_pylist()
    return found


def same_labels(one: Iterable[Mapping[str, Any]], other: Iterable[Mapping[str, Any]]) -> bool:
    """Whether two lists of rows, in whatever order, say the same."""

    def in_order(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
        found = pa.Table.from_pylist(list(map(dict, rows)), schema=SCHEMAS["labels"])
        return found.sort_by([(name, "ascending") for name in ("record_id", "cluster")])

    return bool(in_order(one).equals(in_order(other)))


def read_labels(
    store: LanceStore, clusterings: Clusterings, run_key: str
) -> dict[str, dict[str, Any]]:
    """The row of the table `labels` for each node of a run's tree that has one.

    What was found for the clusters of an older record is not of those of a newer one, even where
    their nodes are the same, and is left out. A model's labels are cleaned as today's are: a
    refusal that was once taken for a name is a reason why there is none.

    Args:
        store: The store.
        clusterings: Those of the run.
        run_key: The run.
    """
    current = {record.computed_id for record in clusterings.records.values()}
    rows = store.read("labels", where=f"run_key = {quoted(run_key)}").to_pylist()
    found = {row["node"]: row for row in rows if row["record_id"] in current}
    for node, row in found.items():
        if row["method"] == "vision_model" and row["label"]:
            from panoptic_assets.labels.questions import UnusableAnswerError, checked

            try:
                answer = checked(row["label"], row["description"])
            except UnusableAnswerError as error:
                found[node] = row | {"label": None, "description": None, "reason": str(error)}
            else:
                found[node] = row | {"label": answer.label, "description": answer.description}
    return found


def names_of_clusters(
    clusterings: Clusterings, run_key: str, labels: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """What the clusters of a run's tree are called beside their numbers, by node.

    A label comes before the name that the method gave, since somebody asked for it.

    Args:
        clusterings: Those of the run.
        run_key: The run.
        labels: Its labels, as :func:`read_labels` gives them.
    """
    return clusterings.names(run_key) | {
        node: row["label"] for node, row in labels.items() if row["label"]
    }
