"""Samples of TIFFs that Pillow cannot read.

Belongs here: the samples of one picture as they are stored, of any depth, byte order and number of
channels. Does not belong here: what tags say (``tiff``), and what samples mean (``colour``).

Pillow reads 8 bits in many layouts. Of more it keeps, in colour, the high byte alone; of
WhiteIsZero it inverts 8 bits and less; 32 unsigned bits, floats of 16 bits and CMYK with alpha it
reads in one byte order or not at all. So such pictures come from here: libtiff (through Pillow)
only unpacks them, as bytes, and numpy does the rest.
"""

import io
import struct
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from resources.tiff import (
    BITS,
    CHANNELS,
    COMPRESSION,
    FILL_ORDER,
    LENGTH,
    PHOTOMETRIC,
    PLANAR,
    PREDICTOR,
    ROWS,
    STRIP_BYTES,
    STRIPS,
    TILE_BYTES,
    TILE_LENGTH,
    TILE_WIDTH,
    TILES,
    WIDTH,
    Directory,
    Layout,
    with_directory,
)

Rows = Callable[[int, int], np.ndarray]
"""From a row to another: the bytes of each, (rows, bytes)."""


class SamplesOf:
    """The samples of one picture, handed out in bands of rows.

    Args:
        directory: The picture's.
        layout: Of it.

    Raises:
        ValueError: The tags do not fit together, or the data are cut off.
    """

    def __init__(self, directory: Directory, layout: Layout):
        self._directory, self._layout = directory, layout
        self._predictor = directory.number(PREDICTOR, 1) if layout.compression != 1 else 1
        self._in_plane = 1 if layout.planar == 2 else layout.nb_channels
        self._is_tiled = TILES in directory.entries
        tile_width, tile_length = layout.width, directory.number(ROWS, layout.height)
        if self._is_tiled:
            tile_width = directory.number(TILE_WIDTH, 0)
            tile_length = directory.number(TILE_LENGTH, 0)
        if tile_width <= 0 or tile_length <= 0 or layout.height <= 0:
            raise ValueError("strips or tiles of no size")
        self._tile_length = min(tile_length, max(layout.height, 1024))
        self._across = -(-layout.width // tile_width)
        bits = tile_width * self._in_plane * layout.bits
        if self._is_tiled and bits % 8:
            raise ValueError("tiles that end within a byte")
        self._tile_width, self._tile_bytes = tile_width, -(-bits // 8)
        if tile_width * self._across > layout.width + 4096 and tile_width > 2 * layout.width:
            raise ValueError("tiles wider than the picture")
        nb_planes = layout.nb_channels // self._in_plane
        count = -(-layout.height // self._tile_length) * self._across
        where = (TILES, TILE_BYTES) if self._is_tiled else (STRIPS, STRIP_BYTES)
        places, sizes = (
            [int(one) for one in directory.values(tag, most=max(count * nb_planes, 1 << 16))]
            for tag in where
        )
        if len(places) < count * nb_planes:
            raise ValueError(f"{len(places)} of {count * nb_planes} strips or tiles")
        self._planes: list[Rows] = []
        for start in range(0, count * nb_planes, count):
            some = places[start : start + count]
            if layout.compression == 1 and not self._is_tiled:
                self._planes.append(self._stored(some))
            else:
                self._planes.append(self._unpacked(some, sizes[start : start + count]))

    def rows(self, start: int, stop: int) -> np.ndarray:
        """(rows, width, channels), as stored."""
        return np.concatenate([self._band(plane(start, stop)) for plane in self._planes], axis=2)

    def _band(self, rows: np.ndarray) -> np.ndarray:
        width = self._tile_bytes
        tiles = [
            self._tile(np.ascontiguousarray(rows[:, place : place + width]))
            for place in range(0, rows.shape[1], width)
        ]
        return np.concatenate(tiles, axis=1)[:, : self._layout.width]

    def _tile(self, rows: np.ndarray) -> np.ndarray:
        """The samples of some rows of one tile: (rows, width, channels)."""
        layout, shape = self._layout, (len(rows), -1, self._in_plane)
        kind, size = layout.kind, layout.bits // 8
        if layout.bits % 8:
            return _joined(rows, layout.bits, self._tile_width * self._in_plane).reshape(shape)
        if self._predictor == 3:
            sums = np.cumsum(rows.reshape(shape), axis=1, dtype=np.uint8)
            # The bytes of all values lie together, those of the highest rank first.
            ranks = sums.reshape(len(rows), size, -1)
            return np.ascontiguousarray(ranks.swapaxes(1, 2)).view(f">{kind}{size}").reshape(shape)
        order = self._directory.order if size > 1 else "|"
        values = rows.view(f"{order}{kind}{size}").reshape(shape)
        if self._predictor == 2:
            sums = np.cumsum(values.view(f"{order}u{size}"), axis=1, dtype=f"u{size}")
            return sums.view(f"{kind}{size}")
        return values

    def _stored(self, places: list[int]) -> Rows:
        """Rows of strips that are not compressed, where they lie."""
        data, width, length = self._directory.data, self._tile_bytes, self._tile_length
        is_reversed = self._directory.number(FILL_ORDER, 1) == 2
        height = self._layout.height
        for number, place in enumerate(places):
            if place + min(length, height - number * length) * width > len(data):
                raise ValueError("the file is cut off")

        def rows(start: int, stop: int) -> np.ndarray:
            parts = []
            while start < stop:
                strip, row = divmod(start, length)
                count = min(stop - start, length - row)
                begin = places[strip] + row * width
                parts.append(np.frombuffer(data, np.uint8, count * width, begin))
                start += count
            found = np.concatenate(parts).reshape(-1, width)
            return _REVERSED[found] if is_reversed else found

        return rows

    def _unpacked(self, places: list[int], sizes: list[int]) -> Rows:
        """Rows of one plane that libtiff unpacks, as if they were 8-bit grey."""
        directory, layout = self._directory, self._layout
        ends = zip(places, sizes, strict=True)
        if any(place + size > len(directory.data) for place, size in ends):
            raise ValueError("the file is cut off")
        shape = {
            WIDTH: self._tile_bytes * self._across,
            LENGTH: layout.height,
            BITS: 8,
            COMPRESSION: layout.compression,
            PHOTOMETRIC: 1,
            FILL_ORDER: directory.number(FILL_ORDER, 1),
            CHANNELS: 1,
            PLANAR: 1,
            **({TILE_WIDTH: self._tile_bytes} if self._is_tiled else {}),
            TILE_LENGTH if self._is_tiled else ROWS: self._tile_length,
        }
        tags = {tag: (4, struct.pack("<I", value)) for tag, value in shape.items()}
        where = (TILES, TILE_BYTES) if self._is_tiled else (STRIPS, STRIP_BYTES)
        for tag, numbers in zip(where, (places, sizes), strict=True):
            tags[tag] = 4, struct.pack(f"<{len(numbers)}I", *numbers)
        image = _Bytes(io.BytesIO(with_directory("<", directory.data, tags)))
        image.load()

        def rows(start: int, stop: int) -> np.ndarray:
            band = image.crop((0, start, image.width, stop)).tobytes()
            return np.frombuffer(band, np.uint8).reshape(stop - start, -1)

        return rows


class _Bytes(TiffImageFile):
    """Bytes in the shape of grey pixels: the limit of pixels has been kept, theirs is larger."""

    def load_prepare(self) -> None:
        if self._im is None:
            self.im = Image.core.new(self.mode, self._size)
        ImageFile.ImageFile.load_prepare(self)


_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)), bitorder="little")
"""Each byte with its lowest bit first."""


def _joined(rows: np.ndarray, nb_bits: int, count: int) -> np.ndarray:
    """Values of 9 to 15 bits that lie bit by bit behind each other, the highest first."""
    bits = np.unpackbits(rows, axis=1)[:, : count * nb_bits].reshape(len(rows), count, nb_bits)
    values = np.zeros((len(rows), count), np.uint16)
    for place in range(nb_bits):
        values |= bits[..., place].astype(np.uint16) << (nb_bits - 1 - place)
    return values
