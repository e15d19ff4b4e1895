"""Names for the clusters of a run, and what every way of naming them takes and gives.

Belongs here: the clusters that are to be named, what a name is, and zero-shot naming of clusters by
the vectors of words. Does not belong here: the words themselves (``vocabulary``), encoding texts,
asking a vision language model, storing labels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from panoptic_assets.spec.computation import Vectors

_BLOCK = 4096
"""Images that are compared with all terms at a time."""

SHARPNESS = 3.5
"""How much an image prefers the terms that are most similar to it: see :func:`coverage`."""

CLOSE = 0.6
"""Of the score of its best term, what another one must have to be a cluster's name instead."""

_DIGITS = 9
"""Decimals of scores that count: sums of other blocks or processors differ in later ones."""

Coverage = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClusterToLabel:
    """One cluster of a run's tree."""

    node: str
    """Its address, such as `greek/3/0`."""
    record_id: str
    """Of the clustering that it is a cluster of."""
    image_ids: tuple[str, ...]
    """Its images, sorted."""
    is_remainder: bool
    parent: str | None
    """The node above; None for a cluster of the run's first clustering."""


@dataclass(frozen=True)
class Suggestion:
    """What was found for one cluster: a label, or why there is none."""

    node: str
    label: str | None
    score: float | None = None
    """How well the label fits, from 0 to 1, higher is better; None where the method cannot tell."""
    alternatives: tuple[str, ...] = ()
    """Other labels that were near, the best first."""
    reason: str | None = None
    """Why there is no label, or a remark on the one there is."""
    description: str | None = None
    """A sentence or two on what the images show; None where the method writes none."""


def coverage(
    vectors: Vectors,
    members: Sequence[npt.NDArray[np.int64]],
    texts: Vectors,
    broader: Sequence[int],
) -> Coverage:
    """Which share of each cluster's images each term covers.

    An image's cosines to all terms, brought to mean 0 and standard deviation 1 and times
    :data:`SHARPNESS`, become shares by a softmax: so the scale of a model's cosines has no effect.
    A broader term gets the shares of the terms that it includes as well, since an image of a sheep
    is one of an animal (Deng et al., 2012, "Hedging your bets", sums posteriors in the same way).

    Args:
        vectors: (n, d) float32 unit vectors of images.
        members: For each cluster, the rows of its images, ascending.
        texts: (m, d) float32 unit vectors of terms.
        broader: For each term the place of the one that includes it, or -1; no term includes
            itself.

    Returns:
        (len(members), m) float64 in [0, 1]; NaN for a cluster without images. In the order of the
        vectors of a term alone, their sum over the narrowest terms is 1.
    """
    from scipy.sparse import csr_array
    from threadpoolctl import threadpool_limits

    sums = np.zeros((len(members), len(texts)))
    sizes = np.array([len(rows) for rows in members], np.int64)
    columns = np.concatenate([np.empty(0, np.int64), *members])
    ends = np.concatenate([[0], np.cumsum(sizes)])
    belongs = csr_array(
        (np.ones(len(columns)), columns, ends), shape=(len(members), len(vectors))
    ).tocsc()
    targets = texts.astype(np.float64).T
    with threadpool_limits(limits=1):
        for start in range(0, len(vectors), _BLOCK):
            block = vectors[start : start + _BLOCK].astype(np.float64)
            sums += belongs[:, start : start + _BLOCK] @ _shares(block @ targets)
    for place in _narrowest_first(broader):
        sums[:, broader[place]] += sums[:, place]
    with np.errstate(invalid="ignore"):
        found: Coverage = sums / sizes[:, None]
    return found


def _shares(cosines: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n, m) shares, of which each row's sum is 1."""
    centred = cosines - cosines.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    # Terms with one vector are equally near, but for the last bits.
    scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-6)
    powers = np.exp(SHARPNESS * (scaled - scaled.max(axis=1, keepdims=True)))
    shares: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _depths(broader: Sequence[int]) -> list[int]:
    depths = [-1] * len(broader)
    for start in range(len(broader)):
        above = [start, *_above(start, broader)]
        for depth, place in enumerate(reversed(above)):
            depths[place] = depth
    return depths


def _narrowest_first(broader: Sequence[int]) -> list[int]:
    """Places of the terms that a term includes, each before the one that includes it."""
    depths = _depths(broader)
    included = [place for place, above in enumerate(broader) if above >= 0]
    return sorted(included, key=lambda place: -depths[place])


def _above(place: int, broader: Sequence[int]) -> list[int]:
    found = []
    while broader[place] >= 0:
        place = broader[place]
        found.append(place)
    return found


def name_clusters(
    clusters: Sequence[ClusterToLabel],
    covered: Coverage,
    terms: Sequence[str],
    broader: Sequence[int],
    nb_alternatives: int = 4,
    min_score: float = 0.0,
) -> list[Suggestion]:
    """Name clusters so that the names tell those of one clustering apart.

    The score of a term for a cluster is the geometric mean of two shares: its coverage of the
    cluster, and of all its coverage in the clusters of the clustering the part that is in this one
    (each cluster counting once, however large). So a term that fits all siblings alike, such as
    `tool`, loses to one that fits one of them. A cluster without siblings is told apart from one
    that all terms cover alike.

    - Siblings have different names. Of those with the same best term, the one with the highest
      score keeps it; another takes its next best if that has at least :data:`CLOSE` of the score,
      else all of them get a second term that none of the others has: `fish, coral`.
    - A child is not called what a node above it is called, nor by a broader term of that.
    - Equal scores are decided by the terms' text; nothing depends on the order of the clusters.

    Measured on the 19 folders of the sample, taken as clusters, with `embedded:mini` and the
    shipped vocabulary: acceptable names by a list that was written before any was seen
    (``tests/label_synonyms.yaml``), in English and in French. The nearest term by cosine: 4 and 4;
    minus .3 of the greatest cosine to a sibling: 5 and 5. With broader terms and this score: 10 and
    10. With different names for siblings as well: 11 and 11; where French names are put into French
    sentences, 8. :data:`SHARPNESS` from 3 to 5 and :data:`CLOSE` from .4 to .9 give the same, 2 to
    2.5 one less. What is missed is what the model does not know: flags, windmills, tools.

    Args:
        clusters: The clusters; those of one clustering are siblings.
        covered: (len(clusters), m) see :func:`coverage`.
        terms: (m,) the terms, all different.
        broader: See :func:`coverage`.
        nb_alternatives: Of a suggestion, at most.
        min_score: A cluster whose best term scores less gets no label.

    Returns:
        One suggestion for each cluster, in their order.
    """
    prior = np.full(len(terms), 1 / len(terms))
    for place in _narrowest_first(broader):
        prior[broader[place]] += prior[place]
    found: dict[str, _Named] = {}
    clusterings: dict[str, list[int]] = {}
    for row, cluster in enumerate(clusters):
        clusterings.setdefault(cluster.node.rpartition("/")[0], []).append(row)
    for clustering in sorted(clusterings, key=lambda key: key.count("/")):
        rows = clusterings[clustering]
        named = found.get(clustering)
        taken = _with_broader(named, broader) if named else frozenset()
        found |= _name_siblings(
            [clusters[row] for row in rows],
            covered[rows],
            _Words(terms, broader, prior, taken),
            nb_alternatives,
            min_score,
        )
    return [found[cluster.node].suggestion for cluster in clusters]


@dataclass(frozen=True)
class _Words:
    """The terms that the clusters of one clustering may get."""

    terms: Sequence[str]
    broader: Sequence[int]
    prior: npt.NDArray[np.float64]
    """(m,) the coverage by each term of a cluster that all terms cover alike."""
    taken: frozenset[int]
    """Places of the terms that nodes above are called by, and of their broader ones."""


@dataclass(frozen=True)
class _Named:
    suggestion: Suggestion
    places: tuple[int, ...]
    """Of the terms in its label."""
    above: frozenset[int]
    """Terms that it could not have."""


def _with_broader(named: _Named, broader: Sequence[int]) -> frozenset[int]:
    mine = {above for place in named.places for above in (place, *_above(place, broader))}
    return named.above | mine


def _name_siblings(
    clusters: Sequence[ClusterToLabel],
    covered: Coverage,
    words: _Words,
    nb_alternatives: int,
    min_score: float,
) -> dict[str, _Named]:
    known = [row for row in range(len(clusters)) if not np.isnan(covered[row]).any()]
    scores = np.zeros_like(covered)
    if known:
        among = covered[known].sum(axis=0) + (words.prior if len(known) == 1 else 0)
        scores[known] = np.sqrt(covered[known] * (covered[known] / np.maximum(among, 1e-300)))
        scores = scores.round(_DIGITS)
    scores[:, sorted(words.taken)] = 0
    by_text = np.argsort(np.argsort(np.array(words.terms, dtype=object)))
    # For each cluster the terms that it could have, the best first.
    ranked = [
        [int(place) for place in np.lexsort((by_text, -row)) if row[place] > 0] for row in scores
    ]
    strongest = sorted(
        (row for row in known if ranked[row] and scores[row, ranked[row][0]] >= min_score),
        key=lambda row: (-scores[row, ranked[row][0]], clusters[row].image_ids),
    )
    names = _distinct(strongest, ranked, scores, words.broader)
    found = {}
    for row, cluster in enumerate(clusters):
        places = names.get(row, ())
        others = [place for place in ranked[row] if place not in places][:nb_alternatives]
        suggestion = Suggestion(
            node=cluster.node,
            label=", ".join(words.terms[place] for place in places) or None,
            score=float(scores[row, places[0]]) if places else None,
            alternatives=tuple(words.terms[place] for place in others),
            reason=_remark(row, clusters, ranked, scores, names, words.terms, row in known),
            description=None,
        )
        found[cluster.node] = _Named(suggestion, places, words.taken)
    return found


def _distinct(
    strongest: Iterable[int],
    ranked: Sequence[Sequence[int]],
    scores: npt.NDArray[np.float64],
    broader: Sequence[int],
) -> dict[int, tuple[int, ...]]:
    """For each cluster the terms of its name, such that no two have the same."""
    holders: dict[int, list[int]] = {}
    for row in strongest:
        best = ranked[row][0]
        near = [place for place in ranked[row] if scores[row, place] >= CLOSE * scores[row, best]]
        free = [place for place in near if place not in holders]
        holders.setdefault(free[0] if free else best, []).append(row)
    names = {}
    for place, rows in holders.items():
        second: set[int] = {place, *_above(place, broader)}
        for row in rows:
            others = [other for other in ranked[row] if other not in second]
            more = others[:1] if len(rows) > 1 else []
            second.update(more)
            names[row] = (place, *more)
    return names


def _remark(
    row: int,
    clusters: Sequence[ClusterToLabel],
    ranked: Sequence[Sequence[int]],
    scores: npt.NDArray[np.float64],
    names: dict[int, tuple[int, ...]],
    terms: Sequence[str],
    has_images: bool,
) -> str | None:
    """Why a cluster has no label, or not its best term alone."""
    if not has_images:
        return "None of its images has a vector."
    if not ranked[row]:
        return "Every term of the vocabulary is the name of a node above, or broader than it."
    best = ranked[row][0]
    if row not in names:
        return (
            f"Its best term, '{terms[best]}', scores {scores[row, best]:.3f}, which is below "
            "min_score."
        )
    same = [other for other in names if other != row and names[other][0] == names[row][0]]
    if same:
        listed = ", ".join(sorted(clusters[other].node for other in same))
        without = "" if len(names[row]) > 1 else "; the vocabulary has no other term for it"
        return f"{listed} fits '{terms[names[row][0]]}' as well{without}."
    if names[row][0] != best:
        holder = next(other for other in names if names[other][0] == best)
        return f"'{terms[best]}' fits {clusters[holder].node} better."
    return None
