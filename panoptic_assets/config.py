"""The vocabulary of configuration: what can be asked for, and how a request is resolved.

Belongs here: the Config classes with every parameter's default, limits and meaning, and the rule
that a key is its configuration. Does not belong here: what the parameters do (``core``).

Dagster does not remember the configuration of a partition: pressing Materialize, a backfill or
automation would run a key with default parameters and silently replace its result. So a request is
resolved, field by field, from what was given, else the key's record, else its file in
``configs/runs``, else the defaults; and a key that has a record refuses other parameters.
"""

import functools
import reprlib
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, cast

import dagster as dg
from pydantic import Field, ValidationError, model_validator

from panoptic_assets.core.carry_over import MIN_OVERLAP
from panoptic_assets.core.vision_labels import Detail
from panoptic_assets.core.vocabulary import Language
from panoptic_assets.methods import METHODS, KMeans, MethodConfig
from panoptic_assets.scopes import (
    FilesLike,
    FoundByText,
    InNode,
    Listed,
    SimilarTo,
    TakenBetween,
    WholeCorpus,
    WithProperty,
    WithTag,
)
from panoptic_assets.spec.fields import Name, OneLine
from resources.errors import InputError
from resources.project import explain

if TYPE_CHECKING:
    from resources.registry import Registry

Document = dict[str, Any]
"""Configuration as plain data, in the form that a Launchpad or a YAML file gives it."""


_MAX_DEPTH = 8
"""Levels of a document; `method`, `kmeans`, `nb_clusters` are three."""
_MAX_FIELDS = 1000
"""Fields on one level. YAML's aliases nest a mapping in itself, or in another many times over."""

if TYPE_CHECKING:
    Method = MethodConfig
else:
    # Known when the program runs only: other packages add methods. (Dagster reads Union alone.)
    Method = Union[METHODS]  # noqa: UP007


Scope = Union[  # noqa: UP007 (Dagster reads Union alone)
    WholeCorpus,
    FilesLike,
    WithProperty,
    WithTag,
    TakenBetween,
    Listed,
    FoundByText,
    SimilarTo,
    InNode,
]


class DivisionConfig(dg.Config):
    """What the first division of a corpus and the division of a cluster have in common."""

    method: Method = Field(
        default=KMeans(), discriminator="name", description="The clustering method."
    )
    features: str = Field(
        default="",
        description="What to cluster: a vector type, or a projection as <vector type>/<name>; "
        "empty: for a run the project's default vector type, for a node the features of its run.",
    )
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="Seed of all that is random; always recorded."
    )
    assign_remainder: bool = Field(
        default=False,
        description="Tell for each image of the remainder which cluster is nearest to it, in a "
        "column of its own; the remainder stays what it is.",
    )
    stability: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Number of times that 80 % of the images, drawn anew, are divided to see which "
        "clusters come again; 0: not measured.",
    )
    replace: bool = Field(
        default=False,
        description="Allow other parameters than the key's record has. The old record and its "
        "clusters are kept in history.",
    )


class ClusteringConfig(DivisionConfig):
    """Configuration of one clustering run."""

    scope: Scope = Field(
        default=WholeCorpus(), discriminator="name", description="The images to look at."
    )


class NestedClusteringConfig(DivisionConfig):
    """Configuration of the division of one cluster; its scope is the cluster."""


class ImagesConfig(dg.Config):
    """Configuration of reading the images' folder."""

    accept_missing: bool = Field(
        default=False,
        description="Go on when the whole corpus, or a whole top folder, is gone: those files are "
        "taken for missing. Otherwise nothing is changed, since a disk may only be away.",
    )


class EmbeddingsConfig(dg.Config):
    """Configuration of embedding one vector type; the model is in ``configs/models``."""

    batch_size: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Images in one pass of the model; empty: as the model's file says.",
    )


class NeighborsConfig(dg.Config):
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


class Pca(dg.Config):
    """Principal components: linear and quick; needs nothing else."""

    name: Literal["pca"] = "pca"
    whiten: bool = Field(default=False, description="Give every component the variance 1.")


class Umap(dg.Config):
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
        default=1.0, gt=0, le=100, description="Scale of the points; min_dist is at most this."
    )
    n_epochs: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Passes of the layout; empty: 500 up to 10,000 images, then 200.",
    )
    learning_rate: float = Field(
        default=1.0, gt=0, le=1000, description="First step size of the layout."
    )
    init: Literal["spectral", "pca", "random"] = Field(
        default="spectral", description="Where the layout starts."
    )
    negative_sample_rate: int = Field(
        default=5, ge=1, le=1000, description="Images that are pushed away for one that is drawn."
    )
    repulsion_strength: float = Field(
        default=1.0, ge=0, le=1000, description="Weight of pushing away."
    )
    local_connectivity: float = Field(
        default=1.0, ge=1, le=500, description="Neighbours that are taken as wholly connected."
    )
    set_op_mix_ratio: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="1: one side's neighbourhood connects two images; 0: both sides' must.",
    )


class Tsne(dg.Config):
    """t-SNE: small neighbourhoods in detail; slow for many images."""

    name: Literal["tsne"] = "tsne"
    perplexity: float = Field(
        default=30.0,
        ge=1,
        le=1000,
        description="Effective number of neighbours; less than the number of images.",
    )
    early_exaggeration: float = Field(
        default=12.0, ge=1, le=1000, description="How tight groups are drawn at first."
    )
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        le=1_000_000,
        description="Step size; empty: images / early_exaggeration / 4, at least 50.",
    )
    max_iter: int = Field(
        default=1000, ge=250, le=100_000, description="Iterations; the first 250 exaggerate."
    )
    init: Literal["pca", "random"] = Field(
        default="pca", description="Where the layout starts; pca keeps more of the whole."
    )
    angle: float = Field(
        default=0.5,
        ge=0.1,
        le=0.9,
        description="Barnes and Hut's approximation: small for accuracy, large for speed.",
    )


PROJECTION_METHODS = (Pca, Umap, Tsne)
ProjectionMethod = Union[Pca, Umap, Tsne]  # noqa: UP007


class ProjectionConfig(dg.Config):
    """Configuration of one projection; its key names the vector type."""

    method: ProjectionMethod = Field(
        default=Pca(), discriminator="name", description="The projection method."
    )
    nb_dimensions: int = Field(
        default=2, ge=1, le=256, description="Dimensions of the points; the map shows the first 2."
    )
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="Seed of all that is random; always recorded."
    )
    replace: bool = Field(
        default=False,
        description="Allow other parameters than the key's record has. The old points are kept "
        "as long as a record names them.",
    )


class SaveConfig(dg.Config):
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
    )
    min_overlap: float = Field(
        default=MIN_OVERLAP,
        ge=0,
        le=1,
        description="When a run that was computed again is saved again: the least overlap (Jaccard "
        "index of the images that both have) for a tag to follow its cluster unasked.",
    )
    matches: dict[str, str] = Field(
        default_factory=dict,
        description="Decisions where clusters overlap less: the path of a tag, and the cluster "
        "that it belongs to now, such as `{'Vases grecs': '3', '4 > 0': '5/1'}`; '' for none.",
    )
    use_labels: bool = Field(
        default=True,
        description="Call tags by the labels of `cluster_labels`, where there are some; tags that "
        "were saved before keep their names.",
    )
    author: OneLine = Field(default="", description="Who saves; empty: the user of the system.")
    reason: OneLine = Field(default="", description="Why, for the tag log.")


class EditsConfig(dg.Config):
    """Configuration of the tags: what to change before the log is replayed."""

    edits: list[dict[str, Any]] = Field(
        default_factory=list,
        description="Edits, such as `rename: {tag: '3', to: 'Vases grecs'}`, done in this order: "
        "all of them, or none if one cannot be done. `panoptic-assets tag edits` lists them.",
    )
    author: OneLine = Field(default="", description="Who edits; empty: the user of the system.")
    reason: OneLine = Field(default="", description="Why, for the tag log.")


class RecommendationsConfig(dg.Config):
    """Configuration of the recommendations: which tags, and what may be proposed for them."""

    property: OneLine = Field(
        default="", max_length=200, description="The property; empty: all that have tags."
    )
    vector_type: str = Field(
        default="", description="Vectors that are compared; empty: the project's vector type."
    )
    number: int = Field(default=20, ge=1, le=10_000, description="Proposals for each tag, at most.")
    include_remainder: bool = Field(
        default=False,
        description="Treat the tag of a remainder as any other. By default nothing is proposed for "
        "it, nor for the tags below it that nobody named, and its images are proposed for others.",
    )
    include_tagged: bool = Field(
        default=False,
        description="Propose images that carry another tag of the property, too; not only those "
        "that carry none.",
    )


class ComparisonConfig(dg.Config):
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


class ReportConfig(dg.Config):
    """Configuration of the report of a run."""

    projection: str = Field(
        default="",
        description="The projection of its map, such as mini/umap; empty: the one that was "
        "clustered, else the best one there is, else principal components.",
    )


class ZeroShot(dg.Config):
    """The terms of a vocabulary whose texts are nearest to a cluster's images, by the model of its
    vectors, and that tell it from the clusters beside it."""

    name: Literal["zero_shot"] = "zero_shot"
    language: Language = Field(
        default="en",
        description="Language of the labels: of the shipped vocabulary's terms, and of the "
        "sentences that terms of a file or property are put into.",
    )
    vocabulary: OneLine = Field(
        default="",
        description="A file of terms in place of the shipped vocabulary: UTF-8, one on each line, "
        "or .csv with the columns term, prompt (what stands for it in sentences) and broader (the "
        "term that includes it); a relative path starts at the project's folder.",
    )
    property: OneLine = Field(
        default="", max_length=200, description="A property whose tags are the vocabulary."
    )
    templates: list[OneLine] = Field(
        default_factory=list,
        description="Sentences in which {} is the term; empty: the term alone, and 'a photo of a "
        "{}'.",
    )
    vector_type: str = Field(
        default="",
        description="Vectors that terms are compared with, of a model with a text tower; empty: "
        "those that the run was computed on.",
    )
    min_score: float = Field(
        default=0.0, ge=0, le=1, description="A cluster whose best term scores less gets no label."
    )

    @model_validator(mode="after")
    def _fits(self) -> "ZeroShot":
        if self.vocabulary and self.property:
            raise ValueError("give a vocabulary or a property, not both")
        if not all(template.count("{}") == 1 for template in self.templates):
            raise ValueError("templates: each has {} once, where the term is put")
        return self


class VisionModel(dg.Config):
    """A vision language model, behind any OpenAI-compatible endpoint, looks at a few images.

    Needs the extra `vision`; the key comes from the environment variable OPENAI_API_KEY.
    """

    name: Literal["vision_model"] = "vision_model"
    model: OneLine = Field(
        default="gpt-4o-mini",
        min_length=1,
        max_length=200,
        description="The model, as the endpoint names it.",
    )
    base_url: OneLine = Field(
        default="",
        max_length=500,
        description="The endpoint's address, mostly with /v1, as http://127.0.0.1:11434/v1; empty: "
        "that of the environment variable OPENAI_BASE_URL, else OpenAI's.",
    )
    language: Language = Field(
        default="en", description="Language of the task that is asked by default, and so of labels."
    )
    task: str = Field(
        default="",
        max_length=4000,
        description="What to ask about the images of a cluster, in the language that the labels "
        "are to have; empty: to name what they have in common.",
    )
    nb_images: int = Field(
        default=5, ge=1, le=50, description="Images of a cluster that are sent, drawn at random."
    )
    image_pixels: int = Field(
        default=512,
        ge=64,
        le=2048,
        description="Longest side, in pixels, to which images are scaled down before they are "
        "sent.",
    )
    detail: Detail = Field(
        default="low",
        description="How closely OpenAI's models look: low (the image at 512 pixels) or high, "
        "which costs more.",
    )
    max_output_tokens: int = Field(
        default=500,
        ge=16,
        le=32_768,
        description="Tokens of an answer; models that reason need some thousands.",
    )
    timeout: float = Field(
        default=60, gt=0, le=3600, description="Seconds that one request may take."
    )
    max_retries: int = Field(
        default=3,
        ge=0,
        le=20,
        description="Requests again, for one cluster, when the endpoint is busy, broken or slow.",
    )
    concurrency: int = Field(default=4, ge=1, le=64, description="Requests in the air at once.")
    max_requests: int = Field(
        default=200,
        ge=1,
        le=1_000_000,
        description="Clusters that may be asked about in one run; those whose answer is known do "
        "not count, nor do requests again.",
    )
    budget: float | None = Field(
        default=None,
        ge=0,
        description="What a run may cost, in the currency of the prices. What it can cost at most "
        "is estimated before the first request; and when what the endpoint counts reaches the "
        "budget, nothing more is asked.",
    )
    budget_tokens: int | None = Field(
        default=None, ge=0, description="The same in tokens, of input and output together."
    )
    price_per_million_input: float | None = Field(
        default=None, ge=0, description="Price of a million tokens of input; empty: not known."
    )
    price_per_million_output: float | None = Field(
        default=None, ge=0, description="Price of a million tokens of output; empty: not known."
    )


LABEL_METHODS = (ZeroShot, VisionModel)
LabelMethod = Union[ZeroShot, VisionModel]  # noqa: UP007


class LabelsConfig(dg.Config):
    """Configuration of naming the clusters of a run's whole tree."""

    method: LabelMethod = Field(
        default=ZeroShot(), discriminator="name", description="Who names the clusters."
    )
    label_remainder: bool = Field(
        default=False, description="Name remainders as well, though they have nothing in common."
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**32,
        description="Of the images that are drawn to be shown to a vision language model.",
    )


class Keep(dg.Config):
    """The run stays what it is, until somebody clusters again."""

    name: Literal["keep"] = "keep"


class Assign(dg.Config):
    """New images go to the nearest cluster; what left the scope goes; no cluster changes else."""

    name: Literal["assign"] = "assign"
    most_novel: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="Share of the new images that may be farther from their cluster than 95 % of "
        "its usual images; of more, and of 20 new images or more, the record says that clustering "
        "again is due. 0.05 is expected.",
    )
    most_new: float = Field(
        default=0.5,
        ge=0,
        allow_inf_nan=False,
        description="New images for each one that was clustered; of more it says so, too.",
    )


class Recluster(dg.Config):
    """All is clustered again with the recorded parameters; clusters keep their numbers."""

    name: Literal["recluster"] = "recluster"


POLICIES = (Keep, Assign, Recluster)
Policy = Union[Keep, Assign, Recluster]  # noqa: UP007


class RefreshConfig(dg.Config):
    """What happens to a run when its corpus changes."""

    refresh: Policy = Field(
        default=Keep(), discriminator="name", description="The run's refresh policy."
    )


class BackfillConfig(dg.Config):
    """Configuration of a backfill: which runs, and what is done with them."""

    keys: list[OneLine] = Field(default_factory=list, description="The runs; empty: all of them.")
    policy: Literal["", "keep", "assign", "recluster", "replay"] = Field(
        default="",
        description="What is done with each, whatever its own policy is; empty: that. `replay` is "
        "`recluster` for all of a tree, its stale divisions too, and whether or not anything is "
        "new.",
    )


ConfigT = TypeVar("ConfigT", bound=dg.Config)
_EXAMPLES = {
    "refresh": "refresh: {assign: {most_novel: 0.25}}",
    "method": "method: {kmeans: {nb_clusters: 10}}",
    "scope": "scope: {files: {pattern: 'animals/*'}}",
}
"""The fields that are unions."""


def schema_of(config: type[dg.Config]) -> Any:
    """The Dagster config schema of a Config class.

    Assets declare the schema and parse the values themselves: Dagster checks the limits (``ge=``,
    ``le=``) of a Config parameter only when the step starts, and then shows a stack trace.
    """
    return config.to_config_schema().as_field()


def parse(config: type[ConfigT], document: Document) -> ConfigT:
    """Read plain data as a Config.

    Args:
        config: The Config class.
        document: Anything that a YAML file can hold under text.

    Raises:
        InputError: A field is unknown or its value is out of its limits.
    """
    whole = _with_one_choice(document)
    try:
        parsed = config(**whole)
    except ValidationError as error:
        raise InputError(f"The configuration cannot be used: {explain(error)}") from error
    except RecursionError as error:  # a YAML alias may be inside itself
        raise InputError("The configuration cannot be used: it is nested too deeply.") from error
    # Dagster's Config classes ignore what they do not know; its Launchpad does not.
    known = _fields(parsed)
    free = {name for name in type(parsed).model_fields if isinstance(getattr(parsed, name), dict)}
    bound = {name: value for name, value in whole.items() if name not in free}
    unknown = [name for name, value in leaves(bound).items() if value != {} and name not in known]
    if unknown:
        named = ", ".join(map(_plain, unknown))
        raise InputError(
            f"The configuration cannot be used: there is no field {named}. Known here: "
            f"{', '.join(known)}."
        )
    return parsed


def document_of(config: dg.Config) -> Document:
    """A Config as plain data, defaults filled in, in the form that :func:`parse` reads back."""
    # `model_dump()` writes a union in a form that Dagster's config system refuses.
    as_run = dg.RunConfig(ops={"config": config}).to_config_dict()
    return cast(Document, as_run["ops"]["config"]["config"])


def given_config(run_config: Mapping[str, Any], asset: str) -> Document:
    """What a run was really given for an asset, without the defaults that Dagster fills in."""
    ops = run_config.get("ops") or {}
    document = (ops.get(asset) or {}).get("config") or {}
    # A Launchpad that scaffolds every field writes the empty ones too.
    return {key: value for key, value in document.items() if value not in ("", None)}


def registered_config(document: Document | None, asset: str, file: str) -> Document | None:
    """What a registry file asks of an asset; None without such a file.

    Args:
        document: The file's content.
        asset: The asset's name.
        file: The file's name, for the message.

    Raises:
        InputError: The file holds something else.
    """
    if document is None:
        return None
    has_policy = asset == "clustering"
    policy = document.get("refresh")
    if "refresh" in document and not has_policy:
        raise InputError(
            f"{file}: a divided cluster has no refresh policy of its own, it follows its run: "
            "write `refresh` into the run's file."
        )
    if "refresh" in document:
        parse_policy(policy, file)
    content: object = {name: value for name, value in document.items() if name != "refresh"}
    for name in ("ops", asset, "config"):
        content = content[name] if isinstance(content, dict) and [*content] == [name] else None
    if not isinstance(content, dict):
        more = "beside it `refresh: …` or nothing" if has_policy else "nothing else"
        raise InputError(f"{file} must hold `ops: {{{asset}: {{config: …}}}}` and {more}.")
    return given_config(document, asset)


def parse_policy(value: object, source: str) -> Policy:
    """Read a refresh policy: its name, or a mapping of its name to its parameters.

    Args:
        value: As YAML gives it.
        source: Where it is written, for the message.

    Raises:
        InputError: It is none, or a parameter is unknown or out of its limits.
    """
    known = [policy.model_fields["name"].default for policy in POLICIES]
    chosen = {value: {}} if isinstance(value, str) else value
    if not isinstance(chosen, dict) or len(chosen) != 1 or next(iter(chosen)) not in known:
        raise InputError(
            f"{source}: `refresh` is {', '.join(known[:-1])} or {known[-1]}, as in "
            f"`refresh: assign` or `{_EXAMPLES['refresh']}` (given: {_shown(value)})."
        )
    try:
        return parse(RefreshConfig, {"refresh": chosen}).refresh
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


def policy_of(registry: "Registry", run_key: str) -> Policy:
    """The refresh policy of a run: what its file says, else ``keep``.

    Raises:
        InputError: The file cannot be used.
    """
    return parse_policy(registry.policy(run_key), f"configs/runs/{run_key}.yaml")


def policy_document(policy: Policy) -> str | Document:
    """A policy as its run's file holds it: its name, or that with its parameters."""
    fields = policy.model_dump(exclude={"name"})
    return {policy.name: fields} if fields else policy.name


def resolve(
    config: type[ConfigT],
    key: str,
    given: Document,
    recorded: Document | None,
    registered: Document | None,
    defaults: Document,
    guarded: bool = True,
) -> ConfigT:
    """Resolve a request for ``key``: given, else recorded, else registered, else defaults.

    A record that is not ``guarded``, since it is stale, may be made again with other parameters.

    Raises:
        InputError: A value cannot be used, or the key's record has other parameters and
            ``replace`` is not set; the message lists the fields that differ.
    """
    base = recorded if recorded is not None else (registered or {})
    layers = [_with_one_choice(layer) for layer in (defaults, base, given)]
    try:
        resolved = parse(config, functools.reduce(_layered, layers))
    except InputError:
        # The method that is given may not go together with what is below it: then it is taken by
        # itself. Without one, the fault is the record's, say a method that is gone, and is told.
        if "method" not in layers[2]:
            raise
        layers[1].pop("method", None)
        resolved = parse(config, functools.reduce(_layered, layers))
    if recorded is not None and guarded and not given.get("replace", False):
        differing = _differences(recorded, identity_of(resolved))
        if differing:
            raise InputError(
                f"{key} was made with other parameters ({'; '.join(differing)}). "
                "Choose a new key, or set `replace: true` (`--replace`) to make it again."
            )
    return resolved


def identity_of(config: dg.Config) -> Document:
    """The part of a configuration that decides the result, and that a record keeps."""
    document = document_of(config)
    document.pop("replace", None)
    return document


def method_of(document: Document) -> str | None:
    """The name of the method that a configuration chooses; None if it chooses none.

    Raises:
        InputError: ``method`` is not one choice with its parameters.
    """
    return next(iter(_with_one_choice(document).get("method", {})), None)


def _with_one_choice(document: Document) -> Document:
    """A document whose names are text and whose unions are one choice each, in the whole form.

    Dagster itself would end in a stack trace.
    """
    _check_names(document)
    return {
        field: _one_choice(field, value) if field in _EXAMPLES else value
        for field, value in document.items()
    }


def _check_names(document: Document) -> None:
    level = [document]
    for _ in range(_MAX_DEPTH):
        fields = [field for mapping in level for field in mapping.items()]
        for name, _ in fields[:_MAX_FIELDS]:
            if not isinstance(name, str):
                raise InputError(
                    f"The configuration cannot be used: the name of a field is text, not {name!r}."
                )
        level = [value for _, value in fields if isinstance(value, dict)]
        if not level:
            return
        if len(fields) > _MAX_FIELDS:
            break
    raise InputError(
        f"The configuration cannot be used: it is nested deeper than {_MAX_DEPTH} levels, or has "
        f"more than {_MAX_FIELDS} fields."
    )


def _one_choice(field: str, value: Any) -> Document:
    """``{"kmeans": {"nb_clusters": 3}}``, checked."""
    name, parameters = None, None
    if isinstance(value, dict) and len(value) == 1:
        [(name, parameters)] = value.items()
    if name is None or not isinstance(parameters, dict | None):
        raise InputError(
            f"The configuration cannot be used: {field}: name one choice with its parameters, "
            f"as in `{_EXAMPLES[field]}`."
        )
    return {name: parameters or {}}


def _layered(below: Document, above: Document) -> Document:
    """``above`` over ``below``; the parameters of a method are merged if both chose the same.

    A scope is whole: dates beside the recorded values of another property would be no scope.
    """
    merged = {**below, **above}
    lower, upper = below.get("method"), above.get("method")
    if lower and upper and lower.keys() == upper.keys():
        [name] = lower
        merged["method"] = {name: lower[name] | upper[name]}
    return merged


def _differences(recorded: Document, resolved: Document) -> list[str]:
    before, after = leaves(recorded), leaves(resolved)
    return [
        f"{name}: {_shown(before.get(name, 'none'))} is recorded, "
        f"{_shown(after.get(name, 'none'))} is asked for"
        for name in sorted(before.keys() | after.keys())
        if _compared(name, before.get(name)) != _compared(name, after.get(name))
    ]


_SPELLED = frozenset({"property", "pattern", "image", "path"})
"""Fields that name what is found in any normal form."""


def _compared(name: str, value: Any) -> Any:
    spelled = isinstance(value, str) and name.rpartition(".")[2] in _SPELLED
    return unicodedata.normalize("NFC", value) if spelled else value


def _plain(name: str) -> str:
    """A field's name as it is, or as Python writes it where it would not be one line."""
    return name if name.isprintable() else _shown(name)


def _shown(value: Any) -> str:
    """As Python writes it; of a long list, the first values."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 200
    return short.repr(value)


def _fields(config: dg.Config, prefix: str = "") -> list[str]:
    """The names that a document of this configuration may have, empty fields included."""
    found: list[str] = []
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, dg.Config):
            choice = getattr(value, "name")  # noqa: B009 (only the classes of unions have one)
            found += [
                field
                for field in _fields(value, f"{prefix}{name}.{choice}.")
                if field != f"{prefix}{name}.{choice}.name"
            ]
        else:
            found.append(f"{prefix}{name}")
    return found


def leaves(document: Document, prefix: str = "") -> Document:
    """The values of a configuration by their dotted names: ``method.kmeans.nb_clusters``."""
    found: Document = {}
    for key, value in document.items():
        if isinstance(value, dict) and value:
            found |= leaves(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
