"""Contact sheets: many thumbnails as one small picture.

Belongs here: laying out pictures. Does not belong here: choosing them.

Dagster keeps metadata in its event log, where base64 costs about four times its size, so a sheet
has a budget of bytes and gets coarser until it fits.
"""

import base64
import io
from collections.abc import Sequence

from PIL import Image, ImageOps

_MAX_BYTES = 22_000
"""Ten clusters of six images come out at 56 pixels; in base64 30 kB, of 50 kB for all metadata."""
_TILE_PIXELS = (72, 56, 48, 40, 32, 24, 16)
_QUALITY = 30
_GAP = 2


def contact_sheet(rows: Sequence[Sequence[bytes]], max_bytes: int = _MAX_BYTES) -> str:
    """Thumbnails in rows, as a Markdown image whose WebP data is inside the text.

    Args:
        rows: WebP thumbnails, one sequence for each row of the sheet.
        max_bytes: Budget of the picture, in bytes before base64.

    Returns:
        Markdown; ``(none)`` without thumbnails, ``(too many to show)`` when even tiles of 16 pixels
        are over the budget.
    """
    pictures = [[_opened(data) for data in row] for row in rows if row]
    if not pictures:
        return "(none)"
    for side in _TILE_PIXELS:
        data = _encoded(pictures, side)
        if len(data) <= max_bytes:
            return f"![contact sheet](data:image/webp;base64,{base64.b64encode(data).decode()})"
    return "(too many to show)"


def _opened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as picture:
        return picture.convert("RGB")


def _encoded(pictures: Sequence[Sequence[Image.Image]], side: int) -> bytes:
    step = side + _GAP
    sheet = Image.new("RGB", (step * max(map(len, pictures)), step * len(pictures)), "white")
    for y, row in enumerate(pictures):
        for x, picture in enumerate(row):
            sheet.paste(ImageOps.pad(picture, (side, side), color="white"), (x * step, y * step))
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=_QUALITY, method=6)
    return buffer.getvalue()
