"""The acts of a project: what prepares each, what configures it, and which take long.

Belongs here: one table, by which every door finds an act without loading its room; and the versions
of what a page showed, by which an act is refused that rests on something else by now. Does not
belong here: what acts do, which their rooms say, and carrying them out (``orchestration.launching``
here, ``serve.worker`` in the warm worker).
"""

import hashlib
import importlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resources.errors import InputError, is_message, text_of

if TYPE_CHECKING:
    from panoptic_assets.orchestration.acting import Context, Plan
    from panoptic_assets.spec.fields import Parameters
    from panoptic_assets.spec.resolution import Document
    from resources.lance import LanceStore

_QUICK_IMAGES = 25_000
"""Images in one act that takes seconds: k-means of 20,000 x 512 takes 2 to 4 on two cores, and so
do the other methods below it, but for those that are named here."""
_QUICK_IMAGES_BY_METHOD = dict.fromkeys(("agglomerative", "birch", "consensus", "hdbscan"), 3_000)
"""Of methods whose time grows with the square of the images; BIRCH's where they are unrelated."""
_QUICK_PAGES = 3_000
"""Images in a report that takes seconds."""
_SECONDS = {
    "clustering": (0.4, 3.5e-5),
    "nested_clustering": (0.4, 3.5e-5),
    "cluster_labels": (1.0, 8e-5),
    "saved_clustering": (0.7, 1e-4),
    "tags": (0.35, 2.5e-5),
}
"""Seconds of an act in the worker, and for each image, beside those of a method: by
`tests/benchmarks/acts.py` on 253 and on 20,000 images, two idle cores."""
_SECONDS_TO_START = 3.5
"""Of a process of its own, for what takes long: the same measurement without the worker."""


@dataclass(frozen=True)
class Act:
    """One act: an asset, and what is known of it without loading its room."""

    asset: str
    prepare_place: str
    """Of the function that prepares it, as ``module:function`` below ``panoptic_assets``."""
    config_place: str
    """Of its configuration class, the same."""
    quick: bool
    """Whether it usually takes seconds at most, so that others may wait for it."""

    def prepare(self, context: "Context", key: str, given: "Document") -> "Plan":
        """Resolve a request and check it; only reads.

        Raises:
            InputError: It cannot be done.
        """
        plan: Plan = _at(self.prepare_place)(context, key, given)
        return plan

    @property
    def config(self) -> "type[Parameters]":
        """Its configuration class."""
        found: type[Parameters] = _at(self.config_place)
        return found

    def takes_long(self, plan: Any) -> bool:
        """Whether others should not wait for what is planned: then a process of its own does it."""
        if not self.quick:
            return True
        if self.asset in ("clustering", "nested_clustering"):
            from panoptic_assets.spec.extensions import name_of

            nb_images = len(plan.selection.image_ids) * (1 + plan.config.stability)
            method = name_of(type(plan.config.method))
            return bool(nb_images > _QUICK_IMAGES_BY_METHOD.get(method, _QUICK_IMAGES))
        if self.asset == "cluster_labels":
            # A labeller that looks at pictures may ask an endpoint for each cluster, as ours does.
            asked = getattr(plan.naming, "new", ())
            return bool(asked) or "pictures" in plan.config.method.needs
        if self.asset == "clustering_report":
            return len(plan.tree.image_ids) > _QUICK_PAGES
        return False


def foreseen(act: Act, plan: Any) -> dict[str, Any]:
    """What an act will do and take, by its plan; nothing is computed.

    Args:
        act: The act.
        plan: What it prepared.

    Returns:
        Holds config (resolved, with all defaults; None of edits), nb_images (that it is about; None
        where that is known afterwards), notes (sentences that a person must know), seconds (an
        estimate; None where there is none), takes_long (whether others need not wait for it),
        exists (whether the key has an answer, or the property tags, so that the act replaces or
        changes them), replaces (of a clustering: record_id, finished_at, method and nb_clusters of
        its record so far, and below, the keys divided below it; else None) and cost (of names by a
        vision language model: what :meth:`VisionQuestions.expected` holds; else None).
    """
    from panoptic_assets.spec.resolution import document_of

    # Edits may name thousands of images, and whoever asked has said them.
    config = None if act.asset == "tags" else getattr(plan, "config", None)
    nb_images = _nb_images(act, plan)
    return {
        "config": None if config is None else document_of(config),
        "nb_images": nb_images,
        "notes": _notes(act, plan),
        "seconds": _seconds(act, plan, nb_images),
        "takes_long": act.takes_long(plan),
        **_replaced(act, plan),
        "cost": _cost(act, plan),
    }


def _nb_images(act: Act, plan: Any) -> int | None:
    if act.asset in ("clustering", "nested_clustering"):
        return len(plan.selection.image_ids)
    if act.asset == "cluster_labels":
        return len({image_id for cluster in plan.clusters for image_id in cluster.image_ids})
    if act.asset == "saved_clustering":
        return len(plan.decision.made.images)
    if act.asset == "tags":
        return len({image_id for event in plan.events for _, image_id in event.images})
    if act.asset == "projection":
        return len(plan.read.image_ids)
    if act.asset == "clustering_report":
        return len(plan.tree.image_ids)
    if act.asset == "tag_recommendations":
        return len(plan.image_ids)
    return None


def _notes(act: Act, plan: Any) -> list[str]:
    if act.asset not in ("clustering", "nested_clustering"):
        notes = getattr(plan, "notes", ())
        return [text_of(note) if is_message(note) else note for note in notes]
    from panoptic_assets.features.table import embedded
    from panoptic_assets.spec.keys import vector_type_of
    from panoptic_assets.spec.text import counted

    selection, vector_type = plan.selection, vector_type_of(plan.config.features)
    left = set(selection.image_ids) - embedded(plan.context.store, vector_type)
    without = f"Without a vector of type {vector_type}, and so in no cluster: "
    return [*selection.notes, *([f"{without}{counted(len(left), 'image')}."] if left else [])]


def _seconds(act: Act, plan: Any, nb_images: int | None) -> float | None:
    if act.asset not in _SECONDS or nb_images is None:
        return None
    fixed, each = _SECONDS[act.asset]
    seconds = fixed + each * nb_images
    takes_long = act.takes_long(plan)
    if act.asset in ("clustering", "nested_clustering"):
        from panoptic_assets.clustering.estimates import likely_seconds
        from panoptic_assets.clustering.table import Clusterings

        known = Clusterings(plan.context.store).records.values()
        method = likely_seconds(plan.config, nb_images, known)
        if method is None:
            return None
        seconds += method + (_SECONDS_TO_START if takes_long else 0.0)
    elif takes_long:  # an endpoint's answers take as long as they take
        return None
    return round(seconds, 2)


def _replaced(act: Act, plan: Any) -> dict[str, Any]:
    """What a key or a property has so far."""
    if act.asset == "saved_clustering":
        from resources.lance import quoted

        where = f"property = {quoted(plan.decision.property)}"
        return {"exists": plan.context.store.count("tags", where) > 0, "replaces": None}
    if act.asset == "cluster_labels":
        from panoptic_assets.labels.table import stored_labels

        labelled = bool(stored_labels(plan.context.store, plan.run_key))
        return {"exists": labelled, "replaces": None}
    previous = getattr(plan, "previous", None)
    if previous is None or act.asset not in ("clustering", "nested_clustering"):
        return {"exists": previous is not None, "replaces": None}
    below = [key for key in plan.clusterings.records if key.startswith(f"{plan.key}/")]
    return {
        "exists": True,
        "replaces": {
            "record_id": previous.record_id,
            "finished_at": previous.finished_at,
            "method": next(iter(previous.config["method"])),
            "nb_clusters": previous.nb_clusters,
            "below": below,
        },
    }


def _cost(act: Act, plan: Any) -> dict[str, Any] | None:
    if act.asset != "cluster_labels":
        return None
    from panoptic_assets.labels.vision_language import VisionQuestions

    return plan.naming.expected() if isinstance(plan.naming, VisionQuestions) else None


def _at(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"panoptic_assets.{module}"), name)


ACTS = {
    act.asset: act
    for act in (
        Act("images", "corpus.ingestion:prepare", "corpus.config:ImagesConfig", False),
        Act(
            "inventory",
            "corpus.taking_inventory:prepare",
            "corpus.config:InventoryConfig",
            False,
        ),
        Act("embeddings", "features.embedding:prepare", "features.config:EmbeddingsConfig", False),
        Act(
            "neighbors",
            "features.neighbor_graph:prepare",
            "features.config:NeighborsConfig",
            False,
        ),
        Act("projection", "features.projecting:prepare", "features.config:ProjectionConfig", False),
        Act(
            "clustering", "clustering.dividing:prepare", "clustering.config:ClusteringConfig", True
        ),
        Act(
            "nested_clustering",
            "clustering.dividing:prepare",
            "clustering.config:NestedClusteringConfig",
            True,
        ),
        Act("cluster_labels", "labels.labelling:prepare", "labels.config:LabelsConfig", True),
        Act("clustering_report", "review.run_report:prepare", "review.config:ReportConfig", True),
        Act("run_comparison", "review.comparing:prepare", "review.config:ComparisonConfig", False),
        Act("saved_clustering", "tags.saving:prepare", "tags.config:SaveConfig", True),
        Act("tags", "tags.editing:prepare", "tags.config:EditsConfig", True),
        Act(
            "tag_recommendations",
            "tags.recommending:prepare",
            "tags.config:RecommendationsConfig",
            False,
        ),
    )
}
"""By asset."""

QUICK_JOBS = frozenset({"undo_acts", "remove_clusterings", "set_policy", "remark"})
"""Jobs of one op for which others may wait."""


def seen(store: "LanceStore", subjects: Iterable[str]) -> dict[str, str | None]:
    """The versions of what a page shows, which it sends back with an act.

    Args:
        store: The store, or a snapshot of it.
        subjects: A run or divided node (``greek``, ``greek/3``): the id of the record that counts;
            ``tree:greek``: those of all that is divided below it, too; ``property:NAME``: the
            number of its last event in the tag log; ``labels:greek``: a hash of a run's labels;
            ``name:greek/3``: what a cluster is called;
            ``remark:image:ID``, ``remark:tag:ID``, ``remark:greek/3``: the id of the remark that
            counts; ``corpus:``: the number of the corpus version.

    Returns:
        By subject; None where there is nothing of the name.
    """
    return {subject: _version_of(store, subject) for subject in dict.fromkeys(subjects)}


def check_seen(store: "LanceStore", versions: Mapping[str, str | None]) -> None:
    """Refuse an act that rests on what has changed since a page showed it.

    Raises:
        InputError: It has.
    """
    for subject, before in versions.items():
        if (now := _version_of(store, subject)) != before:
            raise InputError(
                "{subject} has changed since it was shown (it was {before}, and is {now}): nothing "
                "was done. Look at it again, then repeat what you wanted.",
                id="changed-meanwhile",
                subject=subject,
                before=before or "not there",
                now=now or "not there",
            )


def _version_of(store: "LanceStore", subject: str) -> str | None:
    kind, colon, name = subject.partition(":")
    if not colon:
        return _record_id(store, subject)
    if kind == "corpus":
        return _corpus_version(store)
    if kind == "tree":
        return _tree_version(store, name)
    if kind == "labels":
        return _labels_version(store, name)
    if kind == "name":
        return _name(store, name)
    if kind == "property":
        return _property_version(store, name)
    if kind == "remark":
        return _remark_version(store, name)
    raise InputError(
        "{subject!r} is nothing that has a version: name a run or node, or one of tree:RUN, "
        "labels:RUN, name:NODE, property:NAME, remark:SUBJECT and corpus:.",
        id="no-such-subject",
        subject=subject,
    )


def _corpus_version(store: "LanceStore") -> str | None:
    from panoptic_assets.corpus.versions import versions

    found = versions(store)
    return str(found[-1].number) if found else None


def _record_id(store: "LanceStore", key: str) -> str | None:
    from panoptic_assets.clustering.table import Clusterings
    from panoptic_assets.spec.keys import parse_clustering, run_key_of

    record = Clusterings(store, run_key_of(parse_clustering(key))).records.get(key)
    return record.record_id if record else None


def _tree_version(store: "LanceStore", run_key: str) -> str | None:
    from panoptic_assets.clustering.table import Clusterings
    from panoptic_assets.spec.keys import parse_run_key

    found = Clusterings(store, parse_run_key(run_key)).records
    return _hash([record.record_id for record in found.values()]) if found else None


def _labels_version(store: "LanceStore", run_key: str) -> str | None:
    from panoptic_assets.spec.keys import parse_run_key
    from resources.lance import quoted

    where = f"run_key = {quoted(parse_run_key(run_key))}"
    columns = ["record_id", "cluster", "label", "config"]
    rows = store.read("labels", columns, where).to_pylist()
    return _hash(sorted([str(row[name]) for name in columns] for row in rows)) if rows else None


def _name(store: "LanceStore", node: str) -> str | None:
    from panoptic_assets.clustering.table import Clusterings
    from panoptic_assets.labels.table import names_of_clusters, read_labels
    from panoptic_assets.spec.keys import parse_clustering, run_key_of

    run_key = run_key_of(parse_clustering(node))
    clusterings = Clusterings(store, run_key)
    labels = read_labels(store, clusterings, run_key)
    return names_of_clusters(clusterings, run_key, labels).get(node)


def _property_version(store: "LanceStore", name: str) -> str | None:
    from panoptic_assets.spec.tag_log import normalised
    from panoptic_assets.tags.table import read_log

    numbers = [
        entry.number
        for entry in read_log(store, with_images=False)
        # An undo of an event is of no property of its own in older logs: it counts for all.
        if not entry.event.property or normalised(entry.event.property) == normalised(name)
    ]
    return str(numbers[-1]) if numbers else None


def _remark_version(store: "LanceStore", key: str) -> str | None:
    from panoptic_assets.tags.remarking import remark_version

    return remark_version(store, key)


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
