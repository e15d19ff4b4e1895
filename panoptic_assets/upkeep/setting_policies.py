"""The act of choosing a run's refresh policy: what its file becomes, and how it was before.

Belongs here: writing a policy so that it can be undone. Does not belong here: what policies there
are (``clustering.policies``), what they do (``upkeep.refreshing``), and undoing
(``upkeep.undoing``).
"""

from dataclasses import dataclass
from pathlib import Path

from panoptic_assets.clustering.dividing import registry_config
from panoptic_assets.clustering.mark_log import append_mark
from panoptic_assets.clustering.policies import policy_of
from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.spec.keys import parse_run_key
from panoptic_assets.spec.marks import Mark
from panoptic_assets.spec.people import system_user
from panoptic_assets.spec.resolution import Document, parse
from panoptic_assets.upkeep.config import PolicyConfig
from panoptic_assets.upkeep.undoing import settle_policies
from resources.registry import Registry

_IF_NOTHING_IS_SAID = "keep"


@dataclass(frozen=True)
class PolicyPlan:
    """A policy that can be written."""

    context: Context
    config: PolicyConfig
    document: str | Document
    """The policy as the run's file will hold it."""
    before: str | None
    """What is written in that file; None: there is none."""
    after: str

    @property
    def path(self) -> Path:
        """The file."""
        return self.context.registry.run_file(self.config.key)


def prepare(context: Context, key: str, given: Document) -> PolicyPlan:
    """Find what the file of a run becomes by a policy.

    Args:
        context: What is read.
        key: Nothing: the run is in the configuration.
        given: Configuration.

    Raises:
        InputError: There is no such run, the policy cannot be used, or the file cannot be changed.
    """
    config = parse(PolicyConfig, given)
    run_key, registry = parse_run_key(config.key), context.registry
    clusterings = Clusterings(context.store, run_key)
    record = clusterings.find(run_key)
    if record is None and registry_config(registry, run_key, "clustering") is None:
        clusterings.get(run_key)  # which says what there is
    policy_of(registry, run_key)  # what cannot be used is not written over
    fields = config.refresh.model_dump(exclude={"name"}, exclude_unset=True)
    name: str = config.refresh.name
    document: str | Document = {name: fields} if fields else name
    otherwise = {"ops": {"clustering": {"config": record.config}}} if record else {}
    after = registry.with_policy(run_key, document, otherwise)
    return PolicyPlan(context, config, document, registry.run_text(run_key), after)


def run(plan: PolicyPlan) -> PolicyPlan:
    """Nothing is left to be computed."""
    return plan


def store(plan: PolicyPlan) -> Path:
    """Write the policy; returns the file.

    The mark comes first: after a crash before the file, which is then what it was, the policy
    counts as undone (:func:`panoptic_assets.spec.marks.put_back_by_hand`).
    """
    context, config = plan.context, plan.config
    if plan.after != plan.before:
        settle_policies(context)
        before = context.registry.policy(config.key)
        append_mark(
            context.store,
            "policy",
            config.key,
            config.author or context.author or system_user(),
            config.reason,
            dagster_run_id=context.dagster_run_id,
            content={
                "before": plan.before,
                "after": plan.after,
                "policies": [before, plan.document],
            },
        )
        context.registry.write_run(config.key, plan.after)
    return plan.path


def put_back(registry: Registry, mark: Mark, again: bool) -> None:
    """Make a run's file what it was before a policy was chosen, or after it.

    Where nobody has edited the file since, it becomes the same to the byte; else only the policy in
    it does.

    Args:
        registry: The file's.
        mark: Of the kind ``policy``.
        again: Whether it becomes what it was after.

    Raises:
        InputError: The file cannot be changed.
    """
    texts = mark.content.get("before"), mark.content.get("after")
    was, becomes = texts if again else texts[::-1]
    now = registry.run_text(mark.key)
    if now == was:
        registry.write_run(mark.key, becomes)
    elif now != becomes:
        policy = mark.content["policies"][1 if again else 0]
        if now is not None or policy != _IF_NOTHING_IS_SAID:
            registry.set_policy(mark.key, policy, {})
