"""What every clustering method gets and gives, and the cases in which no method is asked.

Belongs here: the data that a method may look at, the form of its answer, and what holds for all of
them: vectors that cannot be used, identical images. Does not belong here: the methods themselves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_assets.spec.computation import Labels, NotComputableError, Rows, Vectors


@dataclass(frozen=True)
class TargetTag:
    """A tag that images can be attached to."""

    path: tuple[str, ...]
    """Its name, after those of the tags above it: ``("animals", "birds")``."""

    @property
    def name(self) -> str:
        """As people write it: ``animals > birds``."""
        return " > ".join(self.path)


@dataclass(frozen=True)
class Data:
    """What a method may look at; the rows are images, in the order of image id."""

    points: Vectors
    """(n, m) float32: unit vectors, or the points of a projection as they are."""
    unit: bool = True
    """Whether the points are unit vectors, which are compared by cosine. The points of a projection
    are compared by their Euclidean distance."""
    neighbors: Callable[[int], Rows] | None = None
    """Gives the (n, min(k, n - 1)) rows of the k nearest neighbours of each row, nearest first, the
    row itself left out. None: they are computed when they are needed."""
    encode_texts: Callable[[list[str]], Vectors] | None = None
    """Gives (m, d) unit vectors of texts in the space of the points; None: the model cannot."""
    tags: tuple[TargetTag, ...] = ()
    """The tags of the property that a method asked for, in the order of their tree."""
    runs: tuple[Labels, ...] = ()
    """For each run that a method asked for, the label of each row: -1 where it was in the run's
    remainder, -2 where it was not in the run."""

    def __len__(self) -> int:
        return len(self.points)

    def nearest(self, k: int) -> Rows:
        """(n, min(k, n - 1)) rows of the k nearest neighbours of each row, nearest first."""
        k = max(0, min(k, len(self) - 1))
        if self.neighbors is not None:
            return self.neighbors(k)
        if k == 0:
            return np.empty((len(self), 0), np.int64)
        if self.unit:
            from panoptic_assets.features.neighbors import nearest_neighbors

            return nearest_neighbors(self.points, k).indices.astype(np.int64)
        from sklearn.neighbors import NearestNeighbors

        index = NearestNeighbors(n_neighbors=k).fit(self.points)
        return index.kneighbors(return_distance=False).astype(np.int64)

    def take(self, rows: Rows) -> "Data":
        """Some rows as data of their own; their neighbours are computed anew."""
        runs = tuple(labels[rows] for labels in self.runs)
        return replace(self, points=self.points[rows], neighbors=None, runs=runs)


@dataclass(frozen=True)
class Outcome:
    """The answer of a method."""

    labels: Labels
    """(n,) int64 in any numbering, -1 for the remainder."""
    probabilities: npt.NDArray[np.float32] | None = None
    """(n,) in [0, 1]: how surely each image belongs to its cluster; of methods that tell."""
    similarities: npt.NDArray[np.float32] | None = None
    """(n,) cosine of each image and what it was attached to; of methods that attach."""
    names: Mapping[int, str] = field(default_factory=dict)
    """Names of labels; of methods whose clusters are about something that has a name."""
    notes: tuple[str, ...] = ()
    """What a person must know of the answer, one sentence each."""


Method = Callable[..., Outcome]
"""A method is called with :class:`Data`, a seed, and its parameters by name."""


class UnknownAlgorithmError(NotComputableError):
    """A method does not have the algorithm, any more or yet, by which an answer was made."""


def check_data(data: Data) -> None:
    """Refuse what no method can divide, before it is asked.

    Raises:
        NotComputableError: There is no image, or a vector is infinite, NaN, or zero.
    """
    if not len(data):
        raise NotComputableError("There is no image to divide.", id="no-image-to-divide")
    usable = np.isfinite(data.points).all(axis=1)
    if data.unit:
        usable &= (data.points != 0).any(axis=1)
    if not usable.all():
        raise NotComputableError(
            "{nb_unusable} of {nb_vectors} vectors cannot be used: they are zero, infinite or "
            "NaN. Embed the images again, or import their vectors again.",
            id="vectors-unusable",
            nb_unusable=np.count_nonzero(~usable),
            nb_vectors=len(data),
        )


def distinct(points: Vectors) -> tuple[Rows, Rows]:
    """Rows without repetitions, for methods that are misled by copies.

    Args:
        points: (n, m).

    Returns:
        The first row of each distinct point, ascending, and for each of the n rows the place of its
        point among them: ``points[first][place]`` equals ``points``.
    """
    as_bytes = np.ascontiguousarray(points + np.float32(0)).view(  # -0 and 0 are one number
        np.dtype((np.void, points.dtype.itemsize * points.shape[1]))
    )
    _, first, inverse = np.unique(as_bytes.ravel(), return_index=True, return_inverse=True)
    order = np.argsort(first)
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return first[order].astype(np.int64), places[inverse]


def parameters(config: Any) -> dict[str, Any]:
    """The fields of a Config object but its name, which are the parameters of its method."""
    found: dict[str, Any] = config.model_dump()
    found.pop("name")
    return found
