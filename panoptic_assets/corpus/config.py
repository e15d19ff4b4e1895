"""What can be asked of reading the images' folder.

Belongs here: each parameter's default, limits and meaning. Does not belong here: reading.
"""

from pydantic import Field

from panoptic_assets.spec.fields import Parameters


class ImagesConfig(Parameters):
    """Configuration of reading the images' folder."""

    accept_missing: bool = Field(
        default=False,
        description="Go on when the whole corpus, or a whole top folder, is gone: those files are "
        "taken for missing. Otherwise nothing is changed, since a disk may only be away.",
    )
