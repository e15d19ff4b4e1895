"""Maps of points: where they are, how dark, and how large the picture may get."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from panoptic_assets.features.scatter import scatter


def drawn(markdown):
    data = base64.b64decode(markdown.partition("base64,")[2].rstrip(")"))
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("L"))


def points(*rows):
    return np.array(rows, np.float32)


def test_points_are_dark_on_white_where_they_are_with_y_upwards():
    picture = drawn(scatter(points((0, 0), (2, 1))))
    down, right = np.nonzero(picture < 255)
    assert len(down) == 32  # two points of four by four pixels
    assert picture[down.max(), right.min()] < 255
    assert picture[down.min(), right.max()] < 255


def test_both_axes_have_one_scale():
    picture = drawn(scatter(points((0, 0), (2, 1))))
    down, right = np.nonzero(picture < 255)
    assert np.ptp(right) / np.ptp(down) == pytest.approx(2, rel=0.05)


def test_many_points_in_one_place_are_darker():
    few, many = (
        drawn(scatter(points((0, 0), (1, 1)))),
        drawn(scatter(points(*[(0, 0)] * 9, (1, 1)))),
    )
    assert many.min() < few.min()


def test_a_hundred_thousand_points_keep_the_budget():
    """DESIGN 11: what lies in Dagster's event log is small."""
    cloud = np.random.default_rng(0).normal(size=(100_000, 2)).astype(np.float32)
    shown = scatter(cloud)
    assert shown.startswith("![map of the points](data:image/png;base64,")
    assert len(shown) < 25_000
    assert scatter(cloud, max_bytes=50) == "(too many to show)"


@pytest.mark.parametrize("rows", [[(3.0,)], [(1.0,), (2.0,)], [(0, 0)] * 5, [(1, 2, 3, 4)] * 2])
def test_any_number_of_dimensions_and_one_place_can_be_drawn(rows):
    assert (drawn(scatter(points(*rows))) < 255).any()


def test_without_points_there_is_no_picture():
    assert scatter(np.zeros((0, 2), np.float32)) == "(none)"
