"""The act of naming the clusters of a run's tree: from a key and what is given to its labels.

Belongs here: what is refused before anybody names anything, who is asked, and what it means that
clusters got no name, or that a labeller failed. Does not belong here: the labellers
(``labels.config``), what they look at (``labels.inputs``), and the rows of labels
(``labels.table``).
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow.compute as pc

from panoptic_assets.clustering import quality
from panoptic_assets.clustering.mark_log import append_mark, read_marks
from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.labels.config import LabelsConfig, is_ours
from panoptic_assets.labels.inputs import LabellerInputs, find_inputs
from panoptic_assets.labels.labellers import VisionModel, well_formed
from panoptic_assets.labels.naming import ClusterToLabel, Suggestion
from panoptic_assets.labels.questions import MAX_LABEL, one_line
from panoptic_assets.labels.table import (
    BY_HAND,
    clusters_to_label,
    label_rows,
    read_labels,
    same_labels,
    stored_labels,
    write_labels,
)
from panoptic_assets.labels.vision_language import (
    VisionQuestions,
    ask_for_labels,
    find_questions,
)
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.spec.computation import NotComputableError
from panoptic_assets.spec.extensions import name_of
from panoptic_assets.spec.keys import parse_node, parse_run_key
from panoptic_assets.spec.languages import N_
from panoptic_assets.spec.marks import labels_with
from panoptic_assets.spec.people import system_user
from panoptic_assets.spec.resolution import Document, document_of, parse
from panoptic_assets.spec.text import brief
from resources.errors import InputError


@dataclass(frozen=True)
class LabelsPlan:
    """Clusters that can be named."""

    context: Context
    run_key: str
    config: LabelsConfig
    clusterings: Clusterings
    """Those of the run."""
    clusters: list[ClusterToLabel]
    """Of its whole tree, parents before children; of names by hand, those that are named."""
    naming: LabellerInputs | VisionQuestions | None
    """What they are named by; None: by hand."""
    kept: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By node the rows of names by hand that stay, whatever is found for their clusters."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Those that are given by hand now, by node; empty: the cluster has none any more."""


@dataclass(frozen=True)
class LabelledClusters:
    """What was found for the clusters of a run."""

    plan: LabelsPlan
    suggestions: list[Suggestion]
    """One for each cluster, in their order."""
    used: Mapping[str, int | float] = field(default_factory=dict)
    """What it took, by the name that Dagster shows."""


def prepare(context: Context, key: str, given: Document) -> LabelsPlan:
    """Read the clusters of a run's tree, and find what they are named by; no labeller is asked.

    Args:
        context: What is read.
        key: A run key.
        given: Configuration.

    Raises:
        InputError: There is no such run, what the labeller needs cannot be had, or asking would
            cost more than it may.
    """
    run_key = parse_run_key(key)
    config = parse(LabelsConfig, given)
    store = context.store
    clusterings = Clusterings(store, run_key)
    if config.names:
        named, names = _named_by_hand(clusterings, run_key, config.names)
        return LabelsPlan(context, run_key, config, clusterings, named, None, names=names)
    clusters = clusters_to_label(clusterings, run_key, config.label_remainder)
    kept = {
        node: row
        for node, row in read_labels(store, clusterings, run_key).items()
        if row["method"] == BY_HAND and not config.replace_names
    }
    naming: LabellerInputs | VisionQuestions
    method = config.method
    # A subclass that names clusters itself is asked as any other labeller.
    if isinstance(method, VisionModel) and type(method).suggest is VisionModel.suggest:
        clusters = [cluster for cluster in clusters if cluster.node not in kept]
        naming = find_questions(clusters, method, config.seed, store)
    else:
        naming = find_inputs(method, clusterings.get(run_key), context)
    return LabelsPlan(context, run_key, config, clusterings, clusters, naming, kept)


def _named_by_hand(
    clusterings: Clusterings, run_key: str, names: Mapping[str, str]
) -> tuple[list[ClusterToLabel], dict[str, str]]:
    """The clusters that are named by hand, and their names, each as one visible line.

    Raises:
        InputError: One of them is not there, or a name is none.
    """
    clusters = {each.node: each for each in clusters_to_label(clusterings, run_key, True)}
    lines = {}
    for node, name in names.items():
        if node not in clusters:
            parse_node(node)
            raise InputError(
                "There is no cluster {node!r} in the run {run!r} now: its page shows those that "
                "there are.",
                id="no-cluster-to-name",
                node=node[:200],
                run=run_key,
            )
        lines[node] = one_line(name, MAX_LABEL + 1)
        if len(lines[node]) > MAX_LABEL or bool(lines[node]) is not bool(name.strip()):
            raise InputError(
                "The name of {node} must be a line of at most {longest} characters, letters or "
                "digits among them (given: {name!r}).",
                id="cluster-name-unusable",
                node=node,
                longest=MAX_LABEL,
                name=name[: MAX_LABEL + 20],
            )
    return [cluster for node, cluster in clusters.items() if node in names], lines


def run(plan: LabelsPlan) -> LabelledClusters:
    """Name the clusters; a model's answers are stored as they come.

    Raises:
        InputError: No cluster can be named, a model refuses all questions, or a labeller of another
            package fails or answers what cannot be used.
        NotComputableError: The labeller refuses.
    """
    if stale := plan.clusterings.stale:
        plan.context.reporter.tell(
            f"Stale, and left out until divided again: {', '.join(sorted(stale))}.", "yellow"
        )
    if plan.names or plan.naming is None:
        found = [Suggestion(each.node, plan.names[each.node] or None) for each in plan.clusters]
        return LabelledClusters(plan, found)
    if isinstance(plan.naming, VisionQuestions):
        return _asked(plan, plan.naming)
    return LabelledClusters(plan, _suggested(plan, plan.naming) if plan.clusters else [])


def _suggested(plan: LabelsPlan, inputs: LabellerInputs) -> list[Suggestion]:
    """What a labeller says of the clusters.

    Raises:
        InputError: It is another package's, and fails or answers what cannot be used.
        NotComputableError: It refuses.
    """
    labeller, clusters = plan.config.method, tuple(plan.clusters)
    data = inputs.read(clusters, plan.context)
    if is_ours(labeller):
        return labeller.suggest(clusters, data, plan.config.seed)
    name = name_of(type(labeller))
    try:
        answer = labeller.suggest(clusters, data, plan.config.seed)
    except (InputError, NotComputableError):
        raise
    except Exception as error:  # no fault of this program; Dagster's log has the stack trace
        raise InputError(
            "The labeller {labeller!r} failed ({kind}: {reason}). Nothing was changed; take "
            "another labeller, or tell its author: the stack trace is in the Dagster run's log.",
            id="labeller-failed",
            labeller=name,
            kind=type(error).__name__,
            reason=brief(str(error)),
        ) from error
    return well_formed(name, clusters, answer)


def _asked(plan: LabelsPlan, questions: VisionQuestions) -> LabelledClusters:
    """What a vision language model says of the clusters.

    Raises:
        InputError: It names none, or refuses all questions.
    """
    context, clusters = plan.context, plan.clusters
    answers = ask_for_labels(questions, context.store, context.source, context.reporter.tell)
    with closing(answers):
        asked = context.reporter.track(answers, len(clusters), N_("clusters"))
        by_node = {suggestion.node: suggestion for suggestion in asked}
    _check_failures(context, by_node)
    used = {name: value for name, value in asdict(answers.usage).items() if value is not None}
    return LabelledClusters(plan, [by_node[cluster.node] for cluster in clusters], used)


def store(labelled: LabelledClusters) -> None:
    """Make what was found the labels of the run's clusters.

    The mark by which they can be undone comes first: after a crash before the labels it says what
    was, and is, there.
    """
    plan, context = labelled.plan, labelled.plan.context
    before = stored_labels(context.store, plan.run_key)
    rows, content = _rows_and_content(labelled, before)
    if not same_labels(before, rows):
        append_mark(
            context.store,
            "labels",
            plan.run_key,
            context.author or system_user(),
            dagster_run_id=context.dagster_run_id,
            records=tuple(sorted({cluster.record_id for cluster in plan.clusters})),
            content=content,
        )
    write_labels(context.store, plan.run_key, rows)


def _rows_and_content(
    labelled: LabelledClusters, before: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows that the run has afterwards, and what the mark says of before and after."""
    plan = labelled.plan
    if not plan.names:
        method, document = next(iter(document_of(plan.config)["method"].items()))
        clusters = [each for each in plan.clusters if each.node not in plan.kept]
        found = [each for each in labelled.suggestions if each.node not in plan.kept]
        rows = label_rows(plan.run_key, clusters, found, method, document)
        rows += [dict(row) for row in plan.kept.values()]
        return rows, {"before": before, "after": rows}
    named = [each for each in labelled.suggestions if each.label]
    clusters_named = [each for each in plan.clusters if plan.names[each.node]]
    after = label_rows(plan.run_key, clusters_named, named, BY_HAND, {})
    mine = {(each.record_id, each.node) for each in plan.clusters}
    gone = [row for row in before if (row["record_id"], row["node"]) in mine]
    # Only what changes, since a person may name hundreds one by one.
    content = {"part": True, "names": dict(plan.names), "before": gone, "after": after}
    if not any(
        mark.key == plan.run_key for mark in read_marks(plan.context.store, False, ["labels"])
    ):
        # The first mark of a run says what was there before anybody made marks.
        rows = labels_with(before, gone, after)
        return rows, {"names": dict(plan.names), "before": before, "after": rows}
    return labels_with(before, gone, after), content


def typical_images(plan: LabelsPlan, nb_clusters: int, nb_images: int) -> list[list[str]]:
    """Ids of the images nearest to the means of the first clusters, cluster by cluster."""
    clusters = plan.clusters[:nb_clusters]
    keys = dict.fromkeys(cluster.node.rpartition("/")[0] for cluster in clusters)
    assigned = {key: plan.clusterings.assignments(key) for key in keys}
    found = []
    for cluster in clusters:
        clustering, _, name = cluster.node.rpartition("/")
        rows = assigned[clustering].filter(pc.equal(assigned[clustering]["cluster"], name))
        distances = rows["distance"].to_numpy()
        nearest = quality.exemplars(np.arange(len(rows)), distances, "nearest", nb_images, seed=0)
        found.append([rows["image_id"][place].as_py() for place in nearest.tolist()])
    return found


def _check_failures(context: Context, found: Mapping[str, Suggestion]) -> None:
    """Warn of clusters that a model did not name; fail, and keep the labels before, if it is all.

    Raises:
        InputError: No cluster has a label.
    """
    failed = [suggestion for suggestion in found.values() if suggestion.label is None]
    if not failed:
        return
    first = f"{failed[0].node}: {failed[0].reason}"
    if len(failed) == len(found):
        raise InputError(
            "None of the {nb_clusters:,} clusters got a label ({reason}). Nothing was changed; "
            "correct that, and label them again.",
            id="no-cluster-labelled",
            nb_clusters=len(found),
            reason=first,
        )
    context.reporter.tell(
        f"{len(failed):,} of {len(found):,} clusters got no label; first: {first}. Labelled again, "
        "only these are asked about.",
        "yellow",
    )
