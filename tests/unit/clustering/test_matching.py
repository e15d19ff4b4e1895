"""What a scope's words match."""

from datetime import UTC, datetime

import numpy as np
import pytest

from panoptic_assets.clustering.matching import word, words
from panoptic_assets.features.similarity import most_similar, similarities


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("text", "gre\u0300s", "grès"),
        ("text", " a ", " a "),
        ("number", "1,50", 1.5),
        ("number", "-0", 0.0),
        ("date", "1887", datetime(1887, 3, 9, tzinfo=UTC)),
        ("date", "0900-03", datetime(900, 3, 9, tzinfo=UTC)),
        ("date", "1887-03-09", datetime(1887, 3, 9, 23, 59, tzinfo=UTC)),
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
        ("date", "1887-03-08", datetime(1887, 3, 9, tzinfo=UTC)),
        ("tag", "b", ["a > b"]),
        ("tag", "a", ["ab > c"]),
    ],
)
def test_a_value_is_not_found_by_other_words(kind, text, value):
    assert word(kind, text) not in words(kind, value)


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
