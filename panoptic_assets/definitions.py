"""The only assembly point: assets and resources become one Dagster code location.

Belongs here: which parts there are. Does not belong here: anything else; only what launches runs
imports this module.
"""

from panoptic_assets.orchestration.starting import no_collections

with no_collections():
    import dagster as dg

    from panoptic_assets.clustering.assets import clustering, nested_clustering
    from panoptic_assets.corpus.assets import images, inventory
    from panoptic_assets.corpus.image_contracts import image_contracts
    from panoptic_assets.corpus.inventory_contracts import inventory_contracts
    from panoptic_assets.features.assets import embeddings, neighbors, projection
    from panoptic_assets.features.feature_contracts import neighbor_contracts, vector_contracts
    from panoptic_assets.labels.assets import cluster_labels, label_clusters_with_gpt4v
    from panoptic_assets.orchestration.resources import project_resources
    from panoptic_assets.proof.assets import (
        verified_clustering,
        verified_nested_clustering,
        verify_runs,
    )
    from panoptic_assets.review.assets import clustering_report, run_comparison
    from panoptic_assets.tags.assets import saved_clustering, tag_recommendations, tags
    from panoptic_assets.tags.tag_contracts import tag_contracts
    from panoptic_assets.upkeep.automation import (
        after,
        corpus_changed,
        daily,
        daily_refresh,
        notify_of_failures,
        notify_of_inventory,
        project_after_refresh_corpus,
        weekly,
    )
    from panoptic_assets.upkeep.backfill import backfill_runs
    from panoptic_assets.upkeep.changes import (
        reconcile,
        remark,
        remove_clusterings,
        set_policy,
        undo_acts,
    )
    from panoptic_assets.upkeep.jobs import divide_corpus, divide_node, project, refresh_corpus
    from panoptic_assets.upkeep.new_configs import new_configs
    from panoptic_assets.upkeep.new_runs import cluster_by, divide_cluster
    from panoptic_assets.upkeep.retention import retention
    from panoptic_assets.upkeep.staleness_checks import (
        cluster_labels_up_to_date,
        clustering_up_to_date,
        judge_runs,
        nested_clustering_up_to_date,
        saved_clustering_up_to_date,
    )


def build_defs(**resource_overrides: object) -> dg.Definitions:
    """Assemble the code location; resources given by name take the place of the project's.

    Raises:
        TypeError: No resource has that name.
    """
    resources = project_resources()
    if unknown := resource_overrides.keys() - resources.keys():
        raise TypeError(
            f"No such resource: {', '.join(sorted(unknown))}. Known: {', '.join(resources)}."
        )
    return dg.Definitions(
        assets=[
            images,
            inventory,
            embeddings,
            neighbors,
            projection,
            clustering,
            nested_clustering,
            clustering_report,
            cluster_labels,
            saved_clustering,
            tags,
            tag_recommendations,
            run_comparison,
        ],
        asset_checks=[
            image_contracts,
            inventory_contracts,
            vector_contracts,
            neighbor_contracts,
            tag_contracts,
            clustering_up_to_date,
            nested_clustering_up_to_date,
            cluster_labels_up_to_date,
            saved_clustering_up_to_date,
            verified_clustering,
            verified_nested_clustering,
        ],
        jobs=[
            *cluster_by.values(),
            divide_cluster,
            label_clusters_with_gpt4v,
            judge_runs,
            backfill_runs,
            undo_acts,
            remove_clusterings,
            reconcile,
            set_policy,
            remark,
            verify_runs,
            refresh_corpus,
            project,
            divide_corpus,
            divide_node,
            retention,
        ],
        sensors=[
            corpus_changed,
            new_configs,
            project_after_refresh_corpus,
            after(backfill_runs, refresh_corpus),
            # After the policies, which bring runs up to date.
            after(judge_runs, backfill_runs),
            notify_of_failures,
            notify_of_inventory,
        ],
        schedules=[
            daily_refresh,
            daily(judge_runs, hour=5),
            weekly(verify_runs, hour=4),
            weekly(retention, hour=6),
        ],
        resources=resources | resource_overrides,
        # A process for each of a few light steps costs seven times as long as the steps.
        executor=dg.in_process_executor,
    )


with no_collections():
    defs = build_defs()
