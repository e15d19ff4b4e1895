"""The jobs that automation asks for.

Belongs here: which assets are computed together, and what a failed one of them costs. Does not
belong here: when (``upkeep.automation``, ``upkeep.new_configs``).
"""

import dagster as dg

from panoptic_assets.clustering.assets import clustering, nested_clustering
from panoptic_assets.corpus.assets import images, inventory
from panoptic_assets.features.assets import embeddings, neighbors, projection

refresh_corpus = dg.define_asset_job(
    "refresh_corpus",
    selection=dg.AssetSelection.assets(images, inventory, embeddings, neighbors),
    # Nobody waits for this run, so what may pass is waited for: a share that is not mounted yet, a
    # store that does not answer. A person at a terminal or in the Launchpad is told at once. What
    # only a person can mend is not retried (orchestration.running.plain_failures).
    op_retry_policy=dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL),
    description="Reads what is new in the images' folder and the inventory, embeds what is new by "
    "one vector type and finds its nearest neighbours.",
)
project = dg.define_asset_job(
    "project",
    selection=dg.AssetSelection.assets(projection),
    description="Computes the points of one projection.",
)
divide_corpus = dg.define_asset_job(
    "divide_corpus",
    selection=dg.AssetSelection.assets(clustering),
    description="Computes one run.",
)
divide_node = dg.define_asset_job(
    "divide_node",
    selection=dg.AssetSelection.assets(nested_clustering),
    description="Divides one cluster again.",
)
