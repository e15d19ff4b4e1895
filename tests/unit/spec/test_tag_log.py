"""The tag log's events and their replay."""

import random

import pytest

from panoptic_assets.spec.tag_log import (
    Event,
    Tag,
    TagTables,
    counts,
    free_name,
    in_tree_order,
    latest_save,
    paths,
    replay,
    replayed,
    save_event,
    tag_names,
    undone,
)
from panoptic_assets.tags.edits import EditError, Images, resolve_edits

RECORDS = {"r": ("r@1", "hash-r"), "r/1": ("r/1@1", "hash-r1")}
NODES = ["r/0", "r/1", "r/1/0", "r/1/remainder"]
PLACES = {"i": "r/0", "j": "r/1/0", "k": "r/1/remainder", "l": "r/1"}


def event(property_name="Clustering", **options):
    return save_event(property_name, "r", NODES, RECORDS, PLACES, "remainder", **options)


def made(*names, above=None, property_name="Clustering"):
    return tuple(Tag(name, property_name, name, above) for name in names)


def create(*names, **options):
    return Event("create", "Clustering", tags=made(*names, **options))


def give(tag_id, *images, kind="assign", **options):
    pairs = tuple((tag_id, image_id) for image_id in images)
    return Event(kind, "Clustering", images=pairs, **options)


def saved(*pairs, **options):
    """A save by hand: a flat tree of clusters with these images, such as ``("a", "ij")``."""
    tags = tuple(Tag(name, "Clustering", name, None, "r@1", f"r/{name}") for name, _ in pairs)
    images = tuple((name, image_id) for name, images in pairs for image_id in images)
    return Event("save", "Clustering", tags=tags, images=images, run_key="r", **options)


def shown(*events):
    """Path of each tag with its images, as one text."""
    tables = replay(events)
    names = paths(tables.tags)
    own = dict.fromkeys(names, "")
    for tag_id, image_id in tables.images:
        own[tag_id] += image_id
    return {names[tag_id]: images for tag_id, images in own.items()}


def test_saving_gives_hierarchical_tags_from_the_whole_tree():
    """A24, A25: each image's cluster as a tag; tags are nested as the clusters are."""
    tags = {tag.node: tag for tag in event().tags}
    assert list(tags) == NODES
    assert tags["r/1/0"].parent_id == tags["r/1"].tag_id
    assert tags["r/0"].parent_id is None
    assert tags["r/1/0"].record_id == "r/1@1"
    assert paths(event().tags)[tags["r/1/0"].tag_id] == "1 > 0"


def test_every_image_has_the_tag_of_its_deepest_node():
    nodes = {tag.tag_id: tag.node for tag in event().tags}
    assert {image: nodes[tag] for tag, image in event().images} == PLACES


def test_the_remainder_is_a_tag_that_says_so():
    """K8: saved as a tag, and known as the remainder."""
    assert [tag.node for tag in event().tags if tag.is_remainder] == ["r/1/remainder"]


def test_the_same_save_gives_the_same_tag_ids():
    assert event() == event()
    assert not {tag.tag_id for tag in event().tags} & {tag.tag_id for tag in event("Autre").tags}


def test_a_tree_is_saved_to_a_depth_and_images_below_it_come_to_their_ancestor():
    cut = event(depth=1)
    nodes = {tag.tag_id: tag.node for tag in cut.tags}
    assert list(nodes.values()) == ["r/0", "r/1"]
    assert {image: nodes[tag] for tag, image in cut.images} == {
        "i": "r/0",
        "j": "r/1",
        "k": "r/1",
        "l": "r/1",
    }
    assert event(depth=2) == event(depth=9) == event()


def test_a_cluster_that_has_a_name_gives_it_to_its_tag():
    names = tag_names({"r/0": "Greek > amphora", "r/1": "cup", "r/1/0": "amphora"}, 200)
    named = paths(event(names=names).tags).values()
    assert list(named) == ["amphora", "cup", "cup > amphora", "cup > remainder"]


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (["a > b", "c > b"], ["b (a)", "b (c)"]),
        (["b", "b"], ["b", "b (2)"]),
        (["b", "a > b"], ["b", "b (a)"]),
        (["a>b", "> "], ["b"]),
        (["x" * 300], ["x" * 192]),
    ],
)
def test_names_of_clusters_become_names_that_siblings_do_not_share(found, names):
    nodes = {f"r/{number}": name for number, name in enumerate(found)}
    assert list(tag_names(nodes, 200).values()) == names


def test_an_empty_log_leaves_no_tags():
    assert replay([]) == TagTables([], {})


def test_a_save_that_removes_nothing_leaves_other_tags_and_takes_its_images():
    assert shown(saved(("a", "ij"), ("b", "k")), saved(("c", "jk"))) == {
        "a": "i",
        "b": "",
        "c": "jk",
    }


def test_a_save_replaces_what_it_removes():
    again = saved(("c", "ij"), tag_ids=("a",))
    assert shown(saved(("a", "ij")), again) == {"c": "ij"}


@pytest.mark.parametrize(
    ("edits", "found"),
    [
        ([Event("create_property", "Époque")], {"a": "ij", "b": "k"}),
        ([create("c", above="a")], {"a": "ij", "a > c": "", "b": "k"}),
        ([create("c", above="gone")], {"a": "ij", "b": "k", "c": ""}),
        ([Event("rename", tag_id="a", name="A")], {"A": "ij", "b": "k"}),
        ([Event("rename", tag_id="gone", name="A")], {"a": "ij", "b": "k"}),
        ([Event("merge", tag_id="a", tag_ids=("b",))], {"a": "ijk"}),
        ([Event("merge", tag_id="a", tag_ids=("gone",))], {"a": "ij", "b": "k"}),
        (
            [create("c", above="b"), Event("merge", tag_id="c", tag_ids=("b",))],
            {"a": "ij", "c": "k"},
        ),
        (
            [create("c", above="b"), Event("merge", tag_id="a", tag_ids=("b",))],
            {"a": "ijk", "a > c": ""},
        ),
        (
            [Event("split", "Clustering", made("c"), (("c", "j"), ("c", "k")), tag_id="a")],
            {"a": "i", "b": "k", "c": "j"},
        ),
        ([Event("move", tag_id="a", parent_id="b")], {"b": "k", "b > a": "ij"}),
        (
            [
                Event("move", tag_id="a", parent_id="b"),
                Event("move", tag_id="b", parent_id="a"),
            ],
            {"b": "k", "b > a": "ij"},
        ),
        ([give("b", "i", "z")], {"a": "ij", "b": "ikz"}),
        ([give("b", "i", only=True)], {"a": "j", "b": "ik"}),
        ([give("b", "i", kind="accept")], {"a": "ij", "b": "ik"}),
        ([give("b", "i", kind="import")], {"a": "ij", "b": "ik"}),
        ([give("a", "i", "k", kind="unassign")], {"a": "j", "b": "k"}),
        ([give("a", "k", kind="refuse")], {"a": "ij", "b": "k"}),
        ([Event("delete", tag_ids=("a",))], {"b": "k"}),
        (
            [Event("move", tag_id="a", parent_id="b"), Event("delete", tag_ids=("b",))],
            {},
        ),
    ],
)
def test_each_kind_of_event_does_what_it_says(edits, found):
    first = saved(("a", "ij"), ("b", "k"))
    assert shown(first, *edits) == found
    undoing = [Event("undo", event=number) for number in range(2, 2 + len(edits))]
    assert shown(first, *edits, *undoing) == shown(first)


def test_a_colour_is_kept():
    tables = replay([create("a"), Event("recolour", tag_id="a", colour="#00ff00")])
    assert [tag.colour for tag in tables.tags] == ["#00ff00"]


def test_what_is_refused_is_remembered_until_it_is_given():
    log = [create("a"), give("a", "i", kind="refuse")]
    assert replay(log).refused == {("a", "i")}
    assert replay([*log, give("a", "i")]).refused == frozenset()


@pytest.mark.parametrize(
    ("edits", "found"),
    [
        # A person's own assignment wins over the cluster, and so does one that only agrees.
        ([give("b", "i", only=True)], {"a": "", "b": "ik", "c": "j"}),
        ([give("a", "i")], {"a": "i", "b": "k", "c": "j"}),
        # An image that was taken from a tag does not get it again.
        ([create("c"), give("c", "j", kind="refuse")], {"a": "", "b": "k", "c": "i"}),
        ([Event("rename", tag_id="b", name="B")], {"B": "k", "a": "", "c": "ij"}),
        # What a split took is a person's own.
        (
            [Event("split", "Clustering", made("n"), (("n", "i"),), tag_id="a")],
            {"a": "", "b": "k", "c": "j", "n": "i"},
        ),
    ],
)
def test_what_people_did_wins_over_a_later_save(edits, found):
    later = saved(("b", "k"), ("c", "ij"))
    assert shown(saved(("a", "ij"), ("b", "k")), *edits, later) == found


@pytest.mark.parametrize("carries_over", [True, False])
def test_only_a_save_that_carries_over_leaves_what_people_merged_and_deleted(carries_over):
    first = saved(("a", "i"), ("b", "j"), ("c", "k"))
    merge = Event("merge", tag_id="a", tag_ids=("b",))
    delete = Event("delete", tag_ids=("c",))
    later = saved(("a", "il"), ("b", "jm"), ("c", "kn"), carries_over=carries_over)
    anew = {"a": "il", "b": "jm", "c": "kn"}
    assert shown(first, merge, delete, later) == ({"a": "ijlm"} if carries_over else anew)
    # Undone afterwards, merge and deletion never happened.
    undoing = [Event("undo", event=2), Event("undo", event=3)]
    assert shown(first, merge, delete, later, *undoing) == anew


def test_an_image_taken_from_a_tag_stays_so_when_the_tag_is_merged_and_saved_again():
    first = saved(("a", "i"), ("b", "jk"))
    log = [first, give("b", "k", kind="unassign"), Event("merge", tag_id="a", tag_ids=("b",))]
    assert shown(*log, saved(("a", "i"), ("b", "jk"), carries_over=True)) == {"a": "ij"}


def test_what_a_person_gave_stays_the_persons_when_tags_are_merged():
    log = [saved(("a", "i"), ("b", "i")), give("b", "i")]
    log.append(Event("merge", tag_id="a", tag_ids=("b",)))
    assert shown(*log, saved(("c", "i"))) == {"a": "i", "c": ""}


def test_a_cluster_below_a_deleted_tag_is_not_made():
    tags = (*saved(("a", "")).tags, *made("x", above="a"), *made("y", above="x"))
    later = Event("save", "Clustering", tags, (("y", "i"),), run_key="r", carries_over=True)
    assert shown(saved(("a", "i")), Event("delete", tag_ids=("a",)), later) == {}
    assert shown(saved(("a", "i")), later) == {"a": "", "a > x": "", "a > x > y": "i"}


def test_the_latest_save_is_one_that_is_not_undone():
    log = [saved(("a", "i")), saved(("b", "i")), event("Autre"), Event("undo", event=2)]
    assert latest_save(log, "Clustering") is log[0]
    assert latest_save([*log, Event("redo", event=2)], "Clustering") is log[1]
    assert latest_save(log, "Époque") is None


def test_events_are_undone_and_redone_in_any_order():
    log = [saved(("a", "i"), ("b", "j")), Event("rename", tag_id="a", name="A")]
    log += [Event("merge", tag_id="a", tag_ids=("b",)), Event("undo", event=2)]
    assert shown(*log) == {"a": "ij"}
    log.append(Event("undo", event=3))
    assert shown(*log) == {"a": "i", "b": "j"}
    log.append(Event("redo", event=2))
    assert shown(*log) == {"A": "i", "b": "j"}
    log.append(Event("redo", event=3))
    assert shown(*log) == {"A": "ij"}
    log += [Event("undo", event=1)]
    assert shown(*log) == {}
    assert undone(log) == {1}


def test_a_tag_counts_the_images_below_it():
    tables = event()
    by_node = {
        tag.node: counts(TagTables(list(tables.tags), dict.fromkeys(tables.images, 1)))[tag.tag_id]
        for tag in tables.tags
    }
    assert by_node == {"r/0": 1, "r/1": 3, "r/1/0": 1, "r/1/remainder": 1}


def test_siblings_are_ordered_as_numbers_with_the_remainder_last():
    nodes = ["r/10", "r/remainder", "r/9", "r/9/0"]
    tags = save_event("P", "r", nodes, RECORDS | {"r/9": ("r/9@1", "h")}, {}, "remainder").tags
    assert [tag.node for tag in in_tree_order(tags)] == ["r/9", "r/9/0", "r/10", "r/remainder"]


def test_a_taken_name_gets_the_next_number():
    """K9: a second save under a taken name is never silent."""
    assert free_name("Clustering", []) == "Clustering"
    assert free_name("Clustering", ["Clustering"]) == "Clustering (2)"
    assert free_name("Clustering", ["Clustering", "Clustering (2)"]) == "Clustering (3)"


POOL = [f"image{number}" for number in range(12)]
FIND = Images(lambda name: name if name in POOL else None)


def any_edit(state, log, rng):
    """An edit as a person might ask for it, of what there is."""
    tags = sorted(state.tags)
    tag = rng.choice(tags) if tags else "none"
    others = [rng.choice(tags) for _ in range(2)] if tags else ["none"]
    images = rng.sample(POOL, rng.randint(1, 4))
    own = sorted(state.members.get(tag, {}))
    name = f"tag {rng.randint(0, 30)}"
    return rng.choice(
        [
            {"create": {"tag": f"{name} > {rng.randint(0, 3)}"}},
            {"rename": {"tag": tag, "to": name}},
            {"merge": {"tags": others, "into": tag}},
            {"split": {"tag": tag, "into": {name: own[:2]}}},
            {"move": {"tag": tag, "under": rng.choice([*others, ""])}},
            {"recolour": {"tag": tag, "colour": f"#{rng.randint(0, 0xFFFFFF):06x}"}},
            {"assign": {"tag": tag, "images": images, "only": rng.random() < 0.3}},
            {"assign": {"tag": tag, "images": images}},
            {"accept": {"tag": tag, "images": images}},
            {"unassign": {"tag": tag, "images": own[:2]}},
            {"refuse": {"tag": tag, "images": images}},
            {"delete": {"tag": tag}} if rng.random() < 0.2 else {"create": {"tag": name}},
            {"undo": {"event": rng.randint(1, len(log))}},
            {"undo": {}},
            {"redo": {}},
            {"redo": {"event": rng.randint(1, len(log))}},
        ]
    )


def edited(seed, count=200):
    """A save and so many edits, with the state after each as it was applied on its own."""
    rng = random.Random(seed)
    places = {image_id: f"r/{number % 4}" for number, image_id in enumerate(POOL)}
    nodes = [f"r/{number}" for number in range(4)]
    log = [save_event("Clustering", "r", nodes, RECORDS, places, "remainder")]
    state = replayed(log)
    states = [state.tables()]
    while len(log) <= count:
        edit = any_edit(state, log, rng)
        try:
            [found] = resolve_edits([edit], log, FIND)
        except EditError:
            continue
        log.append(found)
        if found.kind in ("undo", "redo"):
            state = replayed(log)
        else:
            state.apply(found, len(log))
        states.append(state.tables())
    return log, states


def carried(tables):
    found = {}
    for tag_id, image_id in tables.images:
        found.setdefault(image_id, set()).add(tag_id)
    return found


@pytest.mark.parametrize("seed", range(8))
def test_any_200_edits_leave_a_tree_that_is_their_replay(seed):
    log, states = edited(seed)
    assert len(log) == 201
    for number, event in enumerate(log, start=1):
        now = states[number - 1]
        tags = {tag.tag_id: tag for tag in now.tags}
        assert len(tags) == len(now.tags)  # in tree order: what is in a cycle would be missing
        assert all(tag.parent_id in {None, *tags} for tag in now.tags)
        assert all(tag_id in tags and image_id in POOL for tag_id, image_id in now.images)
        if number == 1:
            continue
        before = states[number - 2]
        if event.kind in ("create", "rename", "recolour", "move", "refuse", "create_property"):
            assert now.images == before.images
        if event.kind in ("merge", "split"):  # nothing is lost, nothing comes from elsewhere
            assert carried(now).keys() == carried(before).keys()
        if event.kind == "split":
            assert len(now.images) == len(before.images)
    for number in (1, 50, 100, 150, len(log)):
        assert replay(log[:number]) == states[number - 1]


@pytest.mark.parametrize("seed", range(8))
def test_undone_and_redone_any_event_is_as_it_was(seed):
    log, states = edited(seed, 60)
    left_out = undone(log)
    for number, found in enumerate(log, start=1):
        if found.kind in ("undo", "redo") or number in left_out:
            continue
        without = [*log, Event("undo", event=number)]
        kept = [
            # Nor the names that undoing it, or doing it again, gave to others before.
            Event("undo") if n in {number, *left_out} or e.event == number else e
            for n, e in enumerate(log, 1)
        ]
        assert replay(without) == replay(kept)  # numbers stay, what is undone is not there
        if not any(e.tags for e in log if e.event == number):  # which this one does not give again
            assert replay([*without, Event("redo", event=number)]) == states[-1]
