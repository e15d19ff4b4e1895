"""What every act works with, and how an asset comes by the plan of it.

Belongs here: the context of acts, the handing over of a plan that was made in this process, and how
much of what an act makes is committed at once. Does not belong here: what any act does: each has
``prepare``, ``run`` and ``store`` in its room.

An act is prepared (its request is resolved, what it names is looked up, and it is refused if it
cannot be done: that only reads), run (which computes), and stored. Its asset does the three, one
after the other. Whoever launches the asset prepares the act as well, to refuse before Dagster knows
of it; in one process the asset then takes up that plan, unless somebody has written meanwhile to a
table that it rests on.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from panoptic_assets.spec.reporting import Reporter, Silent
from panoptic_assets.spec.resolution import Document, given_config
from resources.snapshot import Snapshot

if TYPE_CHECKING:
    import dagster as dg

    from resources.engine import Engine
    from resources.lance import LanceStore
    from resources.models import OpenClipModels
    from resources.registry import Registry
    from resources.report_folder import ReportFolder
    from resources.source import ImageSource

_COMMIT_ROWS = 4096
_COMMIT_SECONDS = 30.0
"""A commit costs some 50 ms and a fragment; a crash costs what was not committed."""

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """What an act works with."""

    store: "LanceStore"
    registry: "Registry"
    models: "OpenClipModels"
    source: "ImageSource"
    engine: "Engine"
    reports: "ReportFolder"
    reporter: Reporter = field(default_factory=Silent)
    dagster_run_id: str = ""
    """The Dagster run that carries the act out; empty while it is only prepared."""
    author: str = ""
    """Who acts, by the tag of that run; empty if nobody is told."""

    def now(self) -> "Context":
        """The same, with the store as it is from now on."""
        return replace(self, store=Snapshot.of(self.store))


class Plan(Protocol):
    """A request that was resolved and checked, before anything is computed."""

    @property
    def context(self) -> Context:
        """What it was prepared with."""


PlanT = TypeVar("PlanT", bound=Plan)
Prepare = Callable[[Context, str, Document], PlanT]
"""Resolves what was given for a key, selects, checks; only reads.

Raises InputError: It cannot be done.
"""
Check = Callable[["LanceStore"], None]


class Acts:
    """The acts of one process: their context, and the plans that wait for their Dagster runs.

    Args:
        context: What they work with.
    """

    def __init__(self, context: Context):
        self.context = context
        self._waiting: dict[tuple[str, str], tuple[Plan, Check]] = {}
        self._last: tuple[str, Context] | None = None

    def hand(
        self, run_id: str, asset: str, plan: Plan, check: "Check" = lambda store: None
    ) -> None:
        """Keep a plan for the Dagster run that carries it out.

        Args:
            run_id: The run.
            asset: Which of its assets.
            plan: The plan.
            check: Called with the store where the plan must be made anew, since somebody has
                written meanwhile: raises InputError if what it rests on is another one.
        """
        self._waiting[run_id, asset] = plan, check

    def drop(self, run_id: str) -> None:
        """Forget the plans of a Dagster run that is over."""
        for key in [key for key in self._waiting if key[0] == run_id]:
            del self._waiting[key]

    def plan(
        self,
        dagster: "dg.AssetExecutionContext",
        prepare: Prepare[PlanT],
        beside: Document | None = None,
    ) -> PlanT:
        """The plan of a Dagster run's asset: the one that waits for it, or one that is made now.

        Args:
            dagster: The run's context.
            prepare: Makes it.
            beside: Configuration below what the run was given.

        Raises:
            InputError: The act cannot be done.
        """
        from panoptic_assets.orchestration.running import partition_of

        asset = dagster.asset_key.path[-1]
        given: Mapping[str, Any] = (beside or {}) | given_config(dagster.run.run_config, asset)
        return self.plan_of(dagster, asset, partition_of(dagster), dict(given), prepare)

    def plan_of(
        self,
        dagster: "dg.OpExecutionContext | dg.AssetExecutionContext",
        asset: str,
        key: str,
        given: Document,
        prepare: Prepare[PlanT],
    ) -> PlanT:
        """The same for an op that does what an asset does.

        Args:
            dagster: The run's context.
            asset: The asset.
            key: The key, checked.
            given: What was given for it.
            prepare: Makes the plan.

        Raises:
            InputError: The act cannot be done.
        """
        waiting: Any
        waiting, check = self._waiting.pop((dagster.run_id, asset), (None, None))
        if waiting is not None and waiting.context.store.is_current():
            mine = self._within(dagster, waiting.context)
            found: PlanT = replace(waiting, context=mine)
            self._last = dagster.run_id, mine
            return found
        context = self.context_of(dagster)
        self._last = dagster.run_id, context
        if check is not None:
            check(context.store)
        return prepare(context, key, given)

    def context_of(self, dagster: "dg.OpExecutionContext | dg.AssetExecutionContext") -> Context:
        """What an op, or an asset, of a Dagster run works with: the store as it is from now on.

        Args:
            dagster: The run's context.
        """
        return self._within(dagster, self.context).now()

    def _within(
        self, dagster: "dg.OpExecutionContext | dg.AssetExecutionContext", context: Context
    ) -> Context:
        from panoptic_assets.orchestration.instance import AUTHOR_TAG
        from panoptic_assets.orchestration.running import LogReporter

        watched = None if isinstance(self.context.reporter, Silent) else self.context.reporter
        return replace(
            context,
            reporter=LogReporter(dagster, watched),
            dagster_run_id=dagster.run_id,
            author=dagster.run.tags.get(AUTHOR_TAG, ""),
        )

    def context_after(self, run_id: str) -> Context:
        """For what follows an act in its Dagster run: what the act read is not read again.

        Args:
            run_id: The Dagster run.
        """
        if self._last is not None and self._last[0] == run_id:
            store: Any = self._last[1].store
            if store.is_current():
                return self._last[1]
        return self.context.now()


def commits(items: Iterable[T], rows: Callable[[T], int] = lambda _: 1) -> Iterator[list[T]]:
    """Group what to commit at once: 4,096 rows or more, or what came in 30 seconds.

    Args:
        items: What is made, as it comes.
        rows: How many rows an item has; one by default.
    """
    group: list[T] = []
    count, since = 0, time.monotonic()
    for item in items:
        group.append(item)
        count += rows(item)
        if count >= _COMMIT_ROWS or time.monotonic() - since >= _COMMIT_SECONDS:
            yield group
            group, count, since = [], 0, time.monotonic()
    if group:
        yield group
