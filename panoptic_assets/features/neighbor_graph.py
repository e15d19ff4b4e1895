"""The act of finding neighbours: the graph of a vector type, made anew or brought up to date.

Belongs here: what of a stored graph still holds, and asking the index where images are many. Does
not belong here: computing a graph (``features.neighbors``), and its table (``features.table``).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from panoptic_assets.corpus.table import present_files
from panoptic_assets.features import neighbors
from panoptic_assets.features.config import NeighborsConfig
from panoptic_assets.features.neighbors import Graph, Pair
from panoptic_assets.features.table import (
    GraphInfo,
    ReadVectors,
    StoredGraph,
    graph_hash,
    read_graph,
    read_vectors,
    rows_now,
    write_graph,
)
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.spec.keys import parse_name
from panoptic_assets.spec.languages import N_
from panoptic_assets.spec.resolution import Document, parse

_QUERIES = 1024
"""Vectors that are looked up in the index at a time."""
_SPARE = 16
"""Rows that the index is asked for beside k: the image itself, and images that are gone by now."""


@dataclass(frozen=True)
class NeighborsPlan:
    """A neighbour graph that can be computed."""

    context: Context
    vector_type: str
    config: NeighborsConfig
    read: ReadVectors
    """The present images' vectors."""
    known: StoredGraph | None
    """The graph so far."""


@dataclass(frozen=True)
class FoundNeighbors:
    """A neighbour graph that was computed."""

    plan: NeighborsPlan
    info: GraphInfo
    graph: Graph | None
    """None where the stored one still holds."""
    nb_compared: int
    """Images that were compared with all others."""


def prepare(context: Context, key: str, given: Document) -> NeighborsPlan:
    """Read the vectors of the images that are present, and the graph so far.

    Args:
        context: What is read.
        key: The vector type.
        given: Fields of :class:`panoptic_assets.features.config.NeighborsConfig`; k is by default
            that of the graph so far.

    Raises:
        InputError: The configuration cannot be used, or there is no vector and never was.
    """
    vector_type = parse_name(key, "vector type")
    known = read_graph(context.store, vector_type)
    recorded: Document = {"k": known.info.k} if known else {}
    config = parse(NeighborsConfig, recorded | given)
    present = present_files(context.store)
    read = read_vectors(context.store, vector_type, present, may_be_none=known is not None)
    return NeighborsPlan(context, vector_type, config, read, known)


def run(plan: NeighborsPlan) -> FoundNeighbors:
    """Compute the graph, unless the stored one still holds.

    Raises:
        NotComputableError: A vector is not of unit length.
    """
    config, read, known = plan.config, plan.read, plan.known
    if (
        known
        and known.info.k == config.k
        and known.info.vectors.sha256 == read.source.sha256
        and (known.info.method == "exact" or len(read.image_ids) > config.exact_up_to)
    ):
        return FoundNeighbors(plan, known.info, None, nb_compared=0)
    graph, method, compared = _compute(plan)
    info = GraphInfo(
        k=config.k,
        method=method,
        recall=1.0 if method == "exact" else neighbors.sampled_recall(read.vectors, graph),
        vectors=read.source,
        output=graph_hash(read.image_ids, graph),
    )
    return FoundNeighbors(plan, info, graph, compared)


def store(found: FoundNeighbors) -> None:
    """Store a graph, unless it is stored already."""
    plan = found.plan
    if found.graph is not None:
        write_graph(plan.context.store, plan.vector_type, plan.read, found.graph, found.info)


def _compute(
    plan: NeighborsPlan,
) -> tuple[Graph, Literal["exact", "index"], int]:
    """The graph, how it was made, and how many images were compared with all others."""
    context, read, known = plan.context, plan.read, plan.known
    nb_images, k, limit = len(read.image_ids), plan.config.k, plan.config.exact_up_to
    if known and known.info.k == k and (known.info.method == "exact" or nb_images > limit):
        places = rows_now(known, read)
        again, _ = neighbors.affected(known.graph, places, nb_images)
        # Few new images among very many need no more products than an exact graph may.
        if nb_images <= limit or 2 * len(again) * nb_images <= limit * limit:
            context.reporter.tell(
                f"{len(again)} of {nb_images} images are new or lost a neighbour."
            )
            graph, compared = neighbors.updated(read.vectors, k, known.graph, places)
            return graph, known.info.method, compared
    if nb_images <= limit:
        context.reporter.tell(f"Comparing all {nb_images} images with each other.")

        def track(pairs: Sequence[Pair]) -> Iterable[Pair]:
            return context.reporter.track(pairs, len(pairs), N_("neighbors"))

        return neighbors.nearest_neighbors(read.vectors, k, track=track), "exact", nb_images
    return _from_index(context, read, k), "index", 0


def _from_index(context: Context, read: ReadVectors, k: int) -> Graph:
    """The graph from the store's index; its candidates are scored exactly."""
    store, table = context.store, read.source.table
    context.reporter.tell(f"Indexing {len(read.image_ids)} vectors.")
    store.index(table)
    ids = pa.array(read.image_ids, pa.string())
    limit = k + _SPARE
    candidates = np.full((len(ids), limit), -1, dtype=np.int64)
    blocks = (read.vectors[start : start + _QUERIES] for start in range(0, len(ids), _QUERIES))
    for number, block in enumerate(context.reporter.track(blocks, len(ids), N_("neighbors"), len)):
        query, found = store.search(table, block, limit)
        order = np.argsort(query, kind="stable")
        query = query[order]
        place = np.arange(len(query)) - np.searchsorted(query, query)
        rows = pc.index_in(found, value_set=ids).fill_null(-1).to_numpy()
        candidates[number * _QUERIES + query, place] = rows[order]
    return neighbors.scored(read.vectors, candidates, k)
