"""What can be asked of keeping a project up to date: backfills, retention, undoing, removing.

Belongs here: each parameter's default, limits and meaning. Does not belong here: what a policy is
(``clustering.policies``), and what is done.
"""

from typing import Literal

from pydantic import Field

from panoptic_assets.clustering.policies import RefreshConfig
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


class UndoConfig(Parameters):
    """What the job ``undo_acts`` does: undo an act, or do it again."""

    act: OneLine = Field(
        default="",
        description="The act, such as `greek@2` or `mark-5`; `panoptic-assets history` lists them. "
        "Empty: the last one that can be undone, or the one that was undone last.",
    )
    redo: bool = Field(default=False, description="Do an act again that was undone.")
    author: OneLine = Field(default="", description="Who undoes; empty: the user of the system.")
    reason: OneLine = Field(default="", description="Why.")


class RemovalConfig(Parameters):
    """What the job ``remove_clusterings`` removes."""

    key: OneLine = Field(
        default="",
        description="A run, or a divided node (`greek/3`), each with all that is divided below it.",
    )
    tag_events: list[int] = Field(
        default_factory=list,
        description="Events of the tag log that removed the saved tags before; they are undone "
        "with the removal.",
    )
    author: OneLine = Field(default="", description="Who removes; empty: the user of the system.")
    reason: OneLine = Field(default="", description="Why.")


class PolicyConfig(RefreshConfig):
    """What the job ``set_policy`` writes into a run's file."""

    key: OneLine = Field(default="", description="The run.")
    author: OneLine = Field(default="", description="Who chooses; empty: the user of the system.")
    reason: OneLine = Field(default="", description="Why.")


class ReconcileConfig(Parameters):
    """What the job ``reconcile`` does where the store and Dagster know of different things."""

    follow: Literal["store", "dagster"] = Field(
        default="store",
        description="`store`: Dagster is told of what the store has, and forgets what it has not. "
        "`dagster`: clusterings and labels that somebody deleted in Dagster are removed from the "
        "store, which can be undone.",
    )
    author: OneLine = Field(default="", description="Who follows; empty: the user of the system.")
