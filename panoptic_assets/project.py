"""The Python door: ``Project().cluster("greek")``, ``Project().run_info("greek")``.

Belongs here: reading a project as plain dictionaries and Arrow tables, and its acts, each of which
is a Dagster run on the project's instance. Does not belong here: what acts do and refuse, which
their rooms say, and printing.

Long because it is one class, whose every method is a door; what they do is said in the rooms.

Rooms are imported in the methods that need them: a command that reads one table loads what that
table needs, and neither Dagster nor a model's library.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from panoptic_assets.corpus import versions
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.spec.keys import (
    parse_clustering,
    parse_name,
    parse_node,
    parse_projection,
    parse_run_key,
    run_key_of,
)
from panoptic_assets.spec.reporting import Callbacks, Reporter
from panoptic_assets.spec.text import brief
from resources.errors import InputError, message, text_of
from resources.lance import LanceStore, quoted
from resources.project_folder import ProjectFolder, dagster_home, find
from resources.schemas import SCHEMAS, points_table, vectors_table
from resources.snapshot import Snapshot

_SECONDS_FOR_WORKER = 30.0
"""How long the web server waits for a worker that is just replaced."""

_FOUND = pa.schema([("image_id", pa.string()), ("path", pa.string()), ("similarity", pa.float64())])
_PROPOSALS = pa.schema(
    [
        *((name, pa.string()) for name in ("property", "tag_id", "tag", "image_id", "path")),
        ("rank", pa.int32()),
        ("score", pa.float64()),
        ("margin", pa.float64()),
        ("tagged", pa.bool_()),
        ("vector_type", pa.string()),
    ]
)

if TYPE_CHECKING:
    import dagster as dg

    from panoptic_assets.clustering import quality, scope_images, sweeps
    from panoptic_assets.clustering import table as clustering_tables
    from panoptic_assets.clustering.config import Scope
    from panoptic_assets.clustering.search import Report
    from panoptic_assets.clustering.selection import Selection
    from panoptic_assets.orchestration.launching import Launcher, Materialized
    from panoptic_assets.orchestration.worker_link import Errand, Message
    from panoptic_assets.proof.verification import Verifier
    from panoptic_assets.review import comparisons
    from panoptic_assets.spec.resolution import Document
    from panoptic_assets.spec.tag_log import TagTables
    from panoptic_assets.tags.edits import Edit
    from panoptic_assets.tags.exchange.fiftyone_import import FiftyOneImported
    from panoptic_assets.tags.exchange.formats import Mode
    from panoptic_assets.tags.exchange.panoptic_import import PanopticImported
    from panoptic_assets.tags.exchange.picture_export import PictureSize
    from panoptic_assets.tags.exchange.transfer import Exported, Format, Imported
    from panoptic_assets.upkeep.config import BackfillConfig
    from panoptic_assets.upkeep.forgetting import Forgotten
    from resources.registry import Registry


class Project:
    """One project: what it holds, and the acts that change it.

    Acts are ordinary Dagster runs on the project's instance, executed in this process, or in the
    warm worker while `panoptic-assets ui` runs: the Dagster UI shows them, with their
    configuration, and can do them again. An act is refused, by InputError, before Dagster knows of
    it. Nothing is printed.

    Args:
        folder: The project's folder; by default the one that ``$PANOPTIC_PROJECT`` names or the
            working directory lies in.
        report: Called with each line that acts have to say meanwhile.
        progress: Called with a word for what is being done, how much is done and how much there is.
        reporter: In place of the two; where it has a method ``accepted``, that is called with the
            empty text when an act was prepared, and then with the id of its Dagster run.
        readers: Threads that read images; by default those of the source.
        author: Who acts; by default the user of the system.
        seen: Versions of what the acts rest on (see :func:`panoptic_assets.acts.seen`): the first
            act is refused if one has changed.
        worker: Which acts the warm worker carries out where `panoptic-assets ui` has started it:
            ``quick`` ones, ``all``, of which it gives long ones to processes of their own, or
            ``none``. What it does not is carried out in this process.

    Raises:
        InputError: There is no project there, or its store cannot be opened.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        report: Callable[[str], object] | None = None,
        progress: Callable[[str, int, int], object] | None = None,
        reporter: Reporter | None = None,
        readers: int | None = None,
        author: str | None = None,
        seen: Mapping[str, str | None] | None = None,
        worker: Literal["quick", "all", "none"] = "quick",
    ):
        self._project = find(Path(folder) if folder else None)
        self._opened = self._store = open_store(self._project)
        self._reporter = reporter or Callbacks(report, progress)
        self._readers = {} if readers is None else {"readers": readers}
        self._author = author
        self._seen = dict(seen or {})
        self._worker = worker
        self._errand: Errand | None = None
        self._cancelled = False

    @property
    def folder(self) -> Path:
        """The project's folder."""
        return self._project.folder

    @property
    def layout(self) -> ProjectFolder:
        """Where the project's parts are, and its settings."""
        return self._project

    @property
    def store(self) -> LanceStore:
        """The project's tables; of a snapshot, as they are in it."""
        return self._store

    @functools.cached_property
    def registry(self) -> Registry:
        """The files of ``configs``."""
        from resources.registry import Registry

        return Registry(folder=str(self.folder))

    @functools.cached_property
    def context(self) -> Context:
        """What the project's acts work with."""
        from resources.engine import LocalEngine
        from resources.models import OpenClipModels
        from resources.report_folder import ReportFolder
        from resources.source import ImageSource

        folder, settings = str(self.folder), self._project.settings
        return Context(
            store=self._opened,
            registry=self.registry,
            models=OpenClipModels(folder=folder),
            source=ImageSource(
                root=self._project.images,
                include=settings.include,
                exclude=settings.exclude,
                exclude_leftovers=settings.exclude_leftovers,
                storage_options=settings.images_options,
                cache=str(self._project.downloads),
                **self._readers,
            ),
            engine=LocalEngine(),
            reports=ReportFolder(folder=folder),
            reporter=self._reporter,
        )

    def snapshot(self) -> Self:
        """The project as it is from now on, whose tables are each read once.

        For several readings in a row, which so are of one moment. Acts of it act on the project.
        """
        found = copy.copy(self)
        found._store = Snapshot.of(self._store)
        return found

    def runs(
        self, run_key: str | None = None, report: Report | None = None
    ) -> list[dict[str, Any]]:
        """Every run and every clustering of a cluster: one dictionary each, by key.

        Those are left out whose record cannot be read: a newer version wrote it, or it was changed.

        Args:
            run_key: Only this run, with all that is divided below it; all by default.
            report: Called with a sentence for each of those that are left out.
        """
        from panoptic_assets.clustering import table as clustering_tables

        clusterings = clustering_tables.Clusterings(self._store, run_key)
        if report is not None:
            for key, unreadable in clusterings.unreadable.items():
                report(f"{key} is left out: {unreadable.text}")
        return [
            {
                "key": record.key,
                "run_key": record.run_key,
                "status": clusterings.status(record.key),
                "method": next(iter(record.config["method"])),
                "features": record.config["features"],
                "nb_images": record.counts.clustered + record.counts.remainder,
                "nb_clusters": record.nb_clusters,
                "remainder": record.counts.remainder,
                "revision": record.revision,
                "finished_at": record.finished_at,
            }
            for record in clusterings.records.values()
        ]

    def run_info(self, key: str) -> dict[str, Any]:
        """Everything that is recorded of a run, or of the clustering of a cluster (``greek/3``).

        And its status, its data version, and the refresh policy of its run, with its limits.

        Raises:
            InputError: There is none of that key, or the policy in its run's file cannot be used.
        """
        from panoptic_assets.clustering.policies import policy_document, policy_of
        from resources.registry import Registry

        clusterings = self._clusterings(key)
        record = clusterings.get(key)
        policy = policy_of(Registry(folder=str(self.folder)), record.run_key)
        return record.model_dump() | {
            "record_id": record.record_id,
            "algorithm": record.algorithm,
            "status": clusterings.status(record.key),
            "data_version": record.data_version,
            "policy": policy_document(policy),
        }

    def status(self, *keys: str) -> dict[str, Any]:
        """The corpus, and whether each clustering, label set and saved property is up to date.

        Holds:

        - corpus: version (number), sha256, changed_at (of its newest version; None before the
          first), nb_images, nb_files, nb_missing, nb_quarantined (files), and not_embedded: for
          each vector type in use, how many images lack a vector;
        - left_out: what the last refresh left out of the images' folder, by kind: why, files and
          folders (how many), extensions (of the files, how many each) and first (paths);
        - questions: what a refresh asks until somebody answers, see
          :meth:`refresh`: kind (``files`` or ``values`` of the inventory, that are missing), text,
          message, and asked_at;
        - inventory: None where there is none; else file (whose values images have, and whose all
          figures are), unread (the inventory that is not read as it stands; empty), taken_at (when
          the values that images have were read; None: never), nb_lines, nb_properties, nb_values,
          nb_unmatched (lines that name no single file of the corpus), unmatched (the first of them:
          line, name and nearest, the file whose name looks most like it), nb_findings (what was
          left out or read otherwise than it is written), nb_left_out and left_out (cells, by
          column), nb_undated (cells that say that there is no date), nb_causes and findings (of
          one column with one cause, the most frequent first: column, cause, count, and the first:
          line and value), problem (why it is not read as it stands; empty) and message (that the
          problem is of);
        - staleness, stale ones first: what (``clustering``, ``labels`` or ``property``), key,
          run_key, state (``up to date``, ``stale``, or ``unknown`` if a model would have to be
          loaded to tell), text, and reasons: kind, count and text of each, and the message that
          the text is of.

        Args:
            keys: Run keys, each for all that belongs to the run, nodes (``greek/3``), or saved
                properties as ``property:NAME``; by default everything.

        Raises:
            InputError: There is none of that key.
        """
        from panoptic_assets.corpus.accounting import KINDS, read_left_out
        from panoptic_assets.corpus.inventory_state import read_state
        from panoptic_assets.corpus.open_questions import open_questions
        from panoptic_assets.upkeep import reasons as core_staleness
        from panoptic_assets.upkeep import staleness
        from resources.registry import Registry

        registry = Registry(folder=str(self.folder))
        corpus = staleness.corpus_state(self._store, registry.default_vector_type)
        found = staleness.Judge(self._store, registry).all()
        if keys:
            found = staleness.named_by(found, keys)
        version = corpus.version
        inventory = read_state(self._store)
        return {
            "corpus": {
                "version": version.number if version else None,
                "sha256": version.sha256 if version else None,
                "changed_at": version.at if version else None,
                **{name: value for name, value in vars(corpus).items() if name != "version"},
            },
            "left_out": {
                kind: {"why": KINDS[kind], **vars(found)}
                for kind, found in read_left_out(self._store).items()
            },
            "questions": [
                {
                    "kind": asked.kind,
                    "text": asked.text,
                    "message": asked.message,
                    "answer": asked.answer,
                    "asked_at": asked.asked_at,
                }
                for asked in open_questions(self._store)
            ],
            "inventory": None if inventory is None else inventory.described(),
            "staleness": [
                {
                    "what": judged.what,
                    "key": judged.key,
                    "run_key": judged.run_key,
                    "state": judged.state,
                    "text": judged.text,
                    "reasons": [
                        {
                            "kind": reason.kind,
                            "count": reason.count,
                            "text": reason.text,
                            "message": reason.said,
                        }
                        for reason in judged.reasons
                    ],
                }
                for judged in core_staleness.most_urgent_first(found)
            ],
        }

    def corpus_versions(self) -> list[dict[str, Any]]:
        """Every corpus version, the oldest first.

        Each has number (from 1), sha256, at, dagster_run_id, nb_images, nb_files, nb_missing,
        nb_quarantined (files), and changes: how many files were added, changed, moved, … since the
        version before.
        """
        return [version.model_dump() for version in versions.versions(self._store)]

    def corpus_diff(self, old: str | None = None, new: str = versions.LATEST) -> dict[str, Any]:
        """What became of the files between two corpus versions.

        Holds old and new (as of :meth:`corpus_versions`; number 0 is the empty corpus), and
        changes: added, changed, returned, duplicate and missing are lists of paths, moved of pairs
        of paths, quarantined of paths with the reason; see
        :class:`panoptic_assets.corpus.manifest.Changes`.

        Args:
            old: A number, ``latest``, the first 8 or more characters of a hash, or a date such as
                2026-11-20: the corpus at the end of that day. By default the version before
                ``new``.
            new: The same.

        Raises:
            InputError: There is no such version.
        """
        found = versions.diff(self._store, old, new)
        return {
            "old": found.old.model_dump(),
            "new": found.new.model_dump(),
            "changes": dict(vars(found.changes)),
        }

    def sweep(self, key: str) -> list[dict[str, Any]]:
        """The runs of a sweep and their answers, one dictionary each, in the sweep's order.

        See :func:`panoptic_assets.clustering.sweeps.row` for what they hold.

        Raises:
            InputError: There is no such sweep.
        """
        return self._rows(self.cells(key), {})

    def cells(self, key: str) -> list[sweeps.Cell]:
        """What each run of a sweep is, in the sweep's order.

        Raises:
            InputError: There is no such sweep.
        """
        from panoptic_assets.clustering import sweeps

        parse_run_key(key)
        described = self.registry.sweep(key)
        return sweeps.cells(key, sweeps.parse_sweep(described, f"configs/sweeps/{key}.yaml"))

    def _rows(self, cells: list[sweeps.Cell], failures: Mapping[str, str]) -> list[dict[str, Any]]:
        from panoptic_assets.clustering import sweeps
        from panoptic_assets.clustering import table as clustering_tables

        known = clustering_tables.Clusterings(self._store).records
        return [sweeps.row(cell, known.get(cell.key), failures.get(cell.key)) for cell in cells]

    def compare(self, a: str, b: str, depth: int = 1) -> dict[str, Any]:
        """Two runs side by side, or a run and what is known of the images.

        What is compared is a run (``greek``), a divided node (``greek/3``), ``property:NAME`` for
        the tags that images have, or ``folders``. Holds:

        - a, b: key, kind, record_id, status, nb_images, nb_clusters, nb_remainder, notes, and
          quality (of the record; None for tags and folders);
        - nb_common, nb_only_a, nb_only_b: images;
        - counted, left_out: nb_images, nb_groups (of both), adjusted_rand,
          adjusted_mutual_information, v_measure, homogeneity, completeness,
          variation_of_information (bits), nb_stayed, nb_moved, nb_unmatched and reason, with the
          remainder as a cluster and with its images left out; see
          :class:`panoptic_assets.review.agreement.Agreement`;
        - differences: section, name, a, b of each parameter, input and version that differs;
        - matched: a, b, nb_images_a, nb_images_b, nb_both, jaccard of each pair of clusters;
        - contingency (a, b, nb_images) and moved (image_id, a, b), as Arrow tables.

        Args:
            a: The first one.
            b: The second one.
            depth: Levels of the trees of runs and nodes.

        Raises:
            InputError: One of them does not exist, or they have no image in common.
        """
        from panoptic_assets.review import comparisons
        from panoptic_assets.review.sides import Sides

        sides = Sides(self._store, _depth(depth))
        return comparisons.as_dictionary(comparisons.compare(*sides.several([a, b])))

    def pairs(
        self,
        runs: Iterable[str] = (),
        against: str = "",
        depth: int = 1,
        remainder: comparisons.Treatment = "counted",
    ) -> tuple[list[str], dict[tuple[str, str], float | None], list[str]]:
        """What is compared, the ARI of every pair of it, and notes on the choice.

        The ARI is None where two have no image in common.

        Args:
            runs: As in :meth:`compare`; by default the newest runs.
            against: One more, that is taken for the truth.
            depth: Levels of the trees of runs and nodes.
            remainder: ``counted`` as a cluster, or ``left_out``.

        Raises:
            InputError: One does not exist, or there are not two to compare.
        """
        from panoptic_assets.review import comparisons
        from panoptic_assets.review.sides import Sides, chosen_sides

        sides = Sides(self._store, _depth(depth))
        found, notes = chosen_sides(sides, list(runs), against)
        told = [text_of(note) for note in notes]
        return [side.key for side in found], comparisons.matrix(found, remainder), told

    def leaderboard(
        self, against: str = "", depth: int = 1, remainder: comparisons.Treatment = "counted"
    ) -> list[dict[str, Any]]:
        """Every root run with its quality, the best first.

        See :func:`panoptic_assets.review.comparisons.leaderboard` for what they hold.

        Args:
            against: What is taken for the truth, such as ``folders``; by default nothing.
            depth: Levels of the trees of runs, for the comparison with it.
            remainder: ``counted`` as a cluster, or ``left_out``.

        Raises:
            InputError: There is no such ground truth.
        """
        from panoptic_assets.review import comparisons
        from panoptic_assets.review.sides import Sides

        sides = Sides(self._store, _depth(depth))
        return comparisons.leaderboard(sides, against, remainder)

    def files(self) -> pa.Table:
        """Every file ever seen, by path.

        Columns: path, image_id (null if the file was never read), status (``present``,
        ``missing``, ``quarantined``), reason, size (bytes), mtime_ns, seen_at.
        """
        return self._store.read("files").sort_by("path")

    def images(self) -> pa.Table:
        """Every image ever seen, by image id.

        Columns: image_id, format, width and height (pixels as displayed), bytes, thumbnail (WebP),
        added_at.
        """
        return self._store.read("images").sort_by("image_id")

    def clusters(self, key: str) -> pa.Table:
        """The clusters of a run or of a divided node, from the lowest score; the remainder last.

        Columns: node, cluster, size, score, medoid (image id), name (of methods that give one, else
        null), stability (null if it was not asked for), record_id, label (of `cluster_labels`; null
        without one).

        Raises:
            InputError: There is none of that key.
        """
        from panoptic_assets.labels.table import read_labels

        clusterings = self._clusterings(key)
        rows = clusterings.clusters(key)
        nodes = [f"{key}/{name}" for name in rows["cluster"].to_pylist()]
        found = read_labels(self._store, clusterings, run_key_of(key))
        labels = [found[node]["label"] if node in found else None for node in nodes]
        names = ["cluster", "size", "score", "medoid", "name", "stability", "record_id"]
        return (
            rows.select(names)
            .add_column(0, "node", pa.array(nodes, pa.string()))
            .append_column("label", pa.array(labels, pa.string()))
        )

    def labels(self, run_key: str) -> pa.Table:
        """What `cluster_labels` found for the clusters of a run's tree, parents before children.

        Columns: node, label (null where none was found), score (higher is better; null where the
        method tells none), alternatives (the best first), description, reason (why there is none,
        or a remark), method (the labeller), record_id. Labels of clusters that
        were computed again since are left out.

        Raises:
            InputError: There is no such run.
        """
        from panoptic_assets.labels.table import read_labels

        clusterings = self._clusterings(parse_run_key(run_key))
        clusterings.get(run_key)
        found = read_labels(self._store, clusterings, run_key)
        rows = [found[node] for node in clusterings.nodes(run_key) if node in found]
        names = ["node", "label", "score", "alternatives", "description", "reason", "method"]
        fields = [SCHEMAS["labels"].field(name) for name in names]
        schema = pa.schema([*fields, pa.field("record_id", pa.string())])
        return pa.Table.from_pylist(rows, schema)

    def assignments(self, key: str) -> pa.Table:
        """Which cluster each image of a run or of a divided node is in, by image id.

        Columns: image_id, cluster (``"0"``, …, ``"remainder"``), distance (cosine distance to the
        cluster's mean), probability (of belonging to the cluster), similarity (to what the image
        was attached to, such as a tag), assigned (the cluster, with the remainder in the nearest
        ones), assigned_later (whether the clusters had been computed when the image came),
        record_id. What the method does not tell, or was not asked for, is null.

        Raises:
            InputError: There is none of that key.
        """
        rows = self._clusterings(key).assignments(key)
        later = rows["assigned_later"].fill_null(False)  # older records had none
        names = ["image_id", "cluster", "distance", "probability", "similarity", "assigned"]
        return (
            rows.select(names)
            .append_column("assigned_later", later)
            .append_column("record_id", rows["record_id"])
        )

    def exemplars(
        self,
        node: str,
        which: quality.Exemplars = "nearest",
        number: int | None = None,
        seed: int = 0,
    ) -> pa.Table:
        """Images of a cluster: those nearest to its mean, farthest from it, or drawn at random.

        Columns: image_id, path (of its first file; null if all are missing by now), distance,
        probability; in that order.

        Args:
            node: The cluster, such as ``greek/3`` or ``greek/remainder``.
            which: ``nearest``, ``farthest`` or ``random``.
            number: How many at most; all by default.
            seed: Of the random ones.

        Raises:
            InputError: There is no such node.
        """
        from panoptic_assets.clustering import quality
        from panoptic_assets.corpus import table as image_tables

        place = parse_node(node)
        clusterings = self._clusterings(node)
        clusterings.members(place)
        rows = clusterings.assignments(place.clustering)
        rows = rows.filter(pc.equal(rows["cluster"], place.cluster))
        distances = rows["distance"].to_numpy()
        places = np.arange(len(rows))
        chosen = quality.exemplars(places, distances, which, number or len(rows), seed)
        rows = rows.take(pa.array(chosen)).select(["image_id", "distance", "probability"])
        present = image_tables.present_files(self._store)
        paths = [present.get(image_id, [None])[0] for image_id in rows["image_id"].to_pylist()]
        return rows.add_column(1, "path", pa.array(paths, pa.string()))

    def images_in(
        self,
        scope: Document | None = None,
        vector_type: str | None = None,
        order: scope_images.Order | None = None,
        report: Report | None = None,
    ) -> pa.Table:
        """The images that a scope takes now.

        Columns: image_id, path (of the first file), width, height (pixels as displayed), added_at,
        similarity (cosine, of a search; else null) and distance (cosine distance to the cluster's
        mean, of a node; else null).

        Args:
            scope: As in the configuration of a run, such as ``{"node": {"node": "greek/3"}}``; the
                corpus by default.
            vector_type: The vectors that a search compares; the project's by default.
            order: ``path``; ``added``, the newest first; ``size``, the largest first; or
                ``nearest``, the most similar or those nearest to the cluster's mean first. By
                default that of a search, else by path.
            report: Called with sentences that a person must know.

        Raises:
            InputError: The scope takes no image, or names something that there is not.
        """
        from panoptic_assets.clustering import scope_images

        wanted = scope_images.parse_scope(scope)
        selection = self._selection(wanted, vector_type, report)
        return scope_images.image_rows(self._store, wanted, selection, order)

    def _selection(
        self, scope: Scope, vector_type: str | None, report: Report | None = None
    ) -> Selection:
        """The images of a scope; a text is looked for by the worker, where there is one to ask."""
        from panoptic_assets.clustering.scopes import FoundByText
        from panoptic_assets.clustering.selection import Selection, taken_by
        from resources.models import OpenClipModels

        told = report or self._reporter.tell
        searched = parse_name(vector_type or self._project.settings.vector_type, "vector type")
        if isinstance(scope, FoundByText) and self._worker == "all":
            found = self.search(
                scope.text, None, searched, scope.nb_images, scope.min_similarity, told
            )
            pairs = zip(found["image_id"].to_pylist(), found["similarity"].to_pylist(), strict=True)
            similarities = dict(pairs)
            return Selection(sorted(similarities), [], similarities=similarities)
        models = OpenClipModels(folder=str(self.folder))
        selection = taken_by(scope, searched, self._store, self.registry, models, told)
        for note in selection.notes:
            told(note)
        return selection

    def places(self, run_key: str) -> pa.Table:
        """The deepest node that holds each image of a run, by image id.

        Columns: image_id, node.

        Raises:
            InputError: There is no such run.
        """
        clusterings = self._clusterings(parse_run_key(run_key))
        clusterings.get(run_key)
        places = sorted(clusterings.places(run_key).items())
        return pa.table(
            {
                "image_id": pa.array([image_id for image_id, _ in places], pa.string()),
                "node": pa.array([node for _, node in places], pa.string()),
            }
        )

    def tags(self, property: str | None = None) -> list[dict[str, Any]]:
        """The tags of a property, or of all, in the order of their tree.

        Each has tag_id, property, name, path (``9 > 1``), parent_id, node, record_id, colour
        (``#rrggbb``; None without one), is_remainder, nb_images (with those of the tags below it)
        and image_ids (its own only).

        Raises:
            InputError: There is no such property.
        """
        from panoptic_assets.spec import tag_log

        replayed = self._tag_tables(property)
        own: dict[str, list[str]] = {tag.tag_id: [] for tag in replayed.tags}
        for tag_id, image_id in replayed.images:
            own[tag_id].append(image_id)
        counts, paths = tag_log.counts(replayed), tag_log.paths(replayed.tags)
        return [
            {
                **vars(tag),
                "path": paths[tag.tag_id],
                "nb_images": counts[tag.tag_id],
                "image_ids": sorted(own[tag.tag_id]),
            }
            for tag in replayed.tags
        ]

    def image_tags(self, property: str | None = None) -> pa.Table:
        """The tag of each image, by property and image id.

        Columns: property, image_id, tag_id, path.

        Raises:
            InputError: There is no such property.
        """
        from panoptic_assets.spec import tag_log

        replayed = self._tag_tables(property)
        paths = tag_log.paths(replayed.tags)
        properties = {tag.tag_id: tag.property for tag in replayed.tags}
        rows = sorted((properties[tag], image, tag, paths[tag]) for tag, image in replayed.images)
        names = ["property", "image_id", "tag_id", "path"]
        schema = pa.schema([pa.field(name, pa.string()) for name in names])
        return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema)

    def recommendations(self, property: str | None = None, tag: str | None = None) -> pa.Table:
        """The images that were recommended for tags and are neither accepted nor refused yet.

        By property, tag and rank. Columns: property, tag_id, tag (its path), image_id, path (of the
        image's first file; null if all are missing by now), rank (1 for the best when they were
        computed), score (in (0, 1]), margin (over the best other tag; null if there is none),
        tagged (whether the image carried another tag of the property), vector_type.

        Args:
            property: Only of this one.
            tag: Only this tag, by path or id; of the property ``Clustering`` if none is given.

        Raises:
            InputError: There is no such property or tag.
        """
        from panoptic_assets.corpus import table as image_tables
        from panoptic_assets.spec import tag_log
        from panoptic_assets.tags import recommendations as core_recommendations
        from panoptic_assets.tags import table as tag_tables
        from panoptic_assets.tags.edits import DEFAULT_PROPERTY, EditError, find_tag

        events = [entry.event for entry in tag_tables.read_log(self._store)]
        replayed = tag_log.replay(events)
        if tag is not None:
            property = DEFAULT_PROPERTY if property is None else property
            try:
                found = find_tag(tag, events, property)
            except EditError as error:
                raise InputError.of(error) from error
            property = found.property
        elif property is not None:
            [property] = tag_tables.properties_with_tags(replayed, property)
        rows = tag_tables.read_recommendations(self._store, property).to_pylist()
        kept = core_recommendations.still_open(
            [((row["tag_id"], row["image_id"]), row["tagged"]) for row in rows], replayed
        )
        paths = tag_log.paths(replayed.tags)
        order = {tag_id: place for place, tag_id in enumerate(paths)}
        present = image_tables.present_files(self._store)
        proposals = [
            row
            | {
                "tag": paths[row["tag_id"]],
                "path": present.get(row["image_id"], [None])[0],
            }
            for row, is_open in zip(rows, kept, strict=True)
            if is_open and (tag is None or row["tag_id"] == found.tag_id)
        ]
        proposals.sort(key=lambda row: (order[row["tag_id"]], row["rank"]))
        return pa.Table.from_pylist(proposals, _PROPOSALS)

    def precision(self, property: str) -> list[dict[str, Any]]:
        """How many images were accepted and refused for each tag of a property, in tree order.

        Each has tag_id, path, accepted, refused (numbers of images; of several judgements the last
        one that was not undone) and precision: the share that was accepted, None without any.

        Raises:
            InputError: There is no such property.
        """
        from panoptic_assets.spec import tag_log
        from panoptic_assets.tags import recommendations as core_recommendations
        from panoptic_assets.tags import table as tag_tables

        events = [entry.event for entry in tag_tables.read_log(self._store)]
        replayed = tag_log.replay(events)
        [name] = tag_tables.properties_with_tags(replayed, property)
        paths = tag_log.paths(replayed.tags)
        judged = core_recommendations.judgements(events)
        none = core_recommendations.Judgements(0, 0)
        return [
            {
                "tag_id": tag.tag_id,
                "path": paths[tag.tag_id],
                "accepted": of_tag.accepted,
                "refused": of_tag.refused,
                "precision": of_tag.precision,
            }
            for tag in replayed.tags
            if tag.property == name
            for of_tag in [judged.get(tag.tag_id, none)]
        ]

    def search(
        self,
        text: str | None = None,
        similar_to: str | None = None,
        vector_type: str | None = None,
        number: int | None = None,
        min_similarity: float | None = None,
        report: Report | None = None,
    ) -> pa.Table:
        """The images that are most similar to a text or to an image, the most similar first.

        Columns: image_id, path (of its first file), similarity (cosine).

        Args:
            text: What to look for, in words, by the model of the vector type.
            similar_to: The image to compare with, by id, by the first 8 or more characters of it,
                or by path; it is found, too.
            vector_type: The vectors to compare; the project's by default.
            number: How many at most; 100 if ``min_similarity`` is not given either.
            min_similarity: The least cosine.
            report: Called with sentences that a person must know.

        Raises:
            InputError: Not one of text and image is given, or it cannot be compared, or no image is
                similar enough.
        """
        if self._worker == "all":  # so that no model is loaded here
            request: dict[str, Any] = {"text": text, "similar_to": similar_to}
            request |= {"vector_type": vector_type, "number": number}
            request["min_similarity"] = min_similarity
            if (made := self._handed({"search": request}, report)) is not None:
                return pa.table(made["table"], _FOUND)
        from panoptic_assets.clustering.scopes import FoundByText, SimilarTo
        from panoptic_assets.clustering.search import search as search_images
        from panoptic_assets.spec.resolution import parse
        from resources.models import OpenClipModels
        from resources.registry import Registry

        if (text is None) == (similar_to is None):
            raise InputError(
                "A search is for a text or for an image: give one of the two.", id="text-or-image"
            )
        limits = {"nb_images": number, "min_similarity": min_similarity}
        asked = (
            parse(FoundByText, {"text": text, **limits})
            if similar_to is None
            else parse(SimilarTo, {"image": similar_to, **limits})
        )
        folder = str(self.folder)
        told = report or (lambda _: None)
        found = search_images(
            asked,
            parse_name(vector_type or self._project.settings.vector_type, "vector type"),
            self._store,
            Registry(folder=folder),
            OpenClipModels(folder=folder),
            told,
        )
        for note in found.notes:
            told(note)
        columns = found.image_ids, found.paths, found.similarities
        return pa.table(dict(zip(_FOUND.names, columns, strict=True)), _FOUND)

    def export(
        self,
        destination: str | Path,
        property: str | None = None,
        run: str | None = None,
        format: Format | None = None,
        replace: bool = False,
        copy: bool = False,
        projection: str | None = None,
        vector_type: str | None = None,
        thumbnails: bool = False,
        title: str | None = None,
    ) -> Exported:
        """Write tags for other programs, or images with all that is known of them.

        To a file, or as a tree of folders. ``images`` is one Parquet file of all images, for
        viewers; ``omeka`` and ``tropy`` are CSV for these catalogues.

        Args:
            destination: The file; for ``folders`` a folder that is empty or not there yet.
            property: Only its tags; all properties by default.
            run: In place of saved tags, what saving this run would make; of ``images``, whose
                clusters are told beside saved tags.
            format: ``csv``, ``parquet``, ``json``, ``panoptic``, ``fiftyone``, ``folders``,
                ``images``, ``omeka`` or ``tropy``; by default what the destination's suffix says.
            replace: Whether a file that is there is replaced.
            copy: Whether ``folders`` holds copies of the images; by default it holds symbolic
                links, if the images are on this machine.
            projection: Whose points go into ``images``.
            vector_type: Whose vectors go into ``images``, with the nearest neighbours.
            thumbnails: Whether small pictures go into ``images``.
            title: The inventory's property that ``omeka`` and ``tropy`` call images by; by default
                ``title``, and where there is none the files' names.

        Raises:
            InputError: There are no such tags, or they cannot be written there. Nothing is written
                then.
        """
        from panoptic_assets.tags.exchange import transfer
        from panoptic_assets.tags.exchange.image_parquet import ChosenColumns
        from resources.source import ImageSource

        saved_run = None if format == "images" else run
        if property is not None and saved_run is not None:
            raise InputError("Export a property or a run, not both.", id="property-or-run")
        source = ImageSource(
            root=self._project.images,
            storage_options=self._project.settings.images_options,
            cache=str(self._project.downloads),
        )
        if saved_run is not None:
            tables = transfer.run_tags(self._store, saved_run)
        else:
            needed = format not in transfer.OF_IMAGES
            tables = transfer.saved_tags(self._store, property, needed)
        return transfer.export(
            self._store,
            source,
            tables,
            Path(destination),
            format,
            overwrite=replace,
            copy=copy,
            with_property=property is None and saved_run is None,
            columns=ChosenColumns(
                run if format == "images" else None, projection, vector_type, thumbnails
            ),
            title=title,
        )

    def export_images(
        self,
        destination: str | Path,
        scope: Document | None = None,
        images: Iterable[str] | None = None,
        format: Literal["csv", "zip"] | None = None,
        run: str | None = None,
        pictures: PictureSize = "1024",
        vector_type: str | None = None,
        order: scope_images.Order | None = None,
        replace: bool = False,
    ) -> int:
        """Write a table of images, or their pictures as one zip file; returns how many.

        Args:
            destination: The file.
            scope: The images that it takes; see :meth:`images_in`. The corpus by default.
            images: In place of a scope, by id, by the first 8 or more characters of one, or by
                path.
            format: ``csv`` or ``zip``; by default what the destination's suffix says.
            run: Of a table: also tell the cluster of each image in this run.
            pictures: Of a zip file: pixels of their longer side, ``512``, ``1024`` or ``2048``, or
                ``original`` for the files as they are.
            vector_type: The vectors that a search compares; the project's by default.
            order: As in :meth:`images_in`.
            replace: Whether a file that is there is replaced.

        Raises:
            InputError: The scope, an image or the run cannot be used, the file is there already, or
                the pictures are too many or too large. Nothing is written then.
        """
        from panoptic_assets.clustering import scope_images
        from panoptic_assets.clustering.selection import Selection
        from panoptic_assets.corpus.table import named_images
        from panoptic_assets.labels.pictures import Pictures
        from panoptic_assets.tags.exchange import picture_export, transfer

        if scope is not None and images is not None:
            raise _images_or_scope()
        path = Path(destination)
        chosen = format or path.suffix.lower().removeprefix(".")
        if chosen not in ("csv", "zip"):
            raise InputError(
                "Images are exported as a table (.csv) or as pictures (.zip), not as {name!r}.",
                id="images-export-unknown",
                name=path.name,
            )
        transfer.check_file(path, replace)
        wanted = scope_images.parse_scope(scope)
        if images is None:
            selection = self._selection(wanted, vector_type)
        else:
            tell = self._reporter.tell
            found = named_images(self._store, self._project.images, images, tell)
            selection = Selection(found, [])
        rows = scope_images.image_rows(self._store, wanted, selection, order)
        with transfer.drafted(path, replace) as draft:
            if chosen == "zip":
                source = Pictures.of(self._store, self.context.source)
                ids = rows["image_id"].to_pylist()
                return picture_export.write_pictures(draft, ids, source, pictures)
            with draft.open("w", encoding="utf-8", newline="") as file:
                tables = self._tag_tables(None)
                picture_export.write_image_table(file, rows, tables, self._store, run)
        return len(rows)

    def verify(self, *keys: str, pixels: bool = True) -> list[dict[str, Any]]:
        """Compute runs or nodes again on what they read, and compare; one dictionary each.

        Holds key, record_id, proved (whether the answer and its figures are the same, on what was
        recorded, and are what is stored), witnessed (whether Dagster's event log confirms that the
        record is the one that was made then; what is proved without that may have been made anew),
        answer (``same``, ``differs`` or ``not computed``), summary (a sentence), and links: for
        each name, state (``same``; ``differs``, which breaks the proof; ``other``, a circumstance
        that is another one now; ``unknown``) and text.

        Args:
            keys: Runs, with all that is divided below them, and nodes; all by default.
            pixels: Whether the images' files are read.

        Raises:
            InputError: One does not exist.
        """
        with self.verifier(pixels) as verifier:
            asked = [found for key in keys for found in verifier.keys(key)]
            found = dict.fromkeys(asked if keys else verifier.all_keys())
            return [verifier.verify(key).as_dictionary() for key in found]

    def verify_as_run(self, *keys: str, pixels: bool = True) -> dict[str, Any]:
        """Have runs or nodes verified as a Dagster run, whose checks hold what was found of each.

        Returns nb_clusterings, nb_not_proved and nb_without_witness.

        Args:
            keys: As in :meth:`verify`.
            pixels: Whether the images' files are read.

        Raises:
            InputError: One does not exist, or is not proved.
        """
        for key in keys:
            self._clusterings(key).get(key)
        given = {"keys": list(keys), "pixels": pixels}
        return self._run_op("verify_runs", "verify_clusterings", given)

    def explain(self, image: str, tag: str, property: str | None = None) -> dict[str, Any]:
        """Why an image carries a tag: the chain from the tag's events to the image's file.

        Holds image_id, property_name, path (of the tag), holds (whether no check failed), notes
        (sentences that a person must know), and steps: name, text, checked (None where there is
        nothing to compare) and sha256 of each.

        Args:
            image: Its id, the first 8 or more characters of it, or a path.
            tag: Its path or id.
            property: The tag's property; ``Clustering`` by default.

        Raises:
            InputError: There is no such image or tag, or the image does not carry it.
        """
        from panoptic_assets.proof.explanation import explain

        return explain(self._store, self.context.source, image, tag, property).as_dictionary()

    def bundle(
        self, run_key: str, path: str | Path, vectors: bool = False, replace: bool = False
    ) -> str:
        """Write the evidence for a run as one zip file; returns the SHA-256 of its manifest.

        Args:
            run_key: The run.
            path: The file.
            vectors: Whether the vectors go in, so that scores can be checked.
            replace: Whether a file that is there is replaced.

        Raises:
            InputError: There is no such run, or the file is there already or cannot be written.
        """
        from panoptic_assets.proof.bundles import write_bundle
        from resources.models import OpenClipModels
        from resources.registry import Registry

        folder = str(self.folder)
        written = write_bundle(
            self._store,
            OpenClipModels(folder=folder),
            Registry(folder=folder),
            run_key,
            Path(path),
            vectors,
            replace,
        )
        return written.fingerprint

    def properties(self) -> list[dict[str, Any]]:
        """The properties that the inventory gives to images, by name.

        Each has name, type (``text``, ``number``, ``date``, ``tag`` or ``multi_tags``) and
        nb_images (with a value).
        """
        rows = self._store.read("property_values", ["property", "type"])
        counts = rows.group_by(["property", "type"]).aggregate([([], "count_all")])
        return [
            {"name": row["property"], "type": row["type"], "nb_images": row["count_all"]}
            for row in counts.sort_by("property").to_pylist()
        ]

    def property_values(self, name: str) -> pa.Table:
        """The images that have a property of the inventory, by image id.

        Columns: image_id, value: a string, a float64, or for tags a list of paths (``a > b``). Of
        dates, the value is what was written, and there are edtf (its meaning, by ISO 8601-2),
        first_day and last_day: what it may span, in days since 1970-01-01, null where it is open.

        Raises:
            InputError: There is no such property.
        """
        from panoptic_assets.corpus.properties import (
            VALUE_COLUMNS,
            read_properties,
            stored_dates,
        )
        from panoptic_assets.spec.tag_log import normalised

        rows = read_properties(self._store, normalised(name))
        if not rows.num_rows:
            known = ", ".join(entry["name"] for entry in self.properties()) or message(
                "none yet", id="none-yet"
            )
            raise InputError(
                "There is no property {property!r}. Existing ones: {known}.",
                id="no-such-property",
                property=name,
                known=known,
            )
        kind = rows["type"][0].as_py()
        if kind == "date":
            dates = stored_dates(rows)
            return pa.Table.from_pylist(
                [
                    {
                        "image_id": image_id,
                        "value": date.text,
                        "edtf": date.edtf,
                        "first_day": date.first_day,
                        "last_day": date.last_day,
                    }
                    for image_id, date in zip(rows["image_id"].to_pylist(), dates, strict=True)
                ],
                pa.schema(
                    {
                        "image_id": pa.string(),
                        "value": pa.string(),
                        "edtf": pa.string(),
                        "first_day": pa.int64(),
                        "last_day": pa.int64(),
                    }
                ),
            )
        column = VALUE_COLUMNS[kind]
        return rows.select(["image_id", column]).rename_columns(["image_id", "value"])

    def tag_log(self) -> list[dict[str, Any]]:
        """Every event of the tag log, oldest first.

        Each has number, at, author, reason, kind, property, undone (whether it is left out of the
        tags), event (the number that an undo or redo names), nb_images, and change (in words).
        """
        from panoptic_assets.spec import tag_log
        from panoptic_assets.spec.tag_words import in_words
        from panoptic_assets.tags import table as tag_tables

        log = tag_tables.read_log_of_edits(self._store)
        events = [entry.event for entry in log]
        left_out = tag_log.undone(events)
        return [
            {
                "number": entry.number,
                "at": entry.at,
                "author": entry.author,
                "reason": entry.reason,
                "kind": entry.event.kind,
                "property": entry.event.property,
                "undone": entry.number in left_out,
                "event": entry.event.event,
                "nb_images": entry.nb_images,
                "change": text_of(said),
            }
            for entry, said in zip(log, in_words(events, [e.nb_images for e in log]), strict=True)
        ]

    def vectors(self, vector_type: str | None = None) -> pa.Table:
        """The vectors of a type (by default the project's), by image id.

        Columns: image_id, vector (float32, unit length).

        Raises:
            InputError: There are no vectors of that type.
        """
        from panoptic_assets.features import table as vector_tables

        name = parse_name(vector_type or self._project.settings.vector_type, "vector type")
        known = vector_tables.vector_types(self._store)
        if name not in known:
            raise InputError(
                "There are no vectors of type {vector_type!r}. Existing ones: {known}.",
                id="no-vectors-of-type",
                vector_type=name,
                known=", ".join(known) or message("none yet", id="none-yet"),
            )
        return self._store.read(vectors_table(name)).sort_by("image_id")

    def neighbors(self, vector_type: str | None = None) -> pa.Table:
        """The nearest neighbours of each image of a vector type, by image id.

        Columns: image_id, neighbors (image ids, the most similar first), similarities (cosines).
        A list has k entries, or all other images if they are fewer.

        Raises:
            InputError: There is no neighbour graph of that type.
        """
        from panoptic_assets.features import table as vector_tables

        name = parse_name(vector_type or self._project.settings.vector_type, "vector type")
        stored = vector_tables.read_graph(self._store, name)
        if stored is None:
            raise InputError(
                "There are no neighbours of type {vector_type!r}: materialize `neighbors` "
                "(`panoptic-assets refresh --vector-type {vector_type}`).",
                id="no-neighbours-of-type",
                vector_type=name,
            )
        ids = pa.array(stored.image_ids, pa.string())
        width = stored.graph.indices.shape[1]
        offsets = pa.array([row * width for row in range(len(ids) + 1)], pa.int32())
        # Each id is held once, however many lists name it.
        named = pa.DictionaryArray.from_arrays(pa.array(stored.graph.indices.ravel()), ids)
        cosines = pa.array(stored.graph.similarities.ravel())
        return pa.table(
            {
                "image_id": ids,
                "neighbors": pa.ListArray.from_arrays(offsets, named),
                "similarities": pa.ListArray.from_arrays(offsets, cosines),
            }
        )

    def projections(self) -> list[dict[str, Any]]:
        """Every projection that has points: what is recorded of it, by key."""
        from panoptic_assets.features import table as vector_tables

        found = []
        for key in vector_tables.projections(self._store):
            if record := vector_tables.projection_record(self._store, key):
                found.append(record.model_dump() | {"data_version": record.data_version})
        return found

    def points(self, key: str) -> pa.Table:
        """The points of a projection such as ``mini/umap``, by image id.

        Columns: image_id, point (float32).

        Raises:
            InputError: There is no such projection.
        """
        from panoptic_assets.features import table as vector_tables

        parse_projection(key)
        known = vector_tables.projections(self._store)
        if key not in known:
            raise InputError(
                "There is no projection {projection!r}. Existing ones: {known}.",
                id="no-such-projection",
                projection=key,
                known=", ".join(known) or message("none yet", id="none-yet"),
            )
        return self._store.read(points_table(key)).sort_by("image_id")

    def refresh(
        self,
        *vector_types: str,
        batch_size: int | None = None,
        accept_missing: bool = False,
        accepted: str = "",
        reread: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Read what is new in the images' folder, embed it, and find its nearest neighbours.

        The inventory is read after the images: one that cannot be read is said, and stops nothing.
        The points of the projection ``<vector type>/pca`` follow: the map before any run. Returns
        the corpus, as :meth:`status` does.

        Args:
            vector_types: By default the project's.
            batch_size: Images in one pass of the model.
            accept_missing: Whether it is meant that so much is gone at once: files, or values of
                the inventory.
            accepted: The same of one question alone: its ``answer``, as :meth:`status` gives it.
                Where by now something else is gone, that is asked.
            reread: Patterns, as in a .gitignore file, of files to read again though nothing about
                them has changed; ``*`` is all.

        Raises:
            InputError: A vector type is unknown, what would make its vectors is missing, or the
                images cannot be reached.
        """
        from panoptic_assets.corpus import ingestion
        from panoptic_assets.corpus.absence import FILES_MISSING
        from panoptic_assets.corpus.open_questions import note_question
        from panoptic_assets.features import embedding
        from panoptic_assets.features import table as vector_tables
        from panoptic_assets.upkeep.forgetting import unfinished

        asked: dict[str, Any] = {"accept_missing": True} if accept_missing else {}
        if accepted:
            asked["accepted"] = accepted
        of_values = self._asked_of_values(asked)
        if reread:
            asked["reread"] = list(reread)
        given = {} if batch_size is None else {"batch_size": batch_size}
        wanted = list(vector_types) or [self._project.settings.vector_type]
        context = self.context.now()
        for vector_type in wanted:
            embedding.check_embedding(context, vector_type, given)
        ingestion.check_refresh(context, asked)
        if unfinished(self._store):
            self._reporter.tell(
                "Forgetting an image was interrupted: `panoptic-assets forget` ends it.", "yellow"
            )
        try:
            self._act("images", None, asked)
        except InputError as error:
            if error.id == FILES_MISSING:  # whoever looks next is asked as well
                note_question(self._opened, "files", error.message)
            raise
        self._read_inventory(of_values)
        for vector_type in wanted:
            self._act("embeddings", vector_type, given)
            # Not, as long as there is no image.
            if vector_type in vector_tables.vector_types(self._store):
                self._act("neighbors", vector_type, {})
                self._refresh_map(vector_type)
        return self.status()["corpus"]

    def _asked_of_values(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What reading the inventory is asked for, where reading the images is asked for this."""
        from panoptic_assets.corpus.absence import asks_of_values
        from panoptic_assets.corpus.open_questions import open_questions

        for question in open_questions(self._store):
            if question.kind == "files" and question.answer == asked.get("accepted"):
                # One answer for the files and for the values that were asked about with them.
                return {"accept_missing": True} if asks_of_values(question.message) else {}
        return dict(asked)

    def _read_inventory(self, asked: dict[str, Any]) -> None:
        """Read the inventory, if there is one.

        A refresh is done without it: that it cannot be read is noted and said.
        """
        from panoptic_assets.corpus.taking_inventory import is_wanted

        if not is_wanted(self.context.now()):
            return
        try:
            self._act("inventory", None, asked)
        except InputError as error:
            if self._cancelled:
                raise
            self._reporter.tell(f"The inventory was not read: {error}", "yellow")

    def _refresh_map(self, vector_type: str) -> None:
        """Make the points of the vector type's map again, if its vectors are others by now.

        A refresh is done without them: that they cannot be made is only said.
        """
        from panoptic_assets.features.projecting import outdated_map

        key = outdated_map(self._store, vector_type)
        if key is None:
            return
        try:
            self._act("projection", key, {})
        except InputError as error:
            if self._cancelled:
                raise
            self._reporter.tell(f"The points {key} were not made: {error}", "yellow")

    def import_vectors(
        self,
        key: str,
        vectors: str,
        model: str,
        ids: str | None = None,
        field: str | None = None,
    ) -> dict[str, Any]:
        """Make another program's vectors a vector type, which a new file of the registry describes.

        Returns what Dagster shows of the embeddings.

        Args:
            key: The vector type.
            vectors: A Parquet or .npy file, or a samples.json of FiftyOne; a relative path starts
                at the project's folder.
            model: What made the vectors, in words; recorded.
            ids: With a .npy: text file with the image id or path of each row.
            field: The Parquet column that holds the vectors, if it is not called ``vector`` or
                ``embedding``; of a samples.json the field.

        Raises:
            InputError: They cannot be used, or the key has vectors of another model.
        """
        from panoptic_assets.features import embedding
        from panoptic_assets.features.imported_vectors import vectors_file_of

        parse_name(key, "vector type")
        file = vectors_file_of(vectors, ids, model, field)
        embedding.prepare_import(self.context.now(), key, file)
        self.registry.write_vectors_file(key, file)
        return self._act("embeddings", key, {}).metadata

    def projection(self, key: str, **given: Any) -> dict[str, Any]:
        """Compute the points of a projection; returns its record, as :meth:`projections` does.

        Args:
            key: ``<vector type>/<name>``, such as ``mini/umap``.
            given: Fields of :class:`panoptic_assets.features.config.ProjectionConfig`, such as
                ``method="umap"`` or ``method={"umap": {"n_neighbors": 15}}``.

        Raises:
            InputError: It cannot be computed, or the key was computed with other parameters.
        """
        from panoptic_assets.features import table as vector_tables

        self._act("projection", key, _config_of(given))
        record = vector_tables.projection_record(self._store, key)
        assert record is not None  # noqa: S101
        return record.model_dump() | {"data_version": record.data_version}

    def cluster(
        self, key: str, images: Iterable[str] | None = None, **given: Any
    ) -> dict[str, Any]:
        """Divide the corpus, or a part of it, into clusters, as a run.

        Returns what is recorded, as :meth:`run_info` does; :meth:`clusters` lists the clusters.

        Args:
            key: The run's key.
            images: In place of a scope these images, by id, by the first 8 or more characters of
                one, or by path: see :meth:`selection_file`.
            given: Fields of :class:`panoptic_assets.clustering.config.ClusteringConfig`, such as
                ``method="hdbscan"``, ``method={"kmeans": {"nb_clusters": 10}}``,
                ``scope={"files": {"pattern": "animals/*"}}``, ``seed=1`` or ``replace=True``. What
                is not given is the record's, the registry file's or the default.

        Raises:
            InputError: It cannot be computed, or the key was computed with other parameters.
        """
        config = self._with_scope(self.registry, _config_of(given), images)
        self._act("clustering", parse_run_key(key), config)
        return self.run_info(key)

    def _with_scope(
        self, registry: Registry, config: Document, images: Iterable[str] | None
    ) -> Document:
        """A run's configuration whose scope are some images, where such were named."""
        if images is None:
            return config
        if "scope" in config:
            raise _images_or_scope()
        return {**config, "scope": {"ids": {"file": registry.write_selection(self._named(images))}}}

    def selection_file(self, images: Iterable[str]) -> str:
        """Write a list of images for the scope `ids` or the field `without` of a run.

        Of the same images it is the same file, below ``configs/selections``; one that is there is
        left as it is. Returns its path from the project's folder on, as a configuration takes it:
        one id a line, sorted.

        Args:
            images: By id, by the first 8 or more characters of one, or by path.

        Raises:
            InputError: There is no such image, or no image is given.
        """
        return self.registry.write_selection(self._named(images))

    def _named(self, images: Iterable[str]) -> list[str]:
        """Ids of the images that names mean."""
        from panoptic_assets.corpus.table import named_images

        return named_images(self._store, self._project.images, images, self._reporter.tell)

    def leave_out(self, run_key: str, images: Iterable[str]) -> dict[str, Any]:
        """Cluster a run again without some of its images; returns what :meth:`cluster` does.

        Those that were left out before stay out. What is divided below the run becomes stale, and
        :meth:`undo` brings all of it back as it was.

        Args:
            run_key: The run.
            images: By id, by the first 8 or more characters of one, or by path.

        Raises:
            InputError: There is no such run or image, an image is not in the run, or none is left.
        """
        from panoptic_assets.clustering.leaving_out import to_leave_out

        gone = to_leave_out(self._store, self.registry, run_key, self._named(images))
        file = self.registry.write_selection(gone)
        return self.cluster(run_key, without=file, replace=True)

    def check(
        self,
        asset: str,
        key: str | None = None,
        images: Iterable[str] | None = None,
        left_out: Iterable[str] = (),
        **given: Any,
    ) -> dict[str, Any]:
        """Prepare an act as it would be done now, and tell what it will do; nothing is started.

        Returns asset, key, and what :func:`panoptic_assets.acts.foreseen` tells.

        Args:
            asset: What the act makes, such as ``clustering``, ``nested_clustering`` (of a node),
                ``cluster_labels``, ``saved_clustering`` or ``tags``.
            key: Its run, node or projection. A run that has none yet is given one that is free.
            images: Of a run: see :meth:`cluster`.
            left_out: Of a run: images of its scope that it would be without, by id or path.
            given: As the act is given it.

        Raises:
            InputError: It would be refused.
        """
        from panoptic_assets.acts import ACTS, check_seen, foreseen
        from resources.models import ModelNeededError, UnloadedModels
        from resources.registry import DraftRegistry

        act, context = ACTS[asset], self.context.now()
        if isinstance(self._store, Snapshot):
            context = dataclasses.replace(context, store=self._store)
        check_seen(context.store, self._seen)
        config = _config_of(given)
        drafts = DraftRegistry(folder=self.registry.folder)
        context = dataclasses.replace(context, registry=drafts)
        if asset == "clustering":
            config = self._with_scope(drafts, config, images)
            if gone := list(left_out):
                config = {**config, "without": drafts.write_selection(self._named(gone))}
            key = parse_run_key(key) if key else self._free_key(context.store, config)
        if self._worker == "all":  # so that no model is loaded here
            unloaded = UnloadedModels(folder=context.models.folder)
            context = dataclasses.replace(context, models=unloaded)
        try:
            plan = act.prepare(context, key or "", config)
        except ModelNeededError:
            drafts.write_all()
            asked = {"asset": asset, "key": key, "given": config}
            if (made := self._handed({"check": asked})) is not None:
                return made
            plan = act.prepare(self.context.now(), key or "", config)
        return {"asset": asset, "key": key, **foreseen(act, plan)}

    def _free_key(self, store: LanceStore, config: Document) -> str:
        """A key for a run that is described by its method, and that no run has or had."""
        from panoptic_assets.clustering.config import ClusteringConfig
        from panoptic_assets.clustering.estimates import proposed_key
        from panoptic_assets.spec.resolution import parse

        # Also of those that were undone or removed: they may come back.
        known = set(store.read("records", ["run_key"])["run_key"].to_pylist())

        def is_taken(key: str) -> bool:
            return key in known or self.registry.run_bytes(key) is not None

        return proposed_key(parse(ClusteringConfig, config), is_taken)

    def divide(self, node: str, **given: Any) -> dict[str, Any]:
        """Divide one cluster again; returns what is recorded, as :meth:`run_info` does.

        Args:
            node: The cluster, such as ``greek/3``.
            given: Fields of :class:`panoptic_assets.clustering.config.NestedClusteringConfig`; see
                :meth:`cluster`.

        Raises:
            InputError: There is no such cluster, or it cannot be divided.
        """
        self._act("nested_clustering", str(parse_node(node)), _config_of(given))
        return self.run_info(node)

    def describe_sweep(self, key: str, described: Document) -> None:
        """Say what a sweep is: its file of ``configs/sweeps`` is written.

        Args:
            key: The sweep's key.
            described: As such a file has it.

        Raises:
            InputError: It cannot be used, or the key is that of another sweep.
        """
        from panoptic_assets.clustering import sweeps

        parse_run_key(key)
        sweeps.cells(key, sweeps.parse_sweep(described, "The sweep"))
        self.registry.write_sweep(key, dict(described))

    def run_sweep(self, key: str) -> list[dict[str, Any]]:
        """Compute those runs of a sweep that are not up to date; returns what :meth:`sweep` does.

        A run that fails does not keep the others from being computed: its row says why.

        Raises:
            InputError: There is no such sweep.
        """
        from panoptic_assets.clustering.dividing import resolve_clustering
        from panoptic_assets.spec.resolution import identity_of
        from panoptic_assets.upkeep import staleness

        registry = self.registry
        cells = self.cells(key)
        judge = staleness.Judge(self._store, registry)

        def is_current(cell: sweeps.Cell) -> bool:
            """Whether the run has this configuration, and would have the same answer now."""
            config = resolve_clustering(cell.key, cell.config, judge.clusterings, registry)
            record = judge.clusterings.records.get(cell.key)
            if record is None or record.config != identity_of(config):
                return False
            if record.computed_id != record.record_id:  # a refresh assigned images to it
                return False
            return judge.clustering(cell.key).state == "up to date"

        failures: dict[str, str] = {}
        for number, cell in enumerate(cells, start=1):
            try:
                if is_current(cell):
                    continue
                self._reporter.tell(f"{number} of {len(cells)}: {cell.key}")
                self._act("clustering", cell.key, cell.config, {"panoptic/sweep": key})
            except InputError as error:
                self._reporter.tell(f"  {error}", "yellow")
                failures[cell.key] = str(error)
        return self._rows(cells, failures)

    def label(self, run_key: str, **given: Any) -> pa.Table:
        """Name the clusters of a run's tree; returns what :meth:`labels` does.

        Args:
            run_key: The run.
            given: Fields of :class:`panoptic_assets.labels.config.LabelsConfig`, such as
                ``method={"zero_shot": {"property": "Époque"}}``.

        Raises:
            InputError: There is no such run, or no cluster can be named.
        """
        self._act("cluster_labels", parse_run_key(run_key), _config_of(given))
        return self.labels(run_key)

    def name(self, node: str, name: str) -> dict[str, Any]:
        """Give a cluster a name by hand, which :meth:`label` leaves as it is unless it is told to.

        Args:
            node: The cluster, or a remainder.
            name: One line of at most 80 characters; empty: it has no name any more.

        Returns:
            node, name (what it is called now; empty: only by its number), and before.

        Raises:
            InputError: There is no such cluster, or the name cannot be used.
        """
        from panoptic_assets.labels.table import names_of_clusters, read_labels

        found = parse_node(node)

        def called() -> str:
            clusterings = self._clusterings(found.run_key)
            labels = read_labels(self._store, clusterings, found.run_key)
            return names_of_clusters(clusterings, found.run_key, labels).get(str(found), "")

        before = called()
        self._act("cluster_labels", found.run_key, {"names": {str(found): name}})
        return {"node": str(found), "name": called(), "before": before}

    def save(self, run_key: str, **given: Any) -> list[dict[str, Any]]:
        """Save a run's tree as tags; returns those of its property, as :meth:`tags` does.

        Args:
            run_key: The run.
            given: Fields of :class:`panoptic_assets.tags.config.SaveConfig`, such as
                ``property="Époque"`` or ``replace=True``.

        Raises:
            InputError: There is no such run, its property holds other tags, or it is not certain
                which tag belongs to which cluster now.
        """
        made = self._act("saved_clustering", run_key, _config_of(given))
        self._act("tags", None, {})
        return self.tags(made.metadata["property"])

    def edit(
        self, edits: Iterable[Edit], author: str | None = None, reason: str | None = None
    ) -> list[dict[str, Any]]:
        """Change tags: all of the edits, in their order, or none if one cannot be done.

        Returns the events that do them, as :meth:`tag_log` does, each with notes (sentences that a
        person must know: which tag got a number by undoing, and what stays away).

        Args:
            edits: Such as ``{"rename": {"tag": "3", "to": "Vases grecs"}}``; see
                ``panoptic_assets.tags.edits``.
            author: Who edits; by default the user of the system.
            reason: Why, for the tag log.

        Raises:
            InputError: One of them cannot be done.
        """
        given = {"edits": list(edits), "author": author or None, "reason": reason or None}
        made = self._act("tags", None, _config_of(given)).metadata
        appended, notes = set(made["appended_events"]), made["event_notes"]
        return [
            {**entry, "notes": notes.get(str(entry["number"]), [])}
            for entry in self.tag_log()
            if entry["number"] in appended
        ]

    def tag(
        self,
        tag: str,
        images: Iterable[str] | None = None,
        property: str | None = None,
        author: str | None = None,
        reason: str | None = None,
        scope: Document | None = None,
        without: Iterable[str] = (),
        vector_type: str | None = None,
    ) -> list[dict[str, Any]]:
        """Give images a tag, which is made if it is missing; returns what :meth:`edit` does.

        Args:
            tag: Its path, such as ``animals > birds``.
            images: By id, by the first 8 or more characters of one, or by path.
            property: The tag's property; ``Clustering`` by default.
            author: Who edits; by default the user of the system.
            reason: Why, for the tag log.
            scope: In place of ``images``, those that a scope takes now; see :meth:`images_in`.
            without: Images of the scope that are left out.
            vector_type: The vectors that a search compares; the project's by default.

        Raises:
            InputError: An image, the scope or the tag cannot be used.
        """
        edits = self.tagging("tag", tag, images, property, scope, without, vector_type)
        return self.edit(edits, author, reason)

    def untag(
        self,
        tag: str,
        images: Iterable[str] | None = None,
        property: str | None = None,
        author: str | None = None,
        reason: str | None = None,
        scope: Document | None = None,
        without: Iterable[str] = (),
        vector_type: str | None = None,
    ) -> list[dict[str, Any]]:
        """Take a tag from those of some images that carry it; returns what :meth:`edit` does.

        Args:
            tag: Its path or id.
            images: As in :meth:`tag`.
            property: As in :meth:`tag`.
            author: As in :meth:`tag`.
            reason: As in :meth:`tag`.
            scope: As in :meth:`tag`.
            without: As in :meth:`tag`.
            vector_type: As in :meth:`tag`.

        Raises:
            InputError: An image, the scope or the tag cannot be used, or no image carries it.
        """
        edits = self.tagging("untag", tag, images, property, scope, without, vector_type)
        return self.edit(edits, author, reason)

    def move_tag(
        self,
        tag: str,
        to: str,
        images: Iterable[str] | None = None,
        property: str | None = None,
        author: str | None = None,
        reason: str | None = None,
        scope: Document | None = None,
        without: Iterable[str] = (),
        vector_type: str | None = None,
    ) -> list[dict[str, Any]]:
        """Give images another tag in place of one that they carry, as one event.

        Those that do not carry it stay as they are. Returns what :meth:`edit` does.

        Args:
            tag: The path or id of the tag that they carry.
            to: That of the other one, which is made if it is missing.
            images: As in :meth:`tag`.
            property: As in :meth:`tag`, of both tags.
            author: As in :meth:`tag`.
            reason: As in :meth:`tag`.
            scope: As in :meth:`tag`.
            without: As in :meth:`tag`.
            vector_type: As in :meth:`tag`.

        Raises:
            InputError: An image, the scope or a tag cannot be used, or no image carries the tag.
        """
        edits = self.tagging("move", tag, images, property, scope, without, vector_type, to)
        return self.edit(edits, author, reason)

    def tagging(
        self,
        what: Literal["tag", "untag", "move"],
        tag: str,
        images: Iterable[str] | None = None,
        property: str | None = None,
        scope: Document | None = None,
        without: Iterable[str] = (),
        vector_type: str | None = None,
        to: str = "",
    ) -> list[Edit]:
        """The edits that :meth:`tag`, :meth:`untag` and :meth:`move_tag` are; none is done.

        Args:
            what: Which of the three.
            tag: The tag's path or id.
            images: As in :meth:`tag`.
            property: As in :meth:`tag`.
            scope: As in :meth:`tag`.
            without: As in :meth:`tag`.
            vector_type: As in :meth:`tag`.
            to: Of ``move``: the tag that they get.

        Raises:
            InputError: An image, the scope or the tag cannot be used.
        """
        from panoptic_assets.tags import edits
        from panoptic_assets.tags import table as tag_tables

        left_out = list(without)
        if what == "tag" and images is not None and scope is None and not left_out:
            chosen = list(images)  # the edit finds them
        else:
            chosen = self._chosen(images, scope, left_out, vector_type)
        events = [entry.event for entry in tag_tables.read_log(self._store)]
        name = edits.DEFAULT_PROPERTY if property is None else property
        if what == "tag":
            return edits.assigning(tag, chosen, events, name)
        try:
            own = edits.carrying(tag, events, name)
        except edits.EditError as error:
            raise InputError.of(error) from error
        # Of a scope, few may carry it; where none does, the edit says so.
        carrying = [image_id for image_id in chosen if image_id in own] or chosen
        if what == "move":
            return edits.reassigning(tag, to, carrying, events, name)
        return [{"unassign": {"tag": tag, "images": carrying, "property": name}}]

    def _chosen(
        self,
        images: Iterable[str] | None,
        scope: Document | None,
        without: Iterable[str],
        vector_type: str | None,
    ) -> list[str]:
        """Ids of the images that an act is about: those named, or those that a scope takes now.

        Raises:
            InputError: Not one of the two is given, or no image is left.
        """
        from panoptic_assets.clustering.scope_images import parse_scope
        from panoptic_assets.corpus.table import named_images

        if (images is None) == (scope is None):
            raise _images_or_scope()
        folder, tell = self._project.images, self._reporter.tell
        if images is None:
            chosen = self._selection(parse_scope(scope), vector_type).image_ids
        else:
            chosen = named_images(self._store, folder, images, tell)
        if not (left_out := list(without)):
            return chosen
        out = set(named_images(self._store, folder, left_out, tell))
        kept = [image_id for image_id in chosen if image_id not in out]
        if not kept:
            raise InputError(
                "All {nb_images:,} chosen images are left out again: choose one or more.",
                id="no-image-chosen",
                nb_images=len(chosen),
            )
        return kept

    def import_tags(
        self,
        file: str | Path,
        property: str | None = None,
        mode: Mode = "add",
        check: bool = False,
        author: str | None = None,
        reason: str | None = None,
    ) -> Imported:
        """Give images the tags that a file names; returns what that changes.

        Args:
            file: .csv (of Panoptic and FiftyOne, too), .json (FiftyOne's samples.json, too) or
                .parquet.
            property: Only this property of the file.
            mode: ``add``; ``replace`` the images' other tags of the property; ``keep`` images that
                have one as they are.
            check: Whether it is only said what would happen.
            author: Who imports; by default the user of the system.
            reason: Why, for the tag log.

        Raises:
            InputError: The file cannot be used.
        """
        from panoptic_assets.spec.resolution import parse
        from panoptic_assets.tags.config import EditsConfig
        from panoptic_assets.tags.exchange import transfer

        given = {"author": author or self._author or "", "reason": reason or ""}
        done = transfer.import_tags(
            self._store,
            Path(file),
            parse(EditsConfig, given),
            self._project.images,
            property,
            mode,
            check,
            self.context.source,
            self._reporter,
        )
        if not check:
            self._act("tags", None, {})
        return done

    def import_panoptic(
        self,
        folder: str | Path,
        properties: Iterable[str] = (),
        mode: Mode = "add",
        check: bool = False,
        vectors: str | None = None,
        replace: bool = False,
        author: str | None = None,
        reason: str | None = None,
    ) -> PanopticImported:
        """Take the tags, values and vectors of a project of Panoptic, which stays as it is.

        Tags become events of the log, as with :meth:`import_tags`. Values of other properties
        become ``panoptic.csv`` in the project's folder, which is the project's inventory from then
        on if it had none; :meth:`refresh` reads it.

        Args:
            folder: The folder of the project of Panoptic.
            properties: Names of the properties to take; all by default.
            mode: As of :meth:`import_tags`.
            check: Whether it is only said what would happen.
            vectors: The vector type that Panoptic's vectors become; by default none. Where it has
                vectors of several kinds, ``key=number`` with Panoptic's number of one.
            replace: Whether ``panoptic.csv``, and the file of vectors, may hold something else.
            author: Who imports; by default the user of the system.
            reason: Why, for the tag log.

        Raises:
            InputError: The folder cannot be used, or a file of that name is there.
        """
        from panoptic_assets.spec.resolution import parse
        from panoptic_assets.tags.config import EditsConfig
        from panoptic_assets.tags.exchange import panoptic_import

        given = {"author": author or self._author or "", "reason": reason or ""}
        config = parse(EditsConfig, given)
        store, layout = self._store, self._project
        plan = panoptic_import.prepare(
            store,
            layout,
            Path(folder).expanduser(),
            self.context.source,
            tuple(properties),
            vectors,
            replace,
            self._reporter,
        )
        if not check:
            # What may be refused comes first.
            panoptic_import.store_panoptic_tags(plan, store, config, mode, check=True)
        seen = panoptic_import.write_panoptic_vectors(plan, layout, replace, check)
        if plan.vectors is not None and not check:
            self.import_vectors(plan.vectors.key, plan.vectors.file, plan.vectors.of.words)
        tags = panoptic_import.store_panoptic_tags(plan, store, config, mode, check)
        if not check:
            plan.metadata.store()
            self._act("tags", None, {})
        return panoptic_import.panoptic_imported(plan, tags, seen)

    def import_fiftyone(
        self,
        folder: str | Path,
        properties: Iterable[str] = (),
        mode: Mode = "add",
        check: bool = False,
        vectors: Mapping[str, str] | None = None,
        model: str | None = None,
        replace: bool = False,
        author: str | None = None,
        reason: str | None = None,
    ) -> FiftyOneImported:
        """Take the tags, values and vectors of a FiftyOneDataset, which stays as it is.

        Labels of whole images become events of the log, as with :meth:`import_tags`. Numbers,
        texts and dates become ``fiftyone.csv`` in the project's folder, which is the project's
        inventory from then on if it had none; :meth:`refresh` reads it.

        Args:
            folder: The folder of the FiftyOneDataset, or its file of samples.
            properties: Names of the properties to take; all by default.
            mode: As of :meth:`import_tags`.
            check: Whether it is only said what would happen.
            vectors: For each vector type that is to be made, the field of its vectors.
            model: What made the vectors, in words; by default the field's name.
            replace: Whether ``fiftyone.csv``, and files of vectors, may hold something else.
            author: Who imports; by default the user of the system.
            reason: Why, for the tag log.

        Raises:
            InputError: The folder cannot be used, or a file of that name is there.
        """
        from panoptic_assets.spec.resolution import parse
        from panoptic_assets.tags.config import EditsConfig
        from panoptic_assets.tags.exchange import fiftyone_import

        given = {"author": author or self._author or "", "reason": reason or ""}
        config = parse(EditsConfig, given)
        fields = dict(vectors or {})
        for key in fields:
            parse_name(key, "vector type")
        store, layout = self._store, self._project
        plan = fiftyone_import.prepare(
            store,
            layout,
            Path(folder),
            self.context.source,
            tuple(properties),
            fields.values(),
            replace,
            self._reporter,
        )
        if not check:
            # What may be refused comes first.
            fiftyone_import.store_tags(plan, store, config, mode, check=True)
        files = {key: fiftyone_import.vectors_file(layout, key) for key in fields}
        seen = {
            key: fiftyone_import.write_fiftyone_vectors(plan, field, files[key], replace, check)
            for key, field in fields.items()
        }
        if not check:
            for key, field in fields.items():
                self.import_vectors(key, files[key].name, model or f"field {field} of FiftyOne")
        tags = fiftyone_import.store_tags(plan, store, config, mode, check)
        if not check:
            plan.metadata.store()
            self._act("tags", None, {})
        return fiftyone_import.imported(plan, tags, seen, fields.values())

    def recommend(self, **given: Any) -> pa.Table:
        """Compute which images could get which tags; returns what :meth:`recommendations` does.

        Args:
            given: Fields of :class:`panoptic_assets.tags.config.RecommendationsConfig`, such as
                ``property="Époque"`` or ``number=5``.

        Raises:
            InputError: There is no such property, or no vector.
        """
        self._act("tag_recommendations", None, _config_of(given))
        return self.recommendations(given.get("property"))

    def report(self, run_key: str, **given: Any) -> Path:
        """Write the report of a run; returns its first page.

        Args:
            run_key: The run.
            given: Fields of :class:`panoptic_assets.review.config.ReportConfig`.

        Raises:
            InputError: There is no such run or projection.
        """
        made = self._act("clustering_report", parse_run_key(run_key), _config_of(given))
        return Path(made.metadata["file"])

    def report_comparison(self, *runs: str, **given: Any) -> Path:
        """Write the pages that compare runs; returns the first one.

        Args:
            runs: As in :meth:`compare`; by default the newest runs.
            given: Fields of :class:`panoptic_assets.review.config.ComparisonConfig`, such as
                ``against="folders"``.

        Raises:
            InputError: One does not exist, or there are not two to compare.
        """
        config = _config_of({"runs": list(runs) or None, **given})
        return Path(self._act("run_comparison", None, config).metadata["file"])

    def backfill(self, *runs: str, policy: str | None = None) -> dict[str, Any]:
        """Apply their refresh policies to all runs, or to some; returns what became of them.

        Holds nb_runs, nb_kept, nb_failed, and results: what happened to each run that was not kept
        as it is.

        Args:
            runs: Run keys; all by default.
            policy: For these runs, whatever their own policy is; ``replay`` computes a run, and all
                that is divided below it, again with the recorded parameters.

        Raises:
            InputError: There is none of a key.
        """
        given = _config_of({"keys": list(runs) or None, "policy": policy})
        self._check_backfill(given)
        return self._run_op("backfill_runs", "backfill", given)

    def would_backfill(self, *runs: str, policy: str | None = None) -> dict[str, Any]:
        """What :meth:`backfill` would do now; nothing is written.

        Raises:
            InputError: There is none of a key.
        """
        from panoptic_assets.clustering.dividing import Dividing
        from panoptic_assets.upkeep.backfill import summary
        from panoptic_assets.upkeep.refreshing import RunRefresh, refresh_runs

        config = self._check_backfill(_config_of({"keys": list(runs) or None, "policy": policy}))
        context = self.context
        dividing = Dividing(context.store, context.models, context.registry, "", lambda line: None)
        done = refresh_runs(dividing, config, write=False)
        found = summary([item for item in done if isinstance(item, RunRefresh)])
        return found | {"results": found["results"].value}

    def _check_backfill(self, given: Document) -> BackfillConfig:
        from panoptic_assets.spec.resolution import parse
        from panoptic_assets.upkeep.config import BackfillConfig

        config = parse(BackfillConfig, given)
        for key in config.keys:
            self._clusterings(key).get(key)
        return config

    def remark(
        self, subject: str, text: str, author: str | None = None, reason: str | None = None
    ) -> dict[str, Any]:
        """Write a remark on an image, a run, a cluster or a tag; or take the one there is away.

        Returns subject (as :meth:`remarks` has it), about, and act: the id by which :meth:`undo`
        takes it back.

        Args:
            subject: An image by id or path, ``greek``, ``greek/3``, ``tag:PROPERTY:PATH`` or
                ``tag:ID``; ``image:`` before an image says that it is no run.
            text: One line or a few, of 2,000 characters at most; empty: the remark that is there
                is taken away.
            author: Who writes; by default the user of the system.
            reason: Why.

        Raises:
            InputError: There is nothing of that name, or the text cannot be used or is there
                already.
        """
        from panoptic_assets.tags import remarking

        told = {"text": text, "author": author or self._author, "reason": reason}
        given = _config_of({"subject": subject, **told})
        plan = remarking.prepare(self.context.now(), "", given)
        # By its whole id, by which forgetting finds what Dagster has of it.
        shown = self._run_op("remark", "write_remark", given | {"subject": plan.subject.key})
        return {name: shown[name] for name in ("subject", "about")} | {"act": shown["mark"]}

    def remarks(self, subject: str | None = None) -> list[dict[str, Any]]:
        """The remarks on everything, or on one thing, oldest first.

        Each has subject (``image:ID``, ``tag:ID``, a run or a node), kind (``image``, ``tag``,
        ``run`` or ``cluster``), about (a path, ``tag:PROPERTY:PATH``, a run or a node, as it was
        then), text, at, author, reason, act (by which it is undone), dagster_run_id, record_id
        (of a run or cluster: the record that it was written for), and current: False where that
        was clustered again since, or the tag is not there any more.

        Args:
            subject: As in :meth:`remark`.

        Raises:
            InputError: There is nothing of that name.
        """
        from panoptic_assets.tags import remarking

        if subject is None:
            return remarking.read_remarks(self._store)
        found = remarking.find_subject(self._store, subject, self._project.images)
        return remarking.read_remarks(self._store, {found.key})

    def history(self, number: int | None = None) -> list[dict[str, Any]]:
        """Every act, oldest first: clusterings, labels, edits of tags, policies, remarks, removals.

        Each has id (``greek@2``, ``tag-12`` or ``mark-5``, by which it is undone), at, author
        (empty where it is not known any more), kind, key (run, node or property; of a remark also
        ``image:ID`` and ``tag:ID``), text (what it did), said (the same as id, template and values
        of a message), reason, undone (whether it is), and dagster_run_id (empty for edits of tags).

        Args:
            number: Only so many, the last ones.
        """
        from panoptic_assets.orchestration.instance import authors_of_runs
        from panoptic_assets.upkeep.undoing import history

        found = history(self._store, self._file_of_run, authors_of_runs(self._home))
        return [vars(act) for act in found[-(number or 0) :]]

    def undo(
        self, act: str | None = None, author: str | None = None, reason: str | None = None
    ) -> dict[str, Any]:
        """Undo an act: what is read is then what it was before it. Returns what was undone.

        Holds act (its id), done (``undo``, or ``redo`` where the act was an undo), key, change
        (what the act did), said (its id, template and values), id (of what was done now, which
        can be undone as well), and notes (sentences that a person must know: which tag got a number
        by it, and what stays away).

        Args:
            act: Its id, as :meth:`history` gives it; by default the last one that can be undone.
            author: Who undoes; by default the user of the system.
            reason: Why.

        Raises:
            InputError: There is no such act, it is undone already, or something rests on it or
                came after it.
        """
        return self._undo(act, False, author, reason)

    def redo(
        self, act: str | None = None, author: str | None = None, reason: str | None = None
    ) -> dict[str, Any]:
        """Do an act again that was undone; returns what :meth:`undo` does.

        Args:
            act: Its id; by default the one that was undone last.
            author: Who does it again; by default the user of the system.
            reason: Why.

        Raises:
            InputError: There is no such act, it is not undone, or what it rests on is another.
        """
        return self._undo(act, True, author, reason)

    def _undo(
        self, act: str | None, redo: bool, author: str | None, reason: str | None
    ) -> dict[str, Any]:
        from panoptic_assets.spec.marks import number_of_tag_event, tag_id
        from panoptic_assets.upkeep import undoing

        told = {"author": author or self._author, "reason": reason}
        store = Snapshot.of(self._opened)
        found, again = undoing.find_act(store, self._file_of_run, act or "", redo)
        event = number_of_tag_event(found.id)
        if event is not None:
            [made] = self.edit([_edit_of_event(event, again)], author or self._author, reason)
            done, notes = tag_id(made["number"]), made["notes"]
        else:
            given = _config_of({"act": found.id, "redo": again, **told})
            undoing.prepare(self.context.now(), "", given)
            shown = self._run_op("undo_acts", "undo_act", given)
            done = shown["mark"]
            notes = self._with_tags(shown["tag_events"], again, author, reason)
            self._list_reports()
        return {
            "act": found.id,
            "done": "redo" if again else "undo",
            "key": found.key,
            "kind": found.kind,
            "change": found.text,
            "said": found.said,
            "id": done,
            "notes": notes,
        }

    def _file_of_run(self, key: str) -> bytes | None:
        return self.registry.run_bytes(key)

    def _with_tags(
        self, events: Iterable[int], redo: bool, author: str | None, reason: str | None
    ) -> list[str]:
        """Bring back, or delete again, the tags that went with a run that was removed; notes."""
        # To do the deletion again is what undoing it was for, and the other way round.
        log = {entry["number"]: entry["undone"] for entry in self.tag_log()}
        due = [event for event in events if log.get(event) is redo]
        edits = [_edit_of_event(event, redo) for event in (due if redo else reversed(due))]
        made = self.edit(edits, author or self._author, reason) if edits else []
        return [note for event in made for note in event["notes"]]

    def removal(self, key: str) -> dict[str, Any]:
        """What a run or a divided node is made of, and what rests on it; nothing is removed.

        See :func:`panoptic_assets.upkeep.removing.removal` for what it holds.

        Args:
            key: The run, or the divided node.

        Raises:
            InputError: There is no such clustering.
        """
        from panoptic_assets.upkeep.removing import removal
        from resources.report_folder import ReportFolder

        reports = ReportFolder(folder=str(self.folder))
        return removal(self._store, self.registry, reports, parse_clustering(key))

    def remove(
        self,
        key: str,
        with_tags: bool = False,
        author: str | None = None,
        reason: str | None = None,
    ) -> dict[str, Any]:
        """Remove a run, or a divided node, with all below it; returns what :meth:`removal` does.

        And id, by which :meth:`undo` brings it back. Its files in ``configs/runs`` stay.

        Args:
            key: The run, or the divided node.
            with_tags: Whether the tags that were saved from it are deleted as well.
            author: Who removes; by default the user of the system.
            reason: Why.

        Raises:
            InputError: There is no such clustering.
        """
        from panoptic_assets.upkeep import removing

        told = self.removal(key)
        by = author or self._author
        events: list[int] = []
        if with_tags and (edits := removing.deletions(self._opened, key)):
            why = reason or f"{key} is removed"
            events = [entry["number"] for entry in self.edit(edits, by, why)]
        given = {"key": key, "tag_events": events, "author": by, "reason": reason}
        shown = self._run_op("remove_clusterings", "remove_clustering", _config_of(given))
        self._list_reports()
        return told | {"id": shown["mark"]}

    def _list_reports(self) -> None:
        """Write the first page of the reports anew, where there are some."""
        from panoptic_assets.clustering import table as clustering_tables
        from panoptic_assets.review.run_report import list_reports
        from panoptic_assets.spec.languages import Language

        reports = self.context.reports
        if (reports.root / "index.html").is_file():
            # In the program's own language, whatever the last report was written in.
            list_reports(clustering_tables.Clusterings(self._opened), reports, Language())

    def reconcile(
        self, follow: Literal["store", "dagster"] = "store", check: bool = False
    ) -> dict[str, Any]:
        """Let the store and Dagster know of the same things; returns what they did not agree on.

        Somebody may have deleted a partition or wiped an asset in Dagster's UI. Holds
        mismatches (asset, key, what and text of each) and marks (ids of the removals, by which
        they can be undone).

        Args:
            follow: ``store``: Dagster is told of what the store has; ``dagster``: what was deleted
                there is removed from the store.
            check: Whether it is only said what they do not agree on.

        Raises:
            InputError: A part of what would be removed cannot be read.
        """
        from panoptic_assets.orchestration.instance import instance_to_read
        from panoptic_assets.upkeep.reconciling import as_rows, find_mismatches

        if check:
            with instance_to_read(self._home) as instance:
                found = find_mismatches(instance, Snapshot.of(self._opened), self.registry)
            return {"mismatches": as_rows(found), "marks": []}
        shown = self._run_op("reconcile", "reconcile_store", {"follow": follow})
        if follow == "dagster":
            self._list_reports()
        marks = [] if not shown["nb_removed"] else shown["marks"].split(", ")
        return {"mismatches": shown["rows"], "marks": marks}

    def policy(self, run_key: str) -> str | dict[str, Any]:
        """The refresh policy of a run: its name, or that with its parameters.

        Raises:
            InputError: There is no such run, or its file cannot be used.
        """
        from panoptic_assets.clustering.dividing import registry_config
        from panoptic_assets.clustering.policies import policy_document, policy_of

        clusterings = self._clusterings(parse_run_key(run_key))
        registered = registry_config(self.registry, run_key, "clustering")
        if clusterings.find(run_key) is None and registered is None:
            clusterings.get(run_key)  # which says what there is
        return policy_document(policy_of(self.registry, run_key))

    def set_policy(
        self,
        run_key: str,
        policy: str | dict[str, Any],
        author: str | None = None,
        reason: str | None = None,
    ) -> Path:
        """Choose what happens to a run when its corpus changes; returns its file.

        Args:
            run_key: The run.
            policy: ``keep``, ``assign`` or ``recluster``, or ``{"assign": {"most_novel": 0.1}}``.
            author: Who chooses; by default the user of the system.
            reason: Why.

        Raises:
            InputError: There is no such run, or the policy cannot be used.
        """
        from panoptic_assets.upkeep import setting_policies

        refresh = {policy: {}} if isinstance(policy, str) else policy
        told = {"author": author or self._author, "reason": reason}
        given = _config_of({"key": parse_run_key(run_key), "refresh": refresh, **told})
        setting_policies.prepare(self.context.now(), "", given)
        return Path(self._run_op("set_policy", "write_policy", given)["file"])

    def forget(self, *images: str, author: str | None = None, reason: str = "") -> list[Forgotten]:
        """Take images out of everything that is kept, and complete what was interrupted.

        What is left is their ids, so that the same content is left out when it comes again, and a
        certificate. It cannot be undone.

        Args:
            images: By id, by the first 8 or more characters of one, or by path.
            author: Who forgets; by default the user of the system.
            reason: Why; it is kept in the certificate.

        Raises:
            InputError: There is no such image, or something else runs.
        """
        from panoptic_assets.clustering import table as clustering_tables
        from panoptic_assets.orchestration import history
        from panoptic_assets.orchestration.instance import alone, instance_of, without_ui
        from panoptic_assets.review.run_report import list_reports
        from panoptic_assets.spec.resolution import parse
        from panoptic_assets.tags.config import EditsConfig
        from panoptic_assets.tags.saving import author_of
        from panoptic_assets.upkeep.forgetting import begin, complete, find_images

        tell, reports = self._reporter.tell, self.context.reports
        targets = find_images(self._store, images, self._project.images, tell)
        by = author_of(parse(EditsConfig, {"author": author or ""}))
        with (
            without_ui(self._home),
            instance_of(self._home, tell, wait=False) as instance,
            alone(instance, tell),
        ):
            begin(self._store, self._project.images, targets, by, reason)
            return complete(
                self._store,
                self._project,
                reports,
                lambda since, shows: history.clear(instance, since, shows),
                lambda: list_reports(clustering_tables.Clusterings(self._store), reports),
                tell,
            )

    @contextmanager
    def verifier(self, pixels: bool = True) -> Iterator[Verifier]:
        """Verifies clusterings, with the event log of the project's Dagster instance for a witness.

        Args:
            pixels: Whether files are read.
        """
        from panoptic_assets.orchestration.instance import instance_to_read
        from panoptic_assets.proof.assets import seals_in_log
        from panoptic_assets.proof.verification import Verifier

        context = self.context
        with instance_to_read(self._home) as instance:
            yield Verifier(
                context.store,
                context.models,
                context.registry,
                context.source,
                self._reporter.tell,
                seals_in_log(instance),
                pixels,
            )

    @functools.cached_property
    def _home(self) -> Path:
        """The folder of the project's Dagster instance."""
        return dagster_home(self._project)

    @functools.cached_property
    def _launcher(self) -> Launcher:
        return self.launcher()

    def launcher(self, instance: dg.DagsterInstance | None = None) -> Launcher:
        """What carries the project's acts out in this process.

        Args:
            instance: The project's Dagster instance, if this process keeps it open.
        """
        from panoptic_assets.definitions import build_defs
        from panoptic_assets.orchestration.acting import Acts
        from panoptic_assets.orchestration.launching import Launcher

        context = self.context
        context.reports.recover()
        acts = Acts(context)
        definitions = build_defs(
            source=context.source,
            store=context.store,
            models=context.models,
            engine=context.engine,
            registry=context.registry,
            reports=context.reports,
            acts=acts,
        )
        return Launcher(self._home, definitions, acts, self._reporter, instance)

    def cancel(self) -> None:
        """Cancel the act in progress, from another thread; nothing of it is half done then.

        It ends with :class:`panoptic_assets.orchestration.worker_link.ActCancelledError`. What this
        process carries out itself, it carries out.
        """
        self._cancelled = True
        errand = self._errand  # which the act's own thread may take away meanwhile
        if errand is not None:
            errand.cancel()

    def _act(
        self,
        asset: str,
        key: str | None,
        given: Document,
        tags: Mapping[str, str] | None = None,
    ) -> Materialized:
        """Prepare an act and have it carried out, as a Dagster run: in the worker, or here.

        Raises:
            InputError: It is refused, or its Dagster run failed.
        """
        from panoptic_assets.acts import ACTS, check_seen

        act, versions = ACTS[asset], self._seen
        self._seen = {}  # what a second act rests on was changed by the first
        if self._author and "author" in act.config.model_fields and not given.get("author"):
            given = {**given, "author": self._author}
        tags = {**(tags or {}), **self._told}
        if act.quick or self._worker == "all":
            request = {"act": asset, "key": key, "given": given, "tags": tags, "seen": versions}
            if (made := self._handed(request)) is not None:
                from panoptic_assets.orchestration.launching import Materialized

                return Materialized(made["run_id"], made["metadata"])
        context = self.context.now()
        check_seen(context.store, versions)
        plan = act.prepare(context, key or "", given)
        self._accepted()
        return self._launcher.materialize(
            asset, key, given, plan, tags, lambda store: check_seen(store, versions)
        )

    def _run_op(self, job: str, op: str, given: Document) -> dict[str, Any]:
        """Have a job of one op carried out; the metadata of its output.

        Raises:
            InputError: It refuses.
        """
        from panoptic_assets.acts import QUICK_JOBS, check_seen

        versions, self._seen = self._seen, {}
        tags = self._told
        if job in QUICK_JOBS or self._worker == "all":
            request = {"job": job, "op": op, "given": given, "tags": tags, "seen": versions}
            if (made := self._handed(request)) is not None:
                return dict(made["metadata"])
        check_seen(self._opened, versions)
        self._accepted()
        return self._launcher.run_op(job, op, given, tags)

    def _accepted(self) -> None:
        if accepted := getattr(self._reporter, "accepted", None):
            accepted("")

    @property
    def _told(self) -> dict[str, str]:
        """Dagster tags of the runs: who acts."""
        from panoptic_assets.orchestration.instance import AUTHOR_TAG
        from panoptic_assets.spec.people import system_user

        return {AUTHOR_TAG: self._author or system_user()}

    def _handed(self, request: Message, report: Report | None = None) -> Message | None:
        """What came of a request to the worker; None where there is none, or it is not asked.

        Args:
            request: The request.
            report: Is told what the reporter would be.
        """
        from panoptic_assets.orchestration.worker_link import Errand

        if self._worker == "none":
            return None
        patience = _SECONDS_FOR_WORKER if self._worker == "all" else 0.0
        reporter = Callbacks(report) if report else self._reporter
        self._errand = errand = Errand(self._home, request, reporter, patience)
        if self._cancelled:
            errand.cancel()
        try:
            done = errand.carried_out()
        finally:
            self._errand = None
        return None if done is None else done["done"]

    def _clusterings(self, key: str) -> clustering_tables.Clusterings:
        from panoptic_assets.clustering import table as clustering_tables

        run_key, _, _ = parse_clustering(key).partition("/")
        return clustering_tables.Clusterings(self._store, run_key)

    def _tag_tables(self, property_name: str | None) -> TagTables:
        from panoptic_assets.corpus.properties import stored_property
        from panoptic_assets.spec import tag_log
        from panoptic_assets.spec.tag_log import TagTables

        if property_name is not None:
            property_name = stored_property(self._store, property_name)
        where = None if property_name is None else f"property = {quoted(property_name)}"
        rows = self._store.read("tags", where=where).to_pylist()
        if not rows and property_name is not None:
            known = self._store.read("tags", ["property"])
            listed = ", ".join(sorted(set(known["property"].to_pylist()))) or message(
                "none yet", id="none-yet"
            )
            raise InputError(
                "There is no property {property!r}. Existing ones: {known}.",
                id="no-such-property",
                property=property_name,
                known=listed,
            )
        known_ids = {row["tag_id"] for row in rows}
        pairs = self._store.read("image_tags", ["tag_id", "image_id", "event"], where)
        return TagTables(
            tag_log.in_tree_order(tag_log.Tag(**row) for row in rows),
            # The two tables are two commits: between them, pairs may name tags of the other one.
            {
                (tag_id, image_id): event
                for tag_id, image_id, event in zip(
                    *(pairs[name].to_pylist() for name in pairs.column_names), strict=True
                )
                if tag_id in known_ids
            },
        )


def _config_of(given: Mapping[str, Any]) -> Document:
    """What was given of a configuration: a method or policy may be named without parameters."""
    config = {name: value for name, value in given.items() if value is not None}
    if isinstance(config.get("method"), str):
        config["method"] = {config["method"]: {}}
    return config


def _images_or_scope() -> InputError:
    return InputError("Name the images, or give a scope: one of the two.", id="images-or-scope")


def _edit_of_event(event: int, redo: bool) -> Edit:
    return {"redo" if redo else "undo": {"event": event}}


def _depth(depth: int) -> int:
    if depth < 1:
        raise InputError(
            "The depth of a tree is 1 or more, not {depth}.", id="depth-below-one", depth=depth
        )
    return depth


def open_store(project: ProjectFolder) -> LanceStore:
    """The project's store, opened once to see that it can be.

    Raises:
        InputError: It cannot be.
    """
    store = LanceStore(uri=project.store, storage_options=project.settings.storage_options)
    try:
        store.tables()
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's own; without a number, Lance's words for a bad URI or no network
        raise InputError(
            "The store {store} cannot be opened: check `store` and `storage_options` in "
            "{settings_file}, the network, and the secrets in the environment. (LanceDB says: "
            "{reason})",
            id="store-cannot-be-opened",
            store=project.store,
            settings_file=project.settings_file,
            reason=brief(str(error)),
        ) from error
    return store
