"""How much two labelings of the same images agree.

Belongs here: the table of who is where in both, measures of agreement, which cluster of one is
which of the other, and which images moved. Does not belong here: where labelings come from
(``panoptic_assets.review.comparisons``), how good one of them is (``quality``), making one out of
several (``consensus``).

Everything follows from the contingency table, of which only the cells with images are held:
100,000 images in 1,000 clusters on each side fill at most 100,000 of a million cells.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from panoptic_assets.spec.computation import Labels
from resources.errors import Message, message

Mask = npt.NDArray[np.bool_]

NO_IMAGE = message("no image is in a cluster of both", id="no-image-in-clusters-of-both")
MOST_PAIRS = 10_000_000
"""Pairs of groups of which the AMI is computed: a million take 4 s, whatever the number of images,
and two runs of ``find_duplicates`` on a large corpus may have a thousand million."""


@dataclass(frozen=True)
class Labeling:
    """One side: in which of its groups each image is."""

    labels: Labels
    """(n,) int64 rows of ``remainder``, in any order; a group may be without an image."""
    remainder: Mask
    """(k,) for each group, whether it is one that no cluster took: the remainder of a run, or the
    one of a clustering below it."""


@dataclass(frozen=True)
class Contingency:
    """How many images are in a group of one side and in a group of the other."""

    a: Labels
    """(cells,) groups of the first side, ascending; cells without images are left out."""
    b: Labels
    """(cells,) groups of the second, ascending for each of the first."""
    counts: Labels
    """(cells,) images, 1 or more."""
    sizes_a: Labels
    """(k,) images of each group of the first side."""
    sizes_b: Labels


@dataclass(frozen=True)
class Match:
    """A cluster of one side and the cluster of the other that is taken for the same."""

    a: int
    b: int
    both: int
    """Images that are in both; 1 or more."""
    jaccard: float
    """Of their images: those in both by those in either, in (0, 1]."""


@dataclass(frozen=True)
class Agreement:
    """How much two sides agree on some images; all measures are None without any image."""

    nb_images: int
    nb_groups: tuple[int, int]
    """Groups of each side that have one of the images."""
    adjusted_rand: float | None
    """ARI (Hubert and Arabie, 1985): 1 for equal partitions, 0 on average for random ones."""
    adjusted_mutual_information: float | None
    """AMI (Vinh, Epps and Bailey, 2010), by the arithmetic mean of the entropies: as the ARI, but
    small clusters count for more. None above :data:`MOST_PAIRS`."""
    homogeneity: float | None
    """1 if each group of the first side lies in one of the second, which is taken for the truth
    (Rosenberg and Hirschberg, 2007)."""
    completeness: float | None
    """1 if each group of the second side lies in one of the first."""
    v_measure: float | None
    """The harmonic mean of these two; the same in both directions."""
    variation_of_information: float | None
    """In bits, see :func:`variation_of_information`."""
    matched: tuple[Match, ...]
    """In the order of the first side's groups."""
    nb_stayed: int
    """Images that are in both groups of a match."""
    nb_moved: int
    """Images that are in a matched group of the first side, but elsewhere in the second."""
    nb_unmatched: int
    """Images whose group of the first side has no match."""
    reason: Message | None
    """Why there are no measures, or not all of them: a part of a sentence."""


@dataclass(frozen=True)
class Comparison:
    """Two labelings side by side."""

    table: Contingency
    """Of all images; remainders are groups like any other."""
    counted: Agreement
    """On all images; the remainder is a cluster like any other."""
    left_out: Agreement
    """On the images that neither side has in a remainder."""
    moved: Mask
    """(n,) which images moved, by the matches of ``counted``."""


def compare_labelings(a: Labeling, b: Labeling) -> Comparison:
    """Compare two labelings of the same images.

    Args:
        a: The first one.
        b: The second one; row i is the same image.

    Raises:
        ValueError: They differ in length.
    """
    if len(a.labels) != len(b.labels):
        raise ValueError(f"{len(a.labels)} labels cannot be compared with {len(b.labels)}.")
    table = contingency(a, b)
    counted = agreement(a, b, table)
    partner = np.full(len(a.remainder), -1, np.int64)
    for match in counted.matched:
        partner[match.a] = match.b
    moved = (partner[a.labels] >= 0) & (partner[a.labels] != b.labels)
    inner = without_remainders(a, b)
    left_out = counted if len(inner[0].labels) == len(a.labels) else agreement(*inner)
    return Comparison(table, counted, left_out, moved)


def without_remainders(a: Labeling, b: Labeling) -> tuple[Labeling, Labeling]:
    """Both sides, without the images that are in a remainder of either."""
    kept = np.flatnonzero(~(a.remainder[a.labels] | b.remainder[b.labels]))
    return Labeling(a.labels[kept], a.remainder), Labeling(b.labels[kept], b.remainder)


def contingency(a: Labeling, b: Labeling) -> Contingency:
    """Count the images of each pair of groups."""
    width = len(b.remainder)
    cells, counts = np.unique(a.labels * width + b.labels, return_counts=True)
    return Contingency(
        cells // max(width, 1),
        cells % max(width, 1),
        counts.astype(np.int64),
        np.bincount(a.labels, minlength=len(a.remainder)),
        np.bincount(b.labels, minlength=width),
    )


def agreement(a: Labeling, b: Labeling, table: Contingency | None = None) -> Agreement:
    """Measure the agreement of two labelings; every group counts, remainders too.

    Args:
        a: The first one.
        b: The second one; row i is the same image.
        table: Their contingency table, if it is known.
    """
    table = table or contingency(a, b)
    one, two = a.labels, b.labels
    groups = int(np.count_nonzero(table.sizes_a)), int(np.count_nonzero(table.sizes_b))
    if not len(one):
        return Agreement(0, groups, None, None, None, None, None, None, (), 0, 0, 0, NO_IMAGE)
    # scikit-learn takes a second to load.
    from sklearn.metrics import (
        adjusted_mutual_info_score,
        adjusted_rand_score,
        homogeneity_completeness_v_measure,
    )

    small = groups[0] * groups[1] <= MOST_PAIRS
    homogeneity, completeness, v_measure = homogeneity_completeness_v_measure(two, one)
    matched = match(table)
    stayed = sum(pair.both for pair in matched)
    in_matched = sum(int(table.sizes_a[pair.a]) for pair in matched)
    return Agreement(
        nb_images=len(one),
        nb_groups=groups,
        adjusted_rand=float(adjusted_rand_score(one, two)),
        adjusted_mutual_information=float(adjusted_mutual_info_score(one, two)) if small else None,
        homogeneity=float(homogeneity),
        completeness=float(completeness),
        v_measure=float(v_measure),
        variation_of_information=variation_of_information(table),
        matched=matched,
        nb_stayed=stayed,
        nb_moved=in_matched - stayed,
        nb_unmatched=len(one) - in_matched,
        reason=None
        if small
        else message(
            "no AMI: {nb_groups_a:,} × {nb_groups_b:,} pairs of clusters take too long",
            id="too-many-pairs-for-ami",
            nb_groups_a=groups[0],
            nb_groups_b=groups[1],
        ),
    )


def adjusted_rand(a: Labels, b: Labels) -> float | None:
    """The ARI alone, where all pairs of many labelings are asked for; None without images."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(a, b)) if len(a) else None


def variation_of_information(table: Contingency) -> float:
    """What each side says that the other one does not: H(A|B) + H(B|A), in bits (Meilă, 2007).

    A distance between partitions: exactly 0 for equal ones and exactly symmetric; at most the
    binary logarithm of the number of images.

    Args:
        table: With at least one image.
    """
    counts = table.counts.astype(np.float64)
    shares_a, shares_b = counts / table.sizes_a[table.a], counts / table.sizes_b[table.b]
    bits = counts * (np.log2(shares_a) + np.log2(shares_b))
    # An exact sum does not depend on the order of the cells, which the other direction changes.
    return abs(math.fsum(bits)) / float(counts.sum())


def match(table: Contingency) -> tuple[Match, ...]:
    """Match groups one to one so that the sum of their Jaccard indices is the greatest.

    The assignment problem (Kuhn, 1955, the "Hungarian" one) on the cells that have images only,
    by Jonker and Volgenant's algorithm for sparse matrices. A group that overlaps with none that
    is left stays without a match. Of several best answers the order of the groups decides, so the
    same table always has the same one.

    Args:
        table: The contingency table.

    Returns:
        In the order of the first side's groups.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    if not len(table.counts):
        return ()
    union = table.sizes_a[table.a] + table.sizes_b[table.b] - table.counts
    jaccard = table.counts / union
    rows, row_of = np.unique(table.a, return_inverse=True)
    columns, column_of = np.unique(table.b, return_inverse=True)
    # Each group has one column of its own beside the others: to be matched with none. All costs
    # are above 0, which in a sparse matrix would be no edge.
    own = np.arange(len(rows))
    costs = csr_array(
        (
            np.concatenate([2.0 - jaccard, np.full(len(rows), 2.0)]),
            (np.concatenate([row_of, own]), np.concatenate([column_of, len(columns) + own])),
        ),
        shape=(len(rows), len(columns) + len(rows)),
    )
    chosen = np.full(len(rows), -1)
    row_places, column_places = min_weight_full_bipartite_matching(costs)
    chosen[row_places] = column_places
    return tuple(
        Match(int(table.a[cell]), int(table.b[cell]), int(table.counts[cell]), float(jaccard[cell]))
        for cell in range(len(table.counts))
        if chosen[row_of[cell]] == column_of[cell]
    )


@dataclass(frozen=True)
class Excerpt:
    """A contingency table that people can look at: matches on the diagonal, the small rest summed.

    With more groups than fit, one more row or column holds the sum of all others.
    """

    rows: Labels
    """Groups of the first side, the matched ones first."""
    columns: Labels
    """Groups of the second; the i-th row and column are a match for i below ``nb_matched``."""
    nb_matched: int
    counts: npt.NDArray[np.int64]
    """(rows [+ 1], columns [+ 1]) images."""
    nb_rows_summed: int
    """Groups of the first side in the additional row; 0: there is none."""
    nb_columns_summed: int


def largest_part(table: Contingency, matched: tuple[Match, ...], most: int) -> Excerpt:
    """The largest part of a table that has ``most`` rows and columns, and the sum of the rest.

    Matches come first, in the order of the first side; then the groups that have none, in their own
    order. Where they are too many, those with the most images are taken. Groups without images are
    left out.
    """
    largest = sorted(
        matched, key=lambda pair: -int(table.sizes_a[pair.a] + table.sizes_b[pair.b] - pair.both)
    )[:most]
    taken = sorted(largest, key=lambda pair: pair.a)
    known_a, known_b = {pair.a for pair in matched}, {pair.b for pair in matched}
    rows = _with_rest([pair.a for pair in taken], known_a, table.sizes_a, most)
    columns = _with_rest([pair.b for pair in taken], known_b, table.sizes_b, most)
    summed_rows = int(np.count_nonzero(table.sizes_a)) - len(rows)
    summed_columns = int(np.count_nonzero(table.sizes_b)) - len(columns)
    row_of = np.full(len(table.sizes_a), len(rows))
    row_of[rows] = np.arange(len(rows))
    column_of = np.full(len(table.sizes_b), len(columns))
    column_of[columns] = np.arange(len(columns))
    counts = np.zeros(
        (len(rows) + bool(summed_rows), len(columns) + bool(summed_columns)), np.int64
    )
    np.add.at(counts, (row_of[table.a], column_of[table.b]), table.counts)
    return Excerpt(rows, columns, len(taken), counts, summed_rows, summed_columns)


def _with_rest(first: list[int], matched: set[int], sizes: Labels, most: int) -> Labels:
    rest = [group for group in np.flatnonzero(sizes).tolist() if group not in matched]
    rest = sorted(rest, key=lambda group: -int(sizes[group]))[: most - len(first)]
    return np.array([*first, *sorted(rest)], np.int64)
