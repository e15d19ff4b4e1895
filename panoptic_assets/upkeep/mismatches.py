"""Where the store and Dagster know of different things, as plain data.

Belongs here: comparing what is in the store with the partitions and materializations of a Dagster
instance. Does not belong here: reading either, and mending (``upkeep.reconciling``).

People delete a partition, or wipe an asset, in Dagster's UI; a process dies after the store was
written and before Dagster was told; a copy of a store, or of an instance, takes the place of
another one.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from panoptic_assets.spec.keys import run_key_of
from panoptic_assets.spec.marks import is_below

Place = tuple[str, str]
"""An asset, or a family of partitions, and a key."""

What = Literal["no partition", "not materialized", "another version", "nothing in the store"]

CLUSTERINGS = ("clustering", "nested_clustering")
ASSETS = (*CLUSTERINGS, "cluster_labels", "clustering_report", "saved_clustering")
"""Those whose partitions are runs or nodes."""


def family_of(asset: str) -> str:
    """The family of an asset's partitions."""
    return "nodes" if asset == "nested_clustering" else "runs"


def asset_of(key: str) -> str:
    """The asset that has the clustering of a key."""
    return "nested_clustering" if "/" in key else "clustering"


@dataclass(frozen=True)
class InStore:
    """What is in the store."""

    versions: Mapping[Place, str | None]
    """For each asset and key that has something, the data version that Dagster should tell last;
    None: whatever it tells."""
    once: Collection[str]
    """Keys of all clusterings that there ever were."""
    registered: Collection[str] = ()
    """Keys that have a file in the registry, whose partitions stay."""


@dataclass(frozen=True)
class InDagster:
    """What a Dagster instance knows."""

    partitions: Mapping[str, Collection[str]]
    """The keys of each family."""
    versions: Mapping[Place, str | None]
    """For each asset and key that was materialized, the last data version."""


@dataclass(frozen=True, order=True)
class Mismatch:
    """One thing that the store and Dagster do not agree on."""

    asset: str
    key: str
    what: What

    @property
    def text(self) -> str:
        """For people, one line."""
        said = {
            "no partition": "is in the store, and its partition was deleted in Dagster",
            "not materialized": "is in the store, and not materialized in Dagster",
            "another version": "is another one in the store than Dagster was told of last",
            "nothing in the store": "is known to Dagster, and not in the store",
        }[self.what]
        return f"{self.asset} {self.key} {said}"


def mismatches(
    store: InStore, dagster: InDagster, run_keys: Collection[str] | None = None
) -> list[Mismatch]:
    """All that they do not agree on, by asset and key.

    Args:
        store: What is in the store.
        dagster: What Dagster knows.
        run_keys: Only of these runs; of all by default.
    """
    found = set(_unknown_to_dagster(store, dagster)) | set(_unknown_to_store(store, dagster))
    return sorted(one for one in found if run_keys is None or run_key_of(one.key) in run_keys)


def _unknown_to_dagster(store: InStore, dagster: InDagster) -> Iterator[Mismatch]:
    for (asset, key), version in store.versions.items():
        if key not in dagster.partitions.get(family_of(asset), ()):
            if asset in CLUSTERINGS:  # the others have the partitions of these
                yield Mismatch(asset, key, "no partition")
        elif (asset, key) not in dagster.versions:
            yield Mismatch(asset, key, "not materialized")
        elif version is not None and version != dagster.versions[asset, key]:
            yield Mismatch(asset, key, "another version")


def _unknown_to_store(store: InStore, dagster: InDagster) -> Iterator[Mismatch]:
    for asset, key in dagster.versions:
        # Reports are pages, and saved tags are people's: both outlive what they were made of, as
        # long as there is the run.
        of = "clustering" if asset in ("clustering_report", "saved_clustering") else asset
        if asset in ASSETS and (of, key) not in store.versions:
            yield Mismatch(asset, key, "nothing in the store")
    for asset in CLUSTERINGS:
        for key in dagster.partitions.get(family_of(asset), ()):
            gone = (asset, key) not in store.versions and key in store.once
            if gone and key not in store.registered:
                yield Mismatch(asset, key, "nothing in the store")


def deleted_in_dagster(found: Iterable[Mismatch]) -> tuple[list[str], list[str]]:
    """What somebody deleted in Dagster: clusterings, and runs whose labels were.

    Args:
        found: Mismatches.

    Returns:
        Keys of clusterings, those below another one left out; and run keys.
    """
    gone = [one for one in found if one.what in ("no partition", "not materialized")]
    keys = sorted({one.key for one in gone if one.asset in CLUSTERINGS})
    roots = [
        key for key in keys if not any(other != key and is_below(key, other) for other in keys)
    ]
    labels = [one.key for one in gone if one.asset == "cluster_labels"]
    return roots, sorted({key for key in labels if key not in roots})
