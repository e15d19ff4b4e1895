"""Another program's vectors of images, as a file of the project that can be a vector type.

Belongs here: the file that is written, which vectors have no place in it, and what is said of them.
Does not belong here: reading other programs' folders (``tags.exchange``'s modules of those
programs), and what a vector type is (``features.imported_vectors``).
"""

import hashlib
import itertools
import uuid
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from resources.errors import InputError, noted

_ROWS = 4096
"""Vectors that are written at a time."""


class VectorsSeen:
    """What is seen of vectors while they pass.

    Args:
        name: What they are called there.

    Attributes:
        name: The same.
        nb_vectors: How many are of images that are here, one of each.
        dim: Their numbers.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.dim = self.nb_vectors = 0
        self._nb_unusable = self._nb_elsewhere = self._nb_again = 0
        self._shortest, self._longest = np.inf, 0.0
        self._image_ids: set[str] = set()

    def keeps(self, image_id: str | None, vector: np.ndarray) -> bool:
        """Whether a vector is one of the file.

        Args:
            image_id: The image; None: it is not in the corpus.
            vector: Its numbers, float32.
        """
        length = float(np.linalg.norm(vector.astype(np.float64)))
        self.dim = self.dim or len(vector)
        if image_id is None:
            self._nb_elsewhere += 1
        elif len(vector) != self.dim or not np.isfinite(length) or length == 0:
            self._nb_unusable += 1
        elif image_id in self._image_ids:
            self._nb_again += 1
        else:
            self._image_ids.add(image_id)
            self.nb_vectors += 1
            self._shortest, self._longest = min(self._shortest, length), max(self._longest, length)
            return True
        return False

    def notes(self) -> list[str]:
        """What a person must know of them."""
        if not self.nb_vectors:
            return []
        found = [
            noted(
                "{name}: vectors of {dim:,} numbers, of lengths {shortest} to {longest}, kept with "
                "length 1: {count:,}.",
                name=self.name,
                count=self.nb_vectors,
                dim=self.dim,
                shortest=f"{self._shortest:.3g}",
                longest=f"{self._longest:.3g}",
            )
        ]
        if self._nb_elsewhere:
            found.append(
                noted(
                    "Vectors left out, since their images are not in the corpus: {count:,}.",
                    count=self._nb_elsewhere,
                )
            )
        if self._nb_unusable:
            found.append(
                noted(
                    "Vectors left out, since they have no direction or another length: {count:,}.",
                    count=self._nb_unusable,
                )
            )
        if self._nb_again:
            found.append(
                noted(
                    "Vectors left out, since an image has one already, the first one: {count:,}.",
                    count=self._nb_again,
                )
            )
        return found


def write_vectors(
    vectors: Iterable[tuple[str | None, np.ndarray]],
    seen: VectorsSeen,
    target: Path,
    replace: bool,
    check: bool,
) -> None:
    """Write the vectors of the images that are here to a file, or only look at them.

    Args:
        vectors: For each vector its image, or None where that is not in the corpus.
        seen: Learns what is seen of them.
        target: The file.
        replace: Whether one that holds other vectors is replaced.
        check: Whether nothing is written.

    Raises:
        InputError: None is left, or the file holds others.
    """
    tables = _tables(vectors, seen)
    first = next(tables, None)
    if first is None:
        raise InputError(
            "No vector of {name} is of an image of the corpus, and has a direction.",
            id="no-vector-of-the-corpus",
            name=seen.name,
        )
    content = _Content()
    draft = target.with_name(f".vectors-{uuid.uuid4().hex}.draft")
    try:
        with nullcontext() if check else pq.ParquetWriter(draft, first.schema) as writer:
            for table in itertools.chain([first], tables):
                content.add(table)
                if writer is not None:
                    writer.write_table(table)
        if target.exists() and not replace and _content_of(target) != content.digest():
            raise InputError(
                "{file} exists already and holds other vectors: choose another key, or allow to "
                "replace it (--replace).",
                id="taken-vectors-exist",
                file=target,
            )
        if not check:
            draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _tables(
    vectors: Iterable[tuple[str | None, np.ndarray]], seen: VectorsSeen
) -> Iterator[pa.Table]:
    waiting: dict[str, np.ndarray] = {}

    def table() -> pa.Table:
        flat = pa.array(np.concatenate(list(waiting.values())))
        arrays = pa.FixedSizeListArray.from_arrays(flat, seen.dim)
        made = pa.table({"image_id": pa.array(list(waiting)), "vector": arrays})
        waiting.clear()
        return made

    for image_id, vector in vectors:
        if seen.keeps(image_id, vector) and image_id is not None:
            waiting[image_id] = vector
            if len(waiting) == _ROWS:
                yield table()
    if waiting:
        yield table()


class _Content:
    """What a file holds, however it is written."""

    def __init__(self) -> None:
        self._image_ids, self._numbers = hashlib.sha256(), hashlib.sha256()

    def add(self, table: pa.Table) -> None:
        for image_id in table["image_id"].to_pylist():
            self._image_ids.update(f"{image_id}\n".encode())
        flat = table["vector"].combine_chunks().flatten()
        self._numbers.update(np.ascontiguousarray(flat.to_numpy(), dtype="<f4").tobytes())

    def digest(self) -> tuple[bytes, bytes]:
        return self._image_ids.digest(), self._numbers.digest()


def _content_of(file: Path) -> tuple[bytes, bytes] | None:
    """What a file that is there holds; None if it is no such file."""
    content = _Content()
    try:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(_ROWS, columns=["image_id", "vector"]):
                content.add(pa.Table.from_batches([batch]))
    except (OSError, KeyError, ValueError, AttributeError, pa.ArrowException):
        return None
    return content.digest()
