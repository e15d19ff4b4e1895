"""Labels of clusters by the words that are nearest to their images.

Belongs here: the vectors of words, and what names clusters by them. Does not belong here: how words
are chosen (``labels.naming``), and where they and the vectors of the images come from
(``labels.inputs``).
"""

from collections.abc import Sequence

from panoptic_assets.clustering.algorithms.attachment import mean_directions
from panoptic_assets.labels import naming as core
from panoptic_assets.labels.labellers import LabellerData
from panoptic_assets.labels.naming import ClusterToLabel, Suggestion
from panoptic_assets.spec.computation import NotComputableError
from resources.errors import InputError


def suggest_terms(
    clusters: Sequence[ClusterToLabel], data: LabellerData, min_score: float
) -> list[Suggestion]:
    """Name clusters by the terms of a vocabulary.

    Args:
        clusters: Those of a run's whole tree: names tell siblings apart.
        data: The vocabulary, the vectors, and what encodes texts as they are.
        min_score: A cluster whose best term scores less gets no label.

    Returns:
        One suggestion for each cluster; where there is no label, the reason.

    Raises:
        NotComputableError: A term has no vector, or there are no terms or no text tower.
    """
    words, encode = data.vocabulary, data.encode_texts
    if words is None or encode is None:
        raise NotComputableError(
            "There is no vocabulary to name clusters by, or no model that reads its terms.",
            id="no-terms-to-compare",
        )
    if words.nb_repeated:
        data.tell(f"{words.nb_repeated:,} terms of the vocabulary were there already: left out.")
    members = [data.rows(cluster) for cluster in clusters]
    data.tell(f"comparing {len(data.vectors):,} images with {len(words.terms):,} terms")
    try:
        sentences = encode([text for texts in words.texts for text in texts])
    except InputError:
        raise
    except ValueError as error:  # a text of which the model understands nothing
        raise InputError(
            "{reason} Take another vocabulary, or other templates.",
            id="terms-not-understood",
            reason=error,
        ) from error
    targets = mean_directions(sentences.reshape(len(words.terms), len(words.texts[0]), -1))
    covered = core.coverage(data.vectors, members, targets, words.broader)
    return core.name_clusters(clusters, covered, words.terms, words.broader, min_score=min_score)
