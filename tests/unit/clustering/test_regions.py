"""Regions that a person draws on a map: which points lie in them."""

import numpy as np
import pytest

from panoptic_assets.clustering.regions import inside, on_map

SQUARE = [[0, 0], [4, 0], [4, 4], [0, 4]]
HOOK = [[0, 0], [4, 0], [4, 4], [3, 4], [3, 1], [0, 1]]
STAR = [[0, 3], [2, -3], [-3, 1], [3, 1], [-2, -3]]


def found(polygon, *points):
    return inside(np.array(points, float), polygon).tolist()


def test_points_in_a_square_are_inside_and_others_are_not():
    assert found(SQUARE, [2, 2], [5, 2], [2, -1], [-1, 2], [2, 9]) == [True] + 4 * [False]


def test_the_hollow_of_a_hook_is_outside():
    assert found(HOOK, [3.5, 3], [1, 0.5], [1, 3]) == [True, True, False]


def test_what_a_line_that_crosses_itself_goes_around_twice_is_a_hole():
    """As browsers fill it by the even-odd rule."""
    assert found(STAR, [0, 2], [0, 0]) == [True, False]


@pytest.mark.parametrize("corners", [SQUARE, HOOK, STAR])
def test_where_a_border_begins_and_which_way_it_goes_does_not_matter(corners):
    places = np.random.default_rng(0).uniform(-4, 5, (500, 2))
    as_drawn = inside(places, corners)
    assert 0 < as_drawn.sum() < 500
    assert (inside(places, corners[::-1]) == as_drawn).all()
    assert (inside(places, [*corners[2:], *corners[:2]]) == as_drawn).all()


def test_of_two_regions_that_share_a_border_a_point_on_it_is_in_one():
    left, right = [[0, 0], [2, 0], [2, 4], [0, 4]], [[2, 0], [4, 0], [4, 4], [2, 4]]
    border = [[2, y] for y in (0.0, 1.0, 2.5, 3.999)]
    in_both = zip(found(left, *border), found(right, *border), strict=True)
    assert [sum(pair) for pair in in_both] == [1] * len(border)


def test_a_region_without_area_holds_nothing():
    assert found([[0, 0], [1, 1], [2, 2]], [1, 1], [0.5, 0.5]) == [False, False]


def test_of_a_circle_the_share_of_points_is_that_of_its_area():
    turns = np.linspace(0, 2 * np.pi, 500, endpoint=False)
    circle = np.column_stack([np.cos(turns), np.sin(turns)]).tolist()
    places = np.random.default_rng(0).uniform(-1, 1, (20_000, 2))
    within = np.hypot(*places.T) < 1
    # Between the circle and its 500 sides lies a ten-thousandth of it.
    assert (inside(places, circle) != within).sum() < 20


def test_points_are_where_the_map_draws_them():
    """Of three coordinates two are drawn; of one, on a line."""
    assert on_map(np.array([[1.0, 2.0, 3.0]])).tolist() == [[1, 2]]
    assert on_map(np.array([[1.0], [2.0]])).tolist() == [[1, 0], [2, 0]]
