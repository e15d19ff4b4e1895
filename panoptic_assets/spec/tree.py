"""The tree of nested clusterings, as plain data.

Belongs here: which clusterings are up to date, which nodes exist, in which place each image is.
Does not belong here: reading records or computing clusterings.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Branch:
    """A clustering of the tree: the run itself, or a node that was divided again."""

    key: str
    output: str
    """Hash of who is in which of its clusters."""
    parent_output: str | None
    """That hash of the clustering above, when this one was computed; None for a run."""


def parent_of(key: str) -> str | None:
    """Key of the clustering above (``greek/3`` for ``greek/3/0``); None for a run."""
    above, _, _ = key.rpartition("/")
    return above or None


def stale(branches: Iterable[Branch]) -> set[str]:
    """Keys of the clusterings whose parent is gone, stale, or no longer gives the same clusters."""
    found = {branch.key: branch for branch in branches}
    result: set[str] = set()
    for key in sorted(found, key=lambda key: key.count("/")):
        above = parent_of(key)
        if above is None:
            continue
        parent = found.get(above)
        if parent is None or above in result or parent.output != found[key].parent_output:
            result.add(key)
    return result


def places(assignments: Mapping[str, Mapping[str, str]], run_key: str) -> dict[str, str]:
    """The deepest node that holds each image of a run.

    Args:
        assignments: For each clustering that counts, image id to cluster.
        run_key: The run at the root; it must be among them.
    """

    def descend(key: str, image_id: str, cluster: str) -> str:
        node = f"{key}/{cluster}"
        below = assignments.get(node)
        if below is None or image_id not in below:
            return node
        return descend(node, image_id, below[image_id])

    return {
        image_id: descend(run_key, image_id, cluster)
        for image_id, cluster in assignments[run_key].items()
    }


def walk(clusters: Mapping[str, Iterable[str]], run_key: str) -> Iterator[str]:
    """Every node of a run, parents before their children.

    Args:
        clusters: For each clustering that counts, the names of its clusters in order.
        run_key: The run at the root.
    """
    for cluster in clusters.get(run_key, ()):
        node = f"{run_key}/{cluster}"
        yield node
        yield from walk(clusters, node)
