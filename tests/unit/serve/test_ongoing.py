"""Acts that go on: what is said of them, to whoever asks and asks again; how many there may be."""

import asyncio
import json
import threading
import time

import pytest

from panoptic_assets.orchestration.worker_link import ActCancelledError
from panoptic_assets.serve import ongoing
from panoptic_assets.serve.ongoing import ActsBusyError, Ongoing
from panoptic_assets.spec.languages import language
from resources.errors import InputError


def parsed(events):
    """Number, name and content of each event in a piece of a stream."""
    found = []
    for block in b"".join(events).decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


def ended(act):
    deadline = time.monotonic() + 30
    while not act.has_ended:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return act


def told(act, after=0):
    """All events of an act that has ended."""

    async def listen():
        return [event async for event in act.events(after)]

    return parsed(asyncio.run(listen()))


def refusing(act):
    raise InputError("There is nothing to undo.", id="nothing-to-undo")


def test_why_an_act_failed_is_told_in_the_language_of_who_asked_for_it():
    act = ended(Ongoing().start("undo", "Ada", refusing, language=language("fr")))
    error = told(act)[-1][2]["error"]
    assert error["text"] == "Il n’y a rien à annuler."
    assert error["template"] == "There is nothing to undo."
    assert act.summary()["error"] == error


def test_a_line_that_is_known_is_told_in_the_language_of_who_asked_for_it():
    said = "Lines of the inventory without a file: 1,200; the first: 7 (nowhere.jpg)."
    act = ended(Ongoing().start("undo", "Ada", saying(said, "Done."), language=language("fr")))
    lines = [data["text"] for _, event, data in told(act) if event == "line"]
    assert lines[0].startswith("Lignes de l’inventaire sans fichier\u202f: 1\u202f200\u202f;")
    assert lines[1] == "Done."


def saying(*lines):
    def carry_out(act):
        act.accepted("")
        for line in lines:
            act.tell(line)
        return {"lines": len(lines)}

    return carry_out


def test_an_act_tells_its_lines_its_dagster_run_and_its_result():
    def carry_out(act):
        act.accepted("")
        act.accepted("run-1")
        act.tell("half", "yellow")
        return [1]

    act = ended(Ongoing().start("cluster", "Ada", carry_out))
    assert told(act) == [
        (1, "run", {"dagster_run_id": "run-1"}),
        (2, "line", {"text": "half", "style": "yellow"}),
        (3, "done", {"result": [1], "undo": []}),
    ]
    assert (act.state, act.dagster_run_ids, act.author) == ("done", ["run-1"], "Ada")


def test_who_lost_the_line_loses_and_doubles_nothing():
    """As a browser does that sends Last-Event-ID; events come while nobody listens, too."""
    go_on = threading.Semaphore(0)

    def carry_out(act):
        act.accepted("")
        for number in range(200):
            go_on.acquire()
            act.tell(str(number))

    act = Ongoing().start("cluster", "Ada", carry_out)

    async def listen():
        found, after, batch = [], 0, 1
        while True:
            go_on.release(batch)
            stream = act.events(after)
            read = []
            async for event in stream:
                read.append(event)
                if len(read) == batch:
                    break
            await stream.aclose()
            found += parsed(read)
            after = found[-1][0]
            if found[-1][1] == "done":
                return found
            batch = min(batch + 1, 7)

    found = asyncio.run(asyncio.wait_for(listen(), 60))
    assert [number for number, _, _ in found] == list(range(1, 202))
    assert [content["text"] for _, name, content in found if name == "line"] == [
        str(number) for number in range(200)
    ]


def test_several_are_told_the_same():
    act = Ongoing().start("save", "Ada", saying(*"abc"))

    async def listen():
        async def one():
            return [event async for event in act.events()]

        return await asyncio.gather(*(one() for _ in range(20)))

    first, *others = asyncio.run(listen())
    assert all(other == first for other in others)


def test_who_goes_away_leaves_nothing_behind(monkeypatch):
    monkeypatch.setattr(ongoing, "_ALIVE_EVERY", 0.001)
    release = threading.Event()
    act = Ongoing().start("save", "Ada", lambda act: release.wait(30))

    async def listen():
        stream = act.events()
        comment = await anext(stream)
        assert len(act._waiting) == 1
        await stream.aclose()
        return comment

    assert asyncio.run(listen()) == b":\n\n"
    assert act._waiting == set()
    release.set()
    ended(act)


def test_of_how_far_it_is_the_newest_is_kept():
    def carry_out(act):
        assert list(act.track([5] * 1000, 5000, "embedding", lambda number: number)) == [5] * 1000

    act = ended(Ongoing().start("refresh", "Ada", carry_out))
    [progress, done] = told(act)
    assert progress[1:] == ("progress", {"what": "embedding", "done": 5000, "total": 5000})
    assert done[1] == "done"


def test_what_is_refused_before_a_dagster_run_is_a_refusal():
    def carry_out(act):
        raise InputError("There is no run {key!r}.", id="no-such-run-here", key="x")

    act = ended(Ongoing().start("save", "Ada", carry_out))
    assert act.refusal.id == "no-such-run-here"
    [(_, name, content)] = told(act)
    assert name == "failed"
    assert content["error"] == {
        "id": "no-such-run-here",
        "template": "There is no run {key!r}.",
        "values": {"key": "x"},
        "text": "There is no run 'x'.",
    }


def test_what_fails_later_is_no_refusal_and_says_why():
    def carry_out(act):
        act.accepted("")
        raise OSError(28, "No space left on device")

    act = ended(Ongoing().start("save", "Ada", carry_out))
    assert act.refusal is None
    assert (act.state, act.error["id"]) == ("failed", "act-failed")
    assert "No space left on device" in act.error_text
    assert len(act.error_text.splitlines()) == 1


def test_an_act_is_cancelled_by_what_carries_it_out():
    started, stop = threading.Event(), threading.Event()

    def carry_out(act):
        act.cancelled_by(stop.set)
        act.accepted("")
        started.set()
        assert stop.wait(30)
        raise ActCancelledError("It was cancelled.", id="act-cancelled-here")

    act = Ongoing().start("cluster", "Ada", carry_out)
    assert started.wait(30)
    act.cancel()
    assert ended(act).state == "cancelled"
    act.cancel()  # changes nothing any more
    assert act.state == "cancelled"


def test_an_act_that_is_cancelled_before_it_begins_does_nothing():
    asked, done = threading.Event(), []

    def carry_out(act):
        assert asked.wait(30)
        act.cancelled_by(lambda: None)
        done.append(1)

    act = Ongoing().start("cluster", "Ada", carry_out)
    act.cancel()
    asked.set()
    assert ended(act).state == "cancelled"
    assert done == []


def test_more_acts_than_may_go_on_are_refused_for_now():
    release = threading.Event()
    acts = Ongoing(at_once=2)
    started = [acts.start("save", "Ada", lambda act: release.wait(30)) for _ in range(2)]
    with pytest.raises(ActsBusyError, match="2 acts go on already"):
        acts.start("save", "Ada", saying())
    release.set()
    for act in started:
        ended(act)
    assert ended(acts.start("save", "Ada", saying())).state == "done"


def test_what_takes_seconds_is_not_refused_for_what_takes_long():
    """DESIGN 11: a rename never waits behind an embedding."""
    release = threading.Event()
    acts = Ongoing(at_once=3, long_at_once=2)
    long = [acts.start("refresh", "Ada", lambda act: release.wait(30), True) for _ in range(2)]
    with pytest.raises(ActsBusyError, match="2 acts that take long go on already"):
        acts.start("refresh", "Ada", saying(), True)
    assert ended(acts.start("edit", "Ada", saying())).state == "done"
    release.set()
    for act in long:
        ended(act)


def test_the_oldest_ends_are_forgotten_first():
    acts = Ongoing(kept=3)
    started = [ended(acts.start("save", "Ada", saying())) for _ in range(5)]
    acts._forget_old()
    assert [act.id for act in acts.newest(10)] == [act.id for act in started[:1:-1]]
    with pytest.raises(InputError, match="There is no act"):
        acts.get(started[0].id)


def test_what_one_act_says_is_bounded(monkeypatch):
    monkeypatch.setattr(ongoing, "_BYTES_OF_ONE", 1000)
    act = ended(Ongoing().start("save", "Ada", saying(*(str(n) * 50 for n in range(100)))))
    assert act.size < 2000
    events = told(act)
    assert events[-1][1] == "done"
    assert events[0][0] > 50


def test_a_result_that_is_too_long_is_left_out(monkeypatch):
    monkeypatch.setattr(ongoing, "_BYTES_OF_ONE", 1000)
    act = ended(Ongoing().start("recommend", "Ada", lambda act: ["x" * 2000]))
    assert (act.state, act.result) == ("done", b"null")


def test_the_end_of_the_server_stops_all_that_goes_on():
    acts, stop = Ongoing(), threading.Event()

    def carry_out(act):
        act.cancelled_by(stop.set)
        assert stop.wait(30)
        raise KeyboardInterrupt

    act = acts.start("cluster", "Ada", carry_out)
    acts.close()
    assert ended(act).state == "cancelled"


def test_who_asks_gives_the_id_by_which_an_act_is_cancelled_before_the_answer():
    acts, wanted = Ongoing(), "0123456789abcdef"
    assert acts.start("save", "Ada", saying(), act_id=wanted).id == wanted
    for passed_over in (wanted, wanted.upper(), "1" * 17, "../../etc/passwd", ""):
        assert acts.start("save", "Bo", saying(), act_id=passed_over).id != passed_over
