"""The data contract of ``tags``, judged after each materialization.

Belongs here: comparing the stored tags with the replay of the tag log. Does not belong here: the
replay (``spec.tag_log``).
"""

from collections.abc import Iterator

import dagster as dg

from panoptic_assets.orchestration.acting import Acts
from panoptic_assets.orchestration.asset_checks import ContractVerdict, selected, specs
from panoptic_assets.spec import tag_log
from panoptic_assets.tags.assets import tags
from panoptic_assets.tags.table import read_log, tags_are
from resources.lance import LanceStore

_TAGS = {
    "tags_are_the_replay": "The tags, and which images carry them, are the replay of the log.",
}


@dg.multi_asset_check(specs=specs(tags, _TAGS), can_subset=True)
def tag_contracts(
    context: dg.AssetCheckExecutionContext, acts: dg.ResourceParam[Acts]
) -> Iterator[dg.AssetCheckResult]:
    """The contracts of ``tags``."""
    store = acts.context_after(context.run.run_id).store
    yield from selected(context, tags, _TAGS, _judged_tags(store))


def _judged_tags(store: LanceStore) -> Iterator[ContractVerdict]:
    log = read_log(store)
    same = tags_are(store, tag_log.replay([entry.event for entry in log]))
    yield ContractVerdict("tags_are_the_replay", same, {"nb_events": len(log)})
