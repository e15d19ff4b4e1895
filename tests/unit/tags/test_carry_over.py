"""Tags that follow their clusters from one save of a run to the next."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_assets.spec.tag_log import Event, Tag, paths, replay, replayed, save_event
from panoptic_assets.tags.carry_over import CarryOverError, carry_over


def saved(tree, record=1, depth=None):
    """A save of the run r: ``{"0": "abc", "1/0": "d"}`` are nodes with their images."""
    nodes = {}
    for place in tree:
        parts = place.split("/")
        nodes |= {f"r/{'/'.join(parts[:d])}": None for d in range(1, len(parts) + 1)}
    order = sorted(nodes)
    clusterings = {node.rpartition("/")[0] for node in order}
    records = {key: (f"{key}@{record}", f"hash of {key} {record}") for key in clusterings}
    places = {image: f"r/{place}" for place, images in tree.items() for image in images}
    return save_event("P", "r", order, records, places, "remainder", depth=depth)


def no_means(sets):
    raise AssertionError("the images decide")


def again(log, tree, record=2, means=no_means, depth=None, **options):
    new = saved(tree, record, depth)
    latest = [event for event in log if event.kind == "save"][-1]
    return carry_over(latest, new, replayed(log), means, depth=depth, **options)


def shown(log):
    """Path of each tag with its own images."""
    tables = replay(log)
    names = paths(tables.tags)
    return {
        names[tag.tag_id]: "".join(i for t, i in tables.images if t == tag.tag_id)
        for tag in tables.tags
    }


def ids(log):
    return {tag.name: tag.tag_id for tag in replay(log).tags}


def kinds(found):
    return {
        kind: [(c.tag, c.became) for c in found.changes if c.kind == kind]
        for kind in dict.fromkeys(change.kind for change in found.changes)
    }


FIRST = saved({"0": "abcd", "1": "efgh", "2": "ijkl"})


def rename(log, name, to):
    return Event("rename", "P", tag_id=ids(log)[name], name=to)


def test_tags_keep_ids_and_names_when_clusters_change_their_numbers():
    """ "Labels that survive when the corpus grows"."""
    log = [FIRST]
    log += [
        rename(log, "0", "Vases"),
        Event("recolour", "P", tag_id=ids(log)["0"], colour="#00ff00"),
    ]
    found = again(log, {"0": "ijklx", "1": "abcdyz", "2": "efgh"})
    after = [*log, found.event]
    assert shown(after) == {"1": "efgh", "2": "ijklx", "Vases": "abcdyz"}
    assert ids(after) == ids(log)
    by_name = {tag.name: tag for tag in replay(after).tags}
    assert (by_name["Vases"].node, by_name["Vases"].record_id) == ("r/1", "r@2")
    assert by_name["Vases"].colour == "#00ff00"
    assert kinds(found) == {"kept": [("2", "r/0"), ("Vases", "r/1"), ("1", "r/2")]}
    assert [change.overlap for change in found.changes] == [1.0, 1.0, 1.0]


def test_undoing_a_save_gives_the_tags_before_it_and_redoing_those_after():
    log = [FIRST]
    log.append(rename(log, "0", "Vases"))
    after = [*log, again(log, {"0": "efghx", "1": "abcd"}).event]
    back = [*after, Event("undo", event=3)]
    assert replay(back) == replay(log)
    assert replay([*back, Event("redo", event=3)]) == replay(after)


def test_without_the_first_save_the_second_stands_alone():
    after = [FIRST, again([FIRST], {"0": "efgh", "1": "abcd", "2": "ijkl"}).event]
    assert shown([*after, Event("undo", event=1)]) == {"0": "abcd", "1": "efgh", "2": "ijkl"}


def test_a_cluster_that_is_new_gets_a_name_that_is_free():
    found = again([FIRST], {"0": "abcd", "1": "xyz", "2": "efgh", "3": "ijkl"})
    assert shown([FIRST, found.event]) == {
        "0": "abcd",
        "1": "efgh",
        "1 (2)": "xyz",
        "2": "ijkl",
    }
    assert kinds(found)["born"] == [("r/1", "r/1")]


def test_a_cluster_that_is_no_more_loses_its_tag():
    found = again([FIRST], {"0": "abcdij", "1": "efghkl"})
    assert shown([FIRST, found.event]) == {"0": "abcdij", "1": "efghkl"}
    assert kinds(found)["died"] == [("2", "removed")]
    assert kinds(found)["split"] == [("2", "r/0 (50%), r/1 (50%)")]
    assert kinds(found)["merged"] == [
        ("r/0", "0 (67%), 2 (33%)"),
        ("r/1", "1 (67%), 2 (33%)"),
    ]


@pytest.mark.parametrize("use", ["assign", "move"])
def test_a_tag_that_people_use_stays_without_its_cluster(use):
    two, one = ids([FIRST])["2"], ids([FIRST])["0"]
    log = [
        FIRST,
        Event("assign", "P", images=((two, "a"),))
        if use == "assign"
        else Event("move", "P", tag_id=one, parent_id=two),
    ]
    found = again(log, {"0": "abcdij", "1": "efghkl"})
    assert kinds(found)["died"] == [("2", "stays, as people use it")]
    assert two in {tag.tag_id for tag in replay([*log, found.event]).tags}


def test_merged_tags_stay_one_however_often_the_run_is_saved():
    log = [FIRST]
    log.append(Event("merge", "P", tag_id=ids(log)["0"], tag_ids=(ids(log)["1"],)))
    log.append(rename(log, "0", "both"))
    log.append(again(log, {"0": "ijkl", "1": "efghx", "2": "abcdy"}).event)
    assert shown(log) == {"2": "ijkl", "both": "abcdefghxy"}
    log.append(again(log, {"0": "abcdyz", "1": "ijkl", "2": "efghx"}, record=3).event)
    assert shown(log) == {"2": "ijkl", "both": "abcdefghxyz"}
    # The merge undone after all, each has its own images again.
    undone = shown([*log, Event("undo", event=2)])
    assert undone == {"1": "efghx", "2": "ijkl", "both": "abcdyz"}


def test_of_merged_tags_one_may_lose_its_cluster():
    log = [FIRST]
    log.append(Event("merge", "P", tag_id=ids(log)["0"], tag_ids=(ids(log)["1"],)))
    found = again(log, {"0": "efghabx", "1": "ijklcd"}, min_overlap=0)
    assert kinds(found)["died"] == [("0", "stays, as part of a merged tag")]
    assert shown([*log, found.event]) == {"0": "abefghx", "2": "cdijkl"}


def test_a_tag_that_was_deleted_does_not_come_back():
    log = [FIRST, Event("delete", "P", tag_ids=(ids([FIRST])["0"],))]
    found = again(log, {"0": "abcdx", "1": "efgh", "2": "ijkl"})
    assert shown([*log, found.event]) == {"1": "efgh", "2": "ijkl"}
    assert [tag for tag, _ in kinds(found)["kept"]] == ["1", "2"]


def test_what_people_gave_and_took_stays_so():
    tags = ids([FIRST])
    log = [
        FIRST,
        Event("assign", "P", images=((tags["2"], "a"),), only=True),
        Event("unassign", "P", images=((tags["0"], "b"),)),
        Event("split", "P", (Tag("n", "P", "new"),), (("n", "e"),), tag_id=tags["1"]),
    ]
    log.append(again(log, {"0": "efghi", "1": "abcd", "2": "jkl"}).event)
    assert shown(log) == {"0": "cd", "1": "fghi", "2": "ajkl", "new": "e"}


def test_children_are_matched_within_their_matched_parents():
    log = [saved({"0/0": "ab", "0/1": "cd", "1/0": "ef", "1/1": "gh"})]
    found = again(log, {"0/0": "hgx", "0/1": "ef", "1/0": "cdy", "1/1": "ab"})
    after = [*log, found.event]
    assert shown(after) == {
        "0": "",
        "0 > 0": "ab",
        "0 > 1": "cdy",
        "1": "",
        "1 > 0": "ef",
        "1 > 1": "ghx",
    }
    assert {tag.tag_id for tag in replay(after).tags} == {tag.tag_id for tag in log[0].tags}


def test_a_tag_that_people_moved_stays_where_it_is():
    log = [saved({"0/0": "ab", "0/1": "cd", "1": "ef"})]
    tags = {path: tag_id for tag_id, path in paths(replay(log).tags).items()}
    log.append(Event("move", "P", tag_id=tags["0 > 0"], parent_id=tags["1"]))
    log.append(again(log, {"0": "efx", "1/0": "cd", "1/1": "aby"}).event)
    assert shown(log) == {"0": "", "0 > 1": "cd", "1": "efx", "1 > 0": "aby"}


def test_images_keep_the_tags_of_a_clustering_that_is_not_made_again_yet():
    """A run computed again has stale clusterings, which a save leaves out: names must not go."""
    log = [saved({"0/0": "abc", "0/1": "def", "1": "ghi"})]
    log.append(Event("rename", "P", tag_id=log[0].tags[1].tag_id, name="cups"))
    found = again(log, {"0": "ghix", "1": "abcdefy"})
    log.append(found.event)
    assert shown(log) == {"0": "y", "0 > 1": "def", "0 > cups": "abc", "1": "ghix"}
    assert [tag for tag, _ in kinds(found)["held"]] == ["0 > cups", "0 > 1"]
    records = {tag.name: tag.record_id for tag in replay(log).tags}
    assert (records["0"], records["cups"]) == ("r@2", "r/0@1")
    assert again(log, {"0": "ghix", "1": "abcdefy"}).event.tags == found.event.tags
    # Once it is divided again, its clusters follow too.
    log.append(again(log, {"0": "ghix", "1/0": "defy", "1/1": "abc"}, record=3).event)
    assert shown(log) == {"0": "", "0 > 1": "defy", "0 > cups": "abc", "1": "ghix"}
    # With a depth, what lies below is left out on purpose.
    log.append(again(log, {"0": "ghix", "1/0": "defy", "1/1": "abc"}, record=3, depth=1).event)
    assert shown(log) == {"0": "abcdefy", "1": "ghix"}


def test_the_remainder_is_matched_with_the_remainder_alone():
    log = [saved({"0": "abcd", "remainder": "efgh"})]
    log.append(rename(log, "remainder", "others"))
    found = again(log, {"0": "abcd", "1": "efg", "remainder": "hx"})
    assert shown([*log, found.event]) == {"0": "abcd", "1": "efg", "others": "hx"}
    gone = again(log, {"0": "abcd", "1": "efgh"})
    assert kinds(gone)["died"] == [("others", "stays, as people use it")]


def test_a_cluster_whose_images_are_gone_is_known_by_its_mean():
    directions = {"i": (1, 0.1), "j": (1, 0.2), "k": (1, 0), "l": (1, 0), "a": (0, 1)}
    vectors = {name: np.array(direction) for name, direction in directions.items()}
    vectors |= dict.fromkeys("xyz", np.array((1.0, 0.05))) | dict.fromkeys("uvw", np.array((0, -1)))

    def means(sets):
        return [np.mean([vectors[i] for i in s if i in vectors], axis=0) for s in sets]

    found = again([FIRST], {"0": "uvw", "1": "xyz", "2": "abcd", "3": "efgh"}, means=means)
    assert ids([FIRST, found.event])["2"] == ids([FIRST])["2"]
    # An image that left the run keeps its tag.
    assert shown([FIRST, found.event])["2"] == "ijklxyz"
    assert kinds(found)["born"] == [("r/0", "r/0")]
    without = again(
        [FIRST], {"1": "xyz", "2": "abcd", "3": "efgh"}, means=lambda s: [None] * len(s)
    )
    assert kinds(without)["died"] == [("2", "removed")]


DOUBTFUL = {"0": "abef", "1": "cd", "2": "ghijkl"}


def test_what_is_doubtful_is_asked():
    log = [FIRST]
    log.append(rename(log, "0", "Vases grecs"))
    with pytest.raises(CarryOverError) as caught:
        again(log, {"0": "ijkl", "1": "abxy", "2": "efg", "3": "h", "4": "cd"}, min_overlap=0.8)
    message = str(caught.value)
    assert "'Vases grecs' and r/1 0.50, '1' and r/2 0.75" in message
    assert "`min_overlap: 0.5` (`--min-overlap 0.5`)" in message
    assert '`--match "Vases grecs=1"`' in message
    assert "`--replace`" in message
    accepted = again(
        log, {"0": "ijkl", "1": "abxy", "2": "efg", "3": "h", "4": "cd"}, min_overlap=0.5
    )
    assert shown([*log, accepted.event])["Vases grecs"] == "abxy"


@pytest.mark.parametrize(
    ("matches", "found"),
    [
        ({"0": "1"}, {"0": "cd", "1": "abef", "2": "ghijkl"}),
        ({"0": "0", "1": ""}, {"0": "abef", "1": "cd", "2": "ghijkl"}),
        ({"0": "2", "2": "0"}, {"0": "ghijkl", "1": "cd", "2": "abef"}),
    ],
)
def test_a_person_decides(matches, found):
    log = [FIRST]
    after = [*log, again(log, DOUBTFUL, matches=matches, min_overlap=0.2).event]
    assert shown(after) == found


@pytest.mark.parametrize(
    ("matches", "message"),
    [
        ({"9": "0"}, "`matches` names '9', which is no tag of a saved cluster: there are '0', '1'"),
        ({"0": "9"}, "gives '0' the node '9', which is not saved: there are '0', '1', '2'."),
        ({"0": "2", "1": "2"}, "gives the node 'r/2' to two tags"),
    ],
)
def test_a_decision_that_cannot_be_followed_is_refused(matches, message):
    with pytest.raises(CarryOverError) as caught:
        again([FIRST], DOUBTFUL, matches=matches)
    assert message in str(caught.value)


def test_an_id_of_a_tag_is_never_given_to_another_cluster():
    """A record whose output comes back has the ids of its first time."""
    log = [FIRST]
    log.append(again(log, {"0": "efgh", "1": "abcd"}, record=2).event)
    log.append(again(log, {"0": "abcd", "1": "efgh", "2": "ijkl"}, record=1).event)
    assert shown(log) == {"0": "abcd", "1": "efgh", "2": "ijkl"}
    assert len({tag.tag_id for tag in log[2].tags}) == 3


@pytest.mark.parametrize("seed", range(10))
def test_saved_again_and_again_every_image_has_its_clusters_tag(seed):
    rng = random.Random(seed)
    log = [FIRST]
    for record in range(2, 8):
        images = [chr(ord("a") + n) for n in range(12 + record)]
        tree = {}
        for image in images:
            place = rng.choice(["0", "1", "2/0", "2/1", "3", "remainder"])
            tree[place] = tree.get(place, "") + image
        new = saved(tree, record)
        found = carry_over(log[-1], new, replayed(log), lambda s: [None] * len(s), 0)
        log.append(found.event)
        tables = replay(log)
        nodes = {tag.tag_id: tag.node for tag in tables.tags}
        given = {image: nodes[tag] for tag, image in tables.images}
        assert given.keys() == set(images) == {image for _, image in tables.images}
        places = {image: f"r/{place}" for place, some in tree.items() for image in some}
        held = {c.tag for c in found.changes if c.kind == "held"}
        assert held or given == places
        assert len({(tag.record_id, tag.node) for tag in tables.tags}) == len(tables.tags)
        # The same tree again changes nothing.
        same = carry_over(log[-1], new, replayed(log), lambda s: [None] * len(s), 0).event
        assert (set(same.tags), same.images, same.tag_ids) == (
            set(found.event.tags),
            found.event.images,
            (),
        )


def back_again(log, *trees, **options):
    """The log after saving one tree after the other."""
    for tree in trees:
        record = 1 + sum(event.kind == "save" for event in log)
        log = [*log, again(log, tree, record, **options).event]
    return log


EDITS = {
    "rename": lambda tags: [Event("rename", "P", tag_id=tags["2"], name="Vases grecs")],
    "recolour": lambda tags: [Event("recolour", "P", tag_id=tags["2"], colour="#00ff00")],
    "move": lambda tags: [Event("move", "P", tag_id=tags["2"], parent_id=tags["0"])],
    "merge into": lambda tags: [Event("merge", "P", tag_id=tags["2"], tag_ids=(tags["1"],))],
    "merge": lambda tags: [Event("merge", "P", tag_id=tags["1"], tag_ids=(tags["2"],))],
    "put below": lambda tags: [Event("create", "P", (Tag("n", "P", "cups", tags["2"]),))],
    "unassign": lambda tags: [Event("unassign", "P", images=((tags["2"], "i"),))],
    "refuse": lambda tags: [Event("refuse", "P", images=((tags["2"], "a"),))],
    "assign": lambda tags: [Event("assign", "P", images=((tags["2"], "a"),), only=True)],
    "split": lambda tags: [
        Event("split", "P", (Tag("n", "P", "cups"),), (("n", "i"),), tag_id=tags["2"])
    ],
    "delete": lambda tags: [Event("delete", "P", tag_ids=(tags["2"],))],
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("nb_saves", [1, 2])
def test_what_people_did_to_a_tag_holds_while_its_images_are_away(edit, nb_saves):
    """ "Moving or renaming a file must not lose its tags": nor must a disk that is away, however
    often the run is saved meanwhile."""
    log = [FIRST, *EDITS[edit](ids([FIRST]))]
    before = replay(log)
    away = [{"0": "efgh", "1": "abcd" + "xyz"[:number]} for number in range(nb_saves)]
    log = back_again(log, *away, {"0": "ijkl", "1": "efgh", "2": "abcd"})
    after = replay(log)
    # An image that came and is missing now keeps its tag.
    assert {pair for pair in after.images if pair[1] != "x"} == before.images.keys()
    assert [(tag.tag_id, tag.name, tag.parent_id, tag.colour) for tag in after.tags] == [
        (tag.tag_id, tag.name, tag.parent_id, tag.colour) for tag in before.tags
    ]
    assert after.refused == before.refused


def test_a_tag_that_nobody_touched_still_goes_with_its_cluster():
    log = back_again([FIRST], {"0": "efgh", "1": "abcd"})
    assert shown(log) == {"0": "abcd", "1": "efgh"}
    log = [FIRST, rename([FIRST], "2", "Vases"), Event("undo", event=2)]
    assert shown(back_again(log, {"0": "efgh", "1": "abcd"})) == {"0": "abcd", "1": "efgh"}


def test_the_changes_say_what_became_of_a_tag_that_is_away_and_of_one_that_is_back():
    log = [FIRST, rename([FIRST], "2", "Vases")]
    found = again(log, {"0": "efgh", "1": "abcd"})
    text = "stays, as people use it; 4 of its images are in no cluster now"
    assert kinds(found)["died"] == [("Vases", text)]
    log.append(found.event)
    assert "died" not in kinds(again(log, {"0": "efgh", "1": "abcdx"}, record=3))
    found = again(log, {"0": "efgh", "1": "abcd", "2": "ijkl"}, record=3)
    assert kinds(found)["returned"] == [("Vases", "r/2")]
    assert [c.overlap for c in found.changes if c.kind == "returned"] == [1.0]


@pytest.mark.parametrize(
    ("tree", "vases"),
    [
        ({"0": "efgh", "1": "abcd", "2": "ijklmnop"}, "ijklmnop"),  # with new images
        ({"0": "efgh", "1": "abcd", "2": "k"}, "ijkl"),  # a part
        ({"0": "efgh", "1": "abcd", "2": "mnop", "3": "jkl"}, "ijkl"),
        ({"0": "efghij", "1": "abcdl", "2": "k"}, "k"),  # most of them in other clusters
    ],
)
def test_images_that_come_back_in_part_or_with_others_give_their_tag_its_cluster(tree, vases):
    log = [FIRST, rename([FIRST], "2", "Vases")]
    log = back_again(log, {"0": "efgh", "1": "abcd"}, tree, min_overlap=0.2)
    assert shown(log)["Vases"] == vases


def test_where_it_is_doubtful_whether_a_cluster_is_back_a_person_is_asked():
    log = [FIRST, rename([FIRST], "2", "Vases")]
    log = back_again(log, {"0": "efgh", "1": "abcd"})
    doubtful = {"0": "efgh", "1": "abcd", "2": "ij", "3": "k", "4": "l"}
    with pytest.raises(CarryOverError, match="'Vases' and r/2 0.50") as caught:
        again(log, doubtful, min_overlap=0.6)
    assert '`--match "Vases=2"`' in str(caught.value)
    options = {"min_overlap": 0.6}
    decided = back_again(log, doubtful, matches={"Vases": "3"}, **options)
    assert shown(decided)["Vases"] == "k"
    none = back_again(log, doubtful, matches={"Vases": ""}, **options)
    # It is asked once: by then these images are of the latest save.
    assert shown(back_again(none, doubtful | {"5": "x"}, **options))["Vases"] == ""


def nested(*edits):
    """A log whose cluster 0 is divided, and the ids of its tags by path."""
    log = [saved({"0/0": "ab", "0/1": "cd", "1": "efgh"})]
    tags = {path: tag_id for tag_id, path in paths(replay(log).tags).items()}
    return [*log, *(edit(tags) for edit in edits)]


def renames(path, name):
    return lambda tags: Event("rename", "P", tag_id=tags[path], name=name)


@pytest.mark.parametrize(
    ("edit", "names"),
    [
        (renames("0", "Vases"), {"Vases": "", "Vases > 0": "ab", "Vases > 1": "cd"}),
        (renames("0 > 1", "cups"), {"0": "", "0 > cups": "cd"}),
        (
            # Nobody uses what was above it any more.
            lambda tags: Event("move", "P", tag_id=tags["0 > 1"], parent_id=None),
            {"1 (2)": "cd"},
        ),
    ],
)
def test_of_a_divided_cluster_every_level_comes_back(edit, names):
    log = nested(edit)
    if "1 (2)" in names:
        log.append(renames("0 > 1", "1 (2)")({"0 > 1": log[-1].tag_id}))
    away = back_again(log, {"0": "efgh"}, {"0": "efghx"})
    back = back_again(away, {"0": "efghx", "1/0": "cd", "1/1": "ab"})
    found = shown(back)
    assert {path: found[path] for path in names} == names
    assert sorted("".join(found.values())) == list("abcdefghx")
    # Its clustering comes later: what had its tags keeps them until then.
    held = shown(back_again(away, {"0": "efghx", "1": "abcd"}))
    assert all(held[path] == images for path, images in names.items() if "Vases" in path)


def test_a_tag_below_one_that_is_away_goes_once_its_images_are_elsewhere():
    log = back_again(nested(renames("0", "Vases")), {"0": "efgh"})
    log = back_again(log, {"0": "efgh", "1/0": "abcd", "1/1": "xyz"})
    assert shown(log) == {"1": "efgh", "Vases": "", "Vases > 0": "abcd", "Vases > 1": "xyz"}
    # Of the old clustering no part is left: the whole is more like a new part than they are.
    assert len({tag_id for event in log if event.kind == "save" for tag_id in event.tag_ids}) == 2


def test_a_name_that_somebody_asked_for_waits_for_its_images_and_no_longer():
    """Labels and names that a method gave are names of the save, not edits."""
    named = saved({"0": "abcd", "1": "efgh"})
    named = replace(named, tags=(replace(named.tags[0], name="a vase"), named.tags[1]))
    away = back_again([named], {"0": "efgh"})
    assert shown(away) == {"1": "efgh", "a vase": "abcd"}
    assert shown(back_again(away, {"0": "efgh", "1": "abcd"})) == {"1": "efgh", "a vase": "abcd"}
    assert shown(back_again([named], {"0": "abcdefgh"}, min_overlap=0)) in (
        {"1": "abcdefgh"},
        {"a vase": "abcdefgh"},
    )


def test_a_guess_by_means_ends_when_the_images_themselves_are_back():
    log = [FIRST, rename([FIRST], "2", "Vases")]
    log = back_again(
        log, {"0": "abcd", "1": "ef", "2": "gh"}, means=lambda s: [np.ones(2)] * len(s)
    )
    assert shown(log)["Vases"] in ("efijkl", "ghijkl")
    for back in (
        {"0": "abcd", "1": "ef", "2": "gh", "3": "ijkl"},
        {"0": "abcd", "1": "efgh", "2": "ijkl"},
    ):
        assert shown(back_again(log, back))["Vases"] == "ijkl"


def test_two_tags_whose_clusters_were_one_for_a_while_are_told_apart_again():
    log = [FIRST, rename([FIRST], "1", "coins"), rename([FIRST], "2", "Vases")]
    log = back_again(log, {"0": "abcd", "1": "efghijklxyz"}, min_overlap=0.3)
    log = back_again(log, {"0": "abcd", "1": "efghxyz", "2": "ijkl"}, min_overlap=0.3)
    assert shown(log) == {"0": "abcd", "Vases": "ijkl", "coins": "efghxyz"}


def test_a_save_to_a_depth_leaves_out_on_purpose_what_is_below():
    log = nested(renames("0 > 1", "cups"))
    cut = again(log, {"0/0": "ab", "0/1": "cd", "1": "efgh"}, depth=1)
    assert shown([*log, cut.event]) == {"0": "abcd", "1": "efgh"}


def test_what_a_save_anew_replaced_is_forgotten():
    log = [FIRST, rename([FIRST], "2", "Vases")]
    anew = replace(saved({"0": "abcd", "1": "efgh"}, 2), tag_ids=tuple(ids(log).values()))
    log = back_again([*log, anew], {"0": "abcd", "1": "efgh", "2": "ijkl"})
    assert shown(log) == {"0": "abcd", "1": "efgh", "2": "ijkl"}


def test_undoing_the_save_without_the_images_and_the_one_with_them_gives_the_tags_before():
    log = [FIRST, rename([FIRST], "2", "Vases")]
    after = back_again(log, {"0": "efgh", "1": "abcd"}, {"0": "efgh", "1": "abcd", "2": "ijkl"})
    assert replay([*after, Event("undo", event=4), Event("undo", event=3)]) == replay(log)
    assert shown([*after, Event("undo", event=3)]) == shown(log)
    undone = [*after, Event("undo", event=4)]
    assert shown(undone) == {"0": "abcd", "1": "efgh", "Vases": "ijkl"}


def deletes(path):
    return lambda tags: Event("delete", "P", tag_ids=(tags[path],))


DIVIDED = {"0": "uvw", "3/0": "abcdef", "3/1": "ghij"}


@pytest.mark.parametrize(
    ("first", "edit", "trees", "options", "left"),
    [
        # Each time again, as a refresh saves it.
        (DIVIDED, deletes("3 > 0"), [DIVIDED] * 3, {"depth": 1}, {"0": "uvw", "3": "abcdefghij"}),
        (
            {"0": "uvw", "1": "abcdef", "2": "ghij"},
            deletes("1"),
            [{"0": "uvw", "2": "ghij"}, *[{"0": "uvw", "2": "ghijabcde"}] * 2],
            {},
            {"0": "uvw", "2": "abcdeghij"},
        ),
        (
            DIVIDED,
            deletes("3 > 0"),
            [{"0": "uvw"}, *[{"0": "uvw", "3": "abcdefghij"}] * 2],
            {},
            {"0": "uvw", "3": "abcdefghij"},
        ),
    ],
)
def test_a_tag_that_was_deleted_takes_no_cluster_from_one_that_is_there(
    first, edit, trees, options, left
):
    log = [saved(first)]
    log.append(edit({path: tag_id for tag_id, path in paths(replay(log).tags).items()}))
    assert shown(back_again(log, *trees, **options)) == left


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_tree_that_stays_the_same_is_soon_saved_just_so(data):
    """Nothing goes to and fro between two tags; and no save names a tag twice."""
    places = ["0", "1/0", "1/1", "2"]
    images = "abcdefghij"

    def tree(away=""):
        found = {}
        for image in images:
            if image not in away:
                place = data.draw(st.sampled_from(places), image)
                found[place] = found.get(place, "") + image
        return found or {"0": "a"}

    log = [saved(tree())]
    tables = replay(log)
    edited = data.draw(st.sampled_from(tables.tags), "edited")
    below = tuple(tag.tag_id for tag in tables.tags if tag.parent_id == edited.tag_id)
    edit = data.draw(st.sampled_from(["rename", "delete", "move"]), "edit")
    log.append(
        {
            "rename": Event("rename", "P", tag_id=edited.tag_id, name="mine"),
            "delete": Event("delete", "P", tag_ids=(edited.tag_id, *below)),
            "move": Event("move", "P", tag_id=edited.tag_id, parent_id=None),
        }[edit]
    )
    away = "".join(data.draw(st.sets(st.sampled_from(images), max_size=5), "away"))
    options = {"means": lambda sets: [None] * len(sets), "min_overlap": 0}
    log = back_again(log, tree(away), **options)
    last, before = tree(), None
    for _ in range(4):
        log = back_again(log, last, **options)
        saved_ids = [tag.tag_id for tag in log[-1].tags]
        assert len(set(saved_ids)) == len(saved_ids)
        before, now = shown(log[:-1]), shown(log)
    assert before == now


@pytest.mark.parametrize(
    ("first", "away", "back"),
    [
        (
            {"0": "cdefghj", "1/0": "i", "1/1": "ab"},
            {"0": "bcdefghi", "1/0": "j"},
            {"0": "cdefghi", "1/0": "ab", "1/1": "j"},
        ),
        (
            {"0": "adefghij", "1/0": "b", "1/1": "c"},
            {"0": "defghij"},
            {"0": "abdefg", "1/0": "hij", "1/1": "c"},
        ),
    ],
)
def test_a_tag_does_not_take_the_cluster_of_one_below_it_that_is_more_alike(first, away, back):
    """Saved again, the same tree took the tag below away, as that of nobody's cluster."""
    log = [saved(first)]
    tags = {path: tag_id for tag_id, path in paths(replay(log).tags).items()}
    log.append(renames("1", "mine")(tags))
    options = {"means": lambda sets: [None] * len(sets), "min_overlap": 0}
    log = back_again(log, away, back, **options)
    assert shown(back_again(log, back, back, back, **options)) == shown(log)
    assert tags["1 > 1"] in ids_of(log)


def test_of_what_a_tag_was_by_turns_it_is_what_people_saw():
    """By the means of vectors it was given the other cluster while its own was away."""
    log = [saved({"0": "abcd", "1": "efgh", "2": "ijkl"})]
    log.append(rename(log, "2", "Vases"))
    log = back_again(log, {"0": "efgh", "1": "ijkl"})
    log = back_again(log, {"0": "abcd", "1": "efgh"}, means=lambda s: [np.ones(2)] * len(s))
    assert shown(log) == {"1": "efgh", "Vases": "abcdijkl"}
    log = back_again(log, {"0": "efgh", "1": "ijkl"})
    assert shown(back_again(log, CLUSTERS))["Vases"] == "ijkl"


def test_a_tag_that_nobody_edited_comes_after_one_that_people_edited():
    """Else a cluster goes to and fro between them, or each gets that of the other."""
    log = nested_in({"0": "abcefgi", "1/0": "dhj"}, "1 > 0", "mine")
    options = {"means": lambda sets: [None] * len(sets), "min_overlap": 0}
    last = {"0": "abcefgij", "2": "dh"}
    log = back_again(log, {"0": "abcdefg", "1/0": "hi", "1/1": "j"}, last, last, **options)
    assert shown(back_again(log, last, **options)) == shown(log)
    # Two tags below one that only they keep; their disks come one at a time.
    rest = {"1": "ghijk", "2": "lmn"}
    log = nested_in(CORPUS, "0 > 0", "cups")
    log = back_again(log, rest, {"0/1": "def", **rest}, **options)
    tags = {path: tag_id for tag_id, path in paths(replay(log).tags).items()}
    log.append(renames("0 > 1", "bowls")(tags))
    for tree in ({"0/1": "def"}, {"0/0": "abc"}, {}, CORPUS):
        log = back_again(log, {**tree, **rest}, **options)
    assert {name: images for name, images in shown(log).items() if name.startswith("0")} == {
        "0": "",
        "0 > bowls": "def",
        "0 > cups": "abc",
    }


def nested_in(tree, path, name):
    log = [saved(tree)]
    tags = {path: tag_id for tag_id, path in paths(replay(log).tags).items()}
    return [*log, renames(path, name)(tags)]


def test_a_name_that_somebody_asked_for_gets_its_images_back_before_a_number():
    named = saved({"0": "bcd", "1": "a"})
    named = replace(named, tags=(replace(named.tags[0], name="amphorae"), named.tags[1]))
    assert shown(back_again([named], {"1": "a"}, {"0": "abcd"})) == {"amphorae": "abcd"}


@pytest.mark.parametrize(
    ("first", "edits", "away"),
    [
        ({"0/0/0": "e", "0/0/1": "f"}, [("0 > 0 > 0", "mine")], [{"0/0/1": "f"}, {"0/0/0": "e"}]),
        (
            {"0/0": "ad"},
            [("0", "above"), ("above > 0", "mine")],
            [{"0/0": "d"}, {"0/0": "a"}, {"0/0": "d"}],
        ),
    ],
)
def test_disks_that_come_by_turns_leave_a_tag_below_others_its_images(first, edits, away):
    log = [saved(first)]
    for path, name in edits:
        tags = {path: tag_id for tag_id, path in paths(replay(log).tags).items()}
        log.append(renames(path, name)(tags))
    mine = next(tag.tag_id for tag in replay(log).tags if tag.name == "mine")
    before = images_below(log, mine)
    log = back_again(log, *away, first, means=lambda sets: [None] * len(sets))
    assert images_below(log, mine) == before


CLUSTERS = {"0": "abcd", "1": "efgh", "2": "ijkl"}
CORPUS = {"0/0": "abc", "0/1": "def", "1": "ghijk", "2": "lmn", "remainder": "opq"}


def ids_of(log):
    return {tag.tag_id for tag in replay(log).tags}


def renumbered(tree, data):
    """The same tree with other numbers."""
    numbers = iter(data.draw(st.permutations(range(len(tree))), "numbers"))
    of_root = {}
    for place in tree:
        root = place.split("/")[0]
        if root != "remainder" and root not in of_root:
            of_root[root] = str(next(numbers))
    return {
        "/".join([of_root.get(root, root), *rest]): some
        for place, some in tree.items()
        for root, *rest in [place.split("/")]
    }


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_sequence_of_automatic_saves_takes_a_tag_from_people(data):
    """Disks go and come, images come for good, clusters change their numbers, people edit between:
    every tag that they edited stays, and has all its images once all are back."""
    of_people: dict[str, set[str]] = {}
    unit = data.draw(st.sampled_from([None, np.ones(2)]), "mean")

    def save_again(log, tree):
        tree = renumbered({place: some for place, some in tree.items() if some}, data)
        return back_again(log, tree, means=lambda sets: [unit] * len(sets))

    log, corpus = [saved(CORPUS)], dict(CORPUS)
    for step in range(data.draw(st.integers(1, 5), "steps")):
        # By means, a tag that nobody edited yet may stand for two clusters, one of them away.
        if (unit is None or step == 0) and data.draw(st.booleans(), "edit"):
            tables = replay(log)
            tag, other = data.draw(st.lists(st.sampled_from(tables.tags), min_size=2, max_size=2))
            kind = data.draw(st.sampled_from(["rename", "recolour", "move", "merge"]), "kind")
            event = {
                "rename": Event("rename", "P", tag_id=tag.tag_id, name=f"name {step}"),
                "recolour": Event("recolour", "P", tag_id=tag.tag_id, colour="#00ff00"),
                "move": Event("move", "P", tag_id=tag.tag_id, parent_id=other.tag_id),
                "merge": Event("merge", "P", tag_id=tag.tag_id, tag_ids=(other.tag_id,)),
            }[kind]
            log.append(event)
            # What came meanwhile is cut apart from what was away, and is one with it again.
            own = {i for t, i in replay(log).images if t == tag.tag_id and i.islower()}
            of_people[tag.tag_id] = of_people.get(tag.tag_id, set()) | own
            if kind == "merge" and other.tag_id != tag.tag_id and other.tag_id not in ids_of(log):
                of_people[tag.tag_id] |= of_people.pop(other.tag_id, set())
        corpus["1"] += chr(ord("A") + step)
        away = set(
            data.draw(
                st.sampled_from(
                    ["", "abc", "def", "abcdef", "ghijk", "gh", "lmn", "opq", "abcopq", "cdjlo"]
                ),
                "away",
            )
        )
        tree = {place: "".join(i for i in some if i not in away) for place, some in corpus.items()}
        log = save_again(log, tree)
        assert of_people.keys() <= ids_of(log)
    log = save_again(log, corpus)
    below = {t: {i for o, i in replay(log).images if o == t} for t in of_people}
    assert {t: of_people[t] - below[t] for t in of_people} == {t: set() for t in of_people}


@pytest.mark.parametrize("seed", range(100))
def test_a_run_that_is_cut_otherwise_while_images_are_away_takes_no_tag_from_people(seed):
    """However often, and however little the clusters are alike; cut as before, each tag has its
    images again if nobody had to be asked on the way."""
    rng = random.Random(seed)
    log = [saved(CORPUS)]
    chosen = rng.sample(replay(log).tags, rng.randint(1, 6))
    log += [Event("rename", "P", tag_id=tag.tag_id, name=f"my {tag.node}") for tag in chosen]
    before = {tag.tag_id: images_below(log, tag.tag_id) for tag in chosen}

    def save_again(tree):
        unasked = True
        try:
            found = again(log, tree, len(log), lambda sets: [None] * len(sets))
        except CarryOverError:
            unasked = False
            found = again(log, tree, len(log), lambda sets: [None] * len(sets), min_overlap=0)
        log.append(found.event)
        assert before.keys() <= ids_of(log)
        return unasked

    places = {image: place for place, some in CORPUS.items() for image in some}
    nb_cuts, noise = rng.randint(1, 3), rng.choice([0.1, 0.3, 1])
    unasked = True
    for _ in range(nb_cuts):
        away = rng.choice(["abcdef", "ghijk", "lmn", "cdjlo"])
        tree = {}
        for image in sorted(places.keys() - set(away)):
            place = rng.choice([*CORPUS, "3"]) if rng.random() < noise else places[image]
            tree[place] = tree.get(place, "") + image
        unasked &= save_again(tree)
    unasked &= save_again(CORPUS)
    if nb_cuts == 1 and unasked:
        assert all(before[tag_id] <= images_below(log, tag_id) for tag_id in before)


def images_below(log, tag_id):
    tables = replay(log)
    below = {tag_id}
    for tag in tables.tags:  # parents first
        if tag.parent_id in below:
            below.add(tag.tag_id)
    return {image_id for other, image_id in tables.images if other in below}
