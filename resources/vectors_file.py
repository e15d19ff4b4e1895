"""VectorsFile: vectors that another program made, as a file holds them.

Belongs here: reading Parquet and NumPy files, and samples of FiftyOne, safely, batch by batch. Does
not belong here: which images they belong to (``panoptic_assets.features.imported_vectors``).
"""

from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pydantic
from pydantic import Field

from resources.errors import InputError
from resources.fiftyone_files import (
    ArrayError,
    array_of,
    is_export,
    is_our_id,
    sample_name,
    samples_in,
)
from resources.json_stream import JsonError

_ROWS = 4096
_NAME_COLUMNS = ("image_id", "path", "filepath", "file_path")
"""In the order in which they are trusted."""
_VECTOR_COLUMNS = ("vector", "embedding")

OWN_TABLE = "panoptic_assets"
"""Key of the metadata of the table of images that this program writes, as JSON."""

Batch = tuple[list[str], np.ndarray]


class VectorsFile(pydantic.BaseModel, frozen=True, extra="forbid"):
    """One vector type whose vectors are imported, as ``configs/models/<key>.yaml`` describes it."""

    vectors: str = Field(
        min_length=1,
        description="A Parquet file with a column image_id, path or filepath and a column vector; "
        "a .npy file of shape (n, d); or a samples.json of FiftyOne. A relative path starts at the "
        "project's folder.",
    )
    ids: str | None = Field(
        default=None,
        description="With a .npy: a UTF-8 text file with the image id or path of each row.",
    )
    model: str = Field(
        min_length=1, max_length=200, description="What made the vectors, in words; recorded."
    )
    field: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="The Parquet column that holds the vectors, if it is not called vector or "
        "embedding; of a samples.json the field.",
    )

    def identity(self, dim: int) -> dict[str, Any]:
        """What makes two vectors of this type comparable, as plain JSON data."""
        return {"model": self.model, "imported": True, "dim": dim}

    def differences(self, identity: dict[str, Any]) -> list[str]:
        """What this file says otherwise than a stored identity."""
        asked = {"model": self.model, "imported": True}
        return [
            f"{name}: {identity.get(name)!r} is stored, {value!r} is asked for"
            for name, value in asked.items()
            if identity.get(name) != value
        ]

    def check(self, folder: Path) -> None:
        """Refuse what can be refused unread.

        Args:
            folder: Where relative paths start.

        Raises:
            InputError: A file is missing.
        """
        for name in (self.vectors, self.ids):
            if name:
                _existing(folder, name)

    def batches(self, folder: Path) -> Iterator[Batch]:
        """The rows: names (image ids or paths), and (n, d) float64 vectors as they are.

        Args:
            folder: Where relative paths start.

        Raises:
            InputError: A file is missing or damaged, or does not hold what it should.
        """
        path = _existing(folder, self.vectors)
        if path.suffix == ".npy":
            if self.field:
                raise InputError(
                    "{path} has no columns: leave out `field`, which goes with Parquet and samples "
                    "of FiftyOne.",
                    id="vectors-file-without-fields",
                    path=path,
                )
            return _npy(path, self.ids and _existing(folder, self.ids))
        if path.suffix not in (".parquet", ".json"):
            raise InputError(
                "{path} is neither a .parquet nor a .npy file, nor a samples.json of FiftyOne: "
                "convert it to one.",
                id="vectors-of-unknown-format",
                path=path,
            )
        if self.ids:
            raise InputError(
                "{path} names its images itself: leave out `ids`, which goes with a .npy file.",
                id="vectors-file-with-ids",
                path=path,
            )
        return _samples(path, self.field) if path.suffix == ".json" else _parquet(path, self.field)


def _existing(folder: Path, name: str) -> Path:
    try:
        path = folder / Path(name).expanduser()
    except RuntimeError as error:  # ~nobody
        raise InputError(
            "There is no folder {folder}: correct {name!r}.",
            id="no-folder-of-user",
            folder=name.split("/")[0],
            name=name,
        ) from error
    if not path.is_file():
        raise InputError(
            "There is no file {path}: correct its path.", id="no-vectors-file", path=path
        )
    return path


def _npy(path: Path, ids: str | Path | None) -> Iterator[Batch]:
    if not ids:
        raise InputError(
            "{path} does not say which images its rows are: give a text file with one image id or "
            "path per line (`ids`, `--ids`).",
            id="vectors-file-without-ids",
            path=path,
        )
    try:
        # Not np.load(), which also opens archives of arrays, whatever their name.
        rows = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError, OSError, SyntaxError, TokenError) as error:
        raise InputError(
            "{path} cannot be read as a plain array of numbers ({reason}): save it with "
            "numpy.save as float32 of shape (n, d).",
            id="not-an-array",
            path=path,
            reason=error,
        ) from error
    if rows.ndim != 2 or rows.shape[1] == 0 or rows.dtype.kind != "f":
        raise InputError(
            "{path} holds {dtype} of shape {shape}: floating-point numbers of shape (n, d) are "
            "needed.",
            id="array-of-other-type",
            path=path,
            dtype=rows.dtype,
            shape=rows.shape,
        )
    try:
        text = Path(ids).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            "{ids} is not UTF-8 text: convert it.", id="ids-not-utf8", ids=ids
        ) from error
    # Not splitlines(): a file's name may hold what other scripts take for the end of a line.
    lines = text.removesuffix("\n").split("\n") if text else []
    names = [line.removesuffix("\r") for line in lines]
    if len(names) != len(rows):
        raise InputError(
            "{ids} has {nb_lines:,} lines, but {path} has {nb_rows:,} rows: one line for each.",
            id="ids-of-other-number",
            ids=ids,
            nb_lines=len(names),
            path=path,
            nb_rows=len(rows),
        )
    for start in range(0, len(rows), _ROWS):
        stop = start + _ROWS
        yield names[start:stop], np.asarray(rows[start:stop], dtype=np.float64)


def _parquet(path: Path, field: str | None) -> Iterator[Batch]:
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        columns = file.schema_arrow.names
        named = [name for name in _NAME_COLUMNS if columns.count(name) == 1]
        if len(named) > 1 and not _is_text(file.schema_arrow.field(named[0]).type):
            del named[0]  # numbers that another program gave
        # Our own table of images has some without a file, and some without a vector.
        is_own = OWN_TABLE.encode() in (file.schema_arrow.metadata or {})
        named = named[:1] if is_own else named
        vector = _column(path, columns, _VECTOR_COLUMNS if field is None else (field,))
        if not named:
            raise _without_column(path, columns, _NAME_COLUMNS)
        for batch in file.iter_batches(_ROWS, columns=[*named, vector]):
            if is_own:
                batch = batch.filter(batch[vector].is_valid())
            yield _names(path, batch, named), _matrix(path, batch[vector])
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            "{path} cannot be read as Parquet: {reason}",
            id="vectors-not-parquet",
            path=path,
            reason=reason,
        ) from error


def _samples(path: Path, field: str | None) -> Iterator[Batch]:
    if not is_export(path):
        raise InputError(
            "{path} is no samples.json of FiftyOne: export a FiftyOneDataset, or write the vectors "
            "as Parquet.",
            id="vectors-not-samples",
            path=path,
        )
    if field is None:
        raise InputError(
            "{path} may hold several fields of vectors: name one (`field`, `--field`).",
            id="vectors-without-field",
            path=path,
        )
    names: list[str] = []
    vectors: list[np.ndarray] = []
    found = False
    try:
        for number, sample in enumerate(samples_in(path), start=1):
            name = sample_name(sample)
            if name is None or sample.get(field) is None:
                continue
            try:
                vector = array_of(sample[field]).astype(np.float64)
            except ArrayError as error:
                raise InputError(
                    "{path}, sample {number:,}: what {field!r} holds is no vector: {reason}.",
                    id="vectors-unusable-in-sample",
                    path=path,
                    number=number,
                    field=field,
                    reason=error,
                ) from error
            if len(names) == _ROWS or (vectors and len(vector) != len(vectors[0])):
                yield names, np.stack(vectors)
                names, vectors = [], []
            names.append(name.image_id or name.path)
            vectors.append(vector)
            found = True
    except JsonError as error:
        raise InputError(
            "{path} cannot be read: {reason}", id="vectors-not-json", path=path, reason=error
        ) from error
    if not found:
        raise InputError(
            "No sample in {path} has a vector in the field {field!r}: correct the name.",
            id="vectors-field-empty",
            path=path,
            field=field,
        )
    yield names, np.stack(vectors)


def _column(path: Path, names: list[str], wanted: tuple[str, ...]) -> str:
    found = [name for name in wanted if name in names]
    if len(found) != 1 or names.count(found[0]) > 1:
        raise _without_column(path, names, wanted)
    return found[0]


def _without_column(path: Path, names: list[str], wanted: tuple[str, ...]) -> InputError:
    return InputError(
        "{path} must have one column {wanted}; it has {names}.",
        id="vectors-without-column",
        path=path,
        wanted=" or ".join(wanted),
        names=", ".join(names),
    )


def _names(path: Path, batch: pa.RecordBatch, named: list[str]) -> list[str]:
    first, *others = (_texts(path, batch[name]) for name in named)
    if named[0] != "image_id" or not others:
        return first
    # Another program's ids name nothing here; its paths may.
    return [
        name if is_our_id(name) else other for name, other in zip(first, others[0], strict=True)
    ]


def _texts(path: Path, column: pa.Array) -> list[str]:
    if pa.types.is_dictionary(column.type):  # pandas' categories
        column = column.dictionary_decode()
    if column.null_count or not _is_text(column.type):
        raise InputError(
            "{path}: image ids and paths must be texts, none of them missing.",
            id="vectors-of-unnamed-images",
            path=path,
        )
    return column.to_pylist()


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _matrix(path: Path, column: pa.Array) -> np.ndarray:
    kind = column.type
    lists = (
        pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)
    )
    if not lists or not pa.types.is_floating(kind.value_type) or column.null_count:
        raise InputError(
            "{path}: vectors must be lists of floating-point numbers, none missing; they are "
            "{kind}.",
            id="vectors-no-lists",
            path=path,
            kind=kind,
        )
    lengths = set(pc.list_value_length(column).to_pylist())
    flat = column.flatten()
    if len(lengths) > 1 or 0 in lengths or flat.null_count:
        raise InputError(
            "{path}: vectors must all have one length, with no number missing.",
            id="vectors-of-unequal-length",
            path=path,
        )
    numbers = flat.to_numpy(zero_copy_only=False).astype(np.float64)
    return numbers.reshape(len(column), -1) if len(column) else np.empty((0, 0))
