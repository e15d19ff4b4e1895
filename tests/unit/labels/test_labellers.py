"""What labellers get and give: rows of clusters, and answers that are checked and cleaned."""

import numpy as np
import pytest

from panoptic_assets.labels.labellers import MAX_SIDE, LabellerData, well_formed
from panoptic_assets.labels.naming import ClusterToLabel, Suggestion
from resources.errors import InputError

CLUSTERS = [
    ClusterToLabel("run/0", "run@1", ("a", "c", "x"), False, None),
    ClusterToLabel("run/1", "run@1", ("y",), False, None),
]


def cleaned(**values):
    """What becomes of a suggestion for the first cluster."""
    first = Suggestion(**{"node": "run/0", "label": "x"} | values)
    given = [Suggestion("run/1", "other"), first]
    return well_formed("mine", CLUSTERS, given)[0]


def test_the_rows_of_a_cluster_are_those_of_its_images_that_have_a_vector():
    data = LabellerData(image_ids=("a", "b", "c"), vectors=np.eye(3, dtype=np.float32))
    assert data.rows(CLUSTERS[0]).tolist() == [0, 2]
    assert data.vectors[data.rows(CLUSTERS[1])].shape == (0, 3)


@pytest.mark.parametrize(("asked", "read"), [(0, 1), (384, 384), (10**9, MAX_SIDE)])
def test_a_picture_is_asked_for_in_a_size_that_is_bounded(asked, read):
    sides = []
    data = LabellerData(pixels=lambda image_id, side: sides.append(side))
    data.picture("a", asked)
    assert sides == [read]


def test_a_labeller_that_needs_no_pictures_sees_none():
    assert LabellerData().picture("a") is None


def test_suggestions_are_put_in_the_order_of_the_clusters():
    given = [Suggestion("run/1", "b"), Suggestion("run/0", "a")]
    assert [found.label for found in well_formed("mine", CLUSTERS, given)] == ["a", "b"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("one\ntwo", "one two"),
        (" e\u0301te\u0301 ", "été"),
        ("a\u202eb\x1b[31m", "ab [31m"),
        ("x" * 80, "x" * 80),
        ("x" * 81, f"{'x' * 79}…"),
    ],
)
def test_a_label_becomes_one_line_of_at_most_80_characters(given, shown):
    assert cleaned(label=given).label == shown


def test_a_label_that_was_cut_says_so():
    assert cleaned(label="x" * 200).reason == "the label was cut, from 200 characters"
    assert cleaned(label="x…").reason is None


@pytest.mark.parametrize("label", [None, "", " \n", "\u200b"])
def test_a_suggestion_without_a_label_has_a_reason(label):
    assert cleaned(label=label).label is None
    assert cleaned(label=label).reason == "mine found no label."
    assert cleaned(label=label, reason="No\nfile.").reason == "No file."


def test_a_score_of_numpy_is_stored_as_a_number_of_python():
    score = cleaned(score=np.float32(0.5)).score
    assert (score, type(score)) == (0.5, float)


def test_other_labels_are_bounded_and_of_one_line_each():
    others = cleaned(alternatives=["a\nb", "", *"cdefghijklmnop"]).alternatives
    assert others == ("a b", *"cdefghij")


class Silent(str):
    """Text that cannot be shown."""

    def __repr__(self):
        raise RuntimeError

    def __len__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"node": []}, "it named [], which is none of the clusters"),
        ({"node": Silent("x")}, "it named Silent, which is none of the clusters"),
        ({"score": 10**400}, "of run/0, the score 1000"),
        ({"score": Silent("x")}, "of run/0, the score Silent is no number from 0 to 1"),
        ({"label": Silent("x" * 80)}, "reading it raised RuntimeError"),
    ],
)
def test_values_that_python_cannot_compare_or_show_are_refused_in_one_line(values, said):
    with pytest.raises(InputError) as caught:
        cleaned(**values)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_description_is_one_line_of_at_most_400_characters():
    assert cleaned(description="a\nb").description == "a b"
    assert len(cleaned(description="x" * 1000).description) == 400
    assert cleaned(description=" ").description is None
