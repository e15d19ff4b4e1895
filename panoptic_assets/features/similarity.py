"""Similarity: how near images are to one direction, and which are nearest.

Belongs here: cosines of vectors. Does not belong here: neighbours of all images
(``features.neighbors``).
"""

import numpy as np
import numpy.typing as npt

from panoptic_assets.spec.computation import Rows, Vectors

_DECIMALS = 6
"""Of a similarity: a float32 vector's cosine with itself is 1 only when rounded so."""


def similarities(vectors: Vectors, vector: Vectors) -> npt.NDArray[np.float64]:
    """Cosines of (n, d) unit vectors with a (d,) one, the same on any number of threads."""
    # einsum, unlike a matrix product, does not leave the order of its sums to a BLAS.
    cosines = np.einsum("ij,j->i", vectors, vector, dtype=np.float64)
    return np.round(cosines, _DECIMALS)


def most_similar(
    cosines: npt.NDArray[np.float64], min_similarity: float | None, nb_images: int | None
) -> Rows:
    """Rows of the highest similarities, the highest first; of equal ones the first row.

    Args:
        cosines: (n,) similarities.
        min_similarity: Rows below it are left out.
        nb_images: Rows at most.
    """
    order = np.argsort(-cosines, kind="stable")
    if min_similarity is not None:
        order = order[cosines[order] >= min_similarity]
    return order[:nb_images].astype(np.int64)
