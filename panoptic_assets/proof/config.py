"""What can be asked of verification.

Belongs here: each parameter's default, limits and meaning. Does not belong here: verifying.
"""

from pydantic import Field

from panoptic_assets.spec.fields import Parameters


class VerifyConfig(Parameters):
    """Configuration of the job ``verify_runs``."""

    keys: list[str] = Field(
        default=[],
        description="Runs, with all that is divided below them, and nodes; empty: every one.",
    )
    pixels: bool = Field(default=True, description="Whether the images' files are read, too.")
