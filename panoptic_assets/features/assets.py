"""What is clustered: vectors, and what is computed from them before any cut.

Belongs here: ``embeddings``, ``neighbors`` and ``projection``, and what Dagster shows of them. Does
not belong here: how they are made (``features.embedding``, ``features.neighbor_graph``,
``features.projecting``).
"""

import dagster as dg

from panoptic_assets.corpus.assets import images
from panoptic_assets.corpus.contact_sheet import in_rows
from panoptic_assets.corpus.table import read_thumbnails
from panoptic_assets.features import embedding, neighbor_graph, projecting
from panoptic_assets.features.config import EmbeddingsConfig, NeighborsConfig, ProjectionConfig
from panoptic_assets.features.scatter import scatter
from panoptic_assets.features.table import model_identity
from panoptic_assets.orchestration.acting import Acts
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.partitions import LINEAGE_ONLY, PROJECTIONS, VECTOR_TYPES
from panoptic_assets.orchestration.running import CORPUS_POOL, FRESHNESS, plain_failures
from panoptic_assets.spec import records
from panoptic_assets.spec.computation import Vectors
from panoptic_assets.spec.keys import vector_type_of
from panoptic_assets.spec.markdown import bullets, table

_IMAGES_SHOWN = 24
_LISTED = 50
_WARNINGS = 20


@dg.asset(
    partitions_def=VECTOR_TYPES,
    deps=[images],
    config_schema=schema_of(EmbeddingsConfig),
    group_name="corpus",
    pool=CORPUS_POOL,
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
    pool=CORPUS_POOL,
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
    pool=CORPUS_POOL,
    kinds={"lancedb", "scikitlearn"},
    code_version="1",
)
@plain_failures()
def projection(
    context: dg.AssetExecutionContext, acts: dg.ResourceParam[Acts]
) -> dg.MaterializeResult[None]:
    """Points for a map, or to cluster, computed from a vector type: `mini/umap` from `mini`.

    The key is its configuration: a key that was computed is refused with other parameters, unless
    `replace` is set.
    """
    plan = acts.plan(context, projecting.prepare)
    method, vector_type = plan.config.method.name, vector_type_of(plan.key)
    context.instance.add_run_tags(
        context.run_id, {"panoptic/method": method, "panoptic/features": vector_type}
    )
    projected = projecting.run(plan)
    projecting.store(projected)
    return _projection_result(projected.record, projected.points)


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
