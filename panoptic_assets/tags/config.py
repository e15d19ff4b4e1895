"""What can be asked of tags: saving clusters, editing, recommending; and of remarks.

Belongs here: each parameter's default, limits and meaning. Does not belong here: what edits do.
"""

from typing import Any

from pydantic import Field

from panoptic_assets.spec.fields import ADVANCED, FewLines, Name, OneLine, Parameters
from panoptic_assets.tags.carry_over import MIN_OVERLAP


class SaveConfig(Parameters):
    """Configuration of saving a run's clusters as tags."""

    property: Name = Field(
        default="Clustering",
        max_length=200,
        description="Name of the property that gets the tags: one line, any script.",
    )
    depth: int | None = Field(
        default=None,
        ge=1,
        description="Levels of the tree to save; empty: all. An image below them gets the tag of "
        "the last cluster above it that is saved.",
    )
    replace: bool = Field(
        default=False,
        description="Allow to replace the property's tags. The tag log keeps the old ones.",
        json_schema_extra=ADVANCED,
    )
    min_overlap: float = Field(
        default=MIN_OVERLAP,
        ge=0,
        le=1,
        description="When a run that was computed again is saved again: the least overlap (Jaccard "
        "index of the images that both have) for a tag to follow its cluster unasked.",
        json_schema_extra=ADVANCED,
    )
    matches: dict[str, str] = Field(
        default_factory=dict,
        description="Decisions where clusters overlap less: the path of a tag, and the cluster "
        "that it belongs to now, such as `{'Vases grecs': '3', '4 > 0': '5/1'}`; '' for none.",
        json_schema_extra=ADVANCED,
    )
    use_labels: bool = Field(
        default=True,
        description="Call tags by the labels of `cluster_labels`, where there are some; tags that "
        "were saved before keep their names.",
    )
    author: OneLine = Field(default="", description="Who saves; empty: the user of the system.")
    reason: OneLine = Field(default="", description="Why, for the tag log.")


class EditsConfig(Parameters):
    """Configuration of the tags: what to change before the log is replayed."""

    edits: list[dict[str, Any]] = Field(
        default_factory=list,
        description="Edits, such as `rename: {tag: '3', to: 'Vases grecs'}`, done in this order: "
        "all of them, or none if one cannot be done. `panoptic-assets tag edits` lists them.",
    )
    author: OneLine = Field(default="", description="Who edits; empty: the user of the system.")
    reason: OneLine = Field(default="", description="Why, for the tag log.")


class RecommendationsConfig(Parameters):
    """Configuration of the recommendations: which tags, and what may be proposed for them."""

    property: OneLine = Field(
        default="", max_length=200, description="The property; empty: all that have tags."
    )
    vector_type: str = Field(
        default="",
        description="Vectors that are compared; empty: the project's vector type.",
        json_schema_extra=ADVANCED,
    )
    number: int = Field(default=20, ge=1, le=10_000, description="Proposals for each tag, at most.")
    include_remainder: bool = Field(
        default=False,
        description="Treat the tag of a remainder as any other. By default nothing is proposed for "
        "it, nor for the tags below it that nobody named, and its images are proposed for others.",
        json_schema_extra=ADVANCED,
    )
    include_tagged: bool = Field(
        default=False,
        description="Propose images that carry another tag of the property, too; not only those "
        "that carry none.",
        json_schema_extra=ADVANCED,
    )


class RemarkConfig(Parameters):
    """What the job ``remark`` writes."""

    subject: OneLine = Field(
        default="",
        description="What it is on: an image by id or path, a run (`greek`), a cluster "
        "(`greek/3`), or a tag (`tag:Clustering:animals > birds`).",
    )
    text: FewLines = Field(
        default="",
        max_length=2000,
        description="One line or a few; empty: the remark that is there is taken away.",
    )
    author: OneLine = Field(default="", description="Who writes; empty: the user of the system.")
    reason: OneLine = Field(default="", description="Why.")
