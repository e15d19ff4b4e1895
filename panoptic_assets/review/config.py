"""What can be asked of reports and comparisons.

Belongs here: each parameter's default, limits and meaning. Does not belong here: what pages show.
"""

from typing import Any, Literal

from pydantic import Field

from panoptic_assets.spec.fields import ADVANCED, OneLine, Parameters

SpokenLanguage = Literal["en", "fr"]
"""Codes of :data:`panoptic_assets.spec.languages.LANGUAGES`."""

_LANGUAGE: Any = Field(
    default="en",
    description="The language of the pages that are written; those of `panoptic-assets ui` follow "
    "the browser.",
    json_schema_extra=ADVANCED,
)


class ReportConfig(Parameters):
    """Configuration of the report of a run."""

    projection: str = Field(
        default="",
        description="The projection of its map, such as mini/umap; empty: the one that was "
        "clustered, else the best one there is, else principal components.",
    )
    language: SpokenLanguage = _LANGUAGE


class ComparisonConfig(Parameters):
    """Configuration of a comparison: what is compared, and how."""

    runs: list[str] = Field(
        default_factory=list,
        description="What to compare, all with all: run keys (`greek`), divided nodes (`greek/3`), "
        "`property:NAME`, `folders`. Empty: the newest runs, 12 at most.",
    )
    against: OneLine = Field(
        default="",
        description="What is taken for the truth, such as `folders` or `property:NAME`: compared "
        "with each of the others, and the order of the leaderboard. Empty: nothing.",
    )
    depth: int = Field(
        default=1,
        ge=1,
        le=60,
        description="Levels of the trees of runs and nodes: 1 for their own clusters, 2 with what "
        "was divided again, and so on.",
    )
    remainder: Literal["counted", "left_out"] = Field(
        default="counted",
        description="In the tables of all pairs and the leaderboard: `counted` as one more "
        "cluster, or its images `left_out`. The page of a pair shows both.",
    )
    language: SpokenLanguage = _LANGUAGE
