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
from panoptic_assets.labels.questions import UnusableAnswerError, checked
from panoptic_assets.spec.keys import REMAINDER as REMAINDER_NAME
from resources.lance import LanceStore, quoted
from resources.schemas import SCHEMAS


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


def write_labels(
    store: LanceStore,
    run_key: str,
    clusters: Iterable[ClusterToLabel],
    suggestions: Iterable[Suggestion],
    method: str,
    config: Mapping[str, Any],
) -> None:
    """Make these the labels of a run's clusters, in one commit; those that it had are gone.

    Args:
        store: The store.
        run_key: The run.
        clusters: What was to be named.
        suggestions: One for each of them, in any order.
        method: The method's name.
        config: Its configuration, as plain data.
    """
    record_ids = {cluster.node: cluster.record_id for cluster in clusters}
    rows = [
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
    mine = f"run_key = {quoted(run_key)}"
    store.replace("labels", pa.Table.from_pylist(rows, schema=SCHEMAS["labels"]), mine)
    store.optimize("labels")


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
