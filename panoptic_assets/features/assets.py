"""What is computed from vectors before any cut: neighbours and projections.

Belongs here: ``neighbors`` and ``projection``. Does not belong here: how they are computed
(``features.neighbors``, ``features.projections``), or the vectors themselves
(``features.embeddings``).
"""

from datetime import UTC, datetime

import dagster as dg

from panoptic_assets.corpus.assets import images
from panoptic_assets.corpus.contact_sheet import in_rows
from panoptic_assets.corpus.table import present_files, read_thumbnails
from panoptic_assets.features import embedding, neighbor_graph
from panoptic_assets.features.config import EmbeddingsConfig, NeighborsConfig, ProjectionConfig
from panoptic_assets.features.projections import (
    NEED_NEIGHBORS,
    libraries_of,
    project,
    trustworthiness,
)
from panoptic_assets.features.scatter import scatter
from panoptic_assets.features.table import (
    ReadVectors,
    StoredGraph,
    model_identity,
    projection_record,
    read_graph,
    read_points,
    read_vectors,
    write_points,
)
from panoptic_assets.orchestration.acting import Acts
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.partitions import LINEAGE_ONLY, PROJECTIONS, VECTOR_TYPES
from panoptic_assets.orchestration.running import (
    FRESHNESS,
    POOL,
    partition_of,
    plain_failures,
)
from panoptic_assets.spec import records
from panoptic_assets.spec.computation import Vectors
from panoptic_assets.spec.keys import parse_projection
from panoptic_assets.spec.markdown import bullets, table
from panoptic_assets.spec.resolution import (
    Document,
    given_config,
    identity_of,
    registered_config,
    resolve,
)
from resources.errors import InputError
from resources.lance import LanceStore
from resources.registry import Registry
from resources.schemas import neighbors_table

_IMAGES_SHOWN = 24
_LISTED = 50
_WARNINGS = 20


@dg.asset(
    partitions_def=VECTOR_TYPES,
    deps=[images],
    config_schema=schema_of(EmbeddingsConfig),
    group_name="corpus",
    pool=POOL,
    kinds={"lancedb", "pytorch"},
    code_version="2",
    freshness_policy=FRESHNESS,
)
@plain_failures()
def embeddings(
    context: dg.AssetExecutionContext, acts: dg.ResourceParam[Acts]
) -> dg.MaterializeResult[None]:
    """One unit-length float32 vector per image, by the model of ``configs/models/<key>.yaml``.

    Only images without a vector are embedded, from the original file. What the engine stages is
    committed in groups, and first of all what an interrupted run has left.
    """
    plan = acts.plan(context, embedding.prepare)
    return _vectors_result(embedding.store(embedding.run(plan)))


@dg.asset(
    partitions_def=VECTOR_TYPES,
    deps=[embeddings],
    config_schema=schema_of(NeighborsConfig),
    group_name="corpus",
    pool=POOL,
    kinds={"lancedb"},
    code_version="1",
    freshness_policy=FRESHNESS,
)
@plain_failures()
def neighbors(
    context: dg.AssetExecutionContext, acts: dg.ResourceParam[Acts]
) -> dg.MaterializeResult[None]:
    """The nearest neighbours of every present image, by cosine: computed once, used by many.

    Exact; only new images are compared with all, and those that lost a neighbour.
    """
    plan = acts.plan(context, neighbor_graph.prepare)
    found = neighbor_graph.run(plan)
    neighbor_graph.store(found)
    return _graph_result(found)


@dg.asset(
    partitions_def=PROJECTIONS,
    deps=[
        dg.AssetDep(embeddings, partition_mapping=LINEAGE_ONLY),
        dg.AssetDep(neighbors, partition_mapping=LINEAGE_ONLY),
    ],
    config_schema=schema_of(ProjectionConfig),
    group_name="corpus",
    pool=POOL,
    kinds={"lancedb", "scikitlearn"},
    code_version="1",
)
@plain_failures()
def projection(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[LanceStore],
    registry: dg.ResourceParam[Registry],
) -> dg.MaterializeResult[None]:
    """Points for a map, or to cluster, computed from a vector type: `mini/umap` from `mini`.

    The key is its configuration: a key that was computed is refused with other parameters, unless
    `replace` is set.
    """
    started = datetime.now(UTC)
    key = partition_of(context)
    given = given_config(context.run.run_config, "projection")
    config = resolve_projection(key, given, store, registry)
    vector_type, _ = parse_projection(key)
    present = present_files(store)
    read = read_vectors(store, vector_type, present)
    parameters = config.method.model_dump()
    method = parameters.pop("name")
    stored = _fresh_graph(store, vector_type, read) if method in NEED_NEIGHBORS else None
    context.instance.add_run_tags(
        context.run_id, {"panoptic/method": method, "panoptic/features": vector_type}
    )
    inputs = [read.source]
    if stored:
        compared = neighbors_table(vector_type)
        inputs.append(
            records.Input(table=compared, version=stored.version, sha256=stored.info.output)
        )
    previous = projection_record(store, key)
    cause = records.Cause(
        config=identity_of(config),
        inputs=inputs,
        libraries=records.library_versions(*libraries_of(method)),
        code_version=records.code_version(),
        machine=records.machine_class(),
    )
    before = read_points(store, key)
    if previous and before and previous.cause.sha256 == cause.sha256:
        context.log.info(f"Nothing that {key} is made from has changed; its points stay.")
        return _projection_result(previous, before.vectors)
    found = project(
        method,
        read.vectors,
        config.nb_dimensions,
        config.seed,
        stored.graph if stored else None,
        parameters,
    )
    record = records.ProjectionRecord(
        key=key,
        cause=cause,
        nb_images=len(read.image_ids),
        nb_not_embedded=len(present) - len(read.image_ids),
        explained_variance=found.explained_variance,
        trustworthiness=trustworthiness(read.vectors, found.points, config.seed),
        output=records.vectors_hash(read.image_ids, found.points),
        git_commit=records.git_commit(),
        dagster_run_id=context.run_id,
        started_at=started,
        finished_at=datetime.now(UTC),
    )
    write_points(store, record, read.image_ids, found.points)
    return _projection_result(record, found.points)


def resolve_projection(
    key: str, given: Document, store: LanceStore, registry: Registry
) -> ProjectionConfig:
    """The configuration of a projection; raises InputError when the key refuses it."""
    parse_projection(key)
    record = projection_record(store, key)
    recorded = record.cause.config if record else None
    return resolve(ProjectionConfig, key, given, recorded, registry_projection(registry, key), {})


def registry_projection(registry: Registry, key: str) -> Document | None:
    """What ``configs/projections/<key>.yaml`` asks for; None without such a file.

    Raises:
        InputError: The file holds something else.
    """
    file = f"configs/projections/{key}.yaml"
    return registered_config(registry.projection(key), "projection", file)


def _fresh_graph(store: LanceStore, vector_type: str, read: ReadVectors) -> StoredGraph:
    """The stored graph of these very vectors.

    Raises:
        InputError: There is none, or it is of other vectors.
    """
    stored = read_graph(store, vector_type)
    if stored is None or stored.info.vectors.sha256 != read.source.sha256:
        state = "no neighbour graph yet" if stored is None else "a neighbour graph of other images"
        raise InputError(
            f"umap is fed by the neighbours of {vector_type!r}, which has {state}: materialize "
            f"`neighbors` first (`panoptic-assets refresh --vector-type {vector_type}`)."
        )
    return stored


def _vectors_result(embedded: embedding.Embedded) -> dg.MaterializeResult[None]:
    made = embedded.embedding
    plan, context = made.plan, made.plan.context
    identity = model_identity(context.store, plan.vector_type)
    having = sorted(embedded.stored & plan.present.keys())
    newest = [image_id for image_id in having if image_id not in made.before] or having
    reasons = [[plan.present[image_id][0], reason] for image_id, reason in embedded.failed.items()]
    for path, reason in reasons[:_WARNINGS]:
        context.reporter.tell(f"Not embedded: {path!r}: {reason}", "yellow")
    for note in made.notes:
        context.reporter.tell(note, "yellow")
    return dg.MaterializeResult(
        metadata={
            "nb_images": len(having),
            "nb_embedded_now": len(embedded.stored - made.before),
            "nb_not_embedded": len(plan.present) - len(having),
            "nb_unknown": len(made.unknown),
            "contact_sheet": dg.MetadataValue.md(
                in_rows(read_thumbnails(context.store, newest[:_IMAGES_SHOWN]))
            ),
            "model": dg.MetadataValue.json(identity or {}),
            "not_embedded": dg.MetadataValue.md(table(["file", "reason"], reasons, most=_LISTED)),
            "unknown": dg.MetadataValue.md(
                table(
                    ["row of no image of the corpus"],
                    [[name] for name in made.unknown],
                    most=_LISTED,
                )
            ),
            **({"notes": dg.MetadataValue.md(bullets(made.notes))} if made.notes else {}),
        },
        data_version=dg.DataVersion(records.digest(identity, having)),
    )


def _graph_result(found: neighbor_graph.FoundNeighbors) -> dg.MaterializeResult[None]:
    info, nb_images = found.info, len(found.plan.read.image_ids)
    return dg.MaterializeResult(
        metadata={
            "nb_images": nb_images,
            "nb_neighbors": max(0, min(info.k, nb_images - 1)),
            "nb_compared_now": found.nb_compared,
            "recall": info.recall,
            "method": info.method,
        },
        data_version=dg.DataVersion(records.digest(info.k, info.method, info.output)),
    )


def _projection_result(
    record: records.ProjectionRecord, points: Vectors
) -> dg.MaterializeResult[None]:
    explained = record.explained_variance
    return dg.MaterializeResult(
        metadata={
            "nb_images": record.nb_images,
            "nb_dimensions": points.shape[1],
            "nb_not_embedded": record.nb_not_embedded,
            "trustworthiness": record.trustworthiness,
            **({} if explained is None else {"explained_variance": explained}),
            "method": next(iter(record.cause.config["method"])),
            "map": dg.MetadataValue.md(scatter(points)),
            "record": dg.MetadataValue.json(record.model_dump(mode="json")),
        },
        data_version=dg.DataVersion(record.data_version),
    )
