"""VectorsFile: vectors that another program made, as a file holds them.

Belongs here: reading Parquet and NumPy files safely, batch by batch. Does not belong here: which
images they belong to (``panoptic_assets.features.imported_vectors``).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pydantic
from pydantic import Field

from resources.errors import InputError

_ROWS = 4096
_NAME_COLUMNS = ("image_id", "path")
_VECTOR_COLUMNS = ("vector", "embedding")

Batch = tuple[list[str], np.ndarray]


class VectorsFile(pydantic.BaseModel, frozen=True, extra="forbid"):
    """One vector type whose vectors are imported, as ``configs/models/<key>.yaml`` describes it."""

    vectors: str = Field(
        min_length=1,
        description="A Parquet file with a column image_id or path and a column vector, or a .npy "
        "file of shape (n, d); a relative path starts at the project's folder.",
    )
    ids: str | None = Field(
        default=None,
        description="With a .npy: a UTF-8 text file with the image id or path of each row.",
    )
    model: str = Field(
        min_length=1, max_length=200, description="What made the vectors, in words; recorded."
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

    def batches(self, folder: Path) -> Iterator[Batch]:
        """The rows: names (image ids or paths), and (n, d) float64 vectors as they are.

        Args:
            folder: Where relative paths start.

        Raises:
            InputError: A file is missing or damaged, or does not hold what it should.
        """
        path = _existing(folder, self.vectors)
        if path.suffix == ".npy":
            return _npy(path, self.ids and _existing(folder, self.ids))
        if path.suffix != ".parquet":
            raise InputError(f"{path} is neither a .parquet nor a .npy file: convert it to one.")
        if self.ids:
            raise InputError(
                f"{path} names its images itself: leave out `ids`, which goes with a .npy file."
            )
        return _parquet(path)


def _existing(folder: Path, name: str) -> Path:
    try:
        path = folder / Path(name).expanduser()
    except RuntimeError as error:  # ~nobody
        raise InputError(f"There is no folder {name.split('/')[0]}: correct {name!r}.") from error
    if not path.is_file():
        raise InputError(f"There is no file {path}: correct its path.")
    return path


def _npy(path: Path, ids: str | Path | None) -> Iterator[Batch]:
    if not ids:
        raise InputError(
            f"{path} does not say which images its rows are: give a text file with one image id or "
            "path per line (`ids`, `--ids`)."
        )
    try:
        # Not np.load(), which also opens archives of arrays, whatever their name.
        rows = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError, OSError) as error:
        raise InputError(
            f"{path} cannot be read as a plain array of numbers ({error}): save it with "
            "numpy.save as float32 of shape (n, d)."
        ) from error
    if rows.ndim != 2 or rows.shape[1] == 0 or rows.dtype.kind != "f":
        raise InputError(
            f"{path} holds {rows.dtype} of shape {rows.shape}: floating-point numbers of shape "
            "(n, d) are needed."
        )
    try:
        text = Path(ids).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{ids} is not UTF-8 text: convert it.") from error
    # Not splitlines(): a file's name may hold what other scripts take for the end of a line.
    lines = text.removesuffix("\n").split("\n") if text else []
    names = [line.removesuffix("\r") for line in lines]
    if len(names) != len(rows):
        raise InputError(
            f"{ids} has {len(names):,} lines, but {path} has {len(rows):,} rows: one line for each."
        )
    for start in range(0, len(rows), _ROWS):
        stop = start + _ROWS
        yield names[start:stop], np.asarray(rows[start:stop], dtype=np.float64)


def _parquet(path: Path) -> Iterator[Batch]:
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        columns = file.schema_arrow
        name = _column(path, columns.names, _NAME_COLUMNS)
        vector = _column(path, columns.names, _VECTOR_COLUMNS)
        for batch in file.iter_batches(_ROWS, columns=[name, vector]):
            yield _names(path, batch[name]), _matrix(path, batch[vector])
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as Parquet: {reason}") from error


def _column(path: Path, names: list[str], wanted: tuple[str, ...]) -> str:
    found = [name for name in wanted if name in names]
    if len(found) != 1:
        raise InputError(
            f"{path} must have one column {' or '.join(wanted)}; it has {', '.join(names)}."
        )
    return found[0]


def _names(path: Path, column: pa.Array) -> list[str]:
    if pa.types.is_dictionary(column.type):  # pandas' categories
        column = column.dictionary_decode()
    if column.null_count or not (
        pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    ):
        raise InputError(f"{path}: image ids and paths must be texts, none of them missing.")
    return column.to_pylist()


def _matrix(path: Path, column: pa.Array) -> np.ndarray:
    kind = column.type
    lists = (
        pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)
    )
    if not lists or not pa.types.is_floating(kind.value_type) or column.null_count:
        raise InputError(
            f"{path}: vectors must be lists of floating-point numbers, none missing; they are "
            f"{kind}."
        )
    lengths = set(pc.list_value_length(column).to_pylist())
    flat = column.flatten()
    if len(lengths) > 1 or 0 in lengths or flat.null_count:
        raise InputError(f"{path}: vectors must all have one length, with no number missing.")
    numbers = flat.to_numpy(zero_copy_only=False).astype(np.float64)
    return numbers.reshape(len(column), -1) if len(column) else np.empty((0, 0))
