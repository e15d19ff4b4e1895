"""What can be asked of reading the images' folder, and of reading the inventory.

Belongs here: each parameter's default, limits and meaning. Does not belong here: reading.
"""

from pydantic import Field

from panoptic_assets.spec.fields import Parameters


class ImagesConfig(Parameters):
    """Configuration of reading the images' folder."""

    accept_missing: bool = Field(
        default=False,
        description="Go on when more is gone at once than `max_missing` of .panoptic/project.yaml "
        "allows: those files are taken for missing. Otherwise all stays as it is, since a disk may "
        "only be away.",
    )
    accepted: str = Field(
        default="",
        description="As `accept_missing`, of just one question: the `answer` that it came with. "
        "Where by now something else is gone, that is asked.",
    )
    reread: list[str] = Field(
        default=[],
        description="Read the files that match one of these patterns again, as in a .gitignore "
        "file, though nothing about them has changed: `*` reads all. A file may have been replaced "
        "where the disk does not tell, and older pictures are decoded as they would be now.",
    )
    reread_share: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Read this share of the files again, those first that were not read for the "
        "longest time.",
    )


class InventoryConfig(Parameters):
    """Configuration of reading the inventory."""

    accept_missing: bool = Field(
        default=False,
        description="Take values away though more are gone at once than `max_missing` of "
        ".panoptic/project.yaml allows. Otherwise they stay as they are, since the file may be cut "
        "off, or may just be saved.",
    )
    accepted: str = Field(
        default="",
        description="As `accept_missing`, of just one question: the `answer` that it came with. "
        "Where by now something else is gone, that is asked.",
    )
