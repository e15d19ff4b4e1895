"""Comparing runs with each other and with what is known of the images.

Belongs here: what can be a side of a comparison, which images two sides share, what else differs
between two runs, the leaderboard. Does not belong here: the measures (``review.agreement``), pages
and tables for people (``review``, ``cli``).

A side is written as

- a run key, ``greek``, or a divided node, ``greek/3``: its clusters, down to ``depth`` levels
  (by default its own, without what was divided again below it);
- ``property:NAME``: the tags that images have, saved ones or, if there are none, those of the file
  of metadata; always the deepest tag;
- ``folders``: the folder that an image's file lies in, of several files the first by path.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from panoptic_assets.review import agreement as core
from panoptic_assets.review.sides import Side, Sides, common, quoted_side
from panoptic_assets.spec.computation import Labels
from panoptic_assets.spec.records import Record
from panoptic_assets.spec.resolution import leaves
from panoptic_assets.spec.text import cut
from resources.errors import InputError, text_of

Treatment = Literal["counted", "left_out"]
"""Whether the remainder is a cluster like any other, or its images are left out."""


@dataclass(frozen=True)
class Difference:
    """A value of two records that may differ."""

    section: Literal["parameters", "inputs", "versions"]
    name: str
    """Dotted: ``method.kmeans.nb_clusters``."""
    a: str | None
    """As text; None where the side has no such value."""
    b: str | None

    @property
    def differs(self) -> bool:
        """Whether the two are not the same."""
        return self.a != self.b


@dataclass(frozen=True)
class Compared:
    """Two sides, on the images that both have."""

    a: Side
    b: Side
    image_ids: pa.Array
    """(n,) the common ones, sorted."""
    rows_a: Labels
    """(n,) their rows in the first side."""
    rows_b: Labels
    result: core.Comparison

    @property
    def nb_only_a(self) -> int:
        """Images that only the first side has."""
        return len(self.a.image_ids) - len(self.image_ids)

    @property
    def nb_only_b(self) -> int:
        """Images that only the second side has."""
        return len(self.b.image_ids) - len(self.image_ids)

    def agreement(self, remainder: Treatment) -> core.Agreement:
        """The measures, with the remainder counted or left out."""
        return self.result.counted if remainder == "counted" else self.result.left_out


def compare(a: Side, b: Side) -> Compared:
    """Compare two sides on the images that both have.

    Raises:
        InputError: They have no image in common.
    """
    rows_a, rows_b = common(a, b)
    if not len(rows_a):
        raise InputError(
            "{a} ({nb_images_a:,} images) and {b} ({nb_images_b:,} images) have no image in "
            "common: compare runs whose scopes overlap.",
            id="sides-without-common-image",
            a=quoted_side(a.key),
            nb_images_a=len(a.image_ids),
            b=quoted_side(b.key),
            nb_images_b=len(b.image_ids),
        )
    result = core.compare_labelings(a.of(rows_a), b.of(rows_b))
    return Compared(a, b, a.image_ids.take(pa.array(rows_a)), rows_a, rows_b, result)


def matrix(
    sides: Sequence[Side], remainder: Treatment = "counted"
) -> dict[tuple[str, str], float | None]:
    """The ARI of every pair of sides, in their order; None without an image to compare."""
    found = {}
    for a, b in itertools.combinations(sides, 2):
        rows_a, rows_b = common(a, b)
        one, two = a.of(rows_a), b.of(rows_b)
        if remainder == "left_out":
            one, two = core.without_remainders(one, two)
        found[a.key, b.key] = core.adjusted_rand(one.labels, two.labels)
    return found


def differences(a: Side, b: Side) -> list[Difference]:
    """Parameters, inputs and versions of two records, side by side; empty without two records."""
    if a.record is None or b.record is None:
        return []
    before, after = described(a.record), described(b.record)
    order = {"parameters": 0, "inputs": 1, "versions": 2}
    return [
        Difference(section, name, before.get((section, name)), after.get((section, name)))  # type: ignore[arg-type]
        for section, name in sorted(
            before.keys() | after.keys(), key=lambda found: (order[found[0]], found[1])
        )
    ]


def described(record: Record) -> dict[tuple[str, str], str]:
    """Everything of a record that can change an answer, as text by section and dotted name."""
    found = {("parameters", name): _text(value) for name, value in leaves(record.config).items()}
    for source in record.inputs:
        found["inputs", f"{source.table}.version"] = str(source.version)
        found["inputs", f"{source.table}.sha256"] = source.sha256[:12]
    found["inputs", "images.in_scope"] = f"{record.counts.in_scope:,}"
    found["inputs", "images.not_embedded"] = f"{record.counts.not_embedded:,}"
    found |= {("versions", name): version for name, version in record.libraries.items()}
    found |= {("versions", f"machine.{name}"): text for name, text in record.machine.items()}
    found["versions", "algorithm"] = str(record.algorithm)
    found["versions", "panoptic-assets"] = record.code_version
    found["versions", "git_commit"] = (record.git_commit or "none")[:19]
    return found


def quality_of(record: Record) -> dict[str, Any]:
    """What a record says of its own clustering; None where it does not."""
    clustered, remainder = record.counts.clustered, record.counts.remainder
    measures = record.quality
    return {
        "nb_images": clustered + remainder,
        "nb_clusters": record.nb_clusters,
        "remainder": remainder,
        "remainder_ratio": remainder / max(clustered + remainder, 1),
        "mean_score": record.mean_score,
        "silhouette": measures.silhouette if measures else None,
        "davies_bouldin": measures.davies_bouldin if measures else None,
        "calinski_harabasz": measures.calinski_harabasz if measures else None,
        "stability": record.stability,
        "cpu_seconds": record.usage.cpu_seconds if record.usage else None,
    }


def leaderboard(
    sides: Sides, against: str = "", remainder: Treatment = "counted"
) -> list[dict[str, Any]]:
    """Every root run with its quality, the best first.

    Each has key, method, features, what :func:`quality_of` tells, and, with a ground truth,
    nb_common (images), adjusted_rand and adjusted_mutual_information. Ordered by the ARI to the
    ground truth if there is one, else by the silhouette; runs without it come last, by key.

    Args:
        sides: Reads them.
        against: The side that is taken for the truth; empty: none.
        remainder: How remainders are treated there.

    Raises:
        InputError: There is no such ground truth.
    """
    truth = sides.get(against) if against else None
    rows = []
    for key in sorted(sides.newest_runs()):
        record = sides.clusterings.records[key]
        row = {
            "key": key,
            "method": next(iter(record.config["method"])),
            "features": record.config["features"],
            **quality_of(record),
        }
        if truth is not None and key != truth.key:
            row |= _against(sides.get(key), truth, remainder)
        rows.append(row)
    by = "silhouette" if truth is None else "adjusted_rand"
    rows.sort(key=lambda row: (row.get(by) is None, -(row.get(by) or 0.0), row["key"]))
    return rows


def _against(side: Side, truth: Side, remainder: Treatment) -> dict[str, Any]:
    rows, rows_of_truth = common(side, truth)
    one, two = side.of(rows), truth.of(rows_of_truth)
    if remainder == "left_out":
        one, two = core.without_remainders(one, two)
    measures = core.agreement(one, two)
    return {
        "nb_common": measures.nb_images,
        "adjusted_rand": measures.adjusted_rand,
        "adjusted_mutual_information": measures.adjusted_mutual_information,
    }


MEASURES = (
    "nb_images",
    "nb_groups",
    "adjusted_rand",
    "adjusted_mutual_information",
    "v_measure",
    "homogeneity",
    "completeness",
    "variation_of_information",
    "nb_stayed",
    "nb_moved",
    "nb_unmatched",
    "reason",
)


def as_dictionary(compared: Compared) -> dict[str, Any]:
    """A comparison as plain data and Arrow tables: see ``compare`` of the API."""
    a, b, result = compared.a, compared.b, compared.result
    return {
        "a": _side(a),
        "b": _side(b),
        "nb_common": len(compared.image_ids),
        "nb_only_a": compared.nb_only_a,
        "nb_only_b": compared.nb_only_b,
        "counted": _measures(result.counted),
        "left_out": _measures(result.left_out),
        "differences": [
            {"section": found.section, "name": found.name, "a": found.a, "b": found.b}
            for found in differences(a, b)
            if found.differs
        ],
        "matched": [
            {
                "a": a.groups[pair.a].name,
                "b": b.groups[pair.b].name,
                "nb_images_a": int(result.table.sizes_a[pair.a]),
                "nb_images_b": int(result.table.sizes_b[pair.b]),
                "nb_both": pair.both,
                "jaccard": pair.jaccard,
            }
            for pair in result.counted.matched
        ],
        "contingency": pa.table(
            {
                "a": pa.array([a.groups[group].name for group in result.table.a], pa.string()),
                "b": pa.array([b.groups[group].name for group in result.table.b], pa.string()),
                "nb_images": pa.array(result.table.counts, pa.int64()),
            }
        ),
        "moved": moved(compared),
    }


def _measures(agreement: core.Agreement) -> dict[str, Any]:
    told = {name: getattr(agreement, name) for name in MEASURES}
    return told | {"reason": text_of(agreement.reason) if agreement.reason else None}


def moved(compared: Compared) -> pa.Table:
    """The images that moved, by image id: image_id, a and b (where each side has them)."""
    rows = np.flatnonzero(compared.result.moved)
    names = [
        pa.array([group.name for group in side.groups], pa.string()).take(
            pa.array(side.labels[where[rows]])
        )
        for side, where in ((compared.a, compared.rows_a), (compared.b, compared.rows_b))
    ]
    return pa.table(
        {"image_id": compared.image_ids.take(pa.array(rows)), "a": names[0], "b": names[1]}
    )


def _side(side: Side) -> dict[str, Any]:
    return {
        "key": side.key,
        "kind": side.kind,
        "record_id": side.record.record_id if side.record else None,
        "status": side.status,
        "nb_images": len(side.image_ids),
        "nb_clusters": side.nb_clusters,
        "nb_remainder": side.nb_remainder,
        "notes": [text_of(note) for note in side.notes],
        "quality": quality_of(side.record) if side.record else None,
    }


def _text(value: Any) -> str:
    text = "none" if value is None else value if isinstance(value, str) else repr(value)
    return cut(text, 200)
