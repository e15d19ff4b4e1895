"""Taking an event out of the tags is the same as replaying the log without it."""

import copy
import random

import pytest

from panoptic_assets.spec.tag_log import Event, Tag, save_event
from panoptic_assets.tags.edits import EditError, Images, resolve_edits
from panoptic_assets.tags.rewinding import RewindableState
from panoptic_assets.tags.taking_back import LogInProgress

POOL = [f"image{number}" for number in range(8)]
FIND = Images(lambda name: name if name in POOL else None)
RECORDS = {"r": ("r@1", "hash-r"), "r/1": ("r/1@1", "hash-r1")}
NODES = ["r/0", "r/1", "r/1/0", "r/remainder"]


def any_edit(rng, log):
    state, nb = log.state, len(log.events)
    tags = sorted(state.tags, key=lambda each: state.tags[each].name) or ["none"]
    tag, other, images = rng.choice(tags), rng.choice(tags), rng.sample(POOL, rng.randint(1, 3))
    own = sorted(state.members.get(tag, ())) or images
    name, number = rng.choice("abcde"), rng.choice([max(1, nb - rng.randint(0, 8)), 1, nb // 2 + 1])
    return rng.choice(
        [
            {"create": {"tag": f"{name} > {rng.choice('abc')}"}},
            {"create": {"tag": name}},
            {"create": {"tag": name, "property": rng.choice(["Style", "Époque"])}},
            {"rename": {"tag": tag, "to": name}},
            {"recolour": {"tag": tag, "colour": f"#0000{nb % 100:02d}"}},
            {"move": {"tag": tag, "under": rng.choice([other, ""])}},
            {"merge": {"tags": [other], "into": tag}},
            {"split": {"tag": tag, "into": {name: own[:2]}}},
            {"reassign": {"tag": tag, "to": other, "images": own}},
            {"assign": {"tag": tag, "images": images, "only": rng.random() < 0.4}},
            {"unassign": {"tag": tag, "images": own}},
            {"accept": {"tag": tag, "images": images}},
            {"refuse": {"tag": tag, "images": images}},
            {"delete": {"tag": tag}},
            *([{"undo": {"event": number}}, {"undo": {}}, {"redo": {"event": number}}] * 2),
            {"redo": {}},
        ]
    )


def done(edit, log):
    """What comes of an edit's undo or redo; None where it cannot be done, or is another edit."""
    [(kind, fields)] = edit.items()
    number = fields.get("event", log.last(kind))
    if number is None or not log.is_change(number) or log.is_undone(number) != (kind == "redo"):
        return None
    return log.take_back(kind, number)


def seen(state):
    return (
        state.tables(),
        state.named,
        state.below,
        state.gone,
        state.edited,
        state.spelt,
        {image: tags for image, tags in state.carried.items() if tags},
    )


@pytest.mark.parametrize("seed", range(10))
def test_many_edits_and_undoings_leave_what_a_replay_leaves_and_say_the_same(seed):
    rng = random.Random(seed)
    places = {image_id: rng.choice(NODES) for image_id in POOL}
    log = [save_event("Clustering", "r", NODES, RECORDS, places, "remainder")] if seed % 2 else []
    replaying, rewinding = LogInProgress(log), LogInProgress(log, 99)
    assert isinstance(rewinding.state, RewindableState)
    assert not isinstance(replaying.state, RewindableState)
    for _ in range(150):
        edit = any_edit(rng, replaying)
        if edit.keys() & {"undo", "redo"}:
            assert done(edit, replaying) == done(edit, rewinding)
        else:
            try:
                [event] = resolve_edits([edit], replaying.events, FIND)
            except EditError:
                continue
            replaying.add(event)
            rewinding.add(event)
        assert seen(replaying.state) == seen(rewinding.state)
    assert replaying.events == rewinding.events


def test_a_property_that_only_the_undone_event_named_is_no_more():
    log = LogInProgress([Event("create_property", "P")], 99)
    log.add(Event("create_property", "Q"))
    log.take_back("undo", 2)
    assert log.state.properties == {"P"}
    log.take_back("redo", 2)
    assert log.state.properties == {"P", "Q"}


def test_the_spelling_of_a_property_is_that_of_the_events_that_are_left():
    log = LogInProgress([Event("create_property", "É"), Event("create_property", "E\u0301")], 99)
    before = log.state
    assert log.state.spelt == {"É": "E\u0301"}
    log.take_back("undo", 2)
    assert (log.state.spelt, log.state.properties) == ({"É": "É"}, {"É"})
    log.take_back("undo", 1)
    assert (log.state.spelt, log.state.properties) == ({}, set())
    assert log.state is before  # nothing was replayed


@pytest.mark.parametrize("kept", ["assign", "refuse"])
def test_what_rests_on_no_other_event_is_all_that_is_done_anew(kept):
    """A tag that many images got, each by an event of its own: undoing one is undoing one."""
    log = LogInProgress([Event("create", "P", (Tag("t", "P", "t"),))], 99)
    for image_id in POOL:
        log.add(Event(kept, "P", images=(("t", image_id),)))
    done, before = [], copy.deepcopy(seen(log.state))
    log.state._did = Noticed(log.state._did, done)
    log.take_back("undo", 2)
    undoing = len(log.events)
    log.take_back("redo", 2)
    assert done == [2, undoing]
    assert seen(log.state) == before


class Noticed(dict):
    """What each event did, where it is told which ones are taken back."""

    def __init__(self, known, done):
        super().__init__(known)
        self._done = done

    def pop(self, number):
        self._done.append(number)
        return super().pop(number)


def test_before_the_last_save_all_is_replayed():
    """What a save gives rests on all that was before it."""
    save = save_event("Clustering", "r", NODES, RECORDS, {"image0": "r/0"}, "remainder")
    first = save.tags[0].tag_id
    log = LogInProgress(
        [save, Event("unassign", "Clustering", images=((first, "image0"),)), save], 99
    )
    assert not log.state.members[first]
    log.take_back("undo", 2)
    assert log.state.members[first] == {"image0": 3}
    assert isinstance(log.state, RewindableState)
