"""The pages of a run: its clusters, the images of one of them, its record.

Belongs here: reading the run that a page shows, what can be done with it, and what of it acts rest
on. Does not belong here: HTTP (``serve.live_pages``), and what the pages show, which they have in
common with the files of a report (``review.run_pages``).
"""

import os
from typing import TYPE_CHECKING, Any

from pydantic import Field

from panoptic_assets.serve.api_reads import AskedKey
from panoptic_assets.serve.page_address import LiveAddresses, PageAddress
from panoptic_assets.spec.fields import Parameters
from panoptic_assets.spec.keys import parse_node, parse_run_key, run_key_of
from panoptic_assets.spec.languages import N_
from resources.errors import InputError

if TYPE_CHECKING:
    from panoptic_assets.project import Project
    from panoptic_assets.review.run_tree import RunTree

_OTHERS = 20
"""Runs that are offered for a comparison."""
_TAGS = 500
"""Tags that are offered while one is typed."""

MEANINGS = {
    "remainder": N_(
        "The remainder: images that no cluster took, since they are like no group of others. "
        "Its score is 1000."
    ),
    "mean score": N_(
        "The score says how alike a cluster’s images are: 0 for identical ones, and the lower the "
        "more alike. This is the mean over all clustered images. Compare scores inside this corpus "
        "only."
    ),
    "a random group’s score": N_(
        "The score that all images of the run have together: what a group drawn at random would "
        "get. Clusters are worth something as far as they are below it."
    ),
    "silhouette": N_(
        "The silhouette, from −1 to 1: how much nearer images are to their own cluster than to the "
        "next one, on average. Higher is better."
    ),
    "stability": N_(
        "Stability: from 0 to 1, how much of the clusters is found again when a part of the images "
        "is clustered anew."
    ),
    "not embedded": N_("Images that have no vector yet, and so are in no cluster."),
}
"""What the names of facts mean, for who does not know them."""

POLICIES = (
    (
        "keep",
        N_("Keep the run as it is"),
        N_("It stays, and is shown as older than its corpus, until somebody clusters again."),
    ),
    (
        "assign",
        N_("Put new images into the nearest clusters"),
        N_("Clusters do not change; if too many new images fit nowhere, the run says so."),
    ),
    (
        "recluster",
        N_("Cluster again, numbers kept"),
        N_("All is clustered anew with the same parameters; clusters keep their numbers."),
    ),
)
"""The refresh policies: name, title, and what each does."""


class AskedClusterPage(Parameters):
    """A page of a cluster's images."""

    node: str = Field(description="The cluster, such as `greek/3`.")
    page: int = Field(default=1, ge=1, lt=2**31, description="Which of its pages.")


def _tree(project: "Project", run_key: str) -> "RunTree":
    from panoptic_assets.clustering.table import Clusterings
    from panoptic_assets.review.run_tree import read_tree

    return read_tree(project.store, Clusterings(project.store, run_key), run_key)


def _seen(project: "Project", tree: "RunTree", about: str) -> dict[str, Any]:
    """The versions of the run, its clusters and their names, its labels, and what is remarked."""
    from panoptic_assets.acts import seen

    key = tree.record.key
    subjects = [key, f"tree:{key}", f"labels:{key}", f"remark:{about}"]
    found = seen(project.store, subjects)
    # Not by `seen`, which would look for each of them anew.
    versions: dict[str, str | None] = {}
    for cluster in tree.walk():
        versions[cluster.node] = cluster.clustering.record_id if cluster.clustering else None
        versions[f"name:{cluster.node}"] = cluster.name or None
    return {**versions, **found}


def _remarks(project: "Project", tree: "RunTree") -> dict[str, dict[str, Any]]:
    """By run and cluster, the remark that counts on it."""
    from panoptic_assets.tags.remarking import read_remarks

    keys = {tree.record.key, *(cluster.node for cluster in tree.walk())}
    found = read_remarks(project.store, keys)
    return {remark["subject"]: remark for remark in found if remark["current"]}


def _tag_paths(project: "Project") -> list[str]:
    """Tags that are known already, by path."""
    paths = [tag["path"] for tag in project.tags()]
    return list(dict.fromkeys(paths))[:_TAGS]


def _overview(project: "Project", asked: AskedKey, to: LiveAddresses) -> dict[str, Any]:
    from panoptic_assets.review.run_pages import RunPages

    key = parse_run_key(asked.key)
    tree = _tree(project, key)
    remarks = _remarks(project, tree)
    return {
        **RunPages(tree, remarks).overview(),
        **_choices(project, tree),
        "remark": remarks.get(key),
        "meanings": MEANINGS,
        "seen": _seen(project, tree, key),
    }


def _choices(project: "Project", tree: "RunTree") -> dict[str, Any]:
    """What the acts of a run ask for: what is there already, and what is proposed."""
    from panoptic_assets.labels.labellers import VisionModel

    key = tree.record.key
    tags = project.tags()
    records = {tree.record.record_id} | {
        cluster.clustering.record_id for cluster in tree.walk() if cluster.clustering
    }
    saved_as = list(dict.fromkeys(t["property"] for t in tags if t["record_id"] in records))
    stale = [judged for judged in project.status(key)["staleness"] if judged["state"] == "stale"]
    of_run = [judged for judged in stale if judged["what"] == "clustering" and judged["key"] == key]
    reasons = [reason for judged in of_run for reason in judged["reasons"]]
    others = sorted(
        (run for run in project.runs() if run["key"] == run["run_key"] and run["key"] != key),
        key=lambda run: run["finished_at"],
        reverse=True,
    )
    policy = project.policy(key)
    return {
        "properties": sorted(dict.fromkeys(tag["property"] for tag in tags)),
        "saved_as": saved_as,
        "save_reasons": [
            reason
            for judged in stale
            if judged["what"] == "property" and judged["key"] in saved_as
            for reason in judged["reasons"]
        ],
        "tag_paths": list(dict.fromkeys(tag["path"] for tag in tags))[:_TAGS],
        "stale_reasons": reasons,
        "can_assign": any(reason["kind"] == "images_added" for reason in reasons),
        "others": others[:_OTHERS],
        "nb_others": len(others),
        "depth": max(cluster.node.count("/") for cluster in tree.walk()),
        "policy": policy if isinstance(policy, str) else next(iter(policy)),
        "policies": POLICIES,
        "vision": VisionModel(),
        "endpoint": os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1"),
    }


def _cluster(project: "Project", asked: AskedClusterPage, to: LiveAddresses) -> dict[str, Any]:
    from panoptic_assets.review.run_pages import RunPages, nb_parts

    node = str(parse_node(asked.node))
    tree = _tree(project, run_key_of(node))
    for cluster, above in tree.with_parents():
        if cluster.node == node:
            number = min(asked.page, nb_parts(cluster)) - 1
            remarks = _remarks(project, tree)
            return {
                **RunPages(tree, remarks).cluster(cluster, above, number),
                "remark": remarks.get(node),
                "tag_paths": _tag_paths(project),
                "seen": _seen(project, tree, node),
            }
    raise InputError(
        "There is no cluster {node!r} any more: {run} was divided otherwise.",
        id="no-cluster-any-more",
        node=node,
        run=tree.record.key,
    )


def _record(project: "Project", asked: AskedKey, to: LiveAddresses) -> dict[str, Any]:
    from panoptic_assets.review.run_pages import RunPages

    return RunPages(_tree(project, parse_run_key(asked.key))).record()


RUN_PAGES = (
    PageAddress("runs/{key}", "run.html", AskedKey, _overview, ("run.js",), ("run_live.css",)),
    PageAddress(
        "clusters/{node}",
        "cluster.html",
        AskedClusterPage,
        _cluster,
        ("run.js",),
        ("run_live.css",),
    ),
    PageAddress("records/{key}", "record.html", AskedKey, _record),
)
"""In the order in which addresses are compared with them."""
