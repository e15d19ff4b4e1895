"""Which clusterings, labels and saved properties are up to date, and why the others are not.

Belongs here: reading what was recorded and what is there now, each once. Does not belong here: the
comparison and its words (``upkeep.reasons``), and computing anything again
(``clustering.dividing``).

Judging hashes what a clustering would read now and compares the hashes with its record's. Runs of
one scope and features share that work, so that a thousand of them cost about what one costs; and
what has changed is looked up in the recorded versions only where the hashes differ, once for each
of them. No model is loaded.

Long because judging reads each table once for all kinds of things that can be stale.
"""

import functools
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from panoptic_assets.clustering.config import ClusteringConfig, algorithm_of
from panoptic_assets.clustering.readings import tag_paths
from panoptic_assets.clustering.scopes import FoundByText, InNode, SimilarTo
from panoptic_assets.clustering.selection import Selection, left_out, select
from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus.manifest import files_by_status
from panoptic_assets.corpus.table import files_input, present_files
from panoptic_assets.corpus.versions import CorpusVersion, versions
from panoptic_assets.features.table import (
    ReadVectors,
    embedded,
    read_graph,
    read_points,
    read_vectors,
    vector_types,
)
from panoptic_assets.labels.table import BY_HAND
from panoptic_assets.spec import records, tag_log
from panoptic_assets.spec.computation import Vectors
from panoptic_assets.spec.keys import REMAINDER, parse_node, run_key_of, vector_type_of
from panoptic_assets.spec.records import Record, digest, vectors_hash
from panoptic_assets.spec.resolution import parse
from panoptic_assets.spec.tag_log import normalised
from panoptic_assets.spec.text import nearest
from panoptic_assets.tags.table import read_log
from panoptic_assets.upkeep.reasons import (
    Reason,
    SavedClustering,
    Seen,
    Staleness,
    judged_labels,
    judged_save,
    what_changed,
)
from resources.errors import InputError, Message, message
from resources.lance import LanceStore, one_of, quoted
from resources.models import OpenClipModels
from resources.registry import Registry
from resources.schemas import points_table, vectors_table

PROPERTY = "property:"
_NAMES_LISTED = 8


@dataclass(frozen=True)
class CorpusState:
    """The corpus as it is, and what a refresh would still do."""

    version: CorpusVersion | None
    """The newest one; None before the first refresh."""
    nb_images: int
    nb_files: int
    nb_missing: int
    nb_quarantined: int
    not_embedded: dict[str, int]
    """For each vector type that is in use, how many images that are present lack a vector."""


def corpus_state(store: LanceStore, default_vector_type: str) -> CorpusState:
    """Read it.

    Args:
        store: The store.
        default_vector_type: In use even if it has no vector yet.
    """
    rows = store.read("files", ["path", "image_id", "status"])
    lines = (rows[name].to_pylist() for name in ("path", "status"))
    statuses = files_by_status(zip(*lines, strict=True))
    present = set(rows.filter(pc.equal(rows["status"], "present"))["image_id"].to_pylist())
    known = vector_types(store)
    in_use = sorted({default_vector_type, *known})
    return CorpusState(
        version=next(reversed(versions(store)), None),
        nb_images=len(present),
        nb_files=statuses["present"],
        nb_missing=statuses["missing"],
        nb_quarantined=statuses["quarantined"],
        not_embedded={
            name: len(present - embedded(store, name) if name in known else present)
            for name in in_use
        },
    )


class Judge:
    """Judges what one store holds; each thing is read once, when it is first asked for.

    Args:
        store: The store.
        registry: Where the project's folder is.
        run_key: Judge only this run's clusterings, labels and saves; all by default.
    """

    def __init__(self, store: LanceStore, registry: Registry, run_key: str | None = None):
        self._store = store
        self._registry = registry
        self._run_key = run_key
        self.clusterings = Clusterings(store, run_key)
        self._code_version = records.code_version()
        held = store.read("forgotten", ["records"])["records"].to_pylist()
        self._forgotten = Counter(record_id for ids in held for record_id in ids or ())
        # For scopes that are found by a text; these are never selected here.
        self._models = OpenClipModels(folder=registry.folder)
        self._staleness: dict[str, Staleness] = {}
        self._now_of: dict[str, _Now | Reason] = {}
        self._changes: dict[str, list[Reason]] = {}
        self._other_runs: dict[str, Clusterings] = {}
        self._scopes: dict[str, Any] = {}
        self._vectors_of: dict[str, ReadVectors] = {}
        self._features_of: dict[str, _Features] = {}
        self._tags = functools.cache(lambda name: tag_paths(store, name))

    def all(self) -> list[Staleness]:
        """Of every clustering, then of labels by run, then of saved properties, each by key."""
        clusterings = [self.clustering(key) for key in self.clusterings.records]
        unreadable = [
            Staleness(
                "clustering", key, run_key_of(key), (Reason("not_judged", 0, found.error.message),)
            )
            for key, found in self.clusterings.unreadable.items()
        ]
        return [*clusterings, *unreadable, *self.labels(), *self.saves()]

    def clustering(self, key: str) -> Staleness:
        """Of a run, or of a divided node.

        Raises:
            InputError: There is none of that key.
        """
        if key not in self._staleness:
            record = self.clusterings.get(key)
            self._staleness[key] = Staleness(
                "clustering", key, record.run_key, tuple(self._reasons(record))
            )
        return self._staleness[key]

    def labels(self) -> list[Staleness]:
        """Of every run that has labels."""
        columns = ["run_key", "record_id", "cluster", "method"]
        labelled: dict[str, list[tuple[str, str]]] = defaultdict(list)
        asked = set()  # who named some clusters by hand did not mean to name all
        for run_key, record_id, cluster, method in _rows(
            self._store, "labels", columns, self._of_runs
        ):
            labelled[run_key].append((record_id, cluster))
            if method != BY_HAND:
                asked.add(run_key)
        found = []
        for run_key, pairs in sorted(labelled.items()):
            if reason := self._unreadable(run_key):
                found.append(Staleness("labels", run_key, run_key, (reason,)))
                continue
            if run_key not in self.clusterings.records:  # undone or removed; they wait with it
                continue
            # What a refresh assigned images to keeps the labels of the clusters as computed.
            valid = {record.computed_id for record in self.clusterings.valid(run_key).values()}
            clusters = [
                (record_id, cluster)
                for record_id in valid
                for cluster in self._clusters.get(record_id, ())
                if cluster != REMAINDER and run_key in asked
            ]
            reasons = judged_labels(pairs, clusters, valid)
            found.append(Staleness("labels", run_key, run_key, tuple(reasons)))
        return found

    def saves(self) -> list[Staleness]:
        """Of every property that clusters were saved under, by its latest save."""
        log = read_log(self._store, with_images=False)
        left_out = tag_log.undone([entry.event for entry in log])
        latest = {
            entry.event.property: entry
            for entry in log
            if entry.event.kind == "save" and entry.number not in left_out
        }
        found = []
        for name, entry in sorted(latest.items()):
            run_key = entry.event.run_key or ""
            if self._run_key not in (None, run_key):
                continue
            if reason := self._unreadable(run_key):
                found.append(Staleness("property", name, run_key, (reason,)))
                continue
            saved = {
                tag.node.rpartition("/")[0]: tag.record_id
                for tag in entry.event.tags
                if tag.node and tag.record_id
            }
            valid = {
                key: SavedClustering(record.record_id, record.finished_at <= entry.at)
                for key, record in self.clusterings.valid(run_key).items()
            }
            run_is_stale = run_key in valid and self.clustering(run_key).state == "stale"
            reasons = judged_save(saved, valid, self.clusterings.stale, run_key, run_is_stale)
            found.append(Staleness("property", name, run_key, tuple(reasons)))
        return found

    def _unreadable(self, run_key: str) -> Reason | None:
        """Why nothing can be said of all of a run: one of its records cannot be read."""
        try:
            self.clusterings.check_tree(run_key)
        except InputError as error:
            return Reason("not_judged", 0, error.message)
        return None

    def _reasons(self, record: Record) -> list[Reason]:
        found = []
        if record.key in self.clusterings.stale and (reason := self._unreadable(record.run_key)):
            found.append(reason)
        elif record.key in self.clusterings.stale:
            above = record.key.rpartition("/")[0]
            text = message(
                "the clustering above it, {above}, was made again or is stale",
                id="clustering-above-renewed",
                above=above,
            )
            found.append(Reason("parent_changed", 1, text))
        else:
            found += self._reasons_of_inputs(record)
        if count := self._forgotten[record.record_id]:
            found.append(Reason("images_forgotten", count, _forgotten(count)))
        found += _algorithm_changed(record)
        if record.code_version != self._code_version:
            text = message(
                "made by version {then} of the code, now {now}",
                id="made-by-other-code",
                then=record.code_version,
                now=self._code_version,
            )
            found.append(Reason("code_changed", 0, text))
        return found

    def _reasons_of_inputs(self, record: Record) -> list[Reason]:
        scope = self._scope_of(record)
        if isinstance(scope, Reason):
            return [scope]
        found: list[Reason] = []
        if isinstance(scope, FoundByText | SimilarTo):
            found += self._search_changed(record, scope)
            if found and isinstance(scope, FoundByText):
                return found
        known = self._now(record, scope)
        if isinstance(known, Reason):
            return [known]
        found += self._parent_changed(record, known)
        recorded = {(read.table, read.sha256) for read in record.inputs}
        if not known.inputs <= recorded:
            found += self._what_changed(record, scope, known)
            if not found:
                tables = sorted({table for table, _ in known.inputs - recorded})
                text = message(
                    "what it reads of {tables} is something else",
                    id="inputs-changed",
                    tables=", ".join(tables),
                )
                found.append(Reason("inputs_changed", 0, text))
        return found + self._readings_changed(record)

    def _scope_of(self, record: Record) -> Any:
        """The scope of a run; None of a node, which is its own; a reason if it cannot be read."""
        if record.key != record.run_key:
            return None
        document = {"scope": record.config["scope"]} if "scope" in record.config else {}
        key = digest(document)
        if key not in self._scopes:
            try:
                self._scopes[key] = parse(ClusteringConfig, document).scope
            except InputError as error:
                self._scopes[key] = Reason("not_possible", 0, error.message)
        return self._scopes[key]

    def _now(self, record: Record, scope: Any) -> "_Now | Reason":
        """What a clustering would read now, or why it could not."""
        cause = [record.config["features"]]
        if scope is None:
            cause.append(record.key)
        elif isinstance(scope, FoundByText):  # what it found is not computed again
            cause += [record.record_id]
        else:
            cause += [record.config.get("scope"), record.config.get("without")]
        key = digest(cause)
        if key not in self._now_of:
            try:
                self._now_of[key] = self._read_now(key, record, scope)
            except InputError as error:
                self._now_of[key] = _not_possible(error)
        return self._now_of[key]

    def _read_now(self, key: str, record: Record, scope: Any) -> "_Now":
        if scope is None:
            node = parse_node(record.key)
            parent = self.clusterings.get(node.clustering)
            members = self._members[parent.record_id].get(node.cluster, [])
            image_ids = sorted(self._present.keys() & set(members))
            if not image_ids:
                raise InputError(
                    "all of its images are missing from the corpus by now.",
                    id="its-images-all-missing",
                )
            selection = Selection(image_ids, [files_input(0, image_ids)], parent=parent)
        elif isinstance(scope, FoundByText):
            # The vectors that were searched are as they were, so that it finds the same.
            image_ids = sorted(self._embedded_of(record))
            selection = Selection(image_ids, [files_input(0, image_ids)])
        else:
            selection = self._selected(record, scope, self._store)
        features = self._features_now(record.config["features"])
        seen, hashes = features.of(selection.image_ids)
        if not seen:
            raise InputError(
                "none of its images has features by now.", id="its-images-without-features"
            )
        sources = {(read.table, read.sha256) for read in selection.sources}
        return _Now(key, selection, seen, hashes | sources)

    def _selected(self, record: Record, scope: Any, store: LanceStore) -> Selection:
        config = ClusteringConfig(features=record.config["features"]).model_copy(
            update={"scope": scope, "without": record.config.get("without")}
        )
        return select(record.key, config, store, self._registry, self._models, lambda _: None)

    def _left_out(self, record: Record) -> set[str]:
        without = record.config.get("without")
        return set() if without is None else left_out(without, self._store, self._registry)

    def _search_changed(self, record: Record, scope: Any) -> list[Reason]:
        """Whether the vectors that its scope searches are still those that it searched."""
        vector_type = vector_type_of(record.config["features"])
        table = vectors_table(vector_type)
        recorded = [read for read in record.inputs if read.table == table]
        try:
            now = self._vectors(vector_type)
        except InputError as error:
            return [Reason("not_possible", 0, error.message)]
        if now.source.sha256 in {read.sha256 for read in recorded}:
            return []
        count = len(now.image_ids)
        try:
            then = self._store.at({"files": _last(record)["files"], table: recorded[-1].version})
            searched = _ids(then, table) & present_files(then).keys()
            count = len(searched ^ set(now.image_ids))
        except (InputError, KeyError):
            pass
        if isinstance(scope, FoundByText):
            return [Reason("not_judged", count, _searches_others_for_text(count))]
        return [Reason("search_changed", count, _searches_others(count))]

    def _parent_changed(self, record: Record, known: "_Now") -> list[Reason]:
        parent = known.selection.parent
        if parent is None or parent.output == record.parent_output:
            return []
        text = message(
            "the clustering of which its scope is a cluster, {parent}, was made again",
            id="clustering-of-scope-renewed",
            parent=parent.key,
        )
        return [Reason("parent_changed", 1, text)]

    def _what_changed(self, record: Record, scope: Any, known: "_Now") -> list[Reason]:
        """The reasons why the inputs of a clustering differ, with counts."""
        read = [(source.table, source.version, source.sha256) for source in record.inputs]
        # Members of a node, and results of a search, are those of one record.
        own = record.parent_record if scope is None else None
        cause = digest(known.key, read, own, record.id_list and record.id_list.sha256)
        if cause not in self._changes:
            self._changes[cause] = self._compare(record, scope, known)
        return self._changes[cause]

    def _compare(self, record: Record, scope: Any, known: "_Now") -> list[Reason]:
        then, remark = self._then(record, scope)
        features = self._features_now(record.config["features"])
        vectors, points = features.rows(known.embedded)
        present = self._present
        now = Seen(
            in_scope=known.selection.image_ids,
            embedded=known.embedded,
            present=present.keys(),
            files=self._files,
            vectors=vectors,
            points=points,
        )
        found = what_changed(then, now)
        before, after = record.id_list, known.selection.id_list
        if before and after and before.sha256 != after.sha256 and found:
            text = message("its list {file} was changed", id="list-changed", file=after.file)
            found.append(Reason("list_changed", 1, text))
        if remark and found:
            last = found.pop()
            said = message(
                "{reason} {remark}", id="reason-remarked", reason=last.said, remark=remark
            )
            found.append(Reason(last.kind, last.count, said))
        return found

    def _then(self, record: Record, scope: Any) -> tuple[Seen, Message | None]:
        """What a clustering looked at, and a remark if that is not known to the full."""
        features = record.config["features"]
        try:
            past = self._store.at(_last(record))
            present, files = _seen_files(past)
            if scope is None or isinstance(scope, InNode):
                node = parse_node(record.key if scope is None else scope.node)
                members = self._members_of(record.parent_record or "").get(node.cluster, [])
                in_scope = sorted((present & set(members)) - self._left_out(record))
            elif isinstance(scope, FoundByText):
                in_scope = sorted(self._embedded_of(record))
            else:
                in_scope = self._selected(record, scope, past).image_ids
            at = self._store.at(_first(record))
            having = _ids(at, vectors_table(vector_type_of(features))) & set(in_scope)
            embedded = having & _ids(at, points_table(features)) if "/" in features else having
        except (InputError, KeyError):
            remark = message("(by its answer: older versions are gone)", id="judged-by-answer")
            return self._from_answer(record), remark
        recorded = {read.sha256 for read in record.inputs if read.table == "files"}
        if digest(in_scope) not in recorded:  # by a list of images that is another one now
            return self._from_answer(record, present, files), None
        vectors, lost = self._old_vectors(record, sorted(having), sorted(embedded))
        points, lost_too = self._old_points(record, sorted(embedded))
        seen = Seen(in_scope, sorted(embedded), present, files, vectors, points)
        return seen, lost or lost_too

    def _from_answer(
        self,
        record: Record,
        present: Collection[str] | None = None,
        files: Mapping[str, str] | None = None,
    ) -> Seen:
        """What a clustering looked at by its answer, which lacks the images without features."""
        embedded = sorted(self._embedded_of(record))
        vectors = None
        if "/" not in record.config["features"]:
            vectors, _ = self._old_vectors(record, embedded, embedded)
        points, _ = self._old_points(record, embedded)
        return Seen(embedded, embedded, present, files or {}, vectors, points)

    def _old_vectors(
        self, record: Record, having: list[str], embedded: list[str]
    ) -> tuple[Vectors | None, Message | None]:
        """The recorded vectors, if they are others than those of now; and a remark.

        Args:
            record: Of the clustering.
            having: The images that had a vector.
            embedded: Those of them that had features, whose vectors are wanted.
        """
        vector_type = vector_type_of(record.config["features"])
        table = vectors_table(vector_type)
        recorded = {read.sha256 for read in record.inputs if read.table == table}
        now = self._features_now(record.config["features"]).vectors
        if now.having(having) == having and now.hash_of(having) in recorded:
            return None, None
        try:
            at = self._store.at(_first(record))
            old = _Table(read_vectors(at, vector_type, having, may_be_none=True))
            if old.having(having) == having and old.hash_of(having) in recorded:
                return old.rows_of(embedded), None
        except InputError:
            pass
        gone = message("(the vectors that it read are gone)", id="read-vectors-gone")
        return _of_no_width(embedded), gone

    def _old_points(
        self, record: Record, embedded: list[str]
    ) -> tuple[Vectors | None, Message | None]:
        """The recorded points of a projection; None if vectors were clustered; and a remark."""
        features = record.config["features"]
        if "/" not in features:
            return None, None
        table = points_table(features)
        recorded = {read.sha256 for read in record.inputs if read.table == table}
        try:
            stored = read_points(self._store.at(_first(record)), features)
            old = _Table(stored) if stored else None
            if old and old.having(embedded) == embedded and old.hash_of(embedded) in recorded:
                return old.rows_of(embedded), None
        except InputError:
            pass
        gone = message("(the points that it read are gone)", id="read-points-gone")
        return _of_no_width(embedded), gone

    def _readings_changed(self, record: Record) -> list[Reason]:
        """Whether the tags, runs and neighbours that a method reads beside are other ones."""
        method, parameters = next(iter(record.config["method"].items()))
        recorded = {(read.table, read.sha256): read for read in record.inputs}
        found = []
        for name in parameters.get("runs", []) if method == "consensus" else []:
            other = self._clustering_of(name)
            if other is None or ("assignments", other.output) not in recorded:
                found.append(name)
        reasons = []
        if found:
            text = message(
                "it combines runs that were made again: {runs}",
                id="combined-runs-renewed",
                runs=", ".join(found),
            )
            reasons.append(Reason("runs_changed", len(found), text))
        if method == "cluster_by_tags" and parameters.get("property"):
            reasons += self._tags_changed(parameters["property"], record)
        for table, _ in recorded:
            if table.startswith("neighbors."):
                graph = read_graph(self._store, vector_type_of(record.config["features"]))
                if graph is None or (table, graph.info.output) not in recorded:
                    text = message("its neighbour graph was made again", id="neighbors-renewed")
                    reasons.append(Reason("neighbors_changed", 1, text))
                break
        return reasons

    def _tags_changed(self, property_name: str, record: Record) -> list[Reason]:
        try:
            now, table = self._tags(property_name)
        except InputError as error:
            return [_not_possible(error)]
        recorded = [read for read in record.inputs if read.table == table]
        if any(read.sha256 == digest(now) for read in recorded):
            return []
        count = len(now)
        for read in recorded:
            try:
                then, _ = tag_paths(self._store.at({table: read.version}), property_name)
            except InputError:
                continue
            if digest(then) == read.sha256:
                count = len(set(then) ^ set(now))
        text = message(
            "{count:,} of the tags of {property!r} that it reads are new, gone or renamed",
            id="read-tags-changed",
            count=count,
            property=property_name,
        )
        return [Reason("tags_changed", count, text)]

    def _clustering_of(self, key: str) -> Record | None:
        """The record of a clustering that is not stale, of any run."""
        root = run_key_of(key)
        clusterings = self.clusterings
        if self._run_key not in (None, root):
            if root not in self._other_runs:
                self._other_runs[root] = Clusterings(self._store, root)
            clusterings = self._other_runs[root]
        return None if key in clusterings.stale else clusterings.records.get(key)

    @property
    def _of_runs(self) -> str | None:
        return None if self._run_key is None else f"run_key = {quoted(self._run_key)}"

    @functools.cached_property
    def _clusters(self) -> dict[str, list[str]]:
        """For each record, the names of its clusters."""
        found: dict[str, list[str]] = defaultdict(list)
        where = None
        if self._run_key is not None:
            where = one_of(
                "record_id", (record.record_id for record in self.clusterings.records.values())
            )
        for record_id, cluster in _rows(self._store, "clusters", ["record_id", "cluster"], where):
            found[record_id].append(cluster)
        return found

    @functools.cached_property
    def _members(self) -> dict[str, dict[str, list[str]]]:
        """For each clustering that has clusterings below it, its record's images by cluster."""
        parents = {
            self.clusterings.records[above].record_id
            for key in self.clusterings.records
            if (above := key.rpartition("/")[0]) in self.clusterings.records
        }
        found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        columns = ["record_id", "cluster", "image_id"]
        where = one_of("record_id", sorted(parents))
        for record_id, cluster, image_id in _rows(self._store, "assignments", columns, where):
            found[record_id][cluster].append(image_id)
        return found

    def _members_of(self, record_id: str) -> dict[str, list[str]]:
        if record_id in self._members:
            return self._members[record_id]
        found: dict[str, list[str]] = defaultdict(list)
        where = f"record_id = {quoted(record_id)}"
        for cluster, image_id in _rows(self._store, "assignments", ["cluster", "image_id"], where):
            found[cluster].append(image_id)
        if not found:
            raise InputError(
                "The record {record_id} is no longer in the store.",
                id="record-no-longer-stored",
                record_id=record_id,
            )
        return found

    def _embedded_of(self, record: Record) -> list[str]:
        """The images of a clustering's answer: those in scope that had features."""
        where = f"record_id = {quoted(record.record_id)}"
        return self._store.read("assignments", ["image_id"], where)["image_id"].to_pylist()

    @functools.cached_property
    def _present(self) -> dict[str, list[str]]:
        return present_files(self._store)

    @functools.cached_property
    def _files(self) -> dict[str, str]:
        return {path: image_id for image_id, paths in self._present.items() for path in paths}

    def _vectors(self, vector_type: str) -> ReadVectors:
        """All vectors of images that are present."""
        if vector_type not in self._vectors_of:
            self._vectors_of[vector_type] = read_vectors(self._store, vector_type, self._present)
        return self._vectors_of[vector_type]

    def _features_now(self, features: str) -> "_Features":
        if features not in self._features_of:
            vectors = _Table(self._vectors(vector_type_of(features)))
            points = None
            if "/" in features:
                stored = read_points(self._store, features)
                if stored is None:
                    raise InputError(
                        "the projection {projection!r} has no points.",
                        id="projection-without-points",
                        projection=features,
                    )
                points = _Table(stored)
            self._features_of[features] = _Features(vectors, points)
        return self._features_of[features]


def named_by(staleness: Iterable[Staleness], keys: Iterable[str]) -> list[Staleness]:
    """Those that some keys name.

    Args:
        staleness: All of them.
        keys: A run key names all that belongs to the run, a node its clustering and those below it,
            ``property:NAME`` a saved property.

    Raises:
        InputError: One names nothing.
    """
    known = list(staleness)
    found: set[Staleness] = set()
    for key in keys:
        name = unicodedata.normalize("NFC", key.strip())
        if name.startswith(PROPERTY):
            wanted = normalised(name.removeprefix(PROPERTY))
            named = [
                one for one in known if one.what == "property" and normalised(one.key) == wanted
            ]
        elif "/" in name:
            named = [one for one in known if f"{one.key}/".startswith(f"{name}/")]
            named = [one for one in named if one.what == "clustering"]
        else:
            named = [one for one in known if one.run_key == name]
        if not named:
            names = {one.run_key for one in known}
            names |= {f"{PROPERTY}{one.key}" for one in known if one.what == "property"}
            listed = ", ".join(nearest(name, names, _NAMES_LISTED)) or message(
                "none yet", id="none-yet"
            )
            raise InputError(
                "There is no clustering and no saved property {key!r}. Existing ones: {known}.",
                id="no-clustering-nor-property",
                key=key,
                known=listed,
            )
        found.update(named)
    return [one for one in known if one in found]


@dataclass(frozen=True)
class _Now:
    """What a clustering would read now."""

    key: str
    """Equal for clusterings that would read the same."""
    selection: Selection
    embedded: list[str]
    """Sorted ids of the images in scope that have features."""
    inputs: set[tuple[str, str]]
    """Table and hash of each."""


class _Table:
    """Vectors or points with their images."""

    def __init__(self, read: ReadVectors):
        self.image_ids = read.image_ids
        self.table = read.source.table
        self._vectors = read.vectors
        self._hash = read.source.sha256
        self._ids = pa.array(read.image_ids, pa.string())

    def having(self, image_ids: Iterable[str]) -> list[str]:
        """Those of some images, sorted, that are in it."""
        wanted = pa.array(sorted(image_ids), pa.string())
        return wanted.filter(pc.is_in(wanted, value_set=self._ids)).to_pylist()

    def rows_of(self, image_ids: list[str]) -> Vectors:
        """Of images that are in it."""
        if image_ids == self.image_ids:
            return self._vectors
        rows = pc.index_in(pa.array(image_ids, pa.string()), value_set=self._ids)
        return self._vectors[rows.drop_null().to_numpy()]

    def hash_of(self, image_ids: list[str]) -> str:
        """The proof of reading some images that are in it."""
        if image_ids == self.image_ids:
            return self._hash
        return vectors_hash(image_ids, self.rows_of(image_ids))


@dataclass(frozen=True)
class _Features:
    """What can be clustered now."""

    vectors: _Table
    points: _Table | None
    _known: dict[str, tuple[list[str], set[tuple[str, str]]]] = field(default_factory=dict)

    def of(self, image_ids: list[str]) -> tuple[list[str], set[tuple[str, str]]]:
        """The images that have features, and the hashes of what is read for them."""
        cause = digest(image_ids)
        if cause not in self._known:
            having = self.vectors.having(image_ids)
            hashes = {(self.vectors.table, self.vectors.hash_of(having))}
            if self.points is not None:
                having = self.points.having(having)
                hashes.add((self.points.table, self.points.hash_of(having)))
            self._known[cause] = having, hashes
        return self._known[cause]

    def rows(self, image_ids: list[str]) -> tuple[Vectors, Vectors | None]:
        """Vectors and points of images that have both."""
        points = None if self.points is None else self.points.rows_of(image_ids)
        return self.vectors.rows_of(image_ids), points


def _algorithm_changed(record: Record) -> list[Reason]:
    """Whether the method's algorithm has another number by now."""
    then, now = record.algorithm, algorithm_of(record.config["method"])
    if now is None or then == now:
        return []
    if then > now:
        text = message(
            "made by algorithm {number}, which this version does not know",
            id="algorithm-not-known",
            number=then,
        )
        return [Reason("not_judged", 0, text)]
    text = message(
        "made by algorithm {then}; it would be computed by algorithm {now} now",
        id="algorithm-changed",
        then=then,
        now=now,
    )
    return [Reason("algorithm_changed", 0, text)]


def _of_no_width(image_ids: list[str]) -> Vectors:
    """In place of vectors that nobody has: all that are compared with them are others."""
    return np.zeros((len(image_ids), 0), np.float32)


def _first(record: Record) -> dict[str, int]:
    """The versions that its features were read at."""
    found: dict[str, int] = {}
    for read in record.inputs:
        found.setdefault(read.table, read.version)
    return found


def _last(record: Record) -> dict[str, int]:
    """The versions that its scope was read at; they come last in a record."""
    return {read.table: read.version for read in record.inputs}


def _seen_files(past: LanceStore) -> tuple[set[str], dict[str, str]]:
    present = present_files(past)
    files = {path: image_id for image_id, paths in present.items() for path in paths}
    return set(present), files


def _ids(store: LanceStore, table: str) -> set[str]:
    if not store.version(table):
        raise InputError("The table {table} is gone.", id="table-gone", table=table)
    return set(store.read(table, ["image_id"])["image_id"].to_pylist())


def _rows(store: LanceStore, table: str, columns: list[str], where: str | None) -> Iterable[Any]:
    rows = store.read(table, columns, where)
    return zip(*(rows[name].to_pylist() for name in columns), strict=True)


def _not_possible(error: InputError) -> Reason:
    said = message("it cannot be made again: {reason}", id="cannot-be-made-again", reason=error)
    return Reason("not_possible", 0, said)


def _forgotten(count: int) -> Message:
    if count == 1:
        return message("1 image of it was forgotten", id="one-image-forgotten")
    return message(
        "{count:,} images of it were forgotten", id="so-many-images-forgotten", count=count
    )


def _searches_others(count: int) -> Message:
    if not count:
        return message("it searches among other vectors", id="searches-other-vectors")
    return message(
        "it searches among other vectors ({count:,} images more or fewer)",
        id="searches-other-images",
        count=count,
    )


def _searches_others_for_text(count: int) -> Message:
    if not count:
        return message(
            "the vectors among which it looks for its text have changed: what it would find now is "
            "known once it is clustered again",
            id="searches-other-vectors-for-text",
        )
    return message(
        "the vectors among which it looks for its text have changed ({count:,} images more or "
        "fewer): what it would find now is known once it is clustered again",
        id="searches-other-images-for-text",
        count=count,
    )
