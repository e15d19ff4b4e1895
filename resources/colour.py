"""Colour and depth: samples of any kind become 8 bits of sRGB.

Belongs here: profiles, and which value is white. Does not belong here: reading samples out of files
(``decoding``, ``tiff``).

Long because the two rules are said at length, and algorithm 1 stays beside its successor.

**Depth.** More than 8 bits, whole numbers or not, grey or in colour, become 8 by one rule. White is
the value that the file states (TIFF's MaxSampleValue, PNG's sBIT), if that is less than its bits
can hold and no pixel exceeds it; else the smallest of 2⁸−1, 2¹⁰−1, 2¹²−1, 2¹⁴−1 and 2¹⁶−1 that no
pixel exceeds, and of floats also 1, 4, 16 or 100. Scanners and microscopes store 10 to 14 bits in
16, and say so nowhere; a viewer that takes 65,535 for white shows them nearly black, all alike. The
steps are those of real devices, four values apart, so that a picture of full range that happens to
be dark stays as it is, and below 8 bits nothing is stretched: one step of the file is never more
than one of the picture, and the noise of a dark frame no larger than in a file of 8 bits. Numbers
below 0 or beyond 65,535 are stretched from the darkest to the brightest. WhiteIsZero is inverted
afterwards.

Floats have no white that their type could not exceed, and sharpening, scaling, lossy compression
and mere rounding leave values just above it: one of 1.01 must not turn a picture of 0 to 1 nearly
black. So among floats a white counts as not exceeded, and what lies beyond is white too, if none is
beyond it by more than a tenth; or at most one in a thousand is, as highlights are, and none beyond
four times the white, so that nothing is stretched further than by a step. Whole numbers are taken
at their word: a scanner's of 12 bits end at 4,095.

**Colour.** An embedded ICC profile, or what PNG, AVIF and HEIC say in its place (cICP, nclx, gAMA
and cHRM), is applied by LittleCMS, to sRGB, relative colorimetric with black point compensation:
the paper's white and the darkest ink become white and black, as in the sRGB copy that a photo
studio delivers beside its master, so that the two are near-duplicates. (The perceptual tables of
many printer profiles leave both grey.) A profile that cannot be read, or is of other channels than
the picture, is no reason to refuse it: its pixels are taken for sRGB. So are those of a curve for
high dynamic range (PQ, HLG), which no profile describes. CMYK without a profile is converted
without one, as viewers do. What is transparent is white, after all this.
"""

import hashlib
import io
import math
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

_MAX_PROFILE = 8 << 20
"""Bytes of a profile that is looked at; the largest printer profiles have 3 million."""
_KEPT = 32
"""Transformations that are kept: building one for a printer takes 10 to 100 ms."""
_ALIKE = 3
"""Of 255: a profile that moves no colour further is sRGB, of which there are dozens of versions."""

_WHITES = tuple(2.0**bits - 1 for bits in (8, 10, 12, 14, 16))
_FLOAT_WHITES = (1.0, 4.0, 16.0, 100.0)
"""Fractions and per cent, and between them steps as for devices: of light beyond white."""

_SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
"""White, red, green and blue as x and y."""
_PRIMARIES = {
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (0.3127, 0.3290, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (0.3127, 0.3290, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    7: (0.3127, 0.3290, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    9: (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
"""By their numbers in ITU-T H.273; 1, those of sRGB, are not here."""
_CURVES = {4: 2.2, 5: 2.8, 8: 1.0}
"""Likewise the exponents of curves that have one; all others that are no HDR are near sRGB's."""
_HDR = (16, 18)
_UNSAID = (0, 2, 3)
"""Numbers of curves that say nothing."""


@dataclass(frozen=True)
class Samples:
    """Pixels of any depth, which are asked for in bands of rows."""

    width: int
    height: int
    rows: Callable[[int, int], np.ndarray]
    """From a row to another: (rows, width, channels), whole numbers or floats."""
    white: float | None = None
    """The value of white, if the file states it."""
    is_signed: bool = False


def eight_bits(samples: Samples, nb_colours: int) -> np.ndarray:
    """Samples as uint8 (height, width, channels), by the rule above.

    Args:
        samples: The samples.
        nb_colours: The first channels, which have one white; each other has its own.
    """
    height, width = samples.height, samples.width
    step = max(1, _BAND // max(width, 1))
    bands = [(start, min(start + step, height)) for start in range(0, height, step)]
    extents: list[_Extent] = []
    for start, stop in bands:
        values = samples.rows(start, stop)
        is_whole = values.dtype.kind in "ui"
        groups = _groups(values, nb_colours)
        extents = extents or [_Extent(_whites(is_whole, samples), is_whole) for _ in groups]
        for extent, group in zip(extents, groups, strict=True):
            extent.add(group)
    scales = [extent.scale() for extent in extents]
    shown = np.empty((height, width, len(scales) - 1 + nb_colours), np.uint8)
    for start, stop in bands:
        into = _groups(shown[start:stop], nb_colours)
        groups = _groups(samples.rows(start, stop), nb_colours)
        for target, group, scale, extent in zip(into, groups, scales, extents, strict=True):
            target[...] = _scaled(group, *scale, extent.low)
    return shown


_BAND = 1 << 20
"""Pixels that are made 8 bits at a time."""


def _groups(values: np.ndarray, nb_colours: int) -> list[np.ndarray]:
    others = [values[..., place : place + 1] for place in range(nb_colours, values.shape[-1])]
    return [values[..., :nb_colours], *others]


def _whites(is_whole: bool, samples: Samples) -> list[float]:
    """The values that may be white, in the order in which they are tried."""
    whites = [*(() if is_whole else _FLOAT_WHITES), *_WHITES]
    if samples.is_signed:
        whites.insert(-1, 32767.0)
    return [*([samples.white] if samples.white else ()), *whites]


class _Extent:
    """How far the values of some channels reach."""

    def __init__(self, whites: list[float], is_whole: bool):
        self._whites, self._is_whole = whites, is_whole
        self.low, self._high, self._count = math.inf, -math.inf, 0
        self._nb_beyond = dict.fromkeys(whites, 0)

    def add(self, values: np.ndarray) -> None:
        if values.dtype.kind == "f":
            values = values[np.isfinite(values)]
        if not values.size:
            return
        high = float(values.max())
        self.low, self._high = min(self.low, float(values.min())), max(self._high, high)
        self._count += values.size
        for white in () if self._is_whole else self._whites:
            if high > white * _OVERSHOOT:
                self._nb_beyond[white] += int(np.count_nonzero(values > white * _OVERSHOOT))

    def scale(self) -> tuple[float, float]:
        """The values of black and white."""
        if self.low > self._high:  # not one finite number
            return 0, 1
        whites = self._whites if self.low >= 0 else []
        found = next((white for white in whites if self._holds(white)), None)
        return (self.low, self._high) if found is None else (0, found)

    def _holds(self, white: float) -> bool:
        if self._is_whole:
            return self._high <= white
        is_rare = self._nb_beyond[white] * 1000 <= self._count
        return is_rare and self._high <= white * _HIGHLIGHT


_OVERSHOOT, _HIGHLIGHT = 1.1, 4.0
"""Of white, in floats: where any value may lie, and one in a thousand."""


def _scaled(values: np.ndarray, black: float, white: float, darkest: float) -> np.ndarray:
    if values.dtype.kind == "u" and black == 0 and white == 65535:
        return (values >> 8).astype(np.uint8)
    if values.dtype.kind == "u" and black == 0 and white == 255:
        return values.astype(np.uint8)
    if values.dtype == np.dtype("u2") or values.dtype == np.dtype(">u2"):
        table = np.rint(np.minimum(np.arange(int(white) + 1), white) * (255 / white))
        return np.take(table.astype(np.uint8), values, mode="clip")
    if white - black < 1e-30:  # nothing that could be told apart
        return np.full(values.shape, 255 * (white > 0), np.uint8)
    # Half the size takes half the time, where its 24 bits suffice. Halves, as the difference of two
    # floats may be none.
    is_small = values.dtype.kind == "f" and values.dtype.itemsize <= 4 and white - black < 1e30
    shown: np.ndarray = values.astype(np.float32 if is_small else np.float64)
    if values.dtype.kind == "f" and not np.isfinite(shown).all():
        # NaN is as dark as the darkest, and what is infinite an end.
        darkest = darkest if math.isfinite(darkest) else black
        np.nan_to_num(shown, copy=False, nan=darkest, posinf=white, neginf=black)
    shown *= 0.5
    shown -= black / 2
    shown *= 255 / (white / 2 - black / 2)
    np.rint(shown, out=shown)
    np.clip(shown, 0, 255, out=shown)
    return shown.astype(np.uint8)


def deep_to_grey(image: Image.Image, white: float | None = None) -> Image.Image:
    """Grey of more than 8 bits (modes I, I;16 and F) as 8, by the rule above."""
    values = np.asarray(image)[..., None]
    shown = eight_bits(of_values(values, white), 1)
    return Image.fromarray(shown[..., 0])


def of_values(values: np.ndarray, white: float | None = None) -> Samples:
    """Samples that are there already: (height, width, channels)."""
    height, width = values.shape[:2]
    return Samples(width, height, lambda start, stop: values[start:stop], white)


def first_rule(image: Image.Image) -> Image.Image:
    """Mode RGB, by algorithm 1, for vectors that were made by it.

    Grey of 16 bits keeps its high byte; in grey of 32 bits white is the first of 1, 255 and 65,535
    that no pixel exceeds, and values beyond those, or negative ones, are stretched from the darkest
    to the brightest. Profiles are ignored.

    Raises:
        ValueError: It did not know the mode.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_first_eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        over_white = Image.new("RGB", image.size, "white")
        over_white.paste(rgba, mask=rgba)
        return over_white
    return image if image.mode == "RGB" else image.convert("RGB")


def _first_eight_bits(values: np.ndarray) -> np.ndarray:
    """Grey values (height, width) of uint16, int32 or float32, as uint8."""
    if values.dtype.itemsize == 2:
        return (values >> 8).astype(np.uint8)
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0, 1)
    white = next((white for white in (1, 255, 65535) if low >= 0 and high <= white), None)
    ends = (low, high) if white is None else (0, white)
    grey = np.empty(values.shape, np.uint8)
    for row, line in zip(grey, values, strict=True):  # one line at a time: interp() needs float64
        row[:] = np.rint(np.interp(np.nan_to_num(line, nan=low), ends, (0, 255)))
    return grey


@dataclass(frozen=True)
class Colour:
    """What a file says about the colours of its pixels."""

    icc: bytes | None = None
    code: tuple[int, int] | None = None
    """Primaries and curve, by their numbers in ITU-T H.273."""
    gamma: float | None = None
    """The exponent with which PNG says that values were encoded, such as 1/2.2."""
    chromaticities: tuple[float, ...] | None = None
    """White, red, green and blue as x and y, as PNG gives them."""

    def profile_for(self, mode: str) -> bytes | None:
        """An ICC profile; None where the pixels are sRGB's, for all that is said.

        Made of numbers, it is one of grey for grey pixels, which have a curve but no primaries.

        What is said first counts: code, profile, and PNG's gAMA and cHRM last, of which a PNG that
        also says sRGB has none here.

        Args:
            mode: Pillow's mode of the pixels.
        """
        is_grey = mode == "L"
        if self.code:
            primaries, curve = self.code
            is_srgb = primaries == 1 and curve not in _UNSAID
            if curve in _HDR or (is_srgb and curve not in _CURVES):
                return None
            if primaries in _PRIMARIES or curve in _CURVES:
                return _made_profile(_PRIMARIES.get(primaries, _SRGB), _CURVES.get(curve), is_grey)
        if self.icc:
            return self.icc
        if self.gamma and 0.1 < self.gamma < 10:
            is_usual = abs(self.gamma - 1 / 2.2) < 0.01
            if self.chromaticities or not is_usual:
                exponent = None if is_usual else 1 / self.gamma
                return _made_profile(self.chromaticities or _SRGB, exponent, is_grey)
        return None


def over_white(image: Image.Image, alpha: Image.Image) -> Image.Image:
    """A picture of mode RGB as it looks on white paper."""
    paper = Image.new("RGB", image.size, "white")
    paper.paste(image, mask=alpha)
    return paper


def to_srgb(image: Image.Image, colour: Colour) -> Image.Image:
    """Mode RGB, in sRGB, of an opaque picture of any mode; the image itself where it is that."""
    if image.mode in ("1", "P"):
        image = image.convert("RGB" if image.mode == "P" else "L")
    profile = colour.profile_for(image.mode)
    transform = _TRANSFORMS.of(profile, image.mode) if profile else None
    if transform is None and image.mode == "LAB":  # what L*a*b* means needs no profile
        transform = _TRANSFORMS.of(b"", "LAB")
    if transform is None:
        return image if image.mode == "RGB" else image.convert("RGB")
    image.load()
    into = image if image.mode == "RGB" else Image.new("RGB", image.size)
    transform.transform.apply(image.getim(), into.getim())
    return into


class _Transforms:
    """Transformations to sRGB, by profile and mode; safe to use from many threads.

    LittleCMS takes from a transformation only what never changes once it is made, so that threads
    may share one; they make it one at a time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: OrderedDict[tuple[bytes, str], ImageCms.ImageCmsTransform | None]
        self._made = OrderedDict()

    def of(self, profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
        """The transformation of a mode's pixels; None where they are taken for sRGB.

        Args:
            profile: The ICC profile; of LAB, none is needed.
            mode: Pillow's mode of the picture.
        """
        key = hashlib.sha256(profile).digest(), mode
        with self._lock:
            if key not in self._made:
                self._made[key] = _transform(profile, mode)
                if len(self._made) > _KEPT:
                    self._made.popitem(last=False)
            self._made.move_to_end(key)
            return self._made[key]


_TRANSFORMS = _Transforms()

_CLASSES = ("mntr", "scnr", "prtr", "spac")
"""Of profiles that describe a device or a space of colours."""
_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab"}


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    if len(profile) > _MAX_PROFILE:
        return None
    try:
        given = ImageCms.ImageCmsProfile(
            io.BytesIO(profile) if profile else ImageCms.createProfile("LAB")
        )
        is_one = given.profile.xcolor_space.strip() == _SPACES.get(mode)
        if profile and not (is_one and given.profile.device_class.strip() in _CLASSES):
            return None
        transform = ImageCms.buildTransform(
            given,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, MemoryError):
        return None
    return None if mode in ("RGB", "L") and _changes_nothing(transform, mode) else transform


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    if mode == "L":
        before = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    else:
        steps = np.arange(0, 256, 15, dtype=np.uint8)
        before = Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3))
    after = Image.new("RGB", before.size)
    transform.transform.apply(before.getim(), after.getim())
    one, other = (np.asarray(image.convert("RGB")).astype(int) for image in (before, after))
    return bool(np.abs(one - other).max() <= _ALIKE)


def _made_profile(
    chromaticities: tuple[float, ...], exponent: float | None, is_grey: bool
) -> bytes | None:
    """The ICC profile of three colours, or grey, and a curve (sRGB's, if there is no exponent)."""
    points = np.array(chromaticities, float).reshape(4, 2)
    if not ((points > 0) & (points < 1)).all():
        return None
    xyz = np.stack([points[:, 0], points[:, 1], 1 - points.sum(1)], 1) / points[:, 1:]
    white, colours = xyz[0], xyz[1:].T
    try:
        colours = colours * np.linalg.solve(colours, white)
    except np.linalg.LinAlgError:
        return None
    # Bradford's adaptation to the white of profiles, D50.
    cone = np.array(
        [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
    )
    d50 = np.array([0.9642, 1.0, 0.8249])
    adapted = np.linalg.inv(cone) @ np.diag((cone @ d50) / (cone @ white)) @ cone @ colours
    if not np.isfinite(adapted).all() or np.abs(adapted).max() > 30:
        return None
    if exponent is None:
        values = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
        curve = b"para\0\0\0\0\0\3\0\0" + b"".join(map(_fixed, values))
    else:
        curve = b"para\0\0\0\0\0\0\0\0" + _fixed(exponent)
    tags = [(b"wtpt", _xyz(d50))]
    if is_grey:
        tags.append((b"kTRC", curve))
    else:
        tags += [
            (name, _xyz(adapted[:, at])) for at, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))
        ]
        tags += [(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")]
    place, table, body = 132 + 12 * len(tags), b"", b""
    for name, content in tags:
        table += name + struct.pack(">II", place + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    space = b"GRAY" if is_grey else b"RGB "
    head = struct.pack(">I4sI4s4s4s", place + len(body), b"", 0x04200000, b"mntr", space, b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + b"".join(map(_fixed, d50))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(_fixed(float(value)) for value in values)
