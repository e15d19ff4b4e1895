"""The clustering methods: the base of all, also of other packages', and ours, one class each.

Belongs here: each parameter's default, limits and meaning. Does not belong here: what methods
compute (``clustering.algorithms``), and which can be asked for (``clustering.config``). Other
packages import their base from here while they are loaded, so that this loads none of them.

Long because each method is its parameters, with the meaning of each.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from panoptic_assets.clustering.algorithms.interface import (
    Data,
    Outcome,
    UnknownAlgorithmError,
    check_data,
    parameters,
)
from panoptic_assets.corpus.values import tag_path
from panoptic_assets.spec.computation import REMAINDER, NotComputableError
from panoptic_assets.spec.extensions import name_of
from panoptic_assets.spec.fields import ADVANCED, OneLine, Parameters
from panoptic_assets.spec.languages import N_
from panoptic_assets.spec.text import brief
from resources.errors import InputError, noted


def _one_or_more(number: int) -> int:
    if number < 1 and number != -1:
        raise ValueError(N_("ask for 1 or more, or for -1, an automatic number"))
    return number


_NbClusters = Annotated[int, AfterValidator(_one_or_more)]


class MethodConfig(Parameters):
    """One clustering method: its parameters are the fields, of which ``name`` is its name.

    A field may be a ``Literal`` of texts, an int, float, bool, text or a list of one of these four;
    all but a ``Literal`` may also be None. Its ``description`` is what people read.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    """What must be read for :class:`~panoptic_assets.clustering.algorithms.interface.Data` beside
    the points: ``texts`` (the model's text tower), ``tags`` (those of the field ``property``, or in
    ``tags``), ``runs`` (the labels of the runs in the field ``runs``)."""
    algorithm: ClassVar[int] = 1
    """The number of the algorithm that :meth:`compute` is; each record keeps it, as
    :attr:`own_algorithm` gives it. It is raised by one whenever the same input may give another
    answer: other clusters, probabilities or notes, or, by what is made of them for every method,
    other numbers, scores or figures."""
    older: ClassVar[Mapping[int, Callable[[Any, Data, int], Outcome]]] = {}
    """What ``compute`` was under older numbers, as far as it is kept: a function of the
    configuration, data and seed, by which older answers are verified."""

    @property
    def own_algorithm(self) -> int:
        """The number with these parameters: ``algorithm``, or an older one if what was changed
        since does not concern them, so that answers that stay are not called out of date."""
        return self.algorithm

    @property
    def leaves_remainder(self) -> bool:
        """Whether it may find that an image is in no cluster, even if it never did so far."""
        return getattr(self, "nb_clusters", None) == -1

    def compute(self, data: Data, seed: int) -> Outcome:
        """Divide images; the same input must give the same labels in any process.

        There is at least one image, no value is infinite or NaN, and no unit vector is zero: what
        cannot be divided was refused before. Images may be identical, and fewer than are asked for.

        Raises:
            NotComputableError: The parameters do not fit the data; the message says why.
        """
        raise NotImplementedError

    def computing(self, algorithm: int) -> Callable[[Data, int], Outcome]:
        """What divides images by the algorithm of some number, as :meth:`compute` does by today's.

        It refuses what no method can divide (NotComputableError).

        Raises:
            UnknownAlgorithmError: There is none of that number.
        """
        if algorithm == self.algorithm:
            return functools.partial(_checked, self.compute)
        if algorithm in self.older:
            return functools.partial(_checked, functools.partial(self.older[algorithm], self))
        if algorithm < self.algorithm:
            raise UnknownAlgorithmError(
                "made by algorithm {number}, which is no longer here",
                id="algorithm-gone",
                number=algorithm,
            )
        raise UnknownAlgorithmError(
            "made by algorithm {number}, which this version does not know",
            id="algorithm-not-known",
            number=algorithm,
        )


def _first_automatic(method: MethodConfig, data: Data, seed: int) -> Outcome:
    """What k-means was before its automatic number saw copies and near copies."""
    from panoptic_assets.clustering.algorithms.automatic import first_automatic

    if getattr(method, "nb_clusters", None) == -1:
        return first_automatic(data, seed)
    return method.compute(data, seed)


def _checked(compute: Callable[[Data, int], Outcome], data: Data, seed: int) -> Outcome:
    check_data(data)
    return compute(data, seed)


class KMeans(MethodConfig):
    """k-means: as many clusters as are asked for; for a first, coarse look."""

    algorithm: ClassVar[int] = 2
    older: ClassVar[Mapping[int, Callable[[Any, Data, int], Outcome]]] = {1: _first_automatic}
    name: Literal["kmeans"] = "kmeans"
    nb_clusters: _NbClusters = Field(
        default=10, description="Number of clusters, 1 or more; -1: an automatic number."
    )
    n_init: int = Field(
        default=10,
        ge=1,
        le=1000,
        description="Independent starts; the tightest result is kept.",
        json_schema_extra=ADVANCED,
    )
    init: Literal["k-means++", "random"] = Field(
        default="k-means++",
        description="How the first centres are chosen.",
        json_schema_extra=ADVANCED,
    )
    max_iter: int = Field(
        default=300,
        ge=1,
        le=1_000_000,
        description="Most iterations of one start.",
        json_schema_extra=ADVANCED,
    )
    tol: float = Field(
        default=1e-4,
        ge=0,
        # JSON, and so a record, has no infinity.
        allow_inf_nan=False,
        description="Stop when the centres move less, relative to the variance.",
        json_schema_extra=ADVANCED,
    )

    @property
    def own_algorithm(self) -> int:
        """With a number of clusters, nothing was changed since the first."""
        return self.algorithm if self.nb_clusters == -1 else 1

    def compute(self, data: Data, seed: int) -> Outcome:
        """See :func:`panoptic_assets.clustering.algorithms.libraries.kmeans`."""
        from panoptic_assets.clustering.algorithms.libraries import kmeans

        return kmeans(data, seed, **parameters(self))


class MiniBatchKMeans(MethodConfig):
    """k-means on small random batches: faster and looser, for many thousands of images."""

    algorithm: ClassVar[int] = 2
    older: ClassVar[Mapping[int, Callable[[Any, Data, int], Outcome]]] = {1: _first_automatic}
    name: Literal["minibatch_kmeans"] = "minibatch_kmeans"
    nb_clusters: _NbClusters = Field(
        default=10, description="Number of clusters, 1 or more; -1: an automatic number."
    )
    batch_size: int = Field(
        default=1024,
        ge=1,
        le=1_000_000,
        description="Images in one batch.",
        json_schema_extra=ADVANCED,
    )
    n_init: int = Field(
        default=3, ge=1, le=1000, description="Starts that are tried.", json_schema_extra=ADVANCED
    )
    max_iter: int = Field(
        default=100,
        ge=1,
        le=1_000_000,
        description="Most passes over the images.",
        json_schema_extra=ADVANCED,
    )

    @property
    def own_algorithm(self) -> int:
        """With a number of clusters, nothing was changed since the first."""
        return self.algorithm if self.nb_clusters == -1 else 1

    def compute(self, data: Data, seed: int) -> Outcome:
        """See :func:`panoptic_assets.clustering.algorithms.libraries.minibatch_kmeans`."""
        from panoptic_assets.clustering.algorithms.libraries import minibatch_kmeans

        return minibatch_kmeans(data, seed, **parameters(self))


class Birch(MethodConfig):
    """BIRCH: gathers images that are close into small groups, then joins these into clusters."""

    name: Literal["birch"] = "birch"
    nb_clusters: _NbClusters | None = Field(
        default=10,
        description="Number of clusters, 1 or more; -1 or none: as many as the threshold gives.",
    )
    threshold: float = Field(
        default=0.5,
        gt=0,
        le=1e6,
        description="Largest radius of a group of the tree; unit vectors lie at most 2 apart.",
    )
    branching_factor: int = Field(
        default=50,
        ge=2,
        le=10_000,
        description="Most groups below one node of the tree.",
        json_schema_extra=ADVANCED,
    )

    def compute(self, data: Data, seed: int) -> Outcome:
        """See :func:`panoptic_assets.clustering.algorithms.libraries.birch`."""
        from panoptic_assets.clustering.algorithms.libraries import birch

        return birch(data, seed, **parameters(self))


class Agglomerative(MethodConfig):
    """Joins the two closest clusters again and again, from single images on; for a few thousand."""

    name: Literal["agglomerative"] = "agglomerative"
    nb_clusters: _NbClusters | None = Field(
        default=None, description="Number of clusters, 1 or more; 10 if no distance is given."
    )
    distance_threshold: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Join no clusters that are farther apart; instead of nb_clusters.",
    )
    linkage: Literal["ward", "complete", "average", "single"] = Field(
        default="ward",
        description="What is the distance of two clusters: growth of the variance, or the "
        "farthest, the mean or the nearest pair.",
        json_schema_extra=ADVANCED,
    )
    metric: Literal["euclidean", "l1", "l2", "manhattan", "cosine"] = Field(
        default="euclidean",
        description="Distance of two images; ward takes euclidean only.",
        json_schema_extra=ADVANCED,
    )
    nb_neighbors: int | None = Field(
        default=None,
        ge=1,
        le=500,
        description="Join only clusters with images that are among each other's so many nearest; "
        "less memory for many images.",
        json_schema_extra=ADVANCED,
    )

    @model_validator(mode="after")
    def _fits(self) -> "Agglomerative":
        if self.nb_clusters == -1:
            raise ValueError(
                N_(
                    "there is no automatic number here: give a distance_threshold instead of "
                    "nb_clusters -1"
                )
            )
        if self.nb_clusters is not None and self.distance_threshold is not None:
            raise ValueError(N_("give nb_clusters or distance_threshold, not both"))
        if self.linkage == "ward" and self.metric not in ("euclidean", "l2"):
            raise ValueError(
                noted(
                    "ward measures the variance, and so takes no metric {metric}: use euclidean, "
                    "or linkage average",
                    metric=self.metric,
                )
            )
        return self

    def compute(self, data: Data, seed: int) -> Outcome:
        """See :func:`panoptic_assets.clustering.algorithms.libraries.agglomerative`."""
        from panoptic_assets.clustering.algorithms.libraries import agglomerative

        return agglomerative(data, seed, **parameters(self))


def _first_hdbscan(method: MethodConfig, data: Data, seed: int) -> Outcome:
    from panoptic_assets.clustering.algorithms.libraries import first_hdbscan

    return first_hdbscan(data, seed, **parameters(method))


class Hdbscan(MethodConfig):
    """HDBSCAN: finds by itself how many dense groups there are; what lies apart remains."""

    algorithm: ClassVar[int] = 2
    older: ClassVar[Mapping[int, Callable[[Any, Data, int], Outcome]]] = {1: _first_hdbscan}
    name: Literal["hdbscan"] = "hdbscan"
    min_cluster_size: int = Field(
        default=5, ge=2, le=1_000_000, description="Images that a cluster has at least."
    )
    max_cluster_size: int | None = Field(
        default=None,
        ge=2,
        description="Images that a cluster has at most, where it can be cut; with eom only.",
        json_schema_extra=ADVANCED,
    )
    min_samples: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Neighbours that make a place dense: more for a larger remainder; empty: "
        "min_cluster_size.",
        json_schema_extra=ADVANCED,
    )
    cluster_selection_epsilon: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Clusters that are closer than this are not split.",
        json_schema_extra=ADVANCED,
    )
    cluster_selection_method: Literal["eom", "leaf"] = Field(
        default="eom",
        description="Most stable clusters (eom), or the smallest (leaf).",
        json_schema_extra=ADVANCED,
    )
    alpha: float = Field(
        default=1.0,
        ge=0.001,
        le=100,
        description="Scale of distances in the single linkage.",
        json_schema_extra=ADVANCED,
    )
    allow_single_cluster: bool = Field(
        default=False,
        description="Allow the answer that all is one cluster.",
        json_schema_extra=ADVANCED,
    )
    metric: Literal["euclidean", "cosine", "manhattan"] = Field(
        default="euclidean", description="Distance of two images.", json_schema_extra=ADVANCED
    )

    @model_validator(mode="after")
    def _fits(self) -> "Hdbscan":
        if self.max_cluster_size is not None:
            if self.cluster_selection_method == "leaf":
                raise ValueError(
                    N_(
                        "max_cluster_size has no effect with cluster_selection_method leaf: use "
                        "eom, or leave it out"
                    )
                )
            if self.max_cluster_size < self.min_cluster_size:
                raise ValueError(
                    noted(
                        "max_cluster_size {most:d} is below min_cluster_size {least:d}",
                        most=self.max_cluster_size,
                        least=self.min_cluster_size,
                    )
                )
        return self

    @property
    def leaves_remainder(self) -> bool:
        """Always."""
        return True

    def compute(self, data: Data, seed: int) -> Outcome:
        """See :func:`panoptic_assets.clustering.algorithms.libraries.hdbscan`."""
        from panoptic_assets.clustering.algorithms.libraries import hdbscan

        return hdbscan(data, seed, **parameters(self))


class FindDuplicates(MethodConfig):
    """Groups copies and near copies of an image; all others are the remainder."""

    name: Literal["find_duplicates"] = "find_duplicates"
    min_similarity: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Least cosine of two images; empty: what the model's file says, else 0.95.",
    )
    guarantee: Literal["pairwise", "connected"] = Field(
        default="pairwise",
        description="Every two images of a group reach min_similarity (pairwise), or there is a "
        "chain of such pairs between them (connected).",
        json_schema_extra=ADVANCED,
    )

    @property
    def leaves_remainder(self) -> bool:
        """Always."""
        return True

    def compute(self, data: Data, seed: int) -> Outcome:
        """See :func:`panoptic_assets.clustering.algorithms.duplicates.find_duplicates`."""
        from panoptic_assets.clustering.algorithms.duplicates import find_duplicates

        return find_duplicates(data, seed, **parameters(self))


class ClusterByTags(MethodConfig):
    """Puts each image to the tag whose words fit it best."""

    name: Literal["cluster_by_tags"] = "cluster_by_tags"
    needs: ClassVar[frozenset[str]] = frozenset({"tags", "texts"})
    property: OneLine = Field(default="", description="The property whose tags are taken.")
    tags: list[Annotated[OneLine, AfterValidator(tag_path)]] = Field(
        default_factory=list,
        description="The tags themselves, in place of a property; 'a > b' is the tag b below a.",
    )
    parent_tags: Literal["use", "combine", "ignore"] = Field(
        default="use",
        description="Tags with tags below them: used as any other; ignored; or ignored, but their "
        "names combined with those below.",
        json_schema_extra=ADVANCED,
    )
    min_similarity: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="Images that are less similar to every tag go to the remainder; empty: every "
        "image is attached.",
    )
    templates: list[OneLine] = Field(
        default_factory=lambda: ["{}"],
        description="Sentences in which {} is the tag, such as 'a photo of a {}'; the mean of "
        "their vectors is taken.",
        json_schema_extra=ADVANCED,
    )

    @model_validator(mode="after")
    def _fits(self) -> "ClusterByTags":
        if bool(self.property) == bool(self.tags):
            raise ValueError(N_("give a property or a list of tags, one of them"))
        if not self.templates or not all(template.count("{}") == 1 for template in self.templates):
            raise ValueError(N_("templates: each has {} once, where the tag is put"))
        return self

    def compute(self, data: Data, seed: int) -> Outcome:
        """See :func:`panoptic_assets.clustering.algorithms.attachment.attach_to_tags`."""
        from panoptic_assets.clustering.algorithms.attachment import attach_to_tags

        given = parameters(self)
        for taken in ("property", "tags"):  # they are in the data by now
            given.pop(taken)
        return attach_to_tags(data, seed, **given)


class Consensus(MethodConfig):
    """Combines runs: images are together that most of the runs put together."""

    name: Literal["consensus"] = "consensus"
    needs: ClassVar[frozenset[str]] = frozenset({"runs"})
    runs: list[str] = Field(
        default_factory=list, description="Keys of the runs, or of divided nodes; two or more."
    )
    nb_clusters: _NbClusters = Field(
        default=-1,
        description="Number of clusters, 1 or more; -1: groups of which every two images are "
        "together in min_agreement of the runs.",
    )
    min_agreement: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of the runs in which two images of a group are together; for -1.",
    )
    min_cluster_size: int = Field(
        default=2,
        ge=1,
        description="Smaller groups go to the remainder; for -1.",
        json_schema_extra=ADVANCED,
    )

    @model_validator(mode="after")
    def _fits(self) -> "Consensus":
        if len(set(self.runs)) < 2:
            raise ValueError(N_("runs: a consensus needs two or more different runs"))
        return self

    def compute(self, data: Data, seed: int) -> Outcome:
        """See :func:`panoptic_assets.clustering.algorithms.consensus.consensus`."""
        from panoptic_assets.clustering.algorithms.consensus import consensus

        given = parameters(self)
        given.pop("runs")  # they are in the data by now
        return consensus(data, seed, **given)


OURS: tuple[type[MethodConfig], ...] = (
    KMeans,
    MiniBatchKMeans,
    Birch,
    Agglomerative,
    Hdbscan,
    FindDuplicates,
    ClusterByTags,
    Consensus,
)


def guarded(
    method: MethodConfig, compute: Callable[[Data, int], Outcome]
) -> Callable[[Data, int], Outcome]:
    """What divides images by a method, where what another package's does wrong is said plainly.

    Args:
        method: The method; what one of ours does wrong is a fault of the program.
        compute: As :meth:`MethodConfig.computing` gives it.

    Returns:
        The same function, or one that raises NotComputableError where it fails, or answers with
        anything but an int64 label of -1 or more for each row.
    """
    if type(method) in OURS:
        return compute
    name = name_of(type(method))

    def ask(data: Data, seed: int) -> Outcome:
        try:
            outcome = compute(data, seed)
        except (InputError, NotComputableError):
            raise
        except Exception as error:  # no fault of this program; Dagster's log has the stack trace
            raise NotComputableError(
                "The method {method!r} failed ({kind}: {reason}). Nothing was changed; take "
                "another method, or tell its author: the stack trace is in the Dagster run's log.",
                id="method-failed",
                method=name,
                kind=type(error).__name__,
                reason=brief(str(error)),
            ) from error
        labels = getattr(outcome, "labels", None)
        if not (
            isinstance(labels, np.ndarray)
            and labels.dtype == np.int64
            and labels.shape == (len(data),)
            and (labels >= REMAINDER).all()
        ):
            raise NotComputableError(
                "The method {method!r} gave no int64 label of -1 or more for each of the "
                "{nb_rows:,} images. Nothing was changed; take another method, or tell its author.",
                id="method-answer-unusable",
                method=name,
                nb_rows=len(data),
            )
        return outcome

    return ask
