"""What every labeller gets and gives, whoever brought it.

Belongs here: the base of labellers' configuration, what they may look at, and what makes their
answers well formed. Does not belong here: the labellers themselves (``labels.config``), the
clusters and suggestions (``labels.naming``), and reading anything (``labels.inputs``).
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from panoptic_assets.corpus.values import Value
from panoptic_assets.labels.naming import ClusterToLabel, Suggestion
from panoptic_assets.labels.questions import MAX_DESCRIPTION, MAX_LABEL, one_line
from panoptic_assets.labels.vocabulary import Vocabulary
from panoptic_assets.spec.computation import Rows, Vectors
from panoptic_assets.spec.fields import Parameters
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
    """For each property of the inventory, its values by image id: text, a float, a datetime, or a
    tuple of tags' paths (``a > b``). Images without a value are left out."""
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

    A field may be an int, float, bool, text, a ``Literal`` of texts, or a list of texts; each of
    them may also be None. Its ``description`` is what people read.
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
        raise InputError(
            "The labeller {labeller!r} answered what cannot be used: {fault}. Nothing was changed; "
            "take another labeller, or tell its author.",
            id="labeller-answer-unusable",
            labeller=labeller,
            fault=error.fault,
        ) from error


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
        if suggestion.node not in nodes:
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
    return isinstance(score, Real) and 0 <= float(score) <= 1  # which NaN is not


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
    return one_line(repr(value), MAX_LABEL)
