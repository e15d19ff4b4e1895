"""The pictures of the manual show what there is today."""

import json
import re

from panoptic_assets.manual.contents import FOLDER
from tests.manual.pictures import NOTES, PICTURES, shown
from tests.test_architecture import ROOT


def test_no_picture_is_older_than_what_it_shows():
    """Commands, templates and the graph of the assets: `python -m tests.manual.pictures`."""
    assert json.loads(NOTES.read_text(encoding="utf-8")) == shown()


def test_every_picture_is_shown_somewhere():
    pages = [*FOLDER.rglob("*.md"), ROOT / "README.md"]
    named = {
        name
        for page in pages
        for name in re.findall(r"pictures/([\w-]+)\.webp", page.read_text(encoding="utf-8"))
    }
    assert named == {path.stem for path in PICTURES.glob("*.webp")} == shown().keys()
