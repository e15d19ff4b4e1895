"""Refresh policies: what becomes of runs when the corpus has changed.

Belongs here: applying ``keep``, ``assign`` and ``recluster`` to a run with everything nested under
it and the properties it is saved as, replaying a tree, and doing so for all runs. Does not belong
here: the arithmetic (``upkeep.out_of_sample``), and telling Dagster of it (``upkeep.backfill``).

Every step looks at what is stored, and does only what is missing: killed at any moment and started
again, a refresh ends as if it had not been killed.

What an ``assign`` record holds follows from four things: the assignments of the record whose
clusters these are (``Refreshed.record_id``), the vectors of its images, the images in scope, and
their vectors. An image of that record keeps its cluster, any other gets the one of
:func:`panoptic_assets.upkeep.out_of_sample.assigned`. See :func:`assigned_again`. What a
``recluster`` record holds is what its configuration gives on its inputs, in canonical numbers, each
of which became the one that ``Refreshed.numbers`` says
(:func:`panoptic_assets.clustering.dividing.carried`).

Long because the policies share one walk down the tree, and what one of them made is what another
continues.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from panoptic_assets.clustering import clusters
from panoptic_assets.clustering.algorithms.interface import Outcome
from panoptic_assets.clustering.config import SharedClusteringConfig
from panoptic_assets.clustering.dividing import (
    DISTORTED,
    Computed,
    Dividing,
    carried,
    is_current,
    measured,
    present_members,
    resolve_clustering,
    resolve_nested,
)
from panoptic_assets.clustering.policies import Assign, Policy, Recluster, parse_policy, policy_of
from panoptic_assets.clustering.selection import Selection, select
from panoptic_assets.clustering.table import (
    Clusterings,
    StoredClustering,
    all_records,
    cluster_names,
    cluster_number,
    rows_of,
    write_clustering,
)
from panoptic_assets.corpus.absence import Limits
from panoptic_assets.corpus.table import files_input
from panoptic_assets.features.table import Features, ReadVectors, read_vectors
from panoptic_assets.spec import tag_log
from panoptic_assets.spec.computation import Labels, NotComputableError
from panoptic_assets.spec.keys import (
    REMAINDER,
    parse_node,
    parse_run_key,
    run_key_of,
    vector_type_of,
)
from panoptic_assets.spec.records import Drift, Input, Record, Refreshed
from panoptic_assets.spec.tag_log import normalised
from panoptic_assets.tags.config import SaveConfig
from panoptic_assets.tags.saving import Saved, save_unasked
from panoptic_assets.tags.table import read_log, saved_runs, write_tags
from panoptic_assets.upkeep import out_of_sample
from panoptic_assets.upkeep.config import BackfillConfig
from resources.errors import InputError, Message, noted
from resources.lance import LanceStore, VersionGoneError
from resources.registry import Registry
from resources.schemas import vectors_table

What = Literal["same", "assigned", "reclustered", "saved", "asks", "left", "failed", "would"]
"""What a step did: ``same``: nothing was to do; ``asks``: a person must decide; ``left``: it cannot
be done without one, and is left as it is; ``would``: of a plan."""


@dataclass(frozen=True)
class RefreshStep:
    """What became of one clustering, or of one property that the run is saved as."""

    key: str
    """Of the clustering; of a save, that of the run."""
    what: What
    text: str
    """For people, one line."""
    record: Record | None = None
    """The record that counts now, of a clustering."""
    answer: StoredClustering | None = None
    """What was stored with it, if it is new."""
    saved: Saved | None = None
    """Of a save."""


@dataclass
class RunRefresh:
    """What became of one run."""

    run_key: str
    policy: str = "?"
    steps: list[RefreshStep] = field(default_factory=list)
    error: str = ""
    """Why it failed as a whole; one line."""
    message: Message | None = None
    """What that is made of, where it was a plain refusal."""
    fault: Exception | None = None
    """Where that was no plain refusal."""

    @property
    def failed(self) -> bool:
        """Whether it, or something of it, could not be done."""
        return bool(self.error) or any(step.what == "failed" for step in self.steps)

    @property
    def drift(self) -> Drift | None:
        """How far the corpus is from the run's own clusters."""
        root = next((s.record for s in self.steps if s.key == self.run_key and s.record), None)
        return root.refreshed.drift if root and root.refreshed else None

    @property
    def happened(self) -> str:
        """In a few words."""
        if self.error:
            return f"failed: {self.error}"
        lines = [
            f"{step.key}: {step.text}" if step.key != self.run_key else step.text
            for step in self.steps
            if step.what != "same"
        ]
        return "; ".join(lines) or ("kept" if self.policy == "keep" else "up to date")


def refresh_runs(
    dividing: Dividing, config: BackfillConfig, write: bool = True
) -> Iterator[RefreshStep | RunRefresh]:
    """Apply each run's policy, those first that others are made from; a failure stops no other run.

    Yields each step once it is done, and after the steps of a run what became of it.

    Args:
        dividing: What is read, and how clusterings are computed.
        config: Which runs, and the policy if it is not their own.
        write: Whether to do it; otherwise the steps say what would be done.

    Raises:
        InputError: A run that is named does not exist.
    """
    store = dividing.store
    clusterings = Clusterings(store)
    keys = [clusterings.get(parse_run_key(key)).key for key in config.keys]
    keys = keys or [key for key in clusterings.records if "/" not in key]
    for run_key in _in_order(keys, clusterings.records, store):
        result = RunRefresh(run_key)
        try:
            policy, replay = _asked(config.policy, dividing.registry, run_key)
            result.policy = "replay" if replay else policy.name
            for step in refresh_run(dividing, run_key, policy, replay, write):
                # Without the answer: of a thousand runs they would not fit into memory.
                result.steps.append(replace(step, answer=None, saved=None))
                yield step
        except (InputError, NotComputableError) as error:
            result.error, result.message = str(error), error.message
        except Exception as error:  # told at the end: the other runs need not wait for its mending
            result.error = f"{type(error).__name__}: {error}".splitlines()[0]
            result.fault = error
        if result.policy != "keep":
            dividing.log(f"{run_key} ({result.policy}): {result.happened}")
        yield result


def refresh_run(
    dividing: Dividing, run_key: str, policy: Policy, replay: bool = False, write: bool = True
) -> Iterator[RefreshStep]:
    """Apply a policy to a run with everything nested under it; yields each step once it is done.

    Args:
        dividing: What is read, and how clusterings are computed. run_key: The run. policy: What to
        do. replay: Compute all of the tree again, its stale clusterings and what nothing has
        changed for
            too; the policy is then ``Recluster``.
        write: Whether to do it; otherwise the steps say what would be done.

    Raises:
        InputError: The run cannot be refreshed.
        NotComputableError: Its method refuses.
    """
    match policy:
        case Assign():
            yield from _RefreshedTree(dividing, run_key, policy, False, write).refresh()
        case Recluster():
            yield from _RefreshedTree(dividing, run_key, policy, replay, write).refresh()
        case _:
            return


def assigned_again(
    dividing: Dividing, record: Record, config: SharedClusteringConfig, selection: Selection
) -> Computed:
    """Make an ``assign`` record again, from the clusters that it continues; nothing is stored.

    Args:
        dividing: Its store is that of the versions in the record's inputs
            (:meth:`LanceStore.at`).
        record: The record; its ``refreshed`` is of the policy ``assign``.
        config: Its configuration.
        selection: The images that were in scope.

    Raises:
        InputError: The record whose clusters these are is not in the store.
    """
    started = datetime.now(UTC)
    store = dividing.store
    base = _base_of(record, all_records(store, record.run_key), store)
    vectors = _read(store, config, base, selection.image_ids)
    found, usage = measured(lambda: _assigned(base, config, vectors))
    answer = _answer(base, config, found, vectors.scope)
    scope, inputs = vectors.scope, _inputs(vectors, selection)
    # The limits of the policy of that time are in no record.
    due = record.refreshed.drift.due if record.refreshed and record.refreshed.drift else ""
    drift = _drift(base, found).model_copy(update={"due": due})
    again = dividing.recorded(
        record.key,
        config,
        answer,
        scope.vectors,
        selection,
        inputs,
        _notes(base, selection, drift),
        usage,
        started,
        base.record.algorithm,
        _continued(base, drift),
    )
    features = Features(scope.image_ids, scope.vectors, scope.vectors, [scope.source])
    return Computed(again, answer, features)


def carried_again(store: LanceStore, computed: Computed, previous: Record) -> Computed:
    """Carry the numbers of an older record over to a clustering of the same key once more.

    Args:
        store: Where the older record has its rows.
        computed: The clustering, in canonical numbers.
        previous: The older record.
    """
    return carried(computed, _matched(computed, previous, _members(store, previous)))


@dataclass(frozen=True)
class _Base:
    """A clustering whose clusters were computed, to which images are assigned."""

    record: Record
    rows: pa.Table
    """Of ``assignments``, by image id."""
    clusters: pa.Table

    @property
    def members(self) -> dict[str, str]:
        names = (self.rows[name].to_pylist() for name in ("image_id", "cluster"))
        return dict(zip(*names, strict=True))


@dataclass(frozen=True)
class _Vectors:
    """Vectors that assigning needs, of one version of their table."""

    scope: ReadVectors
    """Of the images in scope."""
    own: ReadVectors
    """Of the images that were clustered, whether they are in scope now or not."""


@dataclass(frozen=True)
class _Assignment:
    image_ids: list[str]
    labels: Labels
    """(n,)."""
    later: npt.NDArray[np.bool_]
    """(n,) whether an image was not clustered."""
    novelty: float | None


def _base_of(record: Record, history: Mapping[str, Record], store: LanceStore) -> _Base:
    base = history.get(record.computed_id)
    if base is None:
        raise InputError(
            "The record {record_id}, whose clusters {key} has, is not in the store: compute it "
            "again (`panoptic-assets replay {run_key}`).",
            id="computed-record-gone",
            record_id=record.computed_id,
            key=record.key,
            run_key=record.run_key,
        )
    found = (rows_of(store, table, base.record_id) for table in ("assignments", "clusters"))
    rows, listed = found
    return _Base(base, rows.sort_by("image_id"), listed)


def _read(
    store: LanceStore, config: SharedClusteringConfig, base: _Base, image_ids: Iterable[str]
) -> _Vectors:
    vector_type = vector_type_of(config.features)
    table = vectors_table(vector_type)
    if version := store.version(table):
        store = store.at({table: version})  # a refresh may commit between the two readings
    scope = read_vectors(store, vector_type, image_ids)
    return _Vectors(scope, read_vectors(store, vector_type, base.members, may_be_none=True))


def _inputs(vectors: _Vectors, selection: Selection) -> list[Input]:
    own = [vectors.own.source] if vectors.own.source != vectors.scope.source else []
    return [vectors.scope.source, *own, *selection.sources]


def _assigned(base: _Base, config: SharedClusteringConfig, vectors: _Vectors) -> _Assignment:
    members = base.members
    fitted = out_of_sample.described_clusters(
        _numbers(vectors.own.image_ids, members), vectors.own.vectors
    )
    ids = vectors.scope.image_ids
    later = np.array([image_id not in members for image_id in ids], bool)
    new = vectors.scope.vectors[later]
    leaves_remainder = config.method.leaves_remainder or REMAINDER in members.values()
    labels = np.empty(len(ids), np.int64)
    labels[later] = out_of_sample.assigned(fitted, new, leaves_remainder)
    labels[~later] = _numbers([i for i in ids if i in members], members)
    return _Assignment(ids, labels, later, out_of_sample.novelty(fitted, new))


def _numbers(image_ids: Sequence[str], members: Mapping[str, str]) -> Labels:
    return np.array([cluster_number(members[image_id]) for image_id in image_ids], np.int64)


class _RefreshedTree:
    """One run with everything nested under it, while a policy is applied."""

    def __init__(
        self,
        dividing: Dividing,
        run_key: str,
        policy: Assign | Recluster,
        replay: bool,
        write: bool,
    ):
        self._dividing, self._store = dividing, dividing.store
        self._run_key, self._policy = run_key, policy
        self._replay, self._write = replay, write
        self._look()

    def _look(self) -> None:
        self._clusterings = Clusterings(self._store, self._run_key)
        self._history = all_records(self._store, self._run_key)

    def refresh(self) -> Iterator[RefreshStep]:
        """See :func:`refresh_run`."""
        yield self._root()
        nested = [key for key in self._clusterings.records if key != self._run_key]
        for key in sorted(nested, key=lambda key: (key.count("/"), key)):
            if self._write:
                yield self._nested(key)
        if self._write:
            yield from self._saves()

    def _root(self) -> RefreshStep:
        key, dividing = self._run_key, self._dividing
        record = self._clusterings.get(key)
        config = resolve_clustering(key, {}, self._clusterings, dividing.registry)
        selection = select(
            key, config, self._store, dividing.registry, dividing.models, dividing.log
        )
        return self._divide(key, config, selection, record, follows=True)

    def _nested(self, key: str) -> RefreshStep:
        node = parse_node(key)
        record = self._clusterings.records[key]
        parent = self._clusterings.records.get(node.clustering)
        if parent is None or node.clustering in self._clusterings.stale:
            return RefreshStep(
                key, "left", f"left as it is, since {node.clustering} is not up to date"
            )
        names = set(rows_of(self._store, "clusters", parent.record_id)["cluster"].to_pylist())
        if node.cluster not in names:
            return RefreshStep(
                key, "left", f"left as it is, since there is no cluster {node} any more"
            )
        follows = key not in self._clusterings.stale or _follows(record, parent, self._history)
        if not follows and not self._replay:
            return RefreshStep(
                key,
                "left",
                f"left stale: {node.clustering} was made again since, by no policy "
                f"(`panoptic-assets replay {self._run_key}`, or `divide {key}`)",
            )
        try:
            version = self._store.version("files")
            image_ids = present_members(node, self._clusterings, self._store, version)
            config = resolve_nested(key, {}, self._clusterings, self._dividing.registry)
            selection = Selection(image_ids, [files_input(version, image_ids)], parent=parent)
            return self._divide(key, config, selection, record, follows)
        except (InputError, NotComputableError) as error:
            return RefreshStep(key, "failed", f"failed: {error}", record)

    def _divide(
        self,
        key: str,
        config: SharedClusteringConfig,
        selection: Selection,
        previous: Record,
        follows: bool,
    ) -> RefreshStep:
        if isinstance(self._policy, Assign):
            return self._assign(key, config, selection, previous, self._policy)
        asked = self._replay or key in self._clusterings.stale
        if not asked and is_current(previous, config, selection, self._store):
            return RefreshStep(key, "same", "up to date", previous)
        if not self._write:
            return RefreshStep(key, "would", self._changes_of_scope(previous, selection), previous)
        computed = self._dividing.compute(key, config, selection, previous)
        before = _members(self._store, previous)
        if follows:
            computed = carried(computed, _matched(computed, previous, before))
        if previous.data_version == computed.record.data_version:
            return RefreshStep(key, "same", "the same, its record stays", previous)
        write_clustering(self._store, computed.record, computed.answer)
        self._look()
        after = _names(computed.answer)
        numbers = "" if follows else ", in numbers of their own"
        text = f"computed again: {_compared(before, after)}{numbers}"
        return RefreshStep(key, "reclustered", text, computed.record, computed.answer)

    def _changes_of_scope(self, previous: Record, selection: Selection) -> str:
        before, now = _members(self._store, previous).keys(), set(selection.image_ids)
        came, left = len(now - before), len(before - now)
        return f"would be computed again: {came:,} came or have no vector, {left:,} left"

    def _assign(
        self,
        key: str,
        config: SharedClusteringConfig,
        selection: Selection,
        previous: Record,
        policy: Assign,
    ) -> RefreshStep:
        started = datetime.now(UTC)
        base = _base_of(previous, self._history, self._store)
        vectors = _read(self._store, config, base, selection.image_ids)
        inputs = _inputs(vectors, selection)
        if _is_the_same(previous, base, selection, inputs):
            return RefreshStep(key, "same", "up to date", previous)
        found, usage = measured(lambda: _assigned(base, config, vectors))
        answer = _answer(base, config, found, vectors.scope)
        drift = _drift(base, found)
        due = _due(drift, policy, _were_made_again(self._store, base, vectors.own))
        drift = drift.model_copy(update={"due": due})
        record = self._dividing.recorded(
            key,
            config,
            answer,
            vectors.scope.vectors,
            selection,
            inputs,
            _notes(base, selection, drift),
            usage,
            started,
            base.record.algorithm,
            _continued(base, drift),
        )
        if previous.data_version == record.data_version:
            return RefreshStep(key, "same", "up to date", previous)
        due = f"; clustering again is due: {drift.due}" if drift.due else ""
        if not self._write:
            text = f"would assign {drift.nb_new:,} images, {drift.nb_left:,} left{due}"
            return RefreshStep(key, "would", text, record)
        text = f"{drift.nb_new:,} images assigned, {drift.nb_left:,} left{due}"
        write_clustering(self._store, record, answer)
        self._look()
        return RefreshStep(key, "assigned", text, record, answer)

    def _saves(self) -> Iterator[RefreshStep]:
        """Save the run again under each property that holds what it was before."""
        if self._run_key not in saved_runs(self._store):
            return
        valid = self._clusterings.valid(self._run_key)
        line = _lineage(valid[self._run_key], self._history)
        limits = Limits.of(self._dividing.registry.settings)
        events = [entry.event for entry in read_log(self._store)]
        # Not of a property whose tags people deleted.
        for name in sorted({tag.property for tag in tag_log.replayed(events).tags.values()}):
            event = tag_log.latest_save(events, name)
            if event is None or event.run_key != self._run_key:
                continue
            nodes = [tag for tag in event.tags if tag.node and tag.record_id]
            held = {str(tag.node).rpartition("/")[0]: str(tag.record_id) for tag in nodes}
            changed = [r for key, r in valid.items() if r.record_id != held.get(key, r.record_id)]
            if not any(record.refreshed for record in changed):
                # It may be that Dagster was not told of the save.
                saved = Saved(name, event, [], False, events)
                yield RefreshStep(self._run_key, "same", f"saved as {name!r}", saved=saved)
                continue
            if not _is_of(held.get(self._run_key), line, self._history):
                text = f"{name!r} is not saved again: it holds clusters of another computation "
                text += f"(`panoptic-assets save {self._run_key}`)"
                yield RefreshStep(self._run_key, "left", text)
                continue
            config = SaveConfig(
                property=name,
                # Not of the tags alone: a cluster whose files are away may have been the deepest.
                depth=event.depth or max(str(tag.node).count("/") for tag in nodes),
                reason=f"refresh policy {'replay' if self._replay else self._policy.name}",
            )
            try:
                saved, effect = save_unasked(
                    self._store, self._clusterings, self._run_key, config, limits
                )
            except InputError as error:
                text = f"{name!r} is not saved again (`panoptic-assets save {self._run_key}`): "
                yield RefreshStep(self._run_key, "asks", f"{text}{error}")
                continue
            if saved.appended:
                # Runs whose scope is a tag come after this one, and read the tags.
                write_tags(self._store, tag_log.replay(saved.events))
                did = f": {effect.said}" if effect.said else ""
                undo = f"undo: panoptic-assets tag undo {len(saved.events)}"
                text = f"saved again as {name!r}{did}; {undo}"
                yield RefreshStep(self._run_key, "saved", text, saved=saved)
            else:
                yield RefreshStep(self._run_key, "same", f"saved as {name!r}", saved=saved)


def _asked(policy: str, registry: Registry, run_key: str) -> tuple[Policy, bool]:
    """The policy that is asked for, or the run's own; and whether it is a replay."""
    if policy == "replay":
        return Recluster(), True
    own = policy_of(registry, run_key)
    # A run's own limits hold, too, when its policy is asked for by name.
    if policy in ("", own.name):
        return own, False
    return parse_policy(policy, "The backfill"), False


def _is_the_same(
    previous: Record, base: _Base, selection: Selection, inputs: Sequence[Input]
) -> bool:
    """Whether there is nothing to assign, and nothing that left."""
    parent = selection.parent
    if parent is not None and parent.output != previous.parent_output:
        return False
    now = {(read.table, read.sha256) for read in inputs}
    known = {(read.table, read.sha256) for read in previous.inputs}
    # A method may have read more than is read to assign.
    return now <= known if previous.record_id == base.record.record_id else now == known


def _answer(
    base: _Base, config: SharedClusteringConfig, found: _Assignment, read: ReadVectors
) -> StoredClustering:
    clustering = clusters.numbered(found.labels, read.vectors)
    rows = {image_id: row for row, image_id in enumerate(base.rows["image_id"].to_pylist())}
    places = [rows.get(image_id) for image_id in found.image_ids]
    names, stability = {}, {}
    for row in base.clusters.to_pylist():
        number = cluster_number(row["cluster"])
        if row["name"] is not None:
            names[number] = row["name"]
        if row["stability"] is not None:
            stability[number] = row["stability"]
    return StoredClustering(
        image_ids=found.image_ids,
        clustering=clustering,
        outcome=Outcome(
            found.labels,
            _taken(base.rows["probability"], places),
            _taken(base.rows["similarity"], places),
            names,
        ),
        assigned=clusters.with_remainder_assigned(clustering, read.vectors)
        if config.assign_remainder
        else None,
        stability=stability,
        later=found.later,
    )


def _taken(column: pa.ChunkedArray, places: list[int | None]) -> npt.NDArray[np.float32] | None:
    """What the method said of some images; NaN of those that it did not see."""
    if column.null_count == len(column):
        return None
    values = column.to_pylist()
    said = [None if place is None else values[place] for place in places]
    return np.array([np.nan if value is None else value for value in said], np.float32)


def _drift(base: _Base, found: _Assignment) -> Drift:
    """How far the corpus has gone; whether clustering again is due is said by a policy."""
    nb_clustered, nb_new = len(base.rows), int(found.later.sum())
    return Drift(
        nb_clustered=nb_clustered,
        nb_new=nb_new,
        nb_left=nb_clustered - int((~found.later).sum()),
        novelty=found.novelty,
        growth=round(nb_new / nb_clustered, 4),
        due="",
    )


def _due(drift: Drift, policy: Assign, made_again: bool) -> str:
    due = []
    if made_again:
        due.append(noted("the vectors are others than those that were clustered"))
    novelty = drift.novelty
    if novelty is not None and drift.nb_new >= out_of_sample.FEWEST and novelty > policy.most_novel:
        due.append(
            noted(
                "{share:.0%} of the {nb_new:,} new images are unlike those of their cluster (more "
                "than {most:.0%}; 5 % are expected)",
                share=novelty,
                nb_new=drift.nb_new,
                most=policy.most_novel,
            )
        )
    if drift.growth > policy.most_new:
        due.append(
            noted(
                "{nb_new:,} images came to the {nb_clustered:,} that were clustered (more than "
                "{most:.0%})",
                nb_new=drift.nb_new,
                nb_clustered=drift.nb_clustered,
                most=policy.most_new,
            )
        )
    return ", and ".join(due)


def _continued(base: _Base, drift: Drift) -> Refreshed:
    return Refreshed(
        policy="assign",
        record_id=base.record.record_id,
        next_number=base.record.next_number,
        drift=drift,
    )


def _notes(base: _Base, selection: Selection, drift: Drift) -> list[str]:
    key = base.record.key
    of_base = [note for note in base.record.notes if note not in {*selection.notes, DISTORTED}]
    record_id = base.record.record_id
    notes = [
        *selection.notes,
        *(noted("Of {record}: {note}", record=record_id, note=note) for note in of_base),
        noted(
            "The clusters are those of {record}: {nb_new:,} images came since and were assigned to "
            "the nearest one, {nb_left:,} left.",
            record=record_id,
            nb_new=drift.nb_new,
            nb_left=drift.nb_left,
        ),
    ]
    if drift.due:
        notes.append(
            noted(
                "Clustering again is due: {why}. `panoptic-assets replay {run}` does it.",
                why=drift.due,
                run=run_key_of(key),
            )
        )
    return notes


def _were_made_again(store: LanceStore, base: _Base, own: ReadVectors) -> bool:
    """Whether the vectors of the images that were clustered are others now."""
    table = own.source.table
    recorded = [read for read in base.record.inputs if read.table == table]
    if not recorded or own.source.sha256 in {read.sha256 for read in recorded}:
        return False
    vector_type = vector_type_of(base.record.config["features"])
    with suppress(VersionGoneError):
        past = store.at({table: recorded[0].version})
        before = read_vectors(past, vector_type, own.image_ids, may_be_none=True)
        return before.source.sha256 != own.source.sha256
    return False


def _matched(computed: Computed, previous: Record, before: Mapping[str, str]) -> Refreshed:
    answer = computed.answer
    shared = [row for row, image_id in enumerate(answer.image_ids) if image_id in before]
    both = [answer.image_ids[row] for row in shared]
    numbers = out_of_sample.carried_numbers(
        answer.clustering.labels[shared],
        _numbers(both, before),
        computed.record.nb_clusters,
        previous.next_number,
    )
    return Refreshed(
        policy="recluster",
        record_id=previous.record_id,
        next_number=max([previous.next_number, *(number + 1 for number in numbers.values())]),
        numbers=numbers,
    )


def _lineage(record: Record, history: Mapping[str, Record]) -> list[Record]:
    """A record, and those whose clusters its own are, or go on from."""
    found: list[Record] = []
    older: Record | None = record
    while older is not None and older not in found:
        found.append(older)
        older = history.get(older.refreshed.record_id) if older.refreshed else None
    return found


def _follows(nested: Record, parent: Record, history: Mapping[str, Record]) -> bool:
    """Whether a clustering was of the cluster that has this number in the clustering above now."""
    line = _lineage(parent, history)
    if nested.parent_output in {record.output for record in line}:
        return True
    return _is_of(nested.parent_record, line, history)


def _is_of(record_id: str | None, line: Sequence[Record], history: Mapping[str, Record]) -> bool:
    made = history.get(record_id or "")
    return made is not None and made.computed_id in {record.record_id for record in line}


def _members(store: LanceStore, record: Record) -> dict[str, str]:
    rows = rows_of(store, "assignments", record.record_id)
    return dict(zip(rows["image_id"].to_pylist(), rows["cluster"].to_pylist(), strict=True))


def _names(answer: StoredClustering) -> dict[str, str]:
    return dict(zip(answer.image_ids, cluster_names(answer.clustering.labels), strict=True))


def _compared(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    both = sorted(before.keys() & after.keys())
    moved = out_of_sample.nb_moved((after[i] for i in both), (before[i] for i in both))
    came, left = len(after.keys() - before.keys()), len(before.keys() - after.keys())
    return f"{moved:,} of {len(both):,} images moved, {came:,} came, {left:,} left"


def _in_order(keys: Sequence[str], records: Mapping[str, Record], store: LanceStore) -> list[str]:
    """Runs, after those that they are made from; otherwise by key."""
    saves = saved_runs(store)
    of_property = {normalised(name): run_key for run_key, names in saves.items() for name in names}
    needed: dict[str, set[str]] = defaultdict(set)
    for record in records.values():
        needed[record.run_key] |= _made_from(record, of_property)
    found: dict[str, None] = {}

    def visit(key: str, above: tuple[str, ...]) -> None:
        if key in found or key in above or key not in records:
            return
        for other in sorted(needed[key]):
            visit(other, (*above, key))
        found[key] = None

    for key in sorted(keys):
        visit(key, ())
    wanted = set(keys)
    return [key for key in found if key in wanted]


def _made_from(record: Record, of_property: Mapping[str, str]) -> set[str]:
    """The runs whose answers a clustering reads."""
    [parameters] = record.config["method"].values()
    [(scope, fields)] = record.config.get("scope", {"corpus": {}}).items()
    found = {run_key_of(key) for key in parameters.get("runs", [])}
    names = [parameters.get("property")]
    if scope == "node":
        found.add(run_key_of(fields["node"]))
    if scope == "tag":
        names.append(fields["property"])
    named = {normalised(name) for name in names if name}
    return found | {of_property[name] for name in named if name in of_property}
