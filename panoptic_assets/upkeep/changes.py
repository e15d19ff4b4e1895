"""Undoing, removing, reconciling, choosing a policy and remarking, inside Dagster.

Belongs here: the jobs ``undo_acts``, ``remove_clusterings``, ``reconcile``, ``set_policy`` and
``remark``, each of one operation, and telling Dagster what counts afterwards. Does not belong here:
what these acts do (``upkeep.undoing``, ``upkeep.removing``, ``upkeep.reconciling``,
``upkeep.setting_policies``, ``tags.remarking``).
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from panoptic_assets.orchestration.acting import Acts
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.insides import MAX_RETRIES_TAG
from panoptic_assets.orchestration.running import CLUSTERINGS_POOL, plain_failures
from panoptic_assets.spec.keys import run_key_of
from panoptic_assets.spec.markdown import bullets
from panoptic_assets.spec.resolution import given_config, parse
from panoptic_assets.tags import remarking
from panoptic_assets.tags.config import RemarkConfig
from panoptic_assets.upkeep import removing, setting_policies, undoing
from panoptic_assets.upkeep.config import (
    PolicyConfig,
    ReconcileConfig,
    RemovalConfig,
    UndoConfig,
)
from panoptic_assets.upkeep.reconciling import (
    as_rows,
    find_mismatches,
    follow_dagster,
    follow_store,
    mend_labels,
)

_SHOWN = 100
"""Mismatches in a list."""


def _given(context: dg.OpExecutionContext) -> dict[str, Any]:
    return dict(given_config(context.run.run_config, context.op.name))


@dg.op(config_schema=schema_of(UndoConfig), pool=CLUSTERINGS_POOL, out=dg.Out(dg.Nothing))
def undo_act(context: dg.OpExecutionContext, acts: dg.ResourceParam[Acts]) -> Iterator[Any]:
    """Undo an act, or do it again, and tell Dagster which clusterings and labels count now.

    Saved tags that went with a run that was removed are not changed: `tag_events` names the events
    of the tag log that are to be undone, or done again, by an edit of `tags`.
    """
    with plain_failures():
        act = acts.context_of(context)
        undone = undoing.store(undoing.run(undoing.prepare(act, "", _given(context))))
        plan, mark = undone.plan, undone.plan.mark
        run_key = run_key_of(plan.key)
        is_removal = mark is not None and mark.kind == "remove"
        if plan.redo and is_removal:
            removing.remove_pages(act.reports, plan.key)
        relabelled = [run_key] if mark is not None and mark.kind == "labels" else []
        if mark is None or mark.kind != "remark":  # of which Dagster knows nothing
            yield from follow_store(context.instance, act.now(), [run_key], relabelled)
    shown: dict[str, Any] = {
        "act": plan.act,
        "done": "redo" if plan.redo else "undo",
        "mark": undone.id,
        "key": plan.key,
        "change": plan.text,
        "tag_events": dg.MetadataValue.json(undone.tag_events),
    }
    yield dg.Output(None, metadata=shown)


@dg.job(
    description="Undoes an act (a clustering, labels, a policy, a removal, a remark), or does it "
    "again; the same as `panoptic-assets undo` and `redo`. Without one, the last act that can be "
    "undone.",
    # Started again after its process died, it could find another act to be the last one.
    tags={MAX_RETRIES_TAG: "0"},
)
def undo_acts() -> None:
    """See its description."""
    undo_act()


@dg.op(config_schema=schema_of(RemovalConfig), pool=CLUSTERINGS_POOL, out=dg.Out(dg.Nothing))
def remove_clustering(
    context: dg.OpExecutionContext, acts: dg.ResourceParam[Acts]
) -> Iterator[Any]:
    """Remove a run or a divided node from the store, the pages and Dagster; it can be undone."""
    with plain_failures():
        act = acts.context_of(context)
        removed = removing.store(removing.run(removing.prepare(act, "", _given(context))))
        key = removed.plan.key
        yield from follow_store(context.instance, act.now(), [run_key_of(key)])
    shown: dict[str, Any] = {
        "key": key,
        "mark": removed.id,
        "nb_records": len(removed.plan.records),
        "pages_removed": removed.pages,
    }
    yield dg.Output(None, metadata=shown)


@dg.job(
    description="Removes a run, or a divided node, with all that is divided below it: its "
    "clusterings, labels, pages, partitions and materializations; the same as `panoptic-assets "
    "remove`. Saved tags stay, and `undo_acts` brings it back."
)
def remove_clusterings() -> None:
    """See its description."""
    remove_clustering()


@dg.op(config_schema=schema_of(ReconcileConfig), pool=CLUSTERINGS_POOL, out=dg.Out(dg.Nothing))
def reconcile_store(context: dg.OpExecutionContext, acts: dg.ResourceParam[Acts]) -> Iterator[Any]:
    """Let the store and Dagster know of the same clusterings, labels and saved tags."""
    with plain_failures():
        act = acts.context_of(context)
        config = parse(ReconcileConfig, _given(context))
        relabelled, settled = mend_labels(act.store), undoing.settle_policies(act)
        found = find_mismatches(context.instance, act.store, act.registry)
        for one in found:
            context.log.info(one.text)
        marks = follow_dagster(act, config, found) if config.follow == "dagster" else []
        yield from follow_store(context.instance, act.now(), relabelled=relabelled)
    shown: dict[str, Any] = {
        "nb_mismatches": len(found),
        "nb_removed": len(marks),
        "marks": ", ".join(marks) or "(none)",
        "labels_mended": ", ".join(relabelled) or "(none)",
        "policies_settled": ", ".join(settled) or "(none)",
        "mismatches": dg.MetadataValue.md(bullets([one.text for one in found[:_SHOWN]])),
        "rows": dg.MetadataValue.json(as_rows(found[:_SHOWN])),
    }
    yield dg.Output(None, metadata=shown)


@dg.job(
    description="Mends what the store and Dagster do not agree on, such as a partition that was "
    "deleted or an asset that was wiped in the UI: tells Dagster what is in the store, or removes "
    "from the store what was deleted in Dagster; the same as `panoptic-assets reconcile`."
)
def reconcile() -> None:
    """See its description."""
    reconcile_store()


@dg.op(config_schema=schema_of(PolicyConfig), pool=CLUSTERINGS_POOL, out=dg.Out(dg.Nothing))
def write_policy(context: dg.OpExecutionContext, acts: dg.ResourceParam[Acts]) -> Iterator[Any]:
    """Write the refresh policy of a run into its file."""
    with plain_failures():
        act = acts.context_of(context)
        plan = setting_policies.run(setting_policies.prepare(act, "", _given(context)))
        path = setting_policies.store(plan)
    shown: dict[str, Any] = {
        "key": plan.config.key,
        "file": dg.MetadataValue.path(path),
        "policy": dg.MetadataValue.json(plan.document),
    }
    yield dg.Output(None, metadata=shown)


@dg.job(
    description="Writes the refresh policy of a run into its file in configs/runs; the same as "
    "`panoptic-assets policy`."
)
def set_policy() -> None:
    """See its description."""
    write_policy()


@dg.op(config_schema=schema_of(RemarkConfig), pool=CLUSTERINGS_POOL, out=dg.Out(dg.Nothing))
def write_remark(context: dg.OpExecutionContext, acts: dg.ResourceParam[Acts]) -> Iterator[Any]:
    """Write a remark on an image, a run, a cluster or a tag; it can be undone."""
    with plain_failures():
        act = acts.context_of(context)
        remarked = remarking.store(remarking.run(remarking.prepare(act, "", _given(context))))
    shown: dict[str, Any] = {
        "subject": remarked.plan.subject.key,
        "about": remarked.plan.subject.about,
        "mark": remarked.id,
    }
    yield dg.Output(None, metadata=shown)


@dg.job(
    description="Writes a remark on an image, a run, a cluster or a tag, or takes it away; the "
    "same as `panoptic-assets remark`. `undo_acts` brings back what was said before."
)
def remark() -> None:
    """See its description."""
    write_remark()
