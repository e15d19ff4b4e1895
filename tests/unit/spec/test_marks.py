"""Marks: which records count, and which acts can be undone and done again."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_assets.spec import tree
from panoptic_assets.spec.marks import (
    Known,
    Mark,
    clustering_id,
    is_below,
    labels_due,
    newest,
    number_of_tag_event,
    remarks_due,
    removals,
    rests_on,
    undone_acts,
    withdrawn,
)
from panoptic_assets.spec.records import Counts, Input, Record, Refreshed

START = datetime(2026, 11, 30, tzinfo=UTC)


def record(key, revision, parent=None, combined=(), refreshed=None):
    """A clustering whose answer no other one has."""
    runs = {"runs": [each.key for each in combined]} if combined else {}
    moment = START + timedelta(minutes=revision)
    return Record(
        key=key,
        run_key=key.partition("/")[0],
        revision=revision,
        config={"method": {"consensus" if combined else "kmeans": runs}},
        inputs=[Input(table="assignments", version=1, sha256=each.output) for each in combined],
        parent_record=parent.record_id if parent else None,
        parent_output=parent.output if parent else None,
        counts=Counts(in_scope=1, clustered=1, remainder=0, not_embedded=0),
        nb_clusters=1,
        baseline_score=0.0,
        output=f"{key}@{revision}",
        refreshed=refreshed,
        libraries={},
        code_version="1",
        git_commit=None,
        machine={},
        dagster_run_id=f"{revision:08d}",
        started_at=moment,
        finished_at=moment,
    )


def mark(number, kind, key="greek", act="", records=(), **content):
    moment = START + timedelta(hours=number)
    ids = tuple(each.record_id for each in records)
    return Mark(number, moment, "Ada", "", kind, key, act, records=ids, content=content)


GREEK = [record("greek", 1), record("greek", 2)]
CUT = record("greek/3", 1, parent=GREEK[1])
ALL = [*GREEK, CUT]


@pytest.mark.parametrize(
    ("marks", "left"),
    [
        ([], ["greek@1", "greek@2", "greek/3@1"]),
        ([mark(1, "undo", act="greek/3@1", records=[CUT])], ["greek@1", "greek@2"]),
        (
            [mark(1, "undo", act="greek/3@1", records=[CUT]), mark(2, "redo", act="greek/3@1")],
            ["greek@1", "greek@2", "greek/3@1"],
        ),
        ([mark(1, "remove", records=ALL)], []),
        (
            [mark(1, "remove", records=ALL), mark(2, "undo", act="mark-1")],
            ["greek@1", "greek@2", "greek/3@1"],
        ),
        (
            [
                mark(1, "undo", act="greek/3@1", records=[CUT]),
                mark(2, "remove", records=GREEK),
                mark(3, "undo", act="mark-2"),
            ],
            ["greek@1", "greek@2"],
        ),
    ],
)
def test_a_record_counts_unless_it_is_undone_or_removed(marks, left):
    assert [clustering_id(one) for one in Known(marks, ALL).left] == left


@pytest.mark.parametrize(
    ("one", "other", "rests"),
    [
        (CUT, GREEK[1], True),
        (CUT, GREEK[0], False),
        (record("roman", 1, combined=[GREEK[0], CUT]), CUT, True),
        (record("roman", 1, combined=[GREEK[0], CUT]), GREEK[1], False),
        (record("scope", 1, parent=GREEK[0]), GREEK[0], True),
        (
            record(
                "greek",
                3,
                refreshed=Refreshed(policy="assign", record_id=GREEK[1].record_id, next_number=1),
            ),
            GREEK[1],
            True,
        ),
    ],
)
def test_a_clustering_rests_on_what_its_answer_was_made_from(one, other, rests):
    assert rests_on(one, other) is rests


LABELS = mark(1, "labels", records=[GREEK[1]], before=[], after=[{"label": "a"}])


@pytest.mark.parametrize(
    ("act", "known", "against"),
    [
        ("greek/3@1", Known([], ALL), []),
        ("greek@2", Known([], ALL), ["greek/3@1"]),
        ("greek@1", Known([], GREEK), ["greek@2"]),
        ("greek@2", Known([LABELS], GREEK), ["mark-1 (labels)"]),
        ("greek@2", Known([LABELS, mark(2, "undo", act="mark-1")], GREEK), []),
        (
            "greek@2",
            Known([], GREEK, {"Époque": {GREEK[1].record_id}}),
            ["property 'Époque' (saved tags)"],
        ),
        ("mark-1", Known([LABELS, mark(2, "labels")], GREEK), ["mark-2"]),
        ("mark-1", Known([LABELS, mark(2, "labels", "roman")], GREEK), []),
        ("mark-1", Known([LABELS, mark(2, "remove", records=GREEK)], GREEK), ["mark-2"]),
        ("mark-1", Known([mark(1, "remove", records=GREEK[:1])], GREEK), ["greek@2"]),
        (
            "mark-1",
            Known(
                [mark(1, "remove", "greek/3", records=[CUT]), mark(2, "remove", records=GREEK)], ALL
            ),
            ["mark-2"],
        ),
    ],
)
def test_what_rests_on_an_act_or_came_after_it_is_named(act, known, against):
    assert known.against_undo(act) == against


UNDONE = [mark(1, "undo", act="greek@2", records=[GREEK[1]])]


@pytest.mark.parametrize(
    ("act", "known", "against"),
    [
        ("greek@2", Known(UNDONE, GREEK), []),
        ("greek@2", Known(UNDONE, [*GREEK, record("greek", 3)]), ["greek@3"]),
        (
            "greek@2",
            Known([*UNDONE, mark(2, "undo", act="greek@1", records=[GREEK[0]])], GREEK),
            ["greek@1"],
        ),
        ("greek@2", Known([*UNDONE, mark(2, "remove", records=GREEK[:1])], GREEK), ["mark-2"]),
        (
            "greek/3@1",
            Known([mark(1, "undo", "greek/3", "greek/3@1", [CUT]), *UNDONE], ALL),
            ["greek@1"],
        ),
        (
            "mark-1",
            Known([LABELS, mark(2, "undo", act="mark-1"), mark(3, "labels")], GREEK),
            ["mark-3"],
        ),
        (
            "mark-1",
            Known(
                [
                    mark(1, "remove", records=GREEK[:1]),
                    mark(2, "undo", act="mark-1"),
                ],
                GREEK,
            ),
            ["greek@2"],
        ),
    ],
)
def test_an_act_is_done_again_only_where_all_is_as_it_was(act, known, against):
    assert known.against_redo(act) == against


@pytest.mark.parametrize(
    ("act", "number"), [("tag-12", 12), ("mark-12", None), ("tag-x", None), ("tag@1", None)]
)
def test_the_id_of_an_edit_of_tags_is_its_number_in_their_log(act, number):
    assert number_of_tag_event(act) == number


class World:
    """Acts on two runs, a cluster of one, and a consensus; and what a reader sees."""

    KEYS = ("a", "b", "a/0", "c")

    def __init__(self):
        self.records, self.marks, self.acts = [], [], []
        self.seen = {}
        """For each act what a reader saw before and after it."""
        self.made_from = {}
        """For each record the ids of those that its answer was made from."""
        self.labels = {"a": [], "b": []}
        """As a table holds them, which is written over."""

    @property
    def known(self):
        return Known(self.marks, self.records)

    @property
    def counting(self):
        return newest(self.known.left)

    def view(self):
        stale = tree.stale(one.branch for one in self.counting.values())
        kept = {key: (one.record_id, key in stale) for key, one in self.counting.items()}
        said = {(one.key, one.records): one.content["text"] for one in remarks_due(self.marks)}
        return kept, {key: tuple(rows) for key, rows in self.labels.items()}, said

    def of(self, act, view):
        """What an act is about, of what a reader sees."""
        found = self.known.mark(act)
        if found is None:
            return view[0].get(act.partition("@")[0], (None,))[0]
        if found.kind == "labels":
            return view[1][found.key]
        if found.kind == "remark":
            return view[2].get((found.key, found.records))
        return {key: one[0] for key, one in view[0].items() if is_below(key, found.key)}

    def did(self, act, before):
        self.acts.append(act)
        self.seen[act] = before, self.view()

    def cluster(self, key):
        before, counting = self.view(), self.counting
        parent = counting.get("a") if key == "a/0" else None
        combined = [counting[each] for each in "ab" if each in counting] if key == "c" else []
        if (key == "a/0" and parent is None) or (key == "c" and len(combined) < 2):
            return
        revision = 1 + max((one.revision for one in self.records if one.key == key), default=0)
        made = record(key, revision, parent, combined)
        self.records.append(made)
        above = [*combined, *([parent] if parent else [])]
        self.made_from[made.record_id] = {one.record_id for one in above}
        self.did(f"{key}@{revision}", before)

    def append(self, kind, key, **said):
        self.marks.append(mark(len(self.marks) + 1, kind, key, **said))
        return self.marks[-1].id

    def label(self, key):
        before, counting = self.view(), self.counting
        if key not in counting:
            return
        records = [one for one in counting.values() if is_below(one.key, key)]
        old, new = self.labels[key], [len(self.marks)]
        act = self.append("labels", key, records=records, before=old, after=new)
        self.labels[key] = new
        self.did(act, before)

    def remark(self, key):
        before, counting = self.view(), self.counting
        if key in counting:
            text = str(len(self.marks)) if len(self.marks) % 3 else ""
            self.did(self.append("remark", key, records=[counting[key]], text=text), before)

    def remove(self, key):
        before = self.view()
        if key in self.counting:
            gone = [one for one in self.known.left if is_below(one.key, key)]
            self.did(self.append("remove", key, records=gone), before)

    def undo(self, act):
        """Whether it was not refused."""
        gone = {one for removal in removals(self.marks) for one in removal.records}
        revision = self.known.revision(act)
        if act in undone_acts(self.marks) or any(one.record_id in gone for one in revision):
            return False
        if self.known.against_undo(act):
            return False
        found = self.known.mark(act)
        key = found.key if found else revision[-1].key
        if found and found.kind == "labels":
            self.labels[key] = found.content["before"]
        self.append("undo", key, act=act, records=() if found else revision)
        return True

    def redo(self, act):
        """Whether it was not refused."""
        if act not in undone_acts(self.marks) or self.known.against_redo(act):
            return False
        found = self.known.mark(act)
        if found and found.kind == "labels":
            self.labels[found.key] = found.content["after"]
        elif found is None:
            # What an earlier act made of the same key may have been brought back meanwhile.
            self.seen[act] = self.view(), self.seen[act][1]
        self.append("redo", undone_acts(self.marks)[act].key, act=act)
        return True


REVISING = st.tuples(st.sampled_from(("undo", "redo")), st.integers(0, 6))
ACTS = st.one_of(
    st.tuples(st.just("cluster"), st.sampled_from(World.KEYS)),
    st.tuples(st.just("label"), st.sampled_from("ab")),
    st.tuples(st.just("remark"), st.sampled_from("ab")),
    st.tuples(st.just("remove"), st.sampled_from(("a", "b", "a/0"))),
    REVISING,
    REVISING,
    REVISING,
)


def do(world, acts):
    """Do some acts; yields each undo and redo that was not refused, with the act."""
    for what, about in acts:
        if what in ("undo", "redo"):
            if world.acts:
                act = world.acts[-1 - about % len(world.acts)]
                if getattr(world, what)(act):
                    yield what, act
        else:
            getattr(world, what)(about)


@settings(max_examples=250, deadline=None)
@given(st.lists(ACTS, min_size=10, max_size=40))
def test_undo_leaves_what_was_before_an_act_and_redo_what_was_after_it(acts):
    """In any order, of what is not refused; of the thing that the act is about."""
    world = World()
    for what, act in do(world, acts):
        before, after = world.seen[act]
        expected = before if what == "undo" else after
        assert world.of(act, world.view()) == world.of(act, expected)
        gone = {one for mark in undone_acts(world.marks).values() for one in mark.records}
        for one in world.known.left:
            assert not world.made_from[one.record_id] & gone, "it rests on what was undone"


@settings(max_examples=100, deadline=None)
@given(st.lists(ACTS.filter(lambda act: act[0] not in ("undo", "redo")), max_size=20))
def test_undone_from_the_last_one_to_the_first_and_done_again_all_is_as_it_was_each_time(acts):
    world = World()
    assert not list(do(world, acts))
    for act in reversed(world.acts):
        assert world.undo(act)
        assert world.view() == world.seen[act][0]
    assert world.view() == World().view()
    for act in world.acts:
        assert world.redo(act)
        assert world.view() == world.seen[act][1]


@settings(max_examples=100, deadline=None)
@given(st.lists(ACTS, max_size=25))
def test_labels_are_what_the_marks_say(acts):
    """So that labels which a killed process did not write are known."""
    world = World()
    list(do(world, acts))
    assert {key: world.labels[key] for key in labels_due(world.marks)} == labels_due(world.marks)


@settings(max_examples=100, deadline=None)
@given(st.lists(ACTS, max_size=25))
def test_whatever_was_done_all_of_it_can_be_undone(acts):
    """One by one; of what lies below a clustering that is undone, that is done again first."""
    world = World()
    list(do(world, acts))
    while left := [act for act in reversed(world.acts) if act not in undone_acts(world.marks)]:
        if not any(map(world.undo, left)):
            above = [other for act in left for other in world.known.against_undo(act)]
            assert any(map(world.redo, above)), left
    assert world.view() == World().view()


FIRST = mark(1, "remark", "greek/3", records=GREEK[:1], text="wide")
SECOND = mark(2, "remark", "greek/3", records=GREEK[:1], text="two things")
TAKEN_AWAY = mark(3, "remark", "greek/3", records=GREEK[:1], text="")


@pytest.mark.parametrize(
    ("made", "due"),
    [
        ([FIRST], ["wide"]),
        ([FIRST, SECOND], ["two things"]),
        ([FIRST, SECOND, TAKEN_AWAY], []),
        ([FIRST, SECOND, TAKEN_AWAY, mark(4, "undo", act="mark-3")], ["two things"]),
        ([FIRST, SECOND, mark(3, "undo", act="mark-2")], ["wide"]),
        ([FIRST, SECOND, mark(3, "undo", act="mark-2"), mark(4, "redo", act="mark-2")], [SECOND]),
        ([FIRST, mark(2, "remark", "greek/3", records=GREEK[1:], text="new")], ["wide", "new"]),
        ([FIRST, mark(2, "remark", "image:ab", text="red")], ["wide", "red"]),
        ([SECOND, mark(3, "labels"), mark(4, "remark", "greek/3", text="")], ["two things"]),
    ],
)
def test_of_remarks_on_one_thing_the_newest_counts_that_is_not_undone(made, due):
    """A cluster that was made again is another thing, and keeps what was said of the former one."""
    texts = [each if isinstance(each, str) else each.content["text"] for each in due]
    assert [each.content["text"] for each in remarks_due(made)] == texts


REMOVED = mark(1, "remove", records=GREEK)
AGAIN = [REMOVED, mark(2, "undo", act="mark-1")]


@pytest.mark.parametrize(
    ("act", "marks", "against"),
    [
        ("mark-1", [REMOVED, mark(2, "remove", records=[record("greek", 3)])], ["mark-2"]),
        ("mark-1", [*AGAIN, mark(3, "remove", records=GREEK)], ["greek@1", "greek@2", "mark-3"]),
        ("mark-1", [*AGAIN, mark(3, "undo", act="greek@2", records=[GREEK[1]])], ["greek@2"]),
        (
            "greek@2",
            [
                *AGAIN,
                mark(3, "undo", act="greek@2", records=[GREEK[1]]),
                mark(4, "redo", act="mark-1"),
            ],
            ["mark-1"],
        ),
        (
            "greek@2",
            [
                mark(1, "remove", records=GREEK[:1]),
                mark(2, "undo", act="greek@2", records=[GREEK[1]]),
                mark(3, "undo", act="mark-1"),
            ],
            ["mark-1"],
        ),
    ],
)
def test_of_removals_of_a_key_the_last_one_is_undone_first(act, marks, against):
    """And nothing is undone, or done again, that would bring back another thing than was there."""
    known = Known(marks, GREEK)
    ask = known.against_redo if act in undone_acts(marks) else known.against_undo
    assert ask(act) == against


@pytest.mark.parametrize("kind", ["labels", "policy"])
def test_what_was_written_in_place_of_another_thing_is_not_written_again_over_a_third(kind):
    first, second = mark(1, kind), mark(3, kind)
    marks = [first, mark(2, "undo", act="mark-1"), second, mark(4, "undo", act="mark-3")]
    assert Known(marks, []).against_redo("mark-3") == []
    assert Known([*marks, mark(5, "redo", act="mark-1")], []).against_redo("mark-3") == ["mark-1"]


def test_what_is_withdrawn_twice_comes_back_when_both_are_taken_back():
    twice = [
        mark(1, "undo", act="greek@2", records=[GREEK[1]]),
        mark(2, "remove", records=GREEK),
        mark(3, "redo", act="greek@2"),
    ]
    assert withdrawn(twice) == {one.record_id for one in GREEK}
    assert withdrawn([*twice, mark(4, "undo", act="mark-2")]) == set()
