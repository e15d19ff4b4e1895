"""Carrying acts out: Dagster runs that this process makes and executes itself.

Belongs here: what a run of ours is (its origin, its tags, what it says), and how it ends. Does not
belong here: what is run, and how an instance is opened (``orchestration.instance``).
"""

import logging
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from panoptic_assets.orchestration import insides
from panoptic_assets.orchestration.instance import (
    HOST_TAG,
    WORKER_TAG,
    Tell,
    instance_of,
    plain_database_faults,
    wait_for_pool,
)
from panoptic_assets.spec.markdown import number_text
from panoptic_assets.spec.reporting import Reporter
from panoptic_assets.spec.resolution import Document

if TYPE_CHECKING:
    import dagster as dg

    from panoptic_assets.orchestration.acting import Acts, Check, Plan

CODE_LOCATION = "panoptic_assets.definitions"
"""The module that a workspace names."""

_ALWAYS_TOLD = ("nb_images", "nb_lines")
"""Numbers that are told though they are 0."""
_TOLD_TEXTS = ("columns",)
"""Texts that are told beside the numbers."""


@dataclass(frozen=True)
class Materialized:
    """What a Dagster run has made."""

    run_id: str
    metadata: dict[str, Any]
    """What Dagster shows of it, as plain values."""


class Launcher:
    """Makes Dagster runs of a project's assets and jobs, and executes them in this process.

    Args:
        home: The folder of the Dagster instance.
        definitions: The code location.
        acts: Takes plans to their runs.
        reporter: Is told what happens; where it has a method ``accepted``, the ids of runs too.
        instance: The instance, where this process keeps it open and lets one act come after the
            other; by default it is opened for each, and others are waited for.
    """

    def __init__(
        self,
        home: Path,
        definitions: "dg.Definitions",
        acts: "Acts",
        reporter: Reporter,
        instance: "dg.DagsterInstance | None" = None,
    ):
        import dagster as dg

        self._home = home
        self._acts = acts
        self._reporter = reporter
        self._instance = instance
        self._whose = HOST_TAG if instance is None else WORKER_TAG
        self._subsets: dict[str, dg.JobDefinition] = {}
        logger = dg.Definitions(loggers={"console": _plain_logger(reporter.tell)})
        self._definitions = dg.Definitions.merge(definitions, logger)

    def materialize(
        self,
        asset: str,
        partition: str | None = None,
        given: Document | None = None,
        plan: "Plan | None" = None,
        tags: Mapping[str, str] | None = None,
        check: "Check" = lambda store: None,
    ) -> Materialized:
        """Materialize an asset in a Dagster run of its own.

        Args:
            asset: Its name.
            partition: Its partition, which is made if it is new.
            given: Its configuration.
            plan: What was prepared of that.
            tags: Dagster tags of the run.
            check: As of :meth:`panoptic_assets.orchestration.acting.Acts.hand`.

        Raises:
            InputError: It refuses.
            KeyboardInterrupt: It was interrupted; Dagster has recorded that.
        """
        import dagster as dg

        from panoptic_assets.orchestration.running import error_of

        tags = {**(tags or {}), **({insides.PARTITION_TAG: partition} if partition else {})}
        with self._opened(self.pool_of(asset)) as instance:
            if partition is not None:
                definition = self._definitions.get_assets_def(asset).partitions_def
                assert isinstance(definition, dg.DynamicPartitionsDefinition)  # noqa: S101
                instance.add_dynamic_partitions(str(definition.name), [partition])
            started = time.monotonic()
            ops = {asset: {"config": given}} if given else {}
            run = self._created(instance, self._subset(asset), ops, tags, asset)
            try:
                result = self.execute(instance, self._subset(asset), run, plan, asset, check)
            except dg.Failure as failure:
                raise error_of(failure) from failure
        self._tell(asset, partition, result, time.monotonic() - started)
        [event] = result.asset_materializations_for_node(asset)
        return Materialized(
            result.run_id, {name: value.value for name, value in event.metadata.items()}
        )

    def run_op(
        self, job: str, op: str, given: Document, tags: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Run a job of one op; the metadata of its output, also of one that failed with some.

        Args:
            job: The job's name.
            op: Its op's.
            given: The op's configuration.
            tags: Dagster tags of the run.

        Raises:
            InputError: It refuses.
        """
        import dagster as dg

        from panoptic_assets.orchestration.running import MESSAGE, error_of

        definition = self._definitions.resolve_job_def(job)
        with self._opened(self.pool_of_job(job)) as instance:
            metadata: Mapping[str, Any]
            run = self._created(instance, definition, {op: {"config": given}}, tags or {})
            try:
                result = self.execute(instance, definition, run)
            except dg.Failure as failure:
                metadata = {k: v for k, v in failure.metadata.items() if k != MESSAGE}
                if not metadata:
                    raise error_of(failure) from failure
            else:
                [output] = [
                    event.step_output_data
                    for event in result.events_for_node(op)
                    if event.is_successful_output
                ]
                metadata = output.metadata
        return {name: value.value for name, value in metadata.items()}

    def pool_of(self, asset: str) -> str | None:
        """The pool that an asset takes a slot of."""
        return self._definitions.get_assets_def(asset).op.pool

    def pool_of_job(self, job: str) -> str | None:
        """The pool that a job of one op takes a slot of."""
        [node] = self._definitions.resolve_job_def(job).nodes
        return getattr(node.definition, "pool", None)

    def job_of(self, run: "dg.DagsterRun") -> "dg.JobDefinition":
        """The whole job of a Dagster run that was created elsewhere.

        Raises:
            dagster.DagsterError: There is none of that name.
        """
        everything = self._definitions.resolve_implicit_global_asset_job_def()
        if run.job_name == everything.name:
            return everything
        return self._definitions.resolve_job_def(run.job_name)

    def assets_of(self, run: "dg.DagsterRun") -> list[str]:
        """The assets that a Dagster run materializes; none where it does something else, too."""
        import dagster as dg

        if run.asset_check_selection and not run.asset_selection:
            return []
        selected: Iterable[dg.AssetKey] | None = run.asset_selection
        if selected is None:
            with suppress(dg.DagsterError):
                selected = self.job_of(run).asset_layer.executable_asset_keys
        return sorted(key.path[-1] for key in selected or ())

    def prepare_jobs(self, assets: Iterable[str]) -> None:
        """Make what the first act of some assets would have to make."""
        for asset in assets:
            self._subset(asset)

    def execute(
        self,
        instance: "dg.DagsterInstance",
        job: "dg.JobDefinition",
        run: "dg.DagsterRun",
        plan: "Plan | None" = None,
        asset: str | None = None,
        check: "Check" = lambda store: None,
        raises: bool = True,
    ) -> "dg.JobExecutionResult":
        """Execute a Dagster run in this process.

        Args:
            instance: Where it is recorded.
            job: Its job.
            run: The run, not started.
            plan: What was prepared of it, for its asset.
            asset: That asset.
            check: As of :meth:`panoptic_assets.orchestration.acting.Acts.hand`.
            raises: Whether what its steps raise comes through.

        Raises:
            KeyboardInterrupt: It was interrupted; Dagster has recorded that.
        """
        import dagster as dg

        if plan is not None and asset is not None:
            self._acts.hand(run.run_id, asset, plan, check)
        try:
            with redirect_stderr(cast("IO[str]", _WithoutLostEvents(sys.stderr))):
                return insides.execute_here(job, instance, run, raises)
        except dg.DagsterExecutionInterruptedError as interruption:
            raise KeyboardInterrupt from interruption
        finally:
            self._acts.drop(run.run_id)

    @contextmanager
    def _opened(self, pool: str | None) -> "Iterator[dg.DagsterInstance]":
        if self._instance is not None:
            with plain_database_faults(self._home):
                yield self._instance
            return
        tell = self._reporter.tell
        with instance_of(self._home, tell, insides.NO_COMPUTE_LOGS) as instance:
            if pool is not None:
                wait_for_pool(instance, tell, pool)
            yield instance

    def _subset(self, asset: str) -> "dg.JobDefinition":
        """The job of one asset, with its checks; made once, which takes a fifth of a small run."""
        import dagster as dg

        if asset not in self._subsets:
            job = self._definitions.resolve_implicit_global_asset_job_def()
            self._subsets[asset] = job.get_subset(asset_selection={dg.AssetKey(asset)})
        return self._subsets[asset]

    def _created(
        self,
        instance: "dg.DagsterInstance",
        job: "dg.JobDefinition",
        ops: Document,
        tags: Mapping[str, str],
        asset: str | None = None,
    ) -> "dg.DagsterRun":
        import dagster as dg

        run = insides.create_run(
            job,
            instance,
            CODE_LOCATION,
            {"loggers": {"console": {}}, "ops": ops},
            {
                self._whose: socket.gethostname(),
                # Whoever asked for it sees that it was killed, and starts it again.
                insides.MAX_RETRIES_TAG: "0",
                **tags,
            },
            None if asset is None else dg.AssetKey(asset),
        )
        if accepted := getattr(self._reporter, "accepted", None):
            accepted(run.run_id)
        return run

    def _tell(self, name: str, partition: str | None, result: Any, seconds: float) -> None:
        def listed(metadata: Mapping[str, "dg.MetadataValue"]) -> str:
            told: list[str] = []
            for key, given in metadata.items():
                value, name = given.value, key.removeprefix("nb_").replace("_", " ")
                if key in _TOLD_TEXTS:
                    told.append(f"{name} {value}")
                # What did not occur is not worth a word, but for what there was to be read.
                elif isinstance(value, (int, float)) and (value or key in _ALWAYS_TOLD):
                    told.append(f"{name} {number_text(value)}")
            return ", ".join(told)

        [event] = result.asset_materializations_for_node(name)
        what = name if partition is None else f"{name} {partition}"
        failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
        mark = "!" if any(check.severity.value == "ERROR" for check in failed) else "✓"
        self._reporter.tell(f"{mark} {what}: {listed(event.metadata)} ({seconds:.1f} s)")
        for check in failed:
            style = "yellow" if check.severity.value == "WARN" else "red"
            found = listed(check.metadata) or "see the Dagster UI"
            self._reporter.tell(
                f"  Check {check.check_name} failed ({found}). It asks: {check.description}",
                style,
            )


class _WithoutLostEvents:
    """A stream without events that Dagster could not store: it writes them there with their SQL.

    That it could not is raised as well, and said in one line.
    """

    def __init__(self, stream: IO[str]):
        self._stream = stream

    def write(self, text: str) -> int:
        if text.startswith(insides.LOST_EVENT):
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _plain_logger(tell: Tell) -> "dg.LoggerDefinition":
    """What assets say while they run, without Dagster's own events: those are in the UI."""
    import dagster as dg

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            meta = getattr(record, "dagster_meta", {})
            if meta.get("dagster_event") is None:
                tell(f"  {meta.get('orig_message', record.getMessage())}")

    def build(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("panoptic_assets", logging.INFO)
        logger.addHandler(Handler())
        return logger

    return dg.LoggerDefinition(build)
