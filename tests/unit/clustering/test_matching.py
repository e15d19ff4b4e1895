"""What a scope's words match."""

import numpy as np
import pytest

from panoptic_assets.clustering.matching import word, words
from panoptic_assets.clustering.scopes import WithProperty
from panoptic_assets.features.similarity import most_similar, similarities
from panoptic_assets.spec.written_dates import read_date


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("text", "gre\u0300s", "grès"),
        ("text", " a ", " a "),
        ("number", "1,50", 1.5),
        ("number", "-0", 0.0),
        ("date", "1887", read_date("9 mars 1887")),
        ("date", "0900-03", read_date("0900-03-09")),
        ("date", "1887-03-09", read_date("1887-03-09 23:59")),
        ("date", "09/03/1887", read_date("1887-03-09")),
        ("date", "1850", read_date("vers 1850")),
        ("date", "ca. 1850", read_date("vers 1850")),
        ("date", "XIXe siècle", read_date("19th century")),
        ("date", "450 BC", read_date("-0449")),
        ("date", "2015-23", read_date("autumn 2015")),
        ("tag", "a>b", ["a > b > c"]),
        ("tag", "a > b > c", ["a > b > c"]),
        ("multi_tags", "b", ["a > b", "b"]),
    ],
)
def test_a_value_is_found_by_what_people_write_for_it(kind, text, value):
    assert word(kind, text) in words(kind, value)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("text", "Grès", "grès"),
        ("number", "1.51", 1.5),
        ("date", "1887-03-08", read_date("1887-03-09")),
        ("date", "vers 1850", read_date("1850")),
        ("date", "1850", read_date("1850-1860")),
        ("tag", "b", ["a > b"]),
        ("tag", "a", ["ab > c"]),
    ],
)
def test_a_value_is_not_found_by_other_words(kind, text, value):
    assert word(kind, text) not in words(kind, value)


def test_a_scope_keeps_the_dates_that_it_asks_for_in_edtf():
    """E7."""
    scope = WithProperty(property="made", since="9 mars 1887", until="XIXe siècle")
    assert (scope.since, scope.until) == ("1887-03-09", "18XX")
    with pytest.raises(ValueError, match=r"until \(1850\) lies before since \(1860-05-18\)"):
        WithProperty(property="made", since="18 mai 1860", until="1850")


def test_the_most_similar_rows_come_first_and_equal_ones_in_their_order():
    cosines = np.array([0.1, 0.9, 0.5, 0.9, -1.0])
    assert most_similar(cosines, None, 3).tolist() == [1, 3, 2]
    assert most_similar(cosines, 0.5, None).tolist() == [1, 3, 2]
    assert most_similar(cosines, 0.6, 1).tolist() == [1]
    assert most_similar(cosines, 1, 5).tolist() == []
    assert most_similar(cosines, None, None).tolist() == [1, 3, 2, 0, 4]


def test_a_vector_has_the_similarity_one_with_itself_whatever_the_order_of_rows():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 512)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for row in range(0, 300, 50):
        found = similarities(vectors, vectors[row])
        assert found[row] == 1
        assert (similarities(vectors[::-1], vectors[row])[::-1] == found).all()
