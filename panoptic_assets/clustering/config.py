"""What can be asked of a clustering, of a corpus or of one cluster.

Belongs here: each parameter's default, limits and meaning, and how methods are found. Does not
belong here: the parameters of methods (``methods``) and scopes (``scopes``), and how a request is
resolved (``spec.resolution``).

Another package adds a method by an entry point of the group ``panoptic_assets.methods`` that names
a subclass of :class:`~panoptic_assets.clustering.methods.MethodConfig`; the method is then in the
configuration of the assets, on the command line and in ``panoptic-assets methods``.
:mod:`panoptic_assets.clustering.method_checks` has the checks that its author runs.
"""

from typing import TYPE_CHECKING, Union

from pydantic import Field

from panoptic_assets.clustering.methods import OURS, KMeans, MethodConfig
from panoptic_assets.clustering.scopes import (
    FilesLike,
    FoundByText,
    InNode,
    InRegion,
    Listed,
    SimilarTo,
    TakenBetween,
    WholeCorpus,
    WithProperty,
    WithTag,
)
from panoptic_assets.spec.extensions import Kind, name_of
from panoptic_assets.spec.fields import ADVANCED, OneLine, Parameters
from panoptic_assets.spec.resolution import Document

ENTRY_POINTS = "panoptic_assets.methods"
"""Group of the entry points that name Config classes of other packages."""

KIND = Kind(
    called="clustering method",
    base=MethodConfig,
    group=ENTRY_POINTS,
    needs=frozenset({"texts", "tags", "runs"}),
    reading={
        "property": (str, frozenset({"tags"})),
        "tags": (list[str], frozenset({"tags"})),
        "runs": (list[str], frozenset({"runs"})),
    },
    reserved=frozenset(
        # Fields of the configuration.
        {"method", "features", "scope", "seed", "assign_remainder", "stability", "replace"}
        # Arguments and options of `cluster` and `divide`.
        | {"folder", "help", "key", "node", "files", "scope_property", "value", "minimum"}
        | {"maximum", "since", "until", "certainty", "tag", "ids", "text", "similar_to"}
        | {"scope_min_similarity", "scope_nb_images", "without"}
    ),
)

METHODS = KIND.with_others(OURS)
"""Every method that can be asked for."""


def algorithm_of(method: Document) -> int | None:
    """Today's number of a method's algorithm; None if there is no such method.

    Args:
        method: Its name, with its parameters: as records have it, all of them, even if they are
            no longer valid.
    """
    [(name, given)] = method.items()
    known = next((kind for kind in METHODS if name_of(kind) == name), None)
    return None if known is None else known.model_construct(**given).own_algorithm


if TYPE_CHECKING:
    Method = MethodConfig
else:
    # Known when the program runs only: other packages add methods.
    Method = Union[METHODS]  # noqa: UP007


Scope = (
    WholeCorpus
    | FilesLike
    | WithProperty
    | WithTag
    | TakenBetween
    | Listed
    | FoundByText
    | SimilarTo
    | InNode
    | InRegion
)


class SharedClusteringConfig(Parameters):
    """What the first clustering of a corpus and the clustering of a cluster have in common."""

    method: Method = Field(
        default=KMeans(),
        discriminator="name",
        examples=["method: {kmeans: {nb_clusters: 10}}"],
        description="The clustering method.",
    )
    features: str = Field(
        default="",
        description="What to cluster: a vector type, or a projection as <vector type>/<name>; "
        "empty: for a run the project's default vector type, for a node the features of its run.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**32,
        description="Seed of all that is random; always recorded.",
        json_schema_extra=ADVANCED,
    )
    assign_remainder: bool = Field(
        default=False,
        description="Tell for each image of the remainder which cluster is nearest to it, in a "
        "column of its own; the remainder stays what it is.",
        json_schema_extra=ADVANCED,
    )
    stability: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Number of times that 80 % of the images, drawn anew, are divided to see which "
        "clusters come again; 0: not measured.",
        json_schema_extra=ADVANCED,
    )
    replace: bool = Field(
        default=False,
        description="Allow other parameters than the key's record has. The old record and its "
        "clusters are kept in history.",
        json_schema_extra=ADVANCED,
    )


class ClusteringConfig(SharedClusteringConfig):
    """Configuration of one clustering run."""

    scope: Scope = Field(
        default=WholeCorpus(),
        discriminator="name",
        examples=["scope: {files: {pattern: 'animals/*'}}"],
        description="The images to look at.",
    )
    without: OneLine | None = Field(
        default=None,
        min_length=1,
        description="UTF-8 text file with images that are left out of the scope, listed as the "
        "scope `ids` has them; empty: none. Once recorded it stays, unless another one is given.",
        json_schema_extra=ADVANCED,
    )


class NestedClusteringConfig(SharedClusteringConfig):
    """Configuration of the clustering of one cluster; its scope is the cluster."""
