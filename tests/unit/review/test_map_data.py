"""What the browser gets of a map, read back as the browser reads it."""

import base64
import json

import numpy as np

from panoptic_assets.review.map_data import Colouring, colour, map_data

IDS = [f"{number:064x}" for number in range(4)]
POINTS = np.array([[0.5, -1], [2, 3], [4, 5], [6, 7]], np.float32)


def read(script):
    text = script.decode("ascii")
    assert text.startswith("window.panopticMap = ")
    return json.loads(text.removeprefix("window.panopticMap = ").removesuffix(";\n"))


def unpacked(text, kind):
    return np.frombuffer(base64.b64decode(text), kind).tolist()


def made(*colourings, points=POINTS, names=("a", "b", "c", "d")):
    places = ["k/0", "k/1", "k/0", "k/remainder"]
    return read(map_data(points, IDS, names, places, colourings))


def test_points_ids_and_nodes_come_out_as_they_went_in():
    """D28: one point for each image."""
    data = made()
    assert unpacked(data["x"], "<f4") == [0.5, 2, 4, 6]
    assert unpacked(data["y"], "<f4") == [-1, 3, 5, 7]
    raw = base64.b64decode(data["ids"])
    assert [raw[32 * row : 32 * row + 32].hex() for row in range(4)] == IDS
    nodes = [data["nodes"][number] for number in unpacked(data["nodeOf"], "<u4")]
    assert nodes == ["k/0", "k/1", "k/0", "k/remainder"]


def test_points_on_a_line_have_one_height():
    assert unpacked(made(points=POINTS[:, :1])["y"], "<f4") == [0, 0, 0, 0]


def test_a_category_has_one_colour_and_what_is_none_is_grey():
    """D37, K1: coloured by cluster; the remainder is no cluster."""
    colouring = Colouring(
        "cluster", ["0", "1", "0", "remainder"], ["0", "1", "remainder"], frozenset(["remainder"])
    )
    [found] = made(colouring)["colourings"]
    assert found["labels"] == ["0", "1", "remainder"]
    assert unpacked(found["codes"], "u1") == [0, 1, 0, 2]
    assert found["colours"] == [colour(0), colour(1), "#9a9a9a"]


def test_categories_without_an_order_follow_by_their_size():
    [found] = made(Colouring("folder", ["z", "a", "z", "b"]))["colourings"]
    assert found["labels"] == ["z", "a", "b"]


def test_too_many_categories_are_summed_up():
    ids = [f"{number:064x}" for number in range(1000)]
    names = [f"folder {number}" for number in range(1000)]
    script = map_data(np.zeros((1000, 2), np.float32), ids, names, names, [Colouring("f", names)])
    [found] = read(script)["colourings"]
    assert len(found["labels"]) == 250
    assert found["labels"][-1] == "(others)"
    assert unpacked(found["codes"], "u1").count(249) == 751


def test_numbers_keep_what_is_missing():
    [found] = made(Colouring("agreement", np.array([0, 0.5, 1, np.nan])))["colourings"]
    assert np.allclose(unpacked(found["numbers"], "<f4"), [0, 0.5, 1, np.nan], equal_nan=True)


def test_no_name_ends_the_script():
    names = ["</script><script>alert(1)", "\u2028", "\ud800.jpg", '";alert(1)//']
    assert made(names=names)["names"] == names


def test_a_hundred_thousand_images_take_some_megabytes():
    ids = [f"{number:064x}" for number in range(100_000)]
    points = np.random.default_rng(0).normal(size=(100_000, 2)).astype(np.float32)
    names = [f"folder/image_{number:06}.jpg" for number in range(100_000)]
    places = [f"k/{number % 50}" for number in range(100_000)]
    script = map_data(points, ids, names, places, [Colouring("cluster", places)])
    assert len(script) < 12_000_000


def test_the_first_colours_are_all_different():
    assert len({colour(number) for number in range(60)}) == 60
