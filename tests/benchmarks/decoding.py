"""What decoding costs: images per CPU second, by kind of file, of algorithm 1 beside 2.

`python -m tests.benchmarks.decoding` decodes each kind in turn, algorithm 1 and 2 alternately in
one process, as a refresh does (to 320 pixels, where a format allows it) and whole.

Belongs here: the cost of formats, profiles and depth. Does not belong here: reading files
(``refresh``) and models (``embeddings``).

One core of an AMD EPYC, pictures of 1600 x 1200, Pillow 13.0, imagecodecs 2026.3, algorithm 1 |
algorithm 2, in images per CPU second:

    kind                           to 320          whole
    JPEG                          240 | 237      163 | 164
    JPEG, sRGB                    241 | 239      165 | 164
    JPEG, Adobe RGB               233 | 94       175 | 32
    JPEG, CMYK                     85 | 85        54 | 54
    JPEG without its end           15 | 15        14 | 14
    PNG                            31 | 31        31 | 31
    PNG, Adobe RGB                 31 | 18        31 | 17
    PNG, 16 bits                   51 | 46        51 | 46
    PNG, 12 bits in 16             49 | 16        45 | 16
    TIFF, LZW                      62 | 62        62 | 62
    TIFF, 16 bits                 326 | 56       320 | 56
    TIFF, 12 bits in 16, grey     274 | 173      273 | 170
    TIFF, floats                    – | 18         – | 18
    JPEG 2000                      21 | 21        14 | 14
    JPEG 2000, 16 bits             12 | 12        12 | 12
    JPEG XL                        32 | 32        32 | 32

A profile costs 15 ms for each megapixel, once it is known not to be sRGB; what has none, or sRGB,
costs nothing. (Of 16 bits in colour the first algorithm took the high byte; what it could not read,
floats in colour, JPEG 2000 and JPEG XL, it reads as the second does.) A JPEG without its end is
decoded four times, to know that its pixels are all there.
"""

import argparse
import time
from collections.abc import Callable

import imagecodecs
import numpy as np
from PIL import Image, ImageCms, ImageFilter
from rich.console import Console
from rich.table import Table

from resources.colour import Colour
from resources.decoding import decode
from resources.errors import UnreadableImage
from tests.unit.resources.fuzz_decoding import encoded, png_16_bit, tiff

SIZE = (1600, 1200)
SIDE = 320
"""As ``panoptic_assets.corpus.ingestion`` asks for."""
ADOBE = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)


def kinds() -> dict[str, bytes]:
    """A file of each kind, of one picture."""
    noise = Image.effect_noise(SIZE, 60).convert("RGB").filter(ImageFilter.GaussianBlur(2))
    deep = np.asarray(noise).astype(np.uint16)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    adobe = Colour(gamma=1 / 2.2, chromaticities=ADOBE).profile
    return {
        "JPEG": encoded(noise, "JPEG", quality=88),
        "JPEG, sRGB": encoded(noise, "JPEG", quality=88, icc_profile=srgb),
        "JPEG, Adobe RGB": encoded(noise, "JPEG", quality=88, icc_profile=adobe),
        "JPEG, CMYK": encoded(noise.convert("CMYK"), "JPEG", quality=88),
        "JPEG without its end": encoded(noise, "JPEG", quality=88, progressive=True)[:-2],
        "PNG": encoded(noise, "PNG"),
        "PNG, Adobe RGB": encoded(noise, "PNG", icc_profile=adobe),
        "PNG, 16 bits": png_16_bit(deep * 257),
        "PNG, 12 bits in 16": png_16_bit(deep * 16),
        "TIFF, LZW": encoded(noise, "TIFF", compression="tiff_lzw"),
        "TIFF, 16 bits": tiff(deep * 257),
        "TIFF, 12 bits in 16, grey": tiff(deep[..., 0] * 16),
        "TIFF, floats": tiff((deep / 255).astype("f4")),
        "JPEG 2000": encoded(noise, "JPEG2000", quality_layers=[20], irreversible=True),
        "JPEG 2000, 16 bits": imagecodecs.jpeg2k_encode(deep * 257, level=60, bitspersample=16),
        "JPEG XL": imagecodecs.jpegxl_encode(np.asarray(noise), level=85),
    }


def speed(work: list[Callable[[], object]], rounds: int) -> list[str]:
    """Of each kind of work, how often it is done in a CPU second; none where it is refused."""
    spent = [0.0] * len(work)
    for _ in range(rounds):
        for place, one in enumerate(work):
            started = time.process_time()
            try:
                one()
            except UnreadableImage:
                spent[place] = float("nan")
            spent[place] += time.process_time() - started
    return ["–" if taken != taken else f"{rounds / taken:.1f}" for taken in spent]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    table = Table("kind", "MB", "1: to 320", "2: to 320", "1: whole", "2: whole")
    for name, data in kinds().items():
        work = [
            lambda data=data, side=side, number=number: decode(data, side=side, algorithm=number)
            for side in (SIDE, None)
            for number in (1, 2)
        ]
        speed(work, 1)
        table.add_row(name, f"{len(data) / 1e6:.1f}", *speed(work, rounds))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
