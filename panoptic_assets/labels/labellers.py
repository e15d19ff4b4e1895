"""The labellers: what every one gets and gives, whoever brought it, and ours.

Belongs here: the base of labellers' configuration, the parameters of ours, what they may look at,
and what makes their answers well formed. Does not belong here: which labellers can be asked for
(``labels.config``), the clusters and suggestions (``labels.naming``), and reading anything
(``labels.inputs``). Other packages import their base from here while they are loaded, so that this
loads none of them.

Long because each labeller is its parameters, with the meaning of each.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from panoptic_assets.corpus.values import Value
from panoptic_assets.labels.naming import ClusterToLabel, Suggestion
from panoptic_assets.labels.questions import MAX_DESCRIPTION, MAX_LABEL, Detail, one_line
from panoptic_assets.labels.vocabulary import Language, Vocabulary
from panoptic_assets.spec.computation import Rows, Vectors
from panoptic_assets.spec.fields import ADVANCED, OneLine, Parameters
from panoptic_assets.spec.languages import N_
from resources.errors import InputError, Message, message

Pixels = npt.NDArray[np.uint8]

MAX_SIDE = 2048
"""Pixels of a picture's longest side, at most."""
MAX_ALTERNATIVES = 10


def _no_picture(image_id: str, side: int) -> Pixels | None:
    return None


@dataclass(frozen=True)
class LabellerData:
    """What a labeller may look at: plain data on the images of all clusters, as it needs them."""

    image_ids: tuple[str, ...] = ()
    """Those of the rows of ``vectors``, sorted; images without a vector are not among them."""
    vectors: Vectors = field(default_factory=lambda: np.empty((0, 0), np.float32))
    """(n, d) float32 unit vectors, which cannot be changed."""
    encode_texts: Callable[[list[str]], Vectors] | None = None
    """Gives (m, d) unit vectors of texts in the space of the vectors. ValueError: the model
    understands nothing of a text."""
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For each image the paths of its files in the images' folder, sorted; an image whose files are
    missing is left out."""
    properties: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    """For each property of the inventory, its values by image id: text, a float, a WrittenDate, or
    a tuple of tags' paths (``a > b``). Images without a value are left out."""
    vocabulary: Vocabulary | None = None
    pixels: Callable[[str, int], Pixels | None] = _no_picture
    """Reads the picture of an image: see :meth:`picture`."""
    tell: Callable[[str], None] = lambda text: None
    """Called with a line of text before something that takes long."""

    def rows(self, cluster: ClusterToLabel) -> Rows:
        """The rows of ``vectors`` that are a cluster's images, ascending; (0,) if it has none."""
        places = self._places
        found = [places[image_id] for image_id in cluster.image_ids if image_id in places]
        return np.array(found, np.int64)

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {image_id: row for row, image_id in enumerate(self.image_ids)}

    def picture(self, image_id: str, side: int = 384) -> Pixels | None:
        """An image as people see it, which is read and decoded when it is asked for.

        Args:
            image_id: The image.
            side: Pixels of its longest side, from 1 to 2,048; it is never enlarged.

        Returns:
            (height, width, 3) uint8 RGB; of an image whose file is missing or was changed, its
            thumbnail; None if there is none, or if the labeller does not need pictures.
        """
        return self.pixels(image_id, min(max(side, 1), MAX_SIDE))


class LabellerConfig(Parameters):
    """One labeller: its parameters are the fields, of which ``name`` is its name.

    A field may be a ``Literal`` of texts, an int, float, bool, text or a list of one of these four;
    all but a ``Literal`` may also be None. Its ``description`` is what people read.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    """What must be read for :class:`LabellerData`: ``vectors`` (of the vector type in the field
    ``vector_type``, else those that the run was computed on), ``texts`` (the vectors, and their
    model's text tower), ``pictures``, ``names``, ``properties`` (the one in the field ``property``,
    else all that the inventory has), ``vocabulary`` (the terms that the fields of ``ZeroShot``
    name, for its subclasses)."""

    def suggest(
        self, clusters: Sequence[ClusterToLabel], data: LabellerData, seed: int
    ) -> list[Suggestion]:
        """Name clusters; the same input must give the same suggestions in any process.

        Siblings may get the same label: where labels are saved as tags, a number tells them apart.

        Args:
            clusters: Those of a run's whole tree, parents before children; at least one. Any of
                them may have no image that has a vector, a picture, a name or a value.
            data: What may be looked at.
            seed: Of all that is random.

        Returns:
            One suggestion for each cluster, in any order. A label is one line of at most 80
            characters, and is made one if it is not; a score is from 0 to 1, higher is better.
            Without a label there is a reason why.

        Raises:
            NotComputableError: The parameters do not fit the data; the message says why.
        """
        raise NotImplementedError


class ZeroShot(LabellerConfig):
    """Terms of a vocabulary that fit a cluster's images and tell it from those beside it.

    Their texts and the images are compared by the model of the vectors.
    """

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
        json_schema_extra=ADVANCED,
    )
    vector_type: str = Field(
        default="",
        description="Vectors that terms are compared with, of a model with a text tower; empty: "
        "those that the run was computed on.",
        json_schema_extra=ADVANCED,
    )
    min_score: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="A cluster whose best term scores less gets no label.",
        json_schema_extra=ADVANCED,
    )

    @model_validator(mode="after")
    def _fits(self) -> "ZeroShot":
        if self.vocabulary and self.property:
            raise ValueError(N_("give a vocabulary or a property, not both"))
        if not all(template.count("{}") == 1 for template in self.templates):
            raise ValueError(N_("templates: each has {} once, where the term is put"))
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
        json_schema_extra=ADVANCED,
    )
    detail: Detail = Field(
        default="low",
        description="How closely OpenAI's models look: low (the image at 512 pixels) or high, "
        "which costs more.",
        json_schema_extra=ADVANCED,
    )
    max_output_tokens: int = Field(
        default=500,
        ge=16,
        le=32_768,
        description="Tokens of an answer; models that reason need some thousands.",
        json_schema_extra=ADVANCED,
    )
    timeout: float = Field(
        default=60,
        gt=0,
        le=3600,
        description="Seconds that one request may take.",
        json_schema_extra=ADVANCED,
    )
    max_retries: int = Field(
        default=3,
        ge=0,
        le=20,
        description="Requests again, for one cluster, when the endpoint is busy, broken or slow.",
        json_schema_extra=ADVANCED,
    )
    concurrency: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Requests in the air at once.",
        json_schema_extra=ADVANCED,
    )
    max_requests: int = Field(
        default=200,
        ge=1,
        le=1_000_000,
        description="Clusters that may be asked about in one run; those whose answer is known do "
        "not count, nor do requests again.",
        json_schema_extra=ADVANCED,
    )
    budget: float | None = Field(
        default=None,
        ge=0,
        description="What a run may cost, in the currency of the prices. What it can cost at most "
        "is estimated before the first request; and when what the endpoint counts reaches the "
        "budget, nothing more is asked.",
    )
    budget_tokens: int | None = Field(
        default=None,
        ge=0,
        description="The same in tokens, of input and output together.",
        json_schema_extra=ADVANCED,
    )
    price_per_million_input: float | None = Field(
        default=None,
        ge=0,
        description="Price of a million tokens of input; empty: not known.",
        json_schema_extra=ADVANCED,
    )
    price_per_million_output: float | None = Field(
        default=None,
        ge=0,
        description="Price of a million tokens of output; empty: not known.",
        json_schema_extra=ADVANCED,
    )


OURS: tuple[type[LabellerConfig], ...] = (ZeroShot, VisionModel)


def well_formed(
    labeller: str, clusters: Sequence[ClusterToLabel], answer: object
) -> list[Suggestion]:
    """What a labeller answered, checked and cleaned: a stranger's texts are put on one line.

    Args:
        labeller: Its name.
        clusters: What it was asked about.
        answer: What it gave.

    Returns:
        One suggestion for each cluster, in their order.

    Raises:
        InputError: It is no list of suggestions, one for each cluster, or a suggestion has a value
            that none can have.
    """
    try:
        given = _by_node(clusters, answer)
        return [_cleaned(labeller, given[cluster.node]) for cluster in clusters]
    except _BadAnswerError as error:
        fault = error.fault
        cause: Exception = error
    except Exception as error:  # a stranger's value can fail in whatever is asked of it
        fault = message("reading it raised {kind}", id="labeller-answer-raised", kind=_kind(error))
        cause = error
    raise InputError(
        "The labeller {labeller!r} answered what cannot be used: {fault}. Nothing was changed; "
        "take another labeller, or tell its author.",
        id="labeller-answer-unusable",
        labeller=labeller,
        fault=fault,
    ) from cause


class _BadAnswerError(Exception):
    def __init__(self, fault: Message):
        super().__init__()
        self.fault = fault


def _by_node(clusters: Sequence[ClusterToLabel], answer: object) -> dict[str, Suggestion]:
    if not isinstance(answer, list | tuple):
        raise _BadAnswerError(
            message(
                "it gave {given}, not a list of suggestions",
                id="labeller-gave-no-list",
                given=_kind(answer),
            )
        )
    nodes = {cluster.node for cluster in clusters}
    found: dict[str, Suggestion] = {}
    for suggestion in answer:
        if not isinstance(suggestion, Suggestion):
            raise _BadAnswerError(
                message(
                    "its list holds {given}, not suggestions alone",
                    id="labeller-gave-no-suggestion",
                    given=_kind(suggestion),
                )
            )
        if not isinstance(suggestion.node, str) or suggestion.node not in nodes:
            raise _BadAnswerError(
                message(
                    "it named {node}, which is none of the clusters",
                    id="labeller-named-unknown-node",
                    node=_shown(suggestion.node),
                )
            )
        if suggestion.node in found:
            raise _BadAnswerError(
                message("it named {node} twice", id="labeller-named-twice", node=suggestion.node)
            )
        found[suggestion.node] = suggestion
    if missing := [cluster.node for cluster in clusters if cluster.node not in found]:
        raise _BadAnswerError(
            message("it has no suggestion for {node}", id="labeller-left-out-node", node=missing[0])
        )
    return found


def _cleaned(labeller: str, given: Suggestion) -> Suggestion:
    """A suggestion whose texts are each one line of bounded length."""
    texts = {"label": given.label, "reason": given.reason, "description": given.description}
    for name, text in texts.items():
        if not isinstance(text, str | None):
            raise _bad_value(given, name, text, message("no text", id="labeller-value-no-text"))
    others = given.alternatives
    if not isinstance(others, list | tuple) or not all(isinstance(text, str) for text in others):
        wanted = message("no tuple of texts", id="labeller-value-no-texts")
        raise _bad_value(given, "alternatives", others, wanted)
    score = given.score
    if score is not None and not _is_share(score):
        wanted = message("no number from 0 to 1", id="labeller-value-no-share")
        raise _bad_value(given, "score", score, wanted)
    label = one_line(given.label or "", MAX_LABEL) or None
    reason = one_line(given.reason or "", MAX_DESCRIPTION) or None
    if label is None:
        reason = reason or f"{labeller} found no label."
    elif label.endswith("…") and not (given.label or "").rstrip().endswith("…"):
        reason = reason or f"the label was cut, from {len(given.label or ''):,} characters"
    alternatives = [one_line(text, MAX_LABEL) for text in others[:MAX_ALTERNATIVES]]
    return replace(
        given,
        label=label,
        score=None if score is None else float(score),
        alternatives=tuple(filter(None, alternatives)),
        reason=reason,
        description=one_line(given.description or "", MAX_DESCRIPTION) or None,
    )


def _is_share(score: Any) -> bool:
    known: Any = score if isinstance(score, Real) else -1
    return bool(0 <= known <= 1)  # which NaN is not, and 10**400 is no float


def _bad_value(given: Suggestion, name: str, value: object, fault: Message) -> _BadAnswerError:
    return _BadAnswerError(
        message(
            "of {node}, the {name} {value} is {fault}",
            id="labeller-value-unusable",
            node=given.node,
            name=name,
            value=_shown(value),
            fault=fault,
        )
    )


def _kind(value: object) -> str:
    return type(value).__name__


def _shown(value: object) -> str:
    """A stranger's value as one short line."""
    try:
        return one_line(repr(value), MAX_LABEL)
    except Exception:  # its __repr__ is the stranger's, too
        return _kind(value)
