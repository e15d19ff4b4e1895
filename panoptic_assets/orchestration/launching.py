"""Carrying acts out: Dagster runs that this process makes and executes itself.

Belongs here: what a run of ours is (its origin, its tags, what it says), and how it ends. Does not
belong here: what is run, and how an instance is opened (``orchestration.instance``).
"""

import logging
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from panoptic_assets.orchestration import insides
from panoptic_assets.orchestration.instance import HOST_TAG, Tell, instance_of, wait_for_pool
from panoptic_assets.spec.markdown import number_text
from panoptic_assets.spec.reporting import Reporter
from panoptic_assets.spec.resolution import Document

if TYPE_CHECKING:
    import dagster as dg

    from panoptic_assets.orchestration.acting import Acts, Plan

CODE_LOCATION = "panoptic_assets.definitions"
"""The module that a workspace names."""


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
        reporter: Is told what happens.
    """

    def __init__(self, home: Path, definitions: "dg.Definitions", acts: "Acts", reporter: Reporter):
        import dagster as dg

        self._home = home
        self._acts = acts
        self._reporter = reporter
        logger = dg.Definitions(loggers={"console": _plain_logger(reporter.tell)})
        self._definitions = dg.Definitions.merge(definitions, logger)

    def materialize(
        self,
        asset: str,
        partition: str | None = None,
        given: Document | None = None,
        plan: "Plan | None" = None,
        tags: Mapping[str, str] | None = None,
    ) -> Materialized:
        """Materialize an asset in a Dagster run of its own.

        Args:
            asset: Its name.
            partition: Its partition, which is made if it is new.
            given: Its configuration.
            plan: What was prepared of that.
            tags: Dagster tags of the run.

        Raises:
            InputError: It refuses.
            KeyboardInterrupt: It was interrupted; Dagster has recorded that.
        """
        import dagster as dg

        from panoptic_assets.orchestration.running import error_of

        job = self._definitions.resolve_implicit_global_asset_job_def()
        tags = {**(tags or {}), **({insides.PARTITION_TAG: partition} if partition else {})}
        with instance_of(self._home, self._reporter.tell, insides.NO_COMPUTE_LOGS) as instance:
            wait_for_pool(instance, self._reporter.tell)
            if partition is not None:
                definition = self._definitions.get_assets_def(asset).partitions_def
                assert isinstance(definition, dg.DynamicPartitionsDefinition)  # noqa: S101
                instance.add_dynamic_partitions(str(definition.name), [partition])
            started = time.monotonic()
            ops = {asset: {"config": given}} if given else {}
            try:
                result = self._execute(instance, job, ops, tags, asset, plan)
            except dg.Failure as failure:
                raise error_of(failure) from failure
        self._tell(asset, partition, result, time.monotonic() - started)
        [event] = result.asset_materializations_for_node(asset)
        return Materialized(
            result.run_id, {name: value.value for name, value in event.metadata.items()}
        )

    def run_op(self, job: str, op: str, given: Document) -> dict[str, Any]:
        """Run a job of one op; the metadata of its output, also of one that failed with some.

        Args:
            job: The job's name.
            op: Its op's.
            given: The op's configuration.

        Raises:
            InputError: It refuses.
        """
        import dagster as dg

        from panoptic_assets.orchestration.running import MESSAGE, error_of

        definition = self._definitions.resolve_job_def(job)
        with instance_of(self._home, self._reporter.tell, insides.NO_COMPUTE_LOGS) as instance:
            wait_for_pool(instance, self._reporter.tell)
            metadata: Mapping[str, Any]
            try:
                result = self._execute(instance, definition, {op: {"config": given}}, {})
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

    def _execute(
        self,
        instance: "dg.DagsterInstance",
        job: "dg.JobDefinition",
        ops: Document,
        tags: Mapping[str, str],
        asset: str | None = None,
        plan: "Plan | None" = None,
    ) -> "dg.JobExecutionResult":
        import dagster as dg

        run = insides.create_run(
            job,
            instance,
            CODE_LOCATION,
            {"loggers": {"console": {}}, "ops": ops},
            {
                HOST_TAG: socket.gethostname(),
                # Whoever started the command sees that it was killed, and starts it again.
                insides.MAX_RETRIES_TAG: "0",
                **tags,
            },
            None if asset is None else dg.AssetKey(asset),
        )
        if asset is not None and plan is not None:
            self._acts.hand(run.run_id, asset, plan)
        try:
            with redirect_stderr(cast("IO[str]", _WithoutLostEvents(sys.stderr))):
                return insides.execute_here(job, instance, run)
        except dg.DagsterExecutionInterruptedError as interruption:
            raise KeyboardInterrupt from interruption

    def _tell(self, name: str, partition: str | None, result: Any, seconds: float) -> None:
        def listed(metadata: Mapping[str, "dg.MetadataValue"]) -> str:
            return ", ".join(
                f"{key.removeprefix('nb_').replace('_', ' ')} {number_text(value.value)}"
                for key, value in metadata.items()
                # What did not occur is not worth a word, but for the images themselves.
                if isinstance(value.value, (int, float)) and (value.value or key == "nb_images")
            )

        [event] = result.asset_materializations_for_node(name)
        what = name if partition is None else f"{name} {partition}"
        self._reporter.tell(f"✓ {what}: {listed(event.metadata)} ({seconds:.1f} s)")
        for check in result.get_asset_check_evaluations():
            if not check.passed:
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
