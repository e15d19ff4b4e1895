"""The folders of images that tests read, and never write."""

from pathlib import Path

import panoptic_assets

SAMPLE = Path(panoptic_assets.__file__).parent / "sample"
HOSTILE = Path(__file__).parent / "hostile"
