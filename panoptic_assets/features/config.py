"""What can be asked of vectors: embedding, neighbours, projections.

Belongs here: each parameter's default, limits and meaning. Does not belong here: what they compute.
"""

from typing import ClassVar, Literal

from pydantic import Field

from panoptic_assets.spec.fields import ADVANCED, Parameters


class EmbeddingsConfig(Parameters):
    """Configuration of embedding one vector type; the model is in ``configs/models``."""

    batch_size: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Images in one pass of the model; empty: as the model's file says.",
    )


class NeighborsConfig(Parameters):
    """Configuration of the nearest-neighbour graph of one vector type."""

    k: int = Field(
        default=50,
        ge=1,
        le=500,
        description="Neighbours of each image; left out: what the graph has, else 50. umap asks "
        "for n_neighbors - 1.",
    )
    # On 50,000 vectors of 512 numbers all pairs take 53 CPU seconds, as many searches of the index
    # 80. Pairs grow with the square, searches in proportion: they are equal near 100,000.
    exact_up_to: int = Field(
        default=100_000,
        ge=0,
        le=10_000_000,
        description="The graph of this many images or fewer is exact, by comparing all pairs; of "
        "more it comes from LanceDB's index, and its recall is measured.",
    )


class _ProjectionMethod(Parameters):
    """The parameters of one projection method."""

    algorithm: ClassVar[int] = 1
    """The number of the method's algorithm, which the record of each projection keeps. It is raised
    by one whenever the same vectors may get other points."""


class Pca(_ProjectionMethod):
    """Principal components: linear and quick; needs nothing else."""

    name: Literal["pca"] = "pca"
    whiten: bool = Field(
        default=False,
        description="Give every component the variance 1.",
        json_schema_extra=ADVANCED,
    )


class Umap(_ProjectionMethod):
    """UMAP: keeps neighbourhoods together; needs `neighbors` and the extra `umap`."""

    name: Literal["umap"] = "umap"
    n_neighbors: int = Field(
        default=15,
        ge=2,
        le=501,
        description="Images of a neighbourhood, the image itself counted: few for detail, many "
        "for the whole.",
    )
    min_dist: float = Field(
        default=0.1,
        ge=0,
        le=100,
        description="How close points may come to each other: small for tight groups.",
    )
    spread: float = Field(
        default=1.0,
        gt=0,
        le=100,
        description="Scale of the points; min_dist is at most this.",
        json_schema_extra=ADVANCED,
    )
    n_epochs: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Passes of the layout; empty: 500 up to 10,000 images, then 200.",
        json_schema_extra=ADVANCED,
    )
    learning_rate: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        description="First step size of the layout.",
        json_schema_extra=ADVANCED,
    )
    init: Literal["spectral", "pca", "random"] = Field(
        default="spectral", description="Where the layout starts.", json_schema_extra=ADVANCED
    )
    negative_sample_rate: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="Images that are pushed away for one that is drawn.",
        json_schema_extra=ADVANCED,
    )
    repulsion_strength: float = Field(
        default=1.0,
        ge=0,
        le=1000,
        description="Weight of pushing away.",
        json_schema_extra=ADVANCED,
    )
    local_connectivity: float = Field(
        default=1.0,
        ge=1,
        le=500,
        description="Neighbours that are taken as wholly connected.",
        json_schema_extra=ADVANCED,
    )
    set_op_mix_ratio: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="1: one side's neighbourhood connects two images; 0: both sides' must.",
        json_schema_extra=ADVANCED,
    )


class Tsne(_ProjectionMethod):
    """t-SNE: small neighbourhoods in detail; slow for many images."""

    name: Literal["tsne"] = "tsne"
    perplexity: float = Field(
        default=30.0,
        ge=1,
        le=1000,
        description="Effective number of neighbours; less than the number of images.",
    )
    early_exaggeration: float = Field(
        default=12.0,
        ge=1,
        le=1000,
        description="How tight groups are drawn at first.",
        json_schema_extra=ADVANCED,
    )
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        le=1_000_000,
        description="Step size; empty: images / early_exaggeration / 4, at least 50.",
        json_schema_extra=ADVANCED,
    )
    max_iter: int = Field(
        default=1000,
        ge=250,
        le=100_000,
        description="Iterations; the first 250 exaggerate.",
        json_schema_extra=ADVANCED,
    )
    init: Literal["pca", "random"] = Field(
        default="pca",
        description="Where the layout starts; pca keeps more of the whole.",
        json_schema_extra=ADVANCED,
    )
    angle: float = Field(
        default=0.5,
        ge=0.1,
        le=0.9,
        description="Barnes and Hut's approximation: small for accuracy, large for speed.",
        json_schema_extra=ADVANCED,
    )


PROJECTION_METHODS = (Pca, Umap, Tsne)
ProjectionMethod = Pca | Umap | Tsne


class ProjectionConfig(Parameters):
    """Configuration of one projection; its key names the vector type."""

    method: ProjectionMethod = Field(
        default=Pca(),
        discriminator="name",
        examples=["method: {umap: {n_neighbors: 15}}"],
        description="The projection method.",
    )
    nb_dimensions: int = Field(
        default=2,
        ge=1,
        le=256,
        description="Dimensions of the points; the map shows the first 2.",
        json_schema_extra=ADVANCED,
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**32,
        description="Seed of all that is random; always recorded.",
        json_schema_extra=ADVANCED,
    )
    replace: bool = Field(
        default=False,
        description="Allow other parameters than the key's record has. The old points are kept "
        "as long as a record names them.",
        json_schema_extra=ADVANCED,
    )
