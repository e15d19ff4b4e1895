"""How long a clustering will take, and what a run could be called, before anything is computed.

Belongs here: estimating from records of runs that were made, else from what was measured once. Does
not belong here: whether others should wait for it (:mod:`panoptic_assets.acts`).
"""

from collections.abc import Callable, Iterable
from typing import Any

from panoptic_assets.clustering.config import SharedClusteringConfig
from panoptic_assets.spec.extensions import name_of
from panoptic_assets.spec.keys import MAX_LENGTH
from panoptic_assets.spec.records import Record

_EXPONENTS = {
    "agglomerative": 2.0,
    "consensus": 2.0,
    "find_duplicates": 2.0,
    "hdbscan": 2.0,
}
"""With what power of the images the time of a method grows; of others it is taken for 1."""

_SECONDS = {
    "agglomerative": 1.3e-7,
    "birch": 6e-5,
    "find_duplicates": 1.0e-8,
    "hdbscan": 6.8e-7,
    "kmeans": 9e-6,
    "minibatch_kmeans": 3e-6,
}
"""For one image to that power; of k-means, of ten starts and for each cluster. Measured on 2,000 to
20,000 vectors like CLIP's, of 512 numbers, two cores of an AMD EPYC with AVX-512, beside other
work: a slower machine is known by its own records."""
_BIRCH_APART = 2.1e-7
"""Seconds of `birch` for the square of the images, where no two are near enough for a group:
joining the groups takes most of it. 1.8 s for 3,000, 29 for 12,000; like CLIP's .2 and 1.2."""
_UNRELATED = 100.0
"""The score that all images have together where they have nothing in common."""
_AUTOMATIC_CLUSTERS = 8
"""As many are what an automatic number costs k-means: it takes 1.4 s for 20,000 images."""

_SHARE = 0.8
"""Of the images in a subsample of ``stability``."""
_LEAST_COMPARABLE = 4
"""Times as many images as a record's: of fewer its time is mostly that of getting started."""


def likely_seconds(
    config: SharedClusteringConfig, nb_images: int, known: Iterable[Record]
) -> float | None:
    """Seconds that a method will take for some images; None of a method of which nothing is known.

    They are scaled from the newest record of the same method that has about as many images or
    more, first from those with the same parameters; else they are what was measured once.

    Args:
        config: The configuration, resolved.
        nb_images: The images in scope.
        known: Records of runs and nodes.
    """
    method = config.method
    name = name_of(type(method))
    parameters = method.model_dump()
    known = list(known)
    alike = [
        record
        for record in known
        if record.config["features"] == config.features
        and _nb_images(record) * _LEAST_COMPARABLE >= nb_images
    ]
    newest = max(alike, key=lambda record: record.finished_at, default=None)
    baseline = newest.baseline_score if newest else _UNRELATED
    work = _work(parameters, nb_images, baseline)
    found: list[tuple[bool, Any, float]] = []
    for record in known:
        [(its_name, its_parameters)] = record.config["method"].items()
        nb_known = _nb_images(record)
        if its_name != name or record.usage is None or nb_known * _LEAST_COMPARABLE < nb_images:
            continue
        same = all(parameters.get(field) == value for field, value in its_parameters.items())
        its_work = _work({"name": name, **its_parameters}, nb_known, record.baseline_score)
        scale = work / max(its_work, 1e-9)
        # Beside other work a method takes longer by the clock, with several threads by the CPU.
        taken = min(record.usage.seconds, record.usage.cpu_seconds)
        found.append((same, record.finished_at, taken * scale))
    if found:
        once = max(found, key=lambda one: one[:2])[2]
    elif name in _SECONDS:
        once = _SECONDS[name] * work
    else:
        return None
    return float(once * (1 + config.stability * _SHARE ** _EXPONENTS.get(name, 1.0)))


def _nb_images(record: Record) -> int:
    return record.counts.clustered + record.counts.remainder


def _work(parameters: dict[str, Any], nb_images: int, baseline: float) -> float:
    """What the time of a method is proportional to.

    Args:
        parameters: Of the method, its name among them.
        nb_images: The images.
        baseline: The score that all of them have together.
    """
    name = parameters["name"]
    # The mean square of half the distance of two images: the radius of the group that they make.
    if name == "birch" and baseline / 200 > parameters.get("threshold", 0.5) ** 2:
        return float(nb_images) ** 2 * _BIRCH_APART / _SECONDS["birch"]
    work = float(nb_images) ** _EXPONENTS.get(name, 1.0)
    if name in ("kmeans", "minibatch_kmeans"):
        nb_clusters = parameters.get("nb_clusters") or -1
        work *= nb_clusters if nb_clusters > 0 else _AUTOMATIC_CLUSTERS
    if name == "kmeans" and parameters.get("nb_clusters") != -1:
        work *= (parameters.get("n_init") or 10) / 10
    if name == "consensus":
        work *= len(parameters.get("runs") or ())
    return work


def proposed_key(config: SharedClusteringConfig, is_taken: Callable[[str], bool]) -> str:
    """A key for a run that nobody has: ``kmeans-10``, ``automatic``, ``birch-10-2``, ….

    Args:
        config: The run's configuration, resolved.
        is_taken: Whether a key is, or was, that of another run.
    """
    name, nb_clusters = name_of(type(config.method)), getattr(config.method, "nb_clusters", None)
    if nb_clusters == -1 and name == "kmeans":
        wanted = "automatic"
    else:
        # Of another package's method: a key begins with a letter or digit.
        plain = name.replace("_", "-").strip("-")[: MAX_LENGTH - 24] or "run"
        wanted = f"{plain}-{nb_clusters}" if nb_clusters and nb_clusters > 0 else plain
    key, number = wanted, 1
    while is_taken(key):
        number += 1
        key = f"{wanted}-{number}"
    return key
