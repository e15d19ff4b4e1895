"""A labeller that does what it must not is told so, by the check of that."""

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
import pytest
from pydantic import Field

from panoptic_assets.labels.labeller_checks import labeller_checks
from panoptic_assets.labels.labellers import LabellerConfig, ZeroShot
from panoptic_assets.labels.naming import Suggestion
from panoptic_assets.spec.computation import NotComputableError


def sizes(clusters):
    return [Suggestion(cluster.node, str(len(cluster.image_ids))) for cluster in clusters]


class Fine(LabellerConfig):
    """The number of images."""

    name: Literal["fine"] = "fine"

    def suggest(self, clusters, data, seed):
        return sizes(clusters)


class Seeing(LabellerConfig):
    """The brightest of what there is, of all that can be looked at."""

    name: Literal["seeing"] = "seeing"
    needs: ClassVar[frozenset[str]] = frozenset({"vectors", "pictures", "names", "properties"})
    property: str = Field(default="", description="A property.")

    def suggest(self, clusters, data, seed):
        return [self.named(cluster, data) for cluster in clusters]

    def named(self, cluster, data):
        pictures = [data.picture(image_id) for image_id in cluster.image_ids]
        seen = [float(picture.mean()) for picture in pictures if picture is not None]
        values = [
            str(value[image_id])
            for value in data.properties.values()
            for image_id in cluster.image_ids
            if image_id in value
        ]
        files = [path for image_id in cluster.image_ids for path in data.names.get(image_id, ())]
        nb_vectors = len(data.vectors[data.rows(cluster)])
        if not (seen and values and files and nb_vectors):
            return Suggestion(cluster.node, None, reason="Nothing to see.")
        return Suggestion(cluster.node, f"{max(seen):.0f} {max(values)}", nb_vectors / 99)


def answering(answer, needs=()):
    """A labeller that answers so."""

    class Odd(Fine):
        """Answers otherwise."""

        suggest = staticmethod(answer)

    Odd.needs = frozenset(needs)
    return Odd()


def raising(error):
    def answer(clusters, data, seed):
        raise error

    return answering(answer)


def changed(**values):
    """A labeller whose first suggestion has other values."""

    def answer(clusters, data, seed):
        first, *others = sizes(clusters)
        return [replace(first, **values), *others]

    return answering(answer)


def drawn(clusters, data, seed):
    number = np.random.default_rng().integers(2**62)
    return [Suggestion(cluster.node, str(number)) for cluster in clusters]


def sorting(clusters, data, seed):
    if isinstance(clusters, list):
        clusters.sort(key=lambda cluster: len(cluster.image_ids))
    return sizes(clusters)


def forgetting(clusters, data, seed):
    data.names.clear()
    return sizes(clusters)


def of_many(clusters, data, seed):
    mean = sum(len(cluster.image_ids) for cluster in clusters) / (len(clusters) - 1)
    return [Suggestion(cluster.node, f"{mean:.0f}") for cluster in clusters]


class ZeroShotToo(Fine):
    """Has the name of another."""

    name: Literal["zero_shot"] = "zero_shot"


class Needy(Fine):
    """Needs what there is not."""

    needs: ClassVar[frozenset[str]] = frozenset({"money"})


TREE = "names_each_cluster_of_a_tree"
SHOWN = "gives_labels_as_they_will_be_shown"
BROKEN = {
    "ZeroShotToo": (ZeroShotToo(), "has_a_name_of_its_own", "is called 'zero_shot', as another"),
    "Needy": (Needy(), "can_be_offered_by_the_project", "its needs are frozenset({'money'})"),
    "raises": (raising(KeyError("x")), TREE, "raised KeyError ('x') for run/0, run/1, run/2"),
    "refuses": (
        raising(NotComputableError("No.", id="no-name")),
        TREE,
        "refused a tree of six clusters (No.)",
    ),
    "no list": (answering(lambda *_: {}), TREE, "it gave dict, not a list of suggestions"),
    "texts": (
        answering(lambda clusters, *_: ["a"] * len(clusters)),
        TREE,
        "its list holds str, not suggestions alone",
    ),
    "wrong node": (changed(node="run/9"), TREE, "it named 'run/9', which is none"),
    "twice": (changed(node="run/1"), TREE, "it named run/1 twice"),
    "missing": (
        answering(lambda clusters, *_: sizes(clusters)[1:]),
        TREE,
        "it has no suggestion for run/0",
    ),
    "NaN": (changed(score=float("nan")), TREE, "of run/0, the score nan is no number from 0 to 1"),
    "percent": (changed(score=50), TREE, "the score 50 is no number from 0 to 1"),
    "number": (changed(label=3), TREE, "the label 3 is no text"),
    "text for texts": (
        changed(alternatives="cat"),
        TREE,
        "alternatives 'cat' is no tuple of texts",
    ),
    "no reason": (changed(label=None), TREE, "gave run/0 neither a label nor a reason"),
    "none": (
        answering(lambda clusters, *_: [Suggestion(c.node, None, reason="?") for c in clusters]),
        TREE,
        "named none of six clusters",
    ),
    "two lines": (changed(label="a\nb"), SHOWN, r"would be shown as 'a b'"),
    "long": (changed(label="x" * 81), SHOWN, "at most 80 characters"),
    "NFD": (changed(label="e\u0301te\u0301"), SHOWN, "in Unicode's form NFC"),
    "draws": (
        answering(drawn),
        "gives_the_same_suggestions_for_the_same_seed",
        "gave other suggestions for the same clusters and seed",
    ),
    "sorts": (answering(sorting), "does_not_change_what_it_is_given", "changed the clusters"),
    "forgets": (
        answering(forgetting, needs={"names"}),
        "does_not_change_what_it_is_given",
        "changed the clusters or the data",
    ),
    "of many": (
        answering(of_many),
        "names_or_refuses_one_cluster_without_siblings",
        "raised ZeroDivisionError (division by zero) for run/0;",
    ),
    "without": (
        answering(
            lambda clusters, data, seed: [
                Suggestion(cluster.node, data.names[cluster.image_ids[0]][0][:9])
                for cluster in clusters
            ],
            needs={"names"},
        ),
        "names_or_refuses_clusters_of_which_nothing_is_known",
        "raised KeyError",
    ),
}


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{labeller!r}-{check.__name__}")
        for labeller in (
            Fine(),
            Seeing(),
            Seeing(property="Sujet"),
            ZeroShot(),
        )
        for check in labeller_checks(labeller)
    ],
)
def test_a_labeller_that_does_what_it_must_passes(check):
    check()


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_labeller_is_told_in_a_sentence_what_it_did(case):
    labeller, name, said = BROKEN[case]
    [check] = [check for check in labeller_checks(labeller) if check.__name__ == name]
    with pytest.raises(AssertionError) as caught:
        check()
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
