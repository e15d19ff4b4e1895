"""Data contracts: what must hold of vectors, whoever wrote them.

Belongs here: finding what breaks a contract. Does not belong here: what to do about it
(``features.feature_contracts``).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from panoptic_assets.spec.computation import Vectors

_UNIT_TOLERANCE = 1e-3
"""Scores and neighbours take dot products for cosines: this far off, they err in the third digit.
float32 vectors that were scaled once are within 1e-6, those that were stored as float16 within
5e-4."""


@dataclass
class VectorFindings:
    """Counts of what is wrong with a table of vectors."""

    nb_vectors: int = 0
    nb_repeated: int = 0
    """Rows whose id an earlier row has."""
    nb_not_finite: int = 0
    nb_zero: int = 0
    nb_not_unit: int = 0
    """Finite, not zero, and not of length 1."""
    nb_unknown: int = 0
    """Of images that the corpus never had."""


def inspect_vectors(
    batches: Iterable[tuple[Sequence[str], Vectors]], known: set[str]
) -> VectorFindings:
    """Inspect a table of vectors in one pass.

    Args:
        batches: Image ids with their vectors, (n, d) float32.
        known: Ids of all images that the corpus has or had.
    """
    found = VectorFindings()
    seen: set[str] = set()
    for ids, vectors in batches:
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
        finite = np.isfinite(lengths)
        zero = lengths == 0
        found.nb_vectors += len(ids)
        found.nb_repeated += len(ids) - len(set(ids) - seen)
        found.nb_not_finite += int((~finite).sum())
        found.nb_zero += int(zero.sum())
        found.nb_not_unit += int((finite & ~zero & (abs(lengths - 1) > _UNIT_TOLERANCE)).sum())
        found.nb_unknown += sum(image_id not in known for image_id in ids)
        seen.update(ids)
    return found
