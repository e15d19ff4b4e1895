"""Where one image is in every run: its node, how near it lies to the others there, and its rank.

Belongs here: reading that out of the tables. Does not belong here: where all images of one run are
(``clustering.table``).
"""

from dataclasses import dataclass

from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.spec.keys import REMAINDER
from panoptic_assets.spec.records import Record
from resources.lance import LanceStore, one_of, quoted

MOST_RUNS = 50
"""Runs of which the place is read, the newest ones: the rank is a query for each."""


@dataclass(frozen=True)
class ImagePlace:
    """The deepest node of a run that holds an image."""

    run_key: str
    node: str
    """Such as ``greek/3/0``."""
    method: str
    """Of the clustering that the node belongs to."""
    size: int
    """Images in the node."""
    distance: float
    """1 − cosine of the image and the node's mean."""
    rank: int
    """1 for the image of the node that is nearest to its mean; images as near share it."""
    probability: float | None
    """Of belonging there; of methods that tell, else None."""
    score: float
    """Of the node."""

    @property
    def is_remainder(self) -> bool:
        """Whether no cluster took the image."""
        return self.node.rpartition("/")[2] == REMAINDER


@dataclass(frozen=True)
class ImagePlaces:
    """The places of one image."""

    places: list[ImagePlace]
    """One for each run that has the image, the newest run first."""
    nb_runs: int
    """Runs that there are."""
    nb_read: int
    """Of those, how many were looked at."""


def places_of_image(
    store: LanceStore, image_id: str, clusterings: Clusterings | None = None
) -> ImagePlaces:
    """Where an image is in each run, stale clusterings left out.

    Args:
        store: The store.
        image_id: The image; one that there is not is in no run.
        clusterings: All that count, if they were read already.
    """
    known = clusterings or Clusterings(store)
    runs = [record for record in known.records.values() if record.key == record.run_key]
    runs.sort(key=lambda record: record.finished_at, reverse=True)
    looked_at = {record.key for record in runs[:MOST_RUNS]}
    counting = {
        key: record
        for key, record in known.records.items()
        if record.run_key in looked_at and key not in known.stale
    }
    where = f"image_id = {quoted(image_id)}"
    columns = ["record_id", "cluster", "distance", "probability"]
    mine = {row["record_id"]: row for row in store.read("assignments", columns, where).to_pylist()}
    deepest = {
        run.key: found
        for run in runs[:MOST_RUNS]
        if (found := _deepest(run, counting, mine)) is not None
    }
    sizes = _sizes(store, [record.record_id for record in deepest.values()])
    places = []
    for run_key, record in deepest.items():
        row = mine[record.record_id]
        cluster = row["cluster"]
        nearer = (
            f"record_id = {quoted(record.record_id)} AND cluster = {quoted(cluster)} "
            f"AND distance < CAST({row['distance']!r} AS FLOAT)"
        )
        size, score = sizes[record.record_id, cluster]
        places.append(
            ImagePlace(
                run_key=run_key,
                node=f"{record.key}/{cluster}",
                method=next(iter(record.config["method"])),
                size=size,
                distance=row["distance"],
                rank=1 + store.count("assignments", nearer),
                probability=row["probability"],
                score=score,
            )
        )
    return ImagePlaces(places, len(runs), len(looked_at))


def _deepest(
    run: Record, counting: dict[str, Record], mine: dict[str, dict[str, object]]
) -> Record | None:
    """The clustering of a run in which an image lies deepest; None if the run has it not."""
    found = None
    record: Record | None = run
    while record is not None and record.record_id in mine:
        found = record
        record = counting.get(f"{record.key}/{mine[record.record_id]['cluster']}")
    return found


def _sizes(store: LanceStore, record_ids: list[str]) -> dict[tuple[str, str], tuple[int, float]]:
    """Images and score of each cluster of some records."""
    if not record_ids:
        return {}
    columns = ["record_id", "cluster", "size", "score"]
    rows = store.read("clusters", columns, one_of("record_id", record_ids)).to_pylist()
    return {(row["record_id"], row["cluster"]): (row["size"], row["score"]) for row in rows}
