"""What can be asked of keeping a project up to date: backfills and retention.

Belongs here: each parameter's default, limits and meaning. Does not belong here: what a policy is
(``clustering.policies``), and what is done.
"""

from typing import Literal

from pydantic import Field

from panoptic_assets.spec.fields import OneLine, Parameters

DAYS = 30
"""For which Dagster runs and ticks are kept if nothing is said."""


class BackfillConfig(Parameters):
    """Configuration of a backfill: which runs, and what is done with them."""

    keys: list[OneLine] = Field(default_factory=list, description="The runs; empty: all of them.")
    policy: Literal["", "keep", "assign", "recluster", "replay"] = Field(
        default="",
        description="What is done with each, whatever its own policy is; empty: that. `replay` is "
        "`recluster` for all of a tree, its stale clusterings too, and whether or not anything is "
        "new.",
    )


class RetentionConfig(Parameters):
    """What the job ``retention`` removes."""

    days: int = Field(default=DAYS, ge=1, description="Runs and ticks that are older than this go.")
    dry_run: bool = Field(default=False, description="Only say what would be removed.")
