"""Samples of TIFFs that Pillow cannot read.

Belongs here: the samples of one picture as they are stored, of any depth, byte order and number of
channels. Does not belong here: what tags say (``tiff``), and what samples mean (``colour``).

Pillow reads 8 bits in many layouts. Of more it keeps, in colour, the high byte alone; of
WhiteIsZero it inverts 8 bits and less; 32 unsigned bits, floats of 16 bits and CMYK with alpha it
reads in one byte order or not at all. So such pictures come from here: libtiff (through Pillow)
only unpacks them, as bytes, and numpy does the rest.

Tags may say anything: tiles far larger than the picture, thousands of channels. So what unpacking
takes is compared with a limit before it begins, planes that are not shown are never opened, and
channels that are not shown are dropped a few rows at a time.
"""

import io
import struct
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from resources.errors import UnreadableImage, noted
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

_AT_ONCE = 1 << 23
"""Bytes of whole rows that are looked at at a time, all their channels and tiles."""


class SamplesOf:
    """The samples of one picture, handed out in bands of rows.

    Args:
        directory: The picture's.
        layout: Of it.
        channels: Those that are handed out, in ascending order.
        max_bytes: What they may take unpacked, with all that is stored between and around them.

    Raises:
        ValueError: The tags do not fit together, or the data are cut off.
        UnreadableImage: They would take more.
    """

    def __init__(self, directory: Directory, layout: Layout, channels: list[int], max_bytes: int):
        self._directory, self._layout = directory, layout
        self._predictor = directory.number(PREDICTOR, 1) if layout.compression != 1 else 1
        self._in_plane = 1 if layout.planar == 2 else layout.nb_channels
        self._is_tiled = TILES in directory.entries
        tile_width, tile_length = layout.width, directory.number(ROWS, layout.height)
        if self._is_tiled:
            tile_width = directory.number(TILE_WIDTH, 0)
            tile_length = directory.number(TILE_LENGTH, 0)
        if min(tile_width, tile_length, layout.width, layout.height) <= 0:
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
        planes, self._kept = (channels, [0]) if self._in_plane == 1 else ([0], channels)
        row_bytes = self._tile_bytes * self._across * len(planes)
        nb_rows = layout.height
        if self._is_tiled:
            nb_rows = -(-layout.height // self._tile_length) * self._tile_length
        if row_bytes * nb_rows > max_bytes:
            raise UnreadableImage(
                noted(
                    "{width:d} x {height:d} pixels of {size:,} bytes; the limit is {limit:,} (8 "
                    "times max_pixels)",
                    width=layout.width,
                    height=layout.height,
                    size=row_bytes * nb_rows,
                    limit=max_bytes,
                )
            )
        self._step = max(1, _AT_ONCE // row_bytes)
        count = -(-layout.height // self._tile_length) * self._across
        where = (TILES, TILE_BYTES) if self._is_tiled else (STRIPS, STRIP_BYTES)
        places, sizes = (
            [int(one) for one in directory.values(tag, most=max(count * nb_planes, 1 << 16))]
            for tag in where
        )
        if len(places) < count * nb_planes:
            raise ValueError(f"{len(places)} of {count * nb_planes} strips or tiles")
        self._planes: list[Rows] = []
        for plane in planes:
            some = slice(plane * count, (plane + 1) * count)
            if layout.compression == 1 and not self._is_tiled:
                self._planes.append(self._stored(places[some]))
            else:
                self._planes.append(self._unpacked(places[some], sizes[some]))

    def rows(self, start: int, stop: int) -> np.ndarray:
        """(rows, width, the channels that were asked for), as stored."""
        parts = []
        for begin in range(start, stop, self._step):
            end = min(begin + self._step, stop)
            # Copied at once, as a band is a view of all that its tiles hold.
            parts.append(np.concatenate([self._band(one(begin, end)) for one in self._planes], 2))
        return np.concatenate(parts)

    def _band(self, rows: np.ndarray) -> np.ndarray:
        width = self._tile_bytes
        tiles = [
            self._tile(np.ascontiguousarray(rows[:, place : place + width]))
            for place in range(0, rows.shape[1], width)
        ]
        return np.concatenate(tiles, axis=1)[:, : self._layout.width]

    def _tile(self, rows: np.ndarray) -> np.ndarray:
        """The samples of some rows of one tile: (rows, width, channels that are kept)."""
        layout, shape = self._layout, (len(rows), -1, self._in_plane)
        kind, size, kept = layout.kind, layout.bits // 8, self._kept
        if layout.bits % 8:
            return _joined(rows, layout.bits, self._tile_width, self._in_plane, kept)
        if self._predictor == 3:
            sums = np.cumsum(_some(rows.reshape(shape), kept), axis=1, dtype=np.uint8)
            # The bytes of all values lie together, those of the highest rank first.
            ranks = np.ascontiguousarray(sums.reshape(len(rows), size, -1).swapaxes(1, 2))
            return ranks.view(f">{kind}{size}").reshape(len(rows), -1, len(kept))
        order = self._directory.order if size > 1 else "|"
        values = _some(rows.view(f"{order}{kind}{size}").reshape(shape), kept)
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
        opened = _Bytes(io.BytesIO(with_directory("<", directory.data, tags)))
        opened.load()
        # Without the copy of the whole file that it was read from.
        image = Image.Image._new(opened, opened.im)

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


def _some(values: np.ndarray, channels: list[int]) -> np.ndarray:
    if len(channels) == values.shape[-1]:
        return values
    return np.take(values, channels, axis=-1)


def _joined(
    rows: np.ndarray, nb_bits: int, width: int, nb_channels: int, kept: list[int]
) -> np.ndarray:
    """Values of 9 to 15 bits that lie bit by bit behind each other, the highest first.

    Returns:
        (rows, width, channels that are kept).
    """
    values = np.empty((len(rows), width, len(kept)), np.uint16)
    rows = np.pad(rows, ((0, 0), (0, 2)))  # each value lies in the three bytes where it begins
    step = max(1, _AT_ONCE // (64 * len(rows)))
    for start in range(0, width, step):
        stop = min(start + step, width)
        for place, channel in enumerate(kept):
            begin = (np.arange(start, stop) * nb_channels + channel) * nb_bits
            three = rows[:, begin >> 3].astype(np.uint32) << 16
            three |= rows[:, (begin >> 3) + 1].astype(np.uint32) << 8
            three |= rows[:, (begin >> 3) + 2]
            three >>= (24 - nb_bits - (begin & 7)).astype(np.uint32)
            values[:, start:stop, place] = three & (1 << nb_bits) - 1
    return values
