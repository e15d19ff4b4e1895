"""The act of projecting: from a key and what is given for it to points that are stored.

Belongs here: what a key resolves to, what the points are made from, and their record. Does not
belong here: the methods (``features.projections``), and the table of points (``features.table``).
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from panoptic_assets.corpus.table import present_files
from panoptic_assets.features.config import ProjectionConfig
from panoptic_assets.features.projections import (
    NEED_NEIGHBORS,
    libraries_of,
    project,
    trustworthiness,
)
from panoptic_assets.features.table import (
    ReadVectors,
    StoredGraph,
    graph_info,
    projection_record,
    read_graph,
    read_points,
    read_vectors,
    write_points,
)
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.spec import records
from panoptic_assets.spec.computation import Vectors
from panoptic_assets.spec.keys import parse_projection
from panoptic_assets.spec.resolution import Document, identity_of, registered_config, resolve
from resources.errors import InputError
from resources.lance import LanceStore
from resources.registry import Registry
from resources.schemas import neighbors_table, points_table

_MAP = "pca"
"""Name of the projection of each vector type that a refresh makes."""


@dataclass(frozen=True)
class ProjectionPlan:
    """A projection that can be computed."""

    context: Context
    key: str
    config: ProjectionConfig
    read: ReadVectors
    """The present images' vectors."""
    nb_present: int
    """Images that are present, with a vector or without."""
    graph: StoredGraph | None
    """The neighbours of these vectors; None where the method does not need them."""
    cause: records.Cause
    previous: records.ProjectionRecord | None
    """The record that the key has so far."""
    kept: Vectors | None
    """The points so far, if nothing that they were made from has changed."""


@dataclass(frozen=True)
class Projected:
    """A projection that was computed."""

    plan: ProjectionPlan
    record: records.ProjectionRecord
    """The key's own so far, where nothing has changed."""
    points: Vectors
    """(n, m) float32."""


def prepare(context: Context, key: str, given: Document) -> ProjectionPlan:
    """Resolve what is given for a projection, and read what it is made from.

    Args:
        context: What is read.
        key: ``<vector type>/<name>``.
        given: Fields of :class:`panoptic_assets.features.config.ProjectionConfig`.

    Raises:
        InputError: The key or the configuration cannot be used, there is no vector, or the
            neighbours that the method needs are missing or of other vectors.
    """
    store = context.store
    vector_type, _ = parse_projection(key)
    # From here on, the plan is out of date once somebody has written to the table.
    store.version(points_table(key))
    previous = projection_record(store, key)
    config = resolve_projection(key, given, previous, context.registry)
    present = present_files(store)
    read = read_vectors(store, vector_type, present)
    method = config.method.name
    graph = _fresh_graph(store, vector_type, read) if method in NEED_NEIGHBORS else None
    inputs = [read.source]
    if graph:
        table = neighbors_table(vector_type)
        inputs.append(records.Input(table=table, version=graph.version, sha256=graph.info.output))
    cause = records.Cause(
        config=identity_of(config),
        inputs=inputs,
        algorithm=config.method.algorithm,
        libraries=records.library_versions(*libraries_of(method)),
        code_version=records.code_version(),
        machine=records.machine_class(),
    )
    same = previous is not None and previous.cause.sha256 == cause.sha256
    before = read_points(store, key) if same else None
    kept = before.vectors if before else None
    return ProjectionPlan(context, key, config, read, len(present), graph, cause, previous, kept)


def run(plan: ProjectionPlan) -> Projected:
    """Compute the points, unless nothing that they are made from has changed.

    Raises:
        NotComputableError: The method refuses.
    """
    started = datetime.now(UTC)
    context, config, read = plan.context, plan.config, plan.read
    if plan.previous and plan.kept is not None:
        context.reporter.tell(f"Nothing that {plan.key} is made from has changed; its points stay.")
        return Projected(plan, plan.previous, plan.kept)
    found = project(
        config.method.name,
        read.vectors,
        config.nb_dimensions,
        config.seed,
        plan.graph.graph if plan.graph else None,
        config.method.model_dump(exclude={"name"}),
    )
    record = records.ProjectionRecord(
        key=plan.key,
        cause=plan.cause,
        nb_images=len(read.image_ids),
        nb_not_embedded=plan.nb_present - len(read.image_ids),
        explained_variance=found.explained_variance,
        trustworthiness=trustworthiness(read.vectors, found.points, config.seed),
        output=records.vectors_hash(read.image_ids, found.points),
        git_commit=records.git_commit(),
        dagster_run_id=context.dagster_run_id,
        started_at=started,
        finished_at=datetime.now(UTC),
    )
    return Projected(plan, record, found.points)


def store(projected: Projected) -> None:
    """Store the points with their record, unless they are stored already."""
    plan = projected.plan
    if projected.record is not plan.previous:
        write_points(plan.context.store, projected.record, plan.read.image_ids, projected.points)


def resolve_projection(
    key: str, given: Document, record: records.ProjectionRecord | None, registry: Registry
) -> ProjectionConfig:
    """The configuration of a projection; raises InputError when the key refuses it."""
    recorded = record.cause.config if record else None
    return resolve(ProjectionConfig, key, given, recorded, registry_projection(registry, key), {})


def registry_projection(registry: Registry, key: str) -> Document | None:
    """What ``configs/projections/<key>.yaml`` asks for; None without such a file.

    Raises:
        InputError: The file holds something else.
    """
    file = f"configs/projections/{key}.yaml"
    return registered_config(registry.projection(key), "projection", file)


def outdated_map(store: LanceStore, vector_type: str) -> str | None:
    """The projection that a refresh makes after the neighbours, if it is not up to date.

    ``<vector type>/pca`` is the map that every vector type has before any run, by its record or its
    file, else by principal components, which take any number of images. What is compared are the
    hashes that the graph and the points have recorded: no vector is read.

    Returns:
        Its key; None if its points are of the vectors of now, or there is no image to make them of.
    """
    graph = graph_info(store, vector_type)
    if graph is None or not store.count(neighbors_table(vector_type)):
        return None
    key = f"{vector_type}/{_MAP}"
    record = projection_record(store, key)
    made_from = record.cause.inputs[0].sha256 if record else None
    return None if made_from == graph.vectors.sha256 else key


def _fresh_graph(store: LanceStore, vector_type: str, read: ReadVectors) -> StoredGraph:
    """The stored graph of these very vectors.

    Raises:
        InputError: There is none, or it is of other vectors.
    """
    stored = read_graph(store, vector_type)
    if stored is None or stored.info.vectors.sha256 != read.source.sha256:
        if stored is None:
            raise InputError(
                "umap is fed by the neighbours of {vector_type!r}, which has no neighbour graph "
                "yet: materialize `neighbors` first (`panoptic-assets refresh --vector-type "
                "{vector_type}`).",
                id="umap-without-neighbours",
                vector_type=vector_type,
            )
        raise InputError(
            "umap is fed by the neighbours of {vector_type!r}, which has a neighbour graph of "
            "other images: materialize `neighbors` first (`panoptic-assets refresh --vector-type "
            "{vector_type}`).",
            id="umap-with-neighbours-of-others",
            vector_type=vector_type,
        )
    return stored
