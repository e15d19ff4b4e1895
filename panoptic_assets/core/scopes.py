"""What a scope's words match: values, tags, dates, similarities.

Belongs here: pure matching. Does not belong here: the fields of scopes (``scopes``), and reading
what is matched (``selection``).
"""

import calendar
import difflib
import re
import unicodedata
from collections.abc import Iterable
from datetime import date, datetime

import numpy as np
import numpy.typing as npt

from panoptic_assets.core.sidecar import PropertyType, Value, read_number, tag_path
from panoptic_assets.spec.computation import Vectors
from panoptic_assets.spec.tag_log import HIERARCHY

Rows = npt.NDArray[np.int64]

_PERIOD = re.compile(r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2}))?)?")
_COMPARED = 20_000
"""Known names that a wrong one is compared with; comparing takes 10 microseconds for each."""
_DECIMALS = 6
"""Of a similarity: a float32 vector's cosine with itself is 1 only when rounded so."""


def period(text: str) -> tuple[date, date]:
    """First and last day of a date such as ``2024-03-09``, ``2024-03`` or ``2024``.

    Raises:
        ValueError: It is none.
    """
    match = _PERIOD.fullmatch(text)
    if match is None:
        raise ValueError("not a date: write 2024-03-09, 2024-03 or 2024")
    year, month, day = int(match["year"]), match["month"], match["day"]
    try:
        first = date(year, int(month or 1), int(day or 1))
    except ValueError as error:
        raise ValueError(f"no such date: {error}") from error
    if day:
        return first, first
    last_month = int(month or 12)
    return first, date(year, last_month, calendar.monthrange(year, last_month)[1])


def within(day: date, since: str | None, until: str | None) -> bool:
    """Whether a day lies between two dates, the last day of the second one included.

    Raises:
        ValueError: One of them is no date.
    """
    return (since is None or period(since)[0] <= day) and (until is None or day <= period(until)[1])


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


def nearest(wanted: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The known names that look most like a wrong one, or the first of them if none does."""
    names = sorted(known)
    folded: dict[str, str] = {}
    for name in names[:_COMPARED]:
        folded.setdefault(name.casefold(), name)
    close = difflib.get_close_matches(wanted.casefold(), folded, most)
    return [folded[name] for name in close] or names[:most]


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
