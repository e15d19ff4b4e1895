"""What a scope's words match: values, tags, similarities.

Belongs here: pure matching. Does not belong here: dates (``spec.dates``), the fields of scopes
(``clustering.scopes``), and reading what is matched (``selection``).
"""

import unicodedata
from datetime import datetime

import numpy as np
import numpy.typing as npt

from panoptic_assets.core.sidecar import PropertyType, Value, read_number, tag_path
from panoptic_assets.spec.computation import Vectors
from panoptic_assets.spec.dates import period
from panoptic_assets.spec.tag_log import HIERARCHY

Rows = npt.NDArray[np.int64]

_DECIMALS = 6
"""Of a similarity: a float32 vector's cosine with itself is 1 only when rounded so."""


def below(path: str) -> list[str]:
    """A tag's path and those of the tags above it: ``a``, ``a > b``, ``a > b > c``."""
    names = path.split(HIERARCHY)
    return [HIERARCHY.join(names[: depth + 1]) for depth in range(len(names))]


def word(kind: PropertyType, text: str) -> str | float:
    """What a person writes for a value, in the form of :func:`words`.

    Raises:
        ValueError: It is no value of that type; the message says what one looks like.
    """
    if kind == "number":
        return read_number(text, ";")
    if kind == "date":
        period(text)
        return text
    return unicodedata.normalize("NFC", text) if kind == "text" else tag_path(text)


def words(kind: PropertyType, value: Value) -> list[str] | list[float]:
    """All that can be written for a stored value: a tag is also found by those above it, a date by
    its month and its year."""
    if isinstance(value, datetime):
        day = value.date().isoformat()
        return [day[:4], day[:7], day]
    if isinstance(value, str):
        return [unicodedata.normalize("NFC", value)]
    if isinstance(value, float):
        return [value]
    return [above for path in value for above in below(path)]


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
