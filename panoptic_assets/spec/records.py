"""What a clustering, or a projection, must be able to prove: its record.

Belongs here: what a record holds, and the provenance that goes into it. Does not belong here: how
records are stored (``clustering.table``), or what the numbers mean
(``clustering.quality``).

The records of clusterings are append-only. Computing a key again gives it the next revision
(``greek@2``); the old record keeps its clusters and assignments, and the newest revision is the one
that counts.
"""

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field

from panoptic_assets.spec.computation import Vectors
from panoptic_assets.spec.tree import Branch

_LIBRARIES = (
    "dagster",
    "hdbscan",
    "lancedb",
    "numpy",
    "open_clip_torch",
    "scikit-learn",
    "scipy",
    "torch",
)


FIRST_ALGORITHM = 1
"""The number of every algorithm that never had to change its answers."""

Algorithm = Annotated[
    int, Field(ge=FIRST_ALGORITHM, exclude_if=lambda number: number == FIRST_ALGORITHM)
]
"""The number of the algorithm that an answer was made by: a greater one may give another answer on
the same input. The first is left out of documents, seals and hashes, which so are those of records
that are older than the numbers."""


class Input(BaseModel, frozen=True):
    """One table that a clustering read."""

    table: str
    version: int
    """LanceDB version that was read; the store pins it, so that it can be read again."""
    sha256: str
    """Hash of what was read: of a vector table, the image ids and vectors (``vectors_hash``; for a
    search, of all images that were present, and of the text and its vector); of ``files`` and of
    the other tables that say which images a scope takes, the sorted ids of the images in scope,
    with a vector or not."""


class IdList(BaseModel, frozen=True):
    """The text file that listed a scope's images."""

    file: str
    """As the configuration names it."""
    sha256: str
    """Of its bytes."""


class Counts(BaseModel, frozen=True):
    """How many images a clustering looked at."""

    in_scope: int
    clustered: int
    remainder: int
    not_embedded: int
    """In scope, but without a vector: they are in no cluster."""


class Quality(BaseModel, frozen=True):
    """How good a clustering is by common measures; None where one is not defined.

    They are computed on the vectors, whatever was clustered, and on the clustered images only.
    """

    measured_on: str
    """The vector type."""
    silhouette: float | None
    """In [-1, 1], higher is better (Rousseeuw, 1987); Euclidean."""
    silhouette_sampled: int | None
    """How many images it was computed on, drawn by the run's seed; None: on all."""
    davies_bouldin: float | None
    """0 or more, lower is better (Davies and Bouldin, 1979)."""
    calinski_harabasz: float | None
    """0 or more, higher is better (Calinski and Harabasz, 1974)."""


class Usage(BaseModel, frozen=True):
    """What the method cost; another time it may cost something else."""

    cpu_seconds: float
    """Of all threads."""
    seconds: float
    peak_memory: int | None
    """Most bytes in memory meanwhile, of the whole process; None where the system does not tell."""


class Drift(BaseModel, frozen=True):
    """How far a corpus has gone from the clusters that images are assigned to."""

    nb_clustered: int
    """Images that were divided when the clusters were computed."""
    nb_new: int
    """Images that came since, and were assigned."""
    nb_left: int
    """Images that left the scope, the corpus, or the vectors since."""
    novelty: float | None
    """Share of the new ones that are farther from their cluster than 95 % of its usual images;
    0.05 is expected (:func:`panoptic_assets.upkeep.out_of_sample.novelty`). None without new ones,
    or without clusters."""
    growth: float
    """New images for each one that was clustered."""
    due: str
    """Why the images should be clustered again; empty if they need not."""


class Refreshed(BaseModel, frozen=True):
    """How a refresh policy made a record from an older one of its key."""

    policy: Literal["assign", "recluster"]
    record_id: str
    """The older record. Of ``assign`` the one whose clusters were computed, however often images
    were assigned to them since; of ``recluster`` the one whose numbers were carried over."""
    next_number: int
    """The least number that no cluster of this key had: of those that went, none is given again."""
    numbers: dict[int, int] = {}
    """Of ``recluster``: for each canonical number the one that was carried over, or is new."""
    drift: Drift | None = None
    """Of ``assign``."""

    @property
    def nb_assigned(self) -> int:
        """Images that were put into clusters that were computed without them."""
        return self.drift.nb_new if self.drift else 0

    @property
    def deciding(self) -> list[Any]:
        """What of it decides the output, as plain data."""
        if self.policy == "assign":
            return [self.policy, self.record_id]
        kept = all(number == carried for number, carried in self.numbers.items())
        return [] if kept else [self.policy, sorted(self.numbers.items())]


class Record(BaseModel, frozen=True):
    """The stored parameters and versions of one clustering."""

    key: str
    run_key: str
    revision: int
    config: dict[str, Any]
    """The resolved configuration, defaults filled in; a Launchpad accepts it as it is."""
    inputs: list[Input]
    parent_record: str | None
    """For the clustering of a cluster, and for a run whose scope is one: the record of the
    clustering that made the cluster."""
    parent_output: str | None
    id_list: IdList | None = None
    """For a run whose scope is a list."""
    counts: Counts
    nb_clusters: int
    """Clusters that came out, the remainder not counted."""
    baseline_score: float
    """Score of the whole scope: what a random group would get."""
    output: str
    """SHA-256 of the sorted (image id, cluster) list."""
    # Records that are older than these have none of them.
    algorithm: Algorithm = FIRST_ALGORITHM
    """Of the method; of images that were assigned, the one that made their clusters."""
    mean_score: float | None = None
    """Mean score of the clustered images' clusters."""
    notes: list[str] = []
    """What a person must know of the answer."""
    quality: Quality | None = None
    stability: float | None = None
    """Mean stability of the clusters, weighted by their sizes; None if it was not asked for."""
    usage: Usage | None = None
    refreshed: Refreshed | None = None
    """For a record that a refresh policy made."""
    libraries: dict[str, str]
    code_version: str
    git_commit: str | None
    machine: dict[str, str]
    dagster_run_id: str
    started_at: datetime
    finished_at: datetime

    @property
    def record_id(self) -> str:
        """``<key>@<revision>-<start of the Dagster run's id>``: unique to each attempt."""
        return f"{self.key}@{self.revision}-{self.dagster_run_id[:8]}"

    @property
    def order(self) -> tuple[int, datetime]:
        """The record with the greatest order is the one that counts for its key."""
        return self.revision, self.finished_at

    @property
    def branch(self) -> Branch:
        """The clustering's place in the tree."""
        return Branch(self.key, self.output, self.parent_output)

    @property
    def computed_id(self) -> str:
        """Id of the record whose clusters these are, if images were assigned to them since."""
        if self.refreshed is not None and self.refreshed.policy == "assign":
            return self.refreshed.record_id
        return self.record_id

    @property
    def next_number(self) -> int:
        """The least number that no cluster of this key had since it was last divided afresh."""
        return self.refreshed.next_number if self.refreshed else self.nb_clusters

    @property
    def cause(self) -> str:
        """Hash of all that decides the output: equal causes need not be computed again."""
        deciding = self.refreshed.deciding if self.refreshed else []
        return digest(
            self.config,
            [(entry.table, entry.sha256) for entry in self.inputs],
            self.parent_output,
            self.libraries,
            self.code_version,
            self.machine,
            *([deciding] if deciding else []),
            *_later(self.algorithm),
        )

    @property
    def data_version(self) -> str:
        """Hash of parameters, inputs and output, for Dagster."""
        return digest(self.cause, self.output)


class Cause(BaseModel, frozen=True):
    """All that decides the points of a projection: with equal causes they are not made again."""

    config: dict[str, Any]
    """The resolved configuration, defaults filled in; a Launchpad accepts it as it is."""
    inputs: list[Input]
    """The vectors, and the neighbour graph if the method is fed by it."""
    algorithm: Algorithm = FIRST_ALGORITHM
    """Of the method."""
    libraries: dict[str, str]
    code_version: str
    machine: dict[str, str]

    @property
    def sha256(self) -> str:
        """Its hash, in which the inputs count by their content."""
        return digest(
            self.config,
            [(entry.table, entry.sha256) for entry in self.inputs],
            self.libraries,
            self.code_version,
            self.machine,
            *_later(self.algorithm),
        )


class ProjectionRecord(BaseModel, frozen=True):
    """The stored parameters and versions of one projection; it lies in its points' table."""

    key: str
    cause: Cause
    nb_images: int
    nb_not_embedded: int
    """Present, but without a vector: they have no point."""
    explained_variance: float | None
    trustworthiness: float
    output: str
    """SHA-256 of the image ids and their points (``vectors_hash``)."""
    git_commit: str | None
    dagster_run_id: str
    started_at: datetime
    finished_at: datetime

    @property
    def data_version(self) -> str:
        """Hash of parameters, inputs and output, for Dagster."""
        return digest(self.cause.sha256, self.output)


def _later(algorithm: int) -> list[dict[str, int]]:
    """What the number of an algorithm adds to a hash: nothing as long as it is the first."""
    return [] if algorithm == FIRST_ALGORITHM else [{"algorithm": algorithm}]


def digest(*parts: Any) -> str:
    """SHA-256, in hexadecimal, of plain data in canonical JSON."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def output_hash(assignments: Iterable[tuple[str, str]]) -> str:
    """SHA-256 of the sorted (image id, cluster) list, one tab-separated line each, in UTF-8."""
    lines = (f"{image_id}\t{cluster}\n" for image_id, cluster in sorted(assignments))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def vectors_hash(image_ids: list[str], vectors: Vectors) -> str:
    """SHA-256 of sorted image ids and their vectors, float32 in little-endian bytes."""
    result = hashlib.sha256("\n".join(image_ids).encode())
    # Without a copy: 20,000 vectors are 40 MB.
    result.update(np.ascontiguousarray(vectors, dtype="<f4").ravel().data)
    return result.hexdigest()


def library_versions(*more: str) -> dict[str, str]:
    """Versions of the installed packages, and of ``more`` of them, that can change a result."""
    import importlib.metadata

    return {name: importlib.metadata.version(name) for name in (*_LIBRARIES, *more)}


def code_version() -> str:
    """Version of this package."""
    import importlib.metadata

    return importlib.metadata.version("panoptic-assets")


def machine_class() -> dict[str, str]:
    """What must be equal for results to be equal to the bit: system, processor, Python."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "processor": _processor(),
    }


def git_commit() -> str | None:
    """Commit of the checkout that the code runs from, with ``-dirty`` if it was changed."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty"],
            cwd=checkout,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
