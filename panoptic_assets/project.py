"""The Python door: ``Project().run_info("greek")``.

Belongs here: reading a project as plain dictionaries and Arrow tables. Does not belong here:
materializing assets, which is Dagster's part.

Long because it is one class, whose every method is a door; what they read is said in the rooms.

Rooms are imported in the methods that need them: a command that reads one table loads what that
table needs, and neither Dagster nor a model's library.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from panoptic_assets.corpus import versions
from panoptic_assets.spec.keys import (
    parse_clustering,
    parse_name,
    parse_node,
    parse_projection,
    parse_run_key,
    run_key_of,
)
from resources.errors import InputError
from resources.lance import LanceStore, quoted
from resources.project_folder import find
from resources.schemas import SCHEMAS, points_table, vectors_table

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
    from panoptic_assets.clustering import quality
    from panoptic_assets.clustering import table as clustering_tables
    from panoptic_assets.clustering.search import Report
    from panoptic_assets.review import comparisons
    from panoptic_assets.runner import Runner
    from panoptic_assets.spec.tag_log import TagTables
    from panoptic_assets.tags.edits import Edit
    from panoptic_assets.tags.exchange.transfer import Exported, Format


class Project:
    """One project; only :meth:`edit` changes anything in it.

    Args:
        folder: The project's folder; by default the one that ``$PANOPTIC_PROJECT`` names or the
            working directory lies in.

    Raises:
        InputError: There is no project there.
    """

    def __init__(self, folder: str | Path | None = None):
        self._project = find(Path(folder) if folder else None)
        self._store = LanceStore(
            uri=self._project.store, storage_options=self._project.settings.storage_options
        )

    @property
    def folder(self) -> Path:
        """The project's folder."""
        return self._project.folder

    def runs(self, report: "Report | None" = None) -> list[dict[str, Any]]:
        """Every run and every clustering of a cluster: one dictionary each, by key.

        Those are left out whose record cannot be read: a newer version wrote it, or it was changed.

        Args:
            report: Called with a sentence for each of these.
        """
        from panoptic_assets.clustering import table as clustering_tables

        clusterings = clustering_tables.Clusterings(self._store)
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
        - staleness, stale ones first: what (``clustering``, ``labels`` or ``property``), key,
          run_key, state (``up to date``, ``stale``, or ``unknown`` if a model would have to be
          loaded to tell), text, and reasons: kind, count and text of each.

        Args:
            keys: Run keys, each for all that belongs to the run, nodes (``greek/3``), or saved
                properties as ``property:NAME``; by default everything.

        Raises:
            InputError: There is none of that key.
        """
        from panoptic_assets.upkeep import reasons as core_staleness
        from panoptic_assets.upkeep import staleness
        from resources.registry import Registry

        registry = Registry(folder=str(self.folder))
        corpus = staleness.corpus_state(self._store, registry.default_vector_type)
        found = staleness.Judge(self._store, registry).all()
        if keys:
            found = staleness.named_by(found, keys)
        version = corpus.version
        return {
            "corpus": {
                "version": version.number if version else None,
                "sha256": version.sha256 if version else None,
                "changed_at": version.at if version else None,
                **{name: value for name, value in vars(corpus).items() if name != "version"},
            },
            "staleness": [
                {
                    "what": judged.what,
                    "key": judged.key,
                    "run_key": judged.run_key,
                    "state": judged.state,
                    "text": judged.text,
                    "reasons": [vars(reason) for reason in judged.reasons],
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
        from panoptic_assets.clustering import sweeps
        from panoptic_assets.clustering import table as clustering_tables
        from resources.registry import Registry

        registry = Registry(folder=str(self.folder))
        parse_run_key(key)
        cells = sweeps.cells(key, sweeps.parse_sweep(registry.sweep(key), f"The sweep {key!r}"))
        known = clustering_tables.Clusterings(self._store).records
        return [sweeps.row(cell, known.get(cell.key)) for cell in cells]

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
        remainder: "comparisons.Treatment" = "counted",
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
        return [side.key for side in found], comparisons.matrix(found, remainder), notes

    def leaderboard(
        self, against: str = "", depth: int = 1, remainder: "comparisons.Treatment" = "counted"
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
        or a remark), method (``zero_shot`` or ``vision_model``), record_id. Labels of clusters that
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
        which: "quality.Exemplars" = "nearest",
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

        Each has tag_id, property, name, path (``9 > 1``), parent_id, node, record_id,
        is_remainder, nb_images (with those of the tags below it) and image_ids (its own only).

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
                text = str(error)
                raise InputError(text[0].upper() + text[1:]) from error
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
        report: "Report | None" = None,
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
        from panoptic_assets.clustering.scopes import FoundByText, SimilarTo
        from panoptic_assets.clustering.search import search as search_images
        from panoptic_assets.spec.resolution import parse
        from resources.models import OpenClipModels
        from resources.registry import Registry

        if (text is None) == (similar_to is None):
            raise InputError("A search is for a text or for an image: give one of the two.")
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
        return pa.table(
            {
                "image_id": pa.array(found.image_ids, pa.string()),
                "path": pa.array(found.paths, pa.string()),
                "similarity": pa.array(found.similarities, pa.float64()),
            }
        )

    def export(
        self,
        destination: str | Path,
        property: str | None = None,
        run: str | None = None,
        format: "Format | None" = None,
        replace: bool = False,
        copy: bool = False,
    ) -> "Exported":
        """Write tags for other programs: to a file, or as a tree of folders.

        Args:
            destination: The file; for ``folders`` a folder that is empty or not there yet.
            property: Only its tags; all properties by default.
            run: In place of saved tags, what saving this run would make.
            format: ``csv``, ``parquet``, ``json``, ``panoptic``, ``fiftyone`` or ``folders``; by
                default what the destination's suffix says.
            replace: Whether a file that is there is replaced.
            copy: Whether ``folders`` holds copies of the images; by default it holds symbolic
                links, if the images are on this machine.

        Raises:
            InputError: There are no such tags, or they cannot be written there. Nothing is written
                then.
        """
        from panoptic_assets.tags.exchange import transfer
        from resources.source import ImageSource

        if property is not None and run is not None:
            raise InputError("Export a property or a run, not both.")
        source = ImageSource(
            root=self._project.images, storage_options=self._project.settings.images_options
        )
        if run is not None:
            tables = transfer.run_tags(self._store, run)
        else:
            tables = transfer.saved_tags(self._store, property)
        everything = property is None and run is None
        return transfer.export(
            self._store, source, tables, Path(destination), format, replace, copy, everything
        )

    def edit(self, edits: "Iterable[Edit]", author: str = "", reason: str = "") -> None:
        """Change tags: all of the edits, in their order, or none if one cannot be done.

        Materializes the asset ``tags``, as ``panoptic-assets tag apply`` does.

        Args:
            edits: Such as ``{"rename": {"tag": "3", "to": "Vases grecs"}}``; see
                ``panoptic_assets.tags.edits``.
            author: Who edits; by default the user of the system.
            reason: Why, for the tag log.

        Raises:
            InputError: One of them cannot be done.
        """
        self._runner().edit(list(edits), author or None, reason or None)

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
        with self._runner().verifier(pixels) as verifier:
            asked = [found for key in keys for found in verifier.keys(key)]
            found = dict.fromkeys(asked if keys else verifier.all_keys())
            return [verifier.verify(key).as_dictionary() for key in found]

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

        source = self._runner().source
        return explain(self._store, source, image, tag, property).as_dictionary()

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
        """The properties that the file of metadata gives to images, by name.

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
        """The images that have a property of the file of metadata, by image id.

        Columns: image_id, value: a string, a float64, a timestamp in UTC, or for tags a list of
        paths (``a > b``).

        Raises:
            InputError: There is no such property.
        """
        from panoptic_assets.corpus.properties import VALUE_COLUMNS, read_properties
        from panoptic_assets.spec.tag_log import normalised

        rows = read_properties(self._store, normalised(name))
        if not rows.num_rows:
            known = ", ".join(entry["name"] for entry in self.properties()) or "none yet"
            raise InputError(f"There is no property {name!r}. Existing ones: {known}.")
        column = VALUE_COLUMNS[rows["type"][0].as_py()]
        return rows.select(["image_id", column]).rename_columns(["image_id", "value"])

    def tag_log(self) -> list[dict[str, Any]]:
        """Every event of the tag log, oldest first.

        Each has number, at, author, reason, kind, property, undone (whether it is left out of the
        tags), event (the number that an undo or redo names), nb_images, and change (in words).
        """
        from panoptic_assets.spec import tag_log
        from panoptic_assets.tags import table as tag_tables

        log = tag_tables.read_log(self._store)
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
                "nb_images": len(entry.event.images),
                "change": change,
            }
            for entry, change in zip(log, tag_log.in_words(events), strict=True)
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
                f"There are no vectors of type {name!r}. Existing ones: "
                f"{', '.join(known) or 'none yet'}."
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
                f"There are no neighbours of type {name!r}: materialize `neighbors` "
                f"(`panoptic-assets refresh --vector-type {name}`)."
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
                f"There is no projection {key!r}. Existing ones: {', '.join(known) or 'none yet'}."
            )
        return self._store.read(points_table(key)).sort_by("image_id")

    def _runner(self) -> "Runner":
        from panoptic_assets.runner import Runner
        from panoptic_assets.spec.reporting import PlainReporter

        return Runner(self._project, PlainReporter())

    def _clusterings(self, key: str) -> "clustering_tables.Clusterings":
        from panoptic_assets.clustering import table as clustering_tables

        run_key, _, _ = parse_clustering(key).partition("/")
        return clustering_tables.Clusterings(self._store, run_key)

    def _tag_tables(self, property_name: str | None) -> "TagTables":
        from panoptic_assets.corpus.properties import stored_property
        from panoptic_assets.spec import tag_log
        from panoptic_assets.spec.tag_log import TagTables

        if property_name is not None:
            property_name = stored_property(self._store, property_name)
        where = None if property_name is None else f"property = {quoted(property_name)}"
        rows = self._store.read("tags", where=where).to_pylist()
        if not rows and property_name is not None:
            known = self._store.read("tags", ["property"])
            listed = ", ".join(sorted(set(known["property"].to_pylist()))) or "none yet"
            raise InputError(f"There is no property {property_name!r}. Existing ones: {listed}.")
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


def _depth(depth: int) -> int:
    if depth < 1:
        raise InputError(f"The depth of a tree is 1 or more, not {depth}.")
    return depth
