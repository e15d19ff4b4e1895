"""Attaching images to tags by what the tags are called.

Belongs here: which tags can be taken, their texts, and the closest tag of each image. Does not
belong here: reading the tags (``tags``), encoding texts.
"""

from typing import Literal

import numpy as np

from panoptic_assets.clustering.algorithms.interface import (
    Data,
    Outcome,
    TargetTag,
    distinct,
)
from panoptic_assets.spec.computation import REMAINDER, NotComputableError, Vectors
from resources.errors import noted

_BLOCK = 4096
"""Images that are compared with all tags at a time."""

ParentTags = Literal["use", "combine", "ignore"]


def attach_to_tags(
    data: Data,
    seed: int,
    *,
    parent_tags: ParentTags,
    min_similarity: float | None,
    templates: list[str],
) -> Outcome:
    """Attach each image to the tag whose text is closest to it.

    This is CLIP's zero-shot classification with an ensemble of prompts (Radford et al., 2021,
    section 3.1.4): a tag's vector is the mean of those of its text in each template, brought to
    unit length. Of tags that are equally close, the first in ``data.tags`` is taken. ``seed`` is
    not used: nothing is random.

    Probabilities are left out: the softmax of cosines depends on a temperature that models are
    trained with, and on which other tags there are; it says nothing of whether any of them fits.

    Args:
        data: Images, with tags and a text tower; of unit vectors.
        seed: Of no effect.
        parent_tags: ``use``: every tag is taken, by its own name. ``ignore``: only tags without
            tags below them. ``combine``: only those, by the names from the top on, with commas.
        min_similarity: Images whose best cosine is below it are the remainder. None: there is no
            remainder.
        templates: Texts that contain ``{}``, where the tag is put; one or more.

    Returns:
        Labels, which are places in ``data.tags``, -1 for the remainder; each image's cosine to the
        closest tag, in the remainder as well; and the names of the tags that have images.

    Raises:
        NotComputableError: There is no tag, the vectors are those of a model without
            texts or points of a projection, or two tags have the same text.
    """
    from threadpoolctl import threadpool_limits

    if not data.unit:
        raise NotComputableError(
            "Texts are compared with the vectors of images, not with the points of a projection: "
            "take the vector type, not its projection.",
            id="text-against-projection",
        )
    if data.encode_texts is None:
        raise NotComputableError(
            "This vector type knows no texts, so that no image can be compared with a tag: take "
            "one whose model has a text tower, such as vit-b-32 or mini.",
            id="model-without-text",
        )
    if not data.tags:
        raise NotComputableError(
            "There is no tag that images could be attached to.", id="no-tag-to-attach-to"
        )
    taken, names = tag_texts(data.tags, parent_tags)
    texts = [template.replace("{}", name) for name in names for template in templates]
    encoded = np.asarray(data.encode_texts(texts), np.float64)
    targets = mean_directions(encoded.reshape(len(names), len(templates), -1))
    # Equal vectors are one column: in two, a product could differ in its last bit, and the tie fall
    # to the later tag.
    first, _ = distinct(targets)
    columns = targets[first].astype(np.float64).T

    best = np.empty(len(data), np.int64)
    cosines = np.empty(len(data))
    with threadpool_limits(limits=1):
        for start in range(0, len(data), _BLOCK):
            block = data.points[start : start + _BLOCK].astype(np.float64)
            products = block @ columns / np.linalg.norm(block, axis=1, keepdims=True)
            best[start : start + _BLOCK] = products.argmax(axis=1)
            cosines[start : start + _BLOCK] = products.max(axis=1)
    labels = np.array(taken, np.int64)[first][best]
    if min_similarity is not None:
        labels[cosines < min_similarity] = REMAINDER
    used = sorted(set(labels.tolist()) - {REMAINDER})
    return Outcome(
        labels,
        similarities=cosines.astype(np.float32),
        names={label: data.tags[label].name for label in used},
        notes=_notes(len(used), len(taken), float(cosines.max()), min_similarity),
    )


def tag_texts(tags: tuple[TargetTag, ...], parent_tags: ParentTags) -> tuple[list[int], list[str]]:
    """Which tags images can be attached to, and what each of them is called.

    A path that is there twice counts once.

    Args:
        tags: One or more.
        parent_tags: See :func:`attach_to_tags`.

    Returns:
        Places in ``tags``, ascending, and a text for each of them.

    Raises:
        NotComputableError: Tags of two paths have the same text.
    """
    above = {tag.path[:depth] for tag in tags for depth in range(1, len(tag.path))}
    places: dict[tuple[str, ...], int] = {}
    for place, tag in enumerate(tags):
        if parent_tags == "use" or tag.path not in above:
            places.setdefault(tag.path, place)
    texts: dict[str, tuple[str, ...]] = {}
    for path in places:
        text = ", ".join(path) if parent_tags == "combine" else path[-1]
        other = texts.setdefault(text, path)
        if other != path:
            remedy = noted("rename one of them")
            if parent_tags != "combine":
                remedy = noted("with `parent_tags: combine` the tags above tell them apart")
            raise NotComputableError(
                "The tags '{tag}' and '{other}' have the same text, '{text}', and no image could "
                "be told to be of one or the other: {remedy}.",
                id="tags-of-same-text",
                tag=TargetTag(other).name,
                other=TargetTag(path).name,
                text=text,
                remedy=remedy,
            )
    return list(places.values()), list(texts)


def mean_directions(encoded: np.ndarray) -> Vectors:
    """(m, d) directions of the means of (m, templates, d) vectors, as float32.

    Raises:
        NotComputableError: A mean has no direction.
    """
    means = encoded.mean(axis=1)
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise NotComputableError(
            "The model gave no usable vector for a tag: try other templates, or another name.",
            id="tag-without-vector",
        )
    return (means / lengths).astype(np.float32)


def _notes(
    nb_used: int, nb_tags: int, highest: float, min_similarity: float | None
) -> tuple[str, ...]:
    if not nb_used:
        return (
            noted(
                "No image reaches a similarity of {least:g} to a tag, all are the remainder: the "
                "highest is {highest:.2f}, so a lower min_similarity attaches some.",
                least=min_similarity,
                highest=highest,
            ),
        )
    if nb_used < nb_tags:
        return (
            noted(
                "{nb_unused} of {nb_tags} tags are closest to no image.",
                nb_unused=nb_tags - nb_used,
                nb_tags=nb_tags,
            ),
        )
    return ()
