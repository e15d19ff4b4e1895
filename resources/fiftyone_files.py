"""Exports of FiftyOne on the disk: their samples, and the arrays in these.

Belongs here: which files a FiftyOneDataset consists of, which image a sample is of, and reading a
field of vectors. Does not belong here: what other fields mean
(``panoptic_assets.tags.exchange.fiftyone_samples``).

FiftyOne 1.22.1 writes an array as NumPy's file of it, compressed by zlib, in base64. The file may
be anybody's: nothing is unpickled, and no more is unpacked, or made room for, than is there.
"""

import base64
import binascii
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from resources.errors import PlainError
from resources.json_stream import JsonError, fields_of
from resources.page_paths import page_path

_SAMPLES = "samples.json"
_METADATA = "metadata.json"
_SCHEME = "color_scheme"
_LARGEST = 2**26
"""Bytes of ``metadata.json``, or of the file of one sample."""
MAX_BYTES = 2**20
"""Of one array, unpacked: a vector of 131,072 float64 numbers."""
_OUR_ID = re.compile(r"[0-9a-f]{64}")


class ArrayError(PlainError, ValueError):
    """A field holds no vector that can be used; the message begins in lower case, without a full
    stop."""


@dataclass(frozen=True)
class SampleName:
    """Which image a sample is of."""

    image_id: str
    """Empty where it does not say so as this program does."""
    path: str
    """Of its file, or of the page of it."""


def is_export(place: Path) -> bool:
    """Whether a folder or file is a FiftyOneDataset, or a file of samples, ours or FiftyOne's."""
    if place.is_dir():
        return (place / _SAMPLES).is_file() or (
            (place / "samples").is_dir() and (place / _METADATA).is_file()
        )
    # Opening a FIFO would wait for ever.
    if place.suffix.lower() != ".json" or not place.is_file():
        return False
    if place.name == _METADATA and is_export(place.parent):
        return True
    with place.open("rb") as file:
        try:
            return next((name in (_SCHEME, "samples") for name, _ in fields_of(file)), False)
        except JsonError:
            return False


def samples_in(place: Path) -> Iterator[Any]:
    """The samples of an export, one by one; each may be anything.

    Args:
        place: A FiftyOneDataset's folder, its ``samples.json`` or ``metadata.json``, or the file
            that is written for FiftyOne here.

    Raises:
        JsonError: While iterating: a file cannot be read.
    """
    folder = place.parent if place.name == _METADATA else place
    if folder.is_dir() and not (folder / _SAMPLES).is_file():
        for path in sorted((folder / "samples").glob("*.json")):
            if path.is_file():
                yield _whole(path)
        return
    with (folder / _SAMPLES if folder.is_dir() else folder).open("rb") as file:
        for name, content in fields_of(file):
            if name == "samples":
                yield from content if isinstance(content, Iterator) else [content]


def color_scheme(place: Path) -> Any:
    """What an export says of colours, which may be anything; None if it does not.

    Raises:
        JsonError: ``metadata.json`` cannot be read.
    """
    if place.is_file() and place.name not in (_METADATA, _SAMPLES):
        with place.open("rb") as file:
            name, content = next(fields_of(file), ("", None))
            return content if name == _SCHEME else None
    path = (place if place.is_dir() else place.parent) / _METADATA
    config = _whole(path).get("app_config") if path.is_file() else None
    return config.get(_SCHEME) if isinstance(config, dict) else None


def _whole(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _LARGEST:
        raise JsonError(
            "{name} is larger than {megabytes} MB: it is no file that FiftyOne writes.",
            id="fiftyone-file-too-large",
            name=path.name,
            megabytes=_LARGEST // 2**20,
        )
    with path.open("rb") as file:
        return {
            name: list(content) if isinstance(content, Iterator) else content
            for name, content in fields_of(file)
        }


def is_our_id(text: str) -> bool:
    """Whether a text is an image's id as this program gives them, and no other program's."""
    return _OUR_ID.fullmatch(text) is not None


def sample_name(sample: Any) -> SampleName | None:
    """Which image a sample is of; None if it is no sample."""
    path = sample.get("filepath") if isinstance(sample, dict) else None
    if not isinstance(path, str) or not path.strip():
        return None
    image_id = sample.get("image_id")
    if not isinstance(image_id, str) or not is_our_id(image_id):
        return SampleName("", path)
    page = sample.get("page")
    is_page = isinstance(page, int) and not isinstance(page, bool) and 1 < page < 1_000_000
    return SampleName(image_id, page_path(path, page) if is_page else path)


def is_array(value: Any) -> bool:
    """Whether a field's value is an array, or a list of numbers."""
    if isinstance(value, list):
        return bool(value) and all(type(number) in (int, float) for number in value)
    return isinstance(value, dict) and "$binary" in value


def array_of(value: Any) -> np.ndarray:
    """The array in a field.

    Raises:
        ArrayError: It is none, too large, damaged, or holds something else than numbers.
    """
    if isinstance(value, list) and is_array(value):
        try:
            return np.array(value, dtype=np.float64)
        except OverflowError as error:
            raise ArrayError("a number in it is too large", id="array-number-too-large") from error
    packed = value.get("$binary") if isinstance(value, dict) else None
    text = packed.get("base64") if isinstance(packed, dict) else packed
    if not isinstance(text, str):
        raise ArrayError("it is no array", id="no-array")
    try:
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(base64.b64decode(text, validate=True), MAX_BYTES + 1)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise ArrayError("it is damaged", id="array-damaged") from error
    if len(data) > MAX_BYTES:
        raise ArrayError("it takes more than {most:,} bytes", id="array-too-large", most=MAX_BYTES)
    return _numbers(data)


def _numbers(data: bytes) -> np.ndarray:
    file = io.BytesIO(data)
    try:
        # Not np.load(), which makes room for as many numbers as the header says.
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, dtype = read(file)
    except (ValueError, KeyError, TypeError, SyntaxError, TokenError, RecursionError) as error:
        raise ArrayError("it is damaged", id="array-damaged") from error
    if dtype.kind not in "fiu" or not dtype.itemsize:
        raise ArrayError("it holds {dtype}, not numbers", id="array-of-no-numbers", dtype=dtype)
    rest = data[file.tell() :]
    nb_numbers = 1
    for length in shape:
        nb_numbers *= length
    if len(shape) != 1 or nb_numbers * dtype.itemsize != len(rest):
        raise ArrayError("it is no vector: its shape is {shape}", id="array-no-vector", shape=shape)
    return np.frombuffer(rest, dtype)
