"""Contact sheets stay within their budget."""

import base64
import io
import re

import numpy as np
from PIL import Image

from panoptic_assets.reports.contact_sheet import contact_sheet


def thumbnails(n, side=160):
    noise = np.random.default_rng(n).integers(0, 255, (n, side, side, 3), dtype=np.uint8)
    result = []
    for pixels in noise:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "WEBP")
        result.append(buffer.getvalue())
    return result


def opened(markdown):
    data = re.fullmatch(r"!\[contact sheet\]\(data:image/webp;base64,(.+)\)", markdown)[1]
    return base64.b64decode(data)


def test_a_sheet_shows_its_rows():
    data = opened(contact_sheet([thumbnails(3), thumbnails(1)]))
    width, height = Image.open(io.BytesIO(data)).size
    assert width / height == 3 / 2


def test_a_sheet_gets_coarser_until_it_fits():
    rows = [thumbnails(6) for _ in range(5)]
    small, large = (opened(contact_sheet(rows, budget)) for budget in (6_000, 60_000))
    assert len(small) <= 6_000 < len(large) <= 60_000


def test_without_pictures_or_room_it_says_so():
    assert contact_sheet([]) == contact_sheet([[]]) == "(none)"
    assert contact_sheet([thumbnails(6)], 10) == "(too many to show)"
