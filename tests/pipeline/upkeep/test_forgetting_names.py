"""Where bytes name an image that is to be forgotten, and where another page of its file."""

import io

import pytest

from panoptic_assets.upkeep import forgetting
from panoptic_assets.upkeep.redaction import Redaction

FIRST = Redaction(["ab" * 32], ["in/livret.tif"], "")
SECOND = Redaction(["ab" * 32], ["in/livret.tif#page=2"], "")


@pytest.mark.parametrize(
    ("redaction", "text", "is_named"),
    [
        (FIRST, "see in/livret.tif", True),
        (FIRST, "see in/livret.tif#page", True),
        (FIRST, "see in/livret.tif#page=2", False),
        (FIRST, "in/livret.tif#page=2 is not in/livret.tif", True),
        (FIRST, r"in/livret.tif\#page=2", False),
        (FIRST, "in/livret.tif%23page%3D2", False),
        (SECOND, "see in/livret.tif", False),
        (SECOND, "see in/livret.tif#page=2", True),
        (SECOND, "see in/livret.tif#page=23", False),
        (SECOND, "in/livret.tif%23page%3D2", True),
    ],
)
@pytest.mark.parametrize("before", [0, 1])
def test_a_path_is_not_named_by_that_of_another_page(
    redaction, text, is_named, before, monkeypatch
):
    """Wherever the blocks end in which a file is read."""
    assert forgetting._names_one(redaction)(text) is is_named
    data, needles = b" " * before + text.encode(), forgetting._needles(redaction)
    for block in range(1, len(data) + 1):
        monkeypatch.setattr(forgetting, "_BLOCK", block)
        assert forgetting._stream_holds(io.BytesIO(data), needles) is is_named
