"""What can be asked of naming clusters: the labellers, ours and other packages', and their runs.

Belongs here: each parameter's default, limits and meaning, and how labellers are found. Does not
belong here: how names are found.

Another package adds a labeller by an entry point of the group ``panoptic_assets.labellers`` that
names a subclass of :class:`~panoptic_assets.labels.labellers.LabellerConfig`; the labeller is then
in the configuration of the asset, on the command line and in ``panoptic-assets labellers``.
:mod:`panoptic_assets.labels.labeller_checks` has the checks that its author runs.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Union

from pydantic import Field, model_validator

from panoptic_assets.labels.labellers import LabellerConfig, LabellerData
from panoptic_assets.labels.naming import ClusterToLabel, Suggestion
from panoptic_assets.labels.questions import Detail
from panoptic_assets.labels.vocabulary import Language
from panoptic_assets.spec.extensions import Kind
from panoptic_assets.spec.fields import OneLine, Parameters

ENTRY_POINTS = "panoptic_assets.labellers"
"""Group of the entry points that name Config classes of other packages."""


class ZeroShot(LabellerConfig):
    """The terms of a vocabulary whose texts are nearest to a cluster's images, by the model of its
    vectors, and that tell it from the clusters beside it."""

    name: Literal["zero_shot"] = "zero_shot"
    needs: ClassVar[frozenset[str]] = frozenset({"texts", "vocabulary"})
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

    def suggest(
        self, clusters: Sequence[ClusterToLabel], data: LabellerData, seed: int
    ) -> list[Suggestion]:
        """See :func:`panoptic_assets.labels.zero_shot.suggest_terms`."""
        from panoptic_assets.labels.zero_shot import suggest_terms

        return suggest_terms(clusters, data, self.min_score)


class VisionModel(LabellerConfig):
    """A vision language model, behind any OpenAI-compatible endpoint, looks at a few images.

    Needs the extra `vision`; the key comes from the environment variable OPENAI_API_KEY.
    """

    # The one labeller that is not asked by `suggest`: its answers cost money, so each is stored as
    # it comes and counted against a budget (`labels.vision_language`).
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


_OURS: tuple[type[LabellerConfig], ...] = (ZeroShot, VisionModel)

KIND = Kind(
    called="labeller",
    base=LabellerConfig,
    group=ENTRY_POINTS,
    needs=frozenset({"vectors", "texts", "pictures", "names", "properties", "vocabulary"}),
    reserved=frozenset({"method", "label_remainder", "seed", "key"}),
)

LABEL_METHODS = KIND.with_others(_OURS)
"""Every labeller that can be asked for."""


def is_ours(labeller: LabellerConfig) -> bool:
    """Whether a labeller is of this package, so that what it does wrong is a fault of this one."""
    return type(labeller) in _OURS


if TYPE_CHECKING:
    LabelMethod = LabellerConfig
else:
    # Known when the program runs only: other packages add labellers.
    LabelMethod = Union[LABEL_METHODS]  # noqa: UP007


class LabelsConfig(Parameters):
    """Configuration of naming the clusters of a run's whole tree."""

    method: LabelMethod = Field(
        default=ZeroShot(),
        discriminator="name",
        examples=["method: {zero_shot: {language: fr}}"],
        description="Who names the clusters.",
    )
    label_remainder: bool = Field(
        default=False, description="Name remainders as well, though they have nothing in common."
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**32,
        description="Of all that is random, such as the images that a vision language model is "
        "shown.",
    )
