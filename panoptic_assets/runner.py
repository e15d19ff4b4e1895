"""Materializing assets of one project on its Dagster instance, in this process.

Belongs here: what each act checks before it is done, and the runs that it starts. Does not belong
here: the commands, and how an instance is opened (``panoptic_assets.orchestration``).

Long because each act has its method, with the same checks before anything is started.
"""

import functools
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoptic_assets.orchestration.insides import NO_COMPUTE_LOGS
from panoptic_assets.orchestration.instance import (
    alone,
    execute,
    instance_of,
    instance_to_read,
    plain_logger,
    wait_for_pool,
    without_ui,
)
from panoptic_assets.spec.reporting import Reporter
from panoptic_assets.spec.resolution import parse
from panoptic_assets.spec.text import brief, counted
from resources.errors import InputError
from resources.project_folder import ProjectFolder, dagster_home

if TYPE_CHECKING:
    import dagster as dg

    from panoptic_assets.clustering.sweeps import Cell
    from panoptic_assets.clustering.table import Clusterings
    from panoptic_assets.proof.verification import Verifier
    from panoptic_assets.tags.exchange.formats import Mode
    from panoptic_assets.upkeep.forgetting import Forgotten, Target
    from panoptic_assets.upkeep.staleness import Judge
    from resources.lance import LanceStore
    from resources.source import ImageSource


class Runner:
    """Materializes assets of one project on its Dagster instance, in this process.

    Args:
        folder: The project.
        reporter: Takes what is said meanwhile.
        readers: Threads that read images; by default those of the source.
    """

    def __init__(self, folder: ProjectFolder, reporter: Reporter, readers: int | None = None):
        from resources.models import OpenClipModels
        from resources.registry import Registry
        from resources.report_folder import ReportFolder

        self.folder = folder
        self.reporter = reporter
        self.source_options = {} if readers is None else {"readers": readers}
        self.home = dagster_home(folder)
        self.store = open_store(folder)
        self.registry = Registry(folder=str(folder.folder))
        self.reports = ReportFolder(folder=str(folder.folder))
        self.reports.recover()
        self.models = OpenClipModels(folder=str(folder.folder))

    @functools.cached_property
    def definitions(self) -> "dg.Definitions":
        """The code location, of this project."""
        import dagster as dg

        from panoptic_assets.definitions import build_defs

        assembled = build_defs(
            source=self.source,
            store=self.store,
            models=self.models,
            registry=self.registry,
            reports=self.reports,
        )
        return dg.Definitions.merge(
            assembled, dg.Definitions(loggers={"console": plain_logger(self.reporter.tell)})
        )

    @property
    def source(self) -> "ImageSource":
        """The folder of images."""
        from resources.source import ImageSource

        settings = self.folder.settings
        return ImageSource(
            root=self.folder.images,
            include=settings.include,
            exclude=settings.exclude,
            storage_options=settings.images_options,
            **self.source_options,
        )

    @contextmanager
    def verifier(self, pixels: bool = True) -> "Iterator[Verifier]":
        """Verifies clusterings, with the event log of the project's Dagster instance for a witness.

        Args:
            pixels: Whether files are read.
        """
        from panoptic_assets.proof.assets import seals_in_log
        from panoptic_assets.proof.verification import Verifier

        with instance_to_read(self.home) as instance:
            yield Verifier(
                self.store,
                self.models,
                self.registry,
                self.source,
                self.reporter.tell,
                seals_in_log(instance),
                pixels,
            )

    def refresh(
        self,
        vector_types: list[str],
        given: dict[str, Any] | None = None,
        accept_missing: bool = False,
    ) -> None:
        """Read what is new, embed it, find its neighbours."""
        from panoptic_assets.features.table import vector_types as vector_types_of
        from panoptic_assets.spec.keys import parse_name
        from panoptic_assets.upkeep.forgetting import unfinished

        for vector_type in vector_types:
            self.registry.model(parse_name(vector_type, "vector type"))
        if unfinished(self.store):
            self.reporter.tell(
                "Forgetting an image was interrupted: `panoptic-assets forget` ends it.", "yellow"
            )
        self.materialize("images", None, {"accept_missing": True} if accept_missing else None)
        for vector_type in vector_types:
            self.materialize("embeddings", vector_type, given)
            if vector_type in vector_types_of(self.store):  # not, as long as there is no image
                self.materialize("neighbors", vector_type)

    def project(self, key: str, given: dict[str, Any]) -> None:
        """Compute the points of a projection."""
        from panoptic_assets.corpus.table import present_files
        from panoptic_assets.features.assets import resolve_projection
        from panoptic_assets.features.table import read_vectors
        from panoptic_assets.spec.keys import vector_type_of

        # Refused here, before Dagster stores a partition and a failed run.
        resolve_projection(key, given, self.store, self.registry)
        read_vectors(self.store, vector_type_of(key), present_files(self.store))
        self.materialize("projection", key, given)

    def divide_corpus(
        self, key: str, given: dict[str, Any], tags: dict[str, str] | None = None
    ) -> None:
        """Divide the corpus as a run, which gets some Dagster tags."""
        from panoptic_assets.clustering.dividing import resolve_clustering
        from panoptic_assets.clustering.selection import select

        # Refused here, before Dagster stores a partition and a failed run.
        config = resolve_clustering(key, given, self.clusterings(key), self.registry)
        select(key, config, self.store, self.registry, self.models, self.reporter.tell)
        self.materialize("clustering", key, given, tags)

    def sweep(self, key: str, cells: "list[Cell]") -> dict[str, str]:
        """Compute the runs of a sweep that are not current; for each that failed, why."""
        from panoptic_assets.upkeep.staleness import Judge

        failures = {}
        judge = Judge(self.store, self.registry)
        for number, cell in enumerate(cells, start=1):
            try:
                if self._is_current(cell, judge):
                    continue
                self.reporter.tell(f"{number} of {len(cells)}: {cell.key}")
                self.divide_corpus(cell.key, cell.config, {"panoptic/sweep": key})
            except InputError as error:
                self.reporter.tell(f"  {error}", "yellow")
                failures[cell.key] = str(error)
        return failures

    def _is_current(self, cell: "Cell", judge: "Judge") -> bool:
        """Whether a run has this configuration, and would have the same answer now."""
        from panoptic_assets.clustering.dividing import resolve_clustering
        from panoptic_assets.spec.resolution import identity_of

        config = resolve_clustering(cell.key, cell.config, judge.clusterings, self.registry)
        record = judge.clusterings.records.get(cell.key)
        if record is None or record.config != identity_of(config):
            return False
        if record.computed_id != record.record_id:  # a refresh assigned images to it
            return False
        return judge.clustering(cell.key).state == "up to date"

    def divide_node(self, key: str, given: dict[str, Any]) -> None:
        """Divide one cluster again."""
        from panoptic_assets.clustering.dividing import present_members, resolve_nested
        from panoptic_assets.spec.keys import parse_node

        clusterings = self.clusterings(key)
        present_members(parse_node(key), clusterings, self.store)
        resolve_nested(key, given, clusterings, self.registry)
        self.materialize("nested_clustering", key, given)

    def label(self, key: str, given: dict[str, Any]) -> None:
        """Name the clusters of a run's tree."""
        from panoptic_assets.labels.config import LabelsConfig, ZeroShot
        from panoptic_assets.labels.table import clusters_to_label
        from panoptic_assets.labels.vision_language import ask_for_labels
        from panoptic_assets.labels.zero_shot import find_encoder, read_vocabulary
        from resources.source import ImageSource

        # Refused here, before Dagster stores a failed run.
        config = parse(LabelsConfig, given)
        clusterings = self.clusterings(key)
        record = clusterings.get(key)
        if isinstance(config.method, ZeroShot):
            read_vocabulary(config.method, self.store, self.registry)
            find_encoder(
                config.method, record, self.store, self.registry, self.models, self.reporter.tell
            )
        else:
            clusters = clusters_to_label(clusterings, key, config.label_remainder)
            ask_for_labels(clusters, config.method, config.seed, self.store, ImageSource())
        self.materialize("cluster_labels", key, given)

    def save(self, key: str, given: dict[str, Any]) -> None:
        """Save a run's tree as tags, and replay the tag log."""
        self.clusterings(key).get(key)
        self.materialize("saved_clustering", key, given)
        self.materialize("tags")

    def report(self, key: str, given: dict[str, Any]) -> Path:
        """Write the report of a run; return its first page."""
        # Refused here, before Dagster stores a partition and a failed run.
        self.clusterings(key).get(key)
        self.materialize("clustering_report", key, given)
        return self.reports.path(f"runs/{key}") / "index.html"

    def edit(self, edits: list[Any], author: str | None, reason: str | None) -> None:
        """Change tags: all of the edits, or none."""
        from panoptic_assets.tags.assets import check_edits
        from panoptic_assets.tags.config import EditsConfig

        given = {"edits": edits, "author": author, "reason": reason}
        given = {name: value for name, value in given.items() if value is not None}
        # Refused here, before Dagster stores a failed run.
        config = parse(EditsConfig, given)
        check_edits(
            self.store, config, self.folder.images, lambda note: self.reporter.tell(note, "yellow")
        )
        self.materialize("tags", None, given)

    def tag(
        self,
        image_ids: list[str],
        tag: str,
        property_name: str | None,
        author: str | None,
        reason: str | None,
    ) -> None:
        """Give images a tag, which is made if it is missing."""
        from panoptic_assets.tags.edits import DEFAULT_PROPERTY, assigning
        from panoptic_assets.tags.table import read_log

        events = [entry.event for entry in read_log(self.store)]
        property_name = DEFAULT_PROPERTY if property_name is None else property_name
        self.edit(assigning(tag, image_ids, events, property_name), author, reason)

    def recommend(self, given: dict[str, Any]) -> None:
        """Compute which images could get which tags."""
        from panoptic_assets.corpus.table import present_files
        from panoptic_assets.features.table import read_vectors
        from panoptic_assets.spec.keys import parse_name
        from panoptic_assets.spec.tag_log import replay
        from panoptic_assets.tags.config import RecommendationsConfig
        from panoptic_assets.tags.table import properties_with_tags, read_log

        # Refused here, before Dagster stores a failed run.
        config = parse(RecommendationsConfig, given)
        replayed = replay([entry.event for entry in read_log(self.store)])
        properties_with_tags(replayed, config.property or None)
        vector_type = parse_name(
            config.vector_type or self.registry.default_vector_type, "vector type"
        )
        read_vectors(self.store, vector_type, present_files(self.store))
        self.materialize("tag_recommendations", None, given)

    def compare(self, given: dict[str, Any]) -> None:
        """Write the pages that compare runs."""
        from panoptic_assets.review.config import ComparisonConfig
        from panoptic_assets.review.sides import Sides, chosen_sides

        # Refused here, before Dagster stores a failed run.
        config = parse(ComparisonConfig, given)
        chosen_sides(Sides(self.store, config.depth), config.runs, config.against)
        self.materialize("run_comparison", None, given)

    def import_tags(
        self,
        file: Path,
        property_name: str | None,
        mode: "Mode",
        check: bool,
        author: str | None,
        reason: str | None,
    ) -> None:
        """Import tags from a file, or only say what that would change."""
        from panoptic_assets.tags.config import EditsConfig
        from panoptic_assets.tags.exchange.transfer import import_tags

        config = parse(EditsConfig, {"author": author or "", "reason": reason or ""})
        done = import_tags(self.store, file, config, self.folder.images, property_name, mode, check)
        for note in done.notes:
            self.reporter.tell(note, "yellow")
        if done.nb_unknown:
            more = ", …" if done.nb_unknown > len(done.unknown) else ""
            self.reporter.tell(
                f"Left out, since they are not in the corpus: {counted(done.nb_unknown, 'image')}:"
                f" {', '.join(done.unknown)}{more}",
                "yellow",
            )
        for change in done.changes:
            self.reporter.say(
                f"{change.property}: {counted(change.nb_new_tags, 'new tag')}, "
                f"{counted(change.nb_images, 'image')} {'would get' if check else 'got'} tags"
            )
        if not done.changes:
            self.reporter.say(f"The tags already are what {file} says.")
        if not check:
            self.materialize("tags")

    def forget(self, images: "list[Target]", author: str, reason: str) -> "list[Forgotten]":
        """Take images out of everything that is kept, and complete what was interrupted."""
        from panoptic_assets.orchestration import history
        from panoptic_assets.review.assets import list_reports
        from panoptic_assets.upkeep.forgetting import begin, complete

        with (
            without_ui(self.home),
            instance_of(self.home, self.reporter.tell, wait=False) as instance,
            alone(instance, self.reporter.tell),
        ):
            begin(self.store, self.folder.images, images, author, reason)
            return complete(
                self.store,
                self.folder,
                self.reports,
                lambda since, shows: history.clear(instance, since, shows),
                lambda: list_reports(self.store, self.reports),
                self.reporter.tell,
            )

    def clusterings(self, key: str) -> "Clusterings":
        """The clusterings of the run that a key belongs to."""
        from panoptic_assets.clustering.table import Clusterings
        from panoptic_assets.spec.keys import run_key_of

        return Clusterings(self.store, run_key_of(key))

    def clusterings_of_all(self) -> "Clusterings":
        """The clusterings of all runs."""
        from panoptic_assets.clustering.table import Clusterings

        return Clusterings(self.store)

    def materialize(
        self,
        asset: str,
        partition: str | None = None,
        given: dict[str, Any] | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        """Materialize an asset in a Dagster run of its own; raises InputError when it refuses."""
        import dagster as dg

        job = self.definitions.resolve_implicit_global_asset_job_def()
        with instance_of(self.home, self.reporter.tell, NO_COMPUTE_LOGS) as instance:
            wait_for_pool(instance, self.reporter.tell)
            if partition is not None:
                definition = self.definitions.get_assets_def(asset).partitions_def
                assert isinstance(definition, dg.DynamicPartitionsDefinition)  # noqa: S101
                instance.add_dynamic_partitions(str(definition.name), [partition])
            started = time.monotonic()
            try:
                result = execute(
                    job,
                    instance,
                    {asset: {"config": given}} if given else {},
                    tags,
                    asset_selection=[dg.AssetKey(asset)],
                    partition_key=partition,
                )
            except dg.Failure as failure:
                raise InputError(failure.description or "The run failed.") from failure
        self._report(asset, partition, result, time.monotonic() - started)

    def backfill(self, given: dict[str, Any]) -> dict[str, Any]:
        """Apply refresh policies; what became of the runs, as ``assets.refresh.summary`` says."""
        import dagster as dg

        from panoptic_assets.upkeep.config import BackfillConfig

        # Refused here, before Dagster stores a failed run.
        config = parse(BackfillConfig, given)
        for key in config.keys:
            self.clusterings(key).get(key)
        job = self.definitions.resolve_job_def("backfill_runs")
        with instance_of(self.home, self.reporter.tell, NO_COMPUTE_LOGS) as instance:
            wait_for_pool(instance, self.reporter.tell)
            try:
                result = execute(job, instance, {"backfill": {"config": given}})
            except dg.Failure as failure:
                if "results" not in failure.metadata:
                    raise InputError(failure.description or "The run failed.") from failure
                metadata: Any = failure.metadata
            else:
                [output] = [
                    event.step_output_data
                    for event in result.events_for_node("backfill")
                    if event.is_successful_output
                ]
                metadata = output.metadata
        return {name: value.value for name, value in metadata.items()}

    def _report(self, name: str, partition: str | None, result: Any, seconds: float) -> None:
        from panoptic_assets.spec.markdown import number_text

        def listed(metadata: Mapping[str, "dg.MetadataValue"]) -> str:
            return ", ".join(
                f"{key.removeprefix('nb_').replace('_', ' ')} {number_text(value.value)}"
                for key, value in metadata.items()
                # What did not occur is not worth a word, but for the images themselves.
                if isinstance(value.value, (int, float)) and (value.value or key == "nb_images")
            )

        [event] = result.asset_materializations_for_node(name)
        what = name if partition is None else f"{name} {partition}"
        self.reporter.tell(f"✓ {what}: {listed(event.metadata)} ({seconds:.1f} s)")
        for check in result.get_asset_check_evaluations():
            if not check.passed:
                style = "yellow" if check.severity.value == "WARN" else "red"
                found = listed(check.metadata) or "see the Dagster UI"
                self.reporter.tell(
                    f"  Check {check.check_name} failed: {found}. {check.description}", style
                )


def open_store(project: ProjectFolder) -> "LanceStore":
    """The project's store, opened once to see that it can be.

    Raises:
        InputError: It cannot be.
    """
    from resources.lance import LanceStore

    store = LanceStore(uri=project.store, storage_options=project.settings.storage_options)
    try:
        store.tables()
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's own; without a number, Lance's words for a bad URI or no network
        raise InputError(
            f"The store {project.store} cannot be opened: check `store` and `storage_options` in "
            f"{project.settings_file}, the network, and the secrets in the environment. (LanceDB "
            f"says: {brief(str(error))})"
        ) from error
    return store
