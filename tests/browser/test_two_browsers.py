"""Two people who do at random what their pages offer, against a replay of what was acknowledged.

They open pages, press what stands there, and read what is told, now and then both at once on the
same thing; their pages do not look whether something has changed, so that they rest on what was.
What was told as done is in the history once and by its author, what was refused nowhere; the same
acts from Python, in a copy, give the same project; and undoing all of them gives what was before.

Does not belong here: acts of the API whose worker and server are killed
(``tests/faults/test_random_acts.py``), and what becomes of a page then (``test_live_faults.py``).

$PANOPTIC_TWO_BROWSERS is how many acts there are (20), $PANOPTIC_RANDOM_SEED where the random
numbers begin (1). 100 acts take four minutes of CPU.

Long because what pages offer is one table, and each of its rows a gesture.
"""

import os
import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import expect

from panoptic_assets.project import Project
from panoptic_assets.serve.api_acts import ACT_ADDRESSES
from panoptic_assets.tags.table import read_log
from tests.browser.conftest import Ui, start, stop
from tests.faults.test_faults import (
    check_answers_are_whole,
    check_nothing_is_twice,
    check_tags_are_the_log,
)
from tests.tiny import tiny_project
from tests.workbench import bench_of

expect.set_options(timeout=60_000)  # as the pages have it, on a machine that is busy

NB_ACTS = int(os.environ.get("PANOPTIC_TWO_BROWSERS", "20"))
SEED = int(os.environ.get("PANOPTIC_RANDOM_SEED", "1"))
NB_IMAGES = 40
TOGETHER = 0.25
"""How often both act at once."""
NOT_UNDONE = ("undo", "redo")

WATCH = """
// A page that does not look by itself whether something has changed.
Object.defineProperty(document, "visibilityState", {get: () => "hidden"});
// What is sent and what is told, also over the end of a page.
const keep = (name, one) => {
  const all = JSON.parse(sessionStorage.getItem(name) || "[]");
  sessionStorage.setItem(name, JSON.stringify([...all, one]));
};
const sends = window.fetch;
window.fetch = async (address, asked) => {
  const answer = await sends(address, asked);
  const act = asked?.method === "POST" && String(address).match(/[/]api[/]acts[/]([^/]+)$/);
  if (act) {
    const said = await answer.clone().json();
    const body = JSON.parse(asked.body);
    keep("sent", {name: act[1], body, status: answer.status, act: said.act});
  }
  return answer;
};
const tells = ".notice:not(.ongoing), .refused-here";
new MutationObserver((changes) => {
  for (const node of changes.flatMap((change) => [...change.addedNodes])) {
    if (node.nodeType !== 1 || !node.matches(tells)) continue;
    const wrong = node.getAttribute("role") === "alert";
    keep("told", {text: node.querySelector("p").innerText, wrong});
  }
}).observe(document, {childList: true, subtree: true});
"""
TOLD = """([count, goes]) => {
  const told = JSON.parse(sessionStorage.getItem("told") || "[]").slice(count);
  const isThere = location.pathname.includes("/runs/") && document.readyState === "complete";
  return told.length && (!goes || isThere || told.some((one) => one.wrong));
}"""


def state_of(project):
    """All that a project says, in words that are the same in a copy of it."""
    project = project.snapshot()
    keys = [row["key"] for row in project.runs()]
    runs = [key for key in keys if "/" not in key]
    outputs = {key: project.run_info(key)["output"] for key in keys}
    names = {
        row["node"]: (row["label"], row["method"])
        for run in runs
        for row in project.labels(run).to_pylist()
    }
    tags = {
        (tag["property"], tag["path"]): (tag["colour"], tag["node"], tuple(tag["image_ids"]))
        for tag in project.tags()
    }
    remarks = sorted((one["about"], one["text"], one["author"]) for one in project.remarks())
    policies = {run: str(project.policy(run)) for run in runs}
    return outputs, names, tags, remarks, policies


@dataclass
class Acknowledged:
    """An act that a page told as done."""

    author: str
    name: str
    body: dict
    result: dict
    ids: list[str]
    """What it has added to the history."""


@dataclass
class Person:
    """Somebody at a browser of their own."""

    name: str
    page: object
    corpus: str
    done: list[Acknowledged] = field(default_factory=list)
    nb_refused: int = 0
    _sent: int = 0
    _told: int = 0
    _is_refused: bool = False

    def introduce(self):
        """Say who one is, as the pages ask it."""
        self.page.goto(self.corpus)
        self.page.locator("[popovertarget='who-card']").click()
        self.page.locator("#who input").fill(self.name)
        self.page.keyboard.press("Enter")
        self.page.locator(".notice", has_text="is kept under the name").wait_for()

    def at(self, place):
        """Stay on a page, or open it; also one that was told that it rests on what is not so."""
        if self._is_refused or self.page.url.partition("#")[0] != f"{self.corpus}/{place}":
            self.page.goto(f"{self.corpus}/{place}")
        self._is_refused = False

    def listen(self):
        """What is told and sent from now on is of the act that comes."""
        if self.page.locator("#tray [data-asks='clear']").is_visible():
            self.page.locator("#tray [data-asks='clear']").click()
        # They go by themselves as well, at any moment.
        self.page.locator("#notices .close").evaluate_all("all => all.forEach(c => c.click())")
        self._sent, self._told = len(self._kept("sent")), len(self._kept("told"))

    def heard(self, goes):
        """Wait until something is told; what was sent for it, and what was told."""
        self.page.wait_for_function(TOLD, arg=[self._told, goes])
        expect(self.page.locator("[aria-busy='true'], .notice.ongoing")).to_have_count(0)
        told = self._kept("told")[self._told :]
        self._is_refused = any(one["wrong"] for one in told)
        return self._kept("sent")[self._sent :], told

    def ended(self, act):
        """What the server says of an act that was told."""
        answer = self.page.request.get(f"{self.corpus}/api/acts/{act}")
        assert answer.ok, answer.text()
        return answer.json()

    def _kept(self, name):
        return self.page.evaluate(f"JSON.parse(sessionStorage.getItem('{name}') || '[]')")


# What pages offer: each is found by its control, filled, and sent by what is returned.


def divide(person, control, pick, text):
    control.fill(str(min(pick.randint(2, 4), int(control.get_attribute("max")))))
    return lambda: control.press("Enter")


def click(person, control, pick, text):
    return control.click


def by_key(name):
    """What a key does where nobody types."""

    def prepare(person, control, pick, text):
        control.click()
        return lambda: person.page.keyboard.press(name)

    return prepare


def type_in(person, control, pick, text):
    control.fill(text)
    return lambda: control.press("Enter")


def save(person, control, pick, text):
    control.click()
    words = person.page.locator("#save-words")
    words.get_by_role("combobox", name="Property").fill(pick.choice(["Saved", "Kept"]))
    return words.get_by_role("button", name="Save", exact=True).click


def choose_policy(person, control, pick, text):
    control.click()
    words = person.page.locator("#policy-words")
    words.locator("input").nth(pick.randrange(3)).check()
    return words.get_by_role("button", name="Choose", exact=True).click


def remark(person, control, pick, text):
    control.fill(f"{text}\nof two lines")
    return person.page.locator(".remark-of button").click


def remove(person, control, pick, text):
    with_tags = pick.random() < 0.5
    control.click()
    words = person.page.locator("#remove-words button")
    told = person.page.locator("#notices .notice:not(.ongoing)")
    words.or_(told).first.wait_for()
    if not words.count():  # nothing depends on it
        return lambda: None
    return words.nth(1 if with_tags and words.count() == 3 else 0).click


def rename(person, control, pick, text):
    control.click()
    person.page.locator(".renaming").fill(text)
    return lambda: person.page.locator(".renaming").press("Enter")


def picked(person, pick, number):
    """Choose tags by their boxes."""
    boxes = person.page.locator("#tag-tree .pick:visible")
    for place in pick.sample(range(boxes.count()), min(number, boxes.count())):
        boxes.nth(place).check()
    return person.page.locator("#picked")


def merge(person, control, pick, text):
    return picked(person, pick, 2).locator("button.main").click


def move(person, control, pick, text):
    names = person.page.locator("#tag-tree [data-tag]").evaluate_all(
        "all => all.map(t => t.dataset.path)"
    )
    picked(person, pick, 1).get_by_role("button", name="Move below…").click()
    person.page.locator("#place-dialog input").fill(pick.choice(["", *names]))
    return lambda: person.page.locator("#place-dialog input").press("Enter")


def colour(person, control, pick, text):
    control.click()
    return person.page.locator("#tag-menu [data-colour]").nth(pick.randrange(4)).click


def remark_on_tag(person, control, pick, text):
    control.click()
    person.page.locator("#tag-menu [data-does='remark']").click()
    person.page.locator("#remark-dialog textarea").fill(text)
    return person.page.locator("#remark-dialog button.main").click


def delete(person, control, pick, text):
    control.click()
    return person.page.locator("#tag-menu [data-does='delete']").click


def new_tag(person, control, pick, text):
    control.click()
    person.page.locator("#create-dialog input").fill(f"{text} > below it")
    return lambda: person.page.locator("#create-dialog input").press("Enter")


def of_chosen(asks):
    """An act of the tray on images that are chosen."""

    def prepare(person, control, pick, text):
        page = person.page
        tiles = page.locator("main [data-images] button.choose")
        number = min(tiles.count(), 2 if asks in ("remark", "leave-out") else 4)
        for place in pick.sample(range(tiles.count()), number):
            tiles.nth(place).click()
        more = page.locator("#tray [data-asks='more'][aria-expanded='false']")
        if more.count():
            more.click()
        page.locator(f"#tray [data-asks='{asks}']").click()
        form = page.locator(".tray-form")
        refused = page.locator("#notices .wrong")
        form.or_(refused).first.wait_for()
        if not form.count():  # there is no run that they could be left out of
            return lambda: None
        names = form.locator("#tray-tags option").evaluate_all("all => all.map(o => o.value)")
        its = page.locator(".one-tag")
        given = {
            "tag": its.get_attribute("data-path") if its.count() else pick.choice([text, *names]),
            "property": page.locator("#tags-of").get_attribute("data-property")
            if its.count()
            else "Clustering",
            "to": f"{text} moved",
            "text": text,
            "key": text.lower().replace(" ", "-"),
            "number": str(pick.randint(2, 4)),
        }
        for name, value in given.items():
            if form.locator(f"[name='{name}']").count():
                form.locator(f"[name='{name}']").fill(value)
        return form.locator("button:not([type])").click

    return prepare


@dataclass(frozen=True)
class Offer:
    """Something that pages offer."""

    kind: str
    places: tuple[str, ...]
    control: str
    prepare: object
    goes: bool = False
    """Whether another page is shown when it is done."""
    least: int = 1
    """Controls that it needs."""


OFFERS = [
    Offer("first clustering", ("home",), "form[data-act='cluster'] button", click, goes=True),
    Offer("undo the last", ("home", "run", "tags"), "h1", by_key("Control+z")),
    Offer("redo the last", ("home", "run", "tags"), "h1", by_key("Control+Shift+z")),
    Offer("undo", ("home",), "[data-act='undo']", click),
    Offer("redo", ("home",), "[data-act='redo']", click),
    Offer("switch", ("history",), ".switch:not([disabled])", click),
    Offer("divide", ("run", "cluster"), ".dividing input", divide),
    Offer("automatically", ("run", "cluster"), ".dividing button[name]", click),
    Offer("force", ("run", "cluster"), ".forcing button", click),
    Offer("take back", ("run", "cluster"), "[data-key='take-back']", click),
    Offer("name", ("run", "cluster"), ".naming input", type_in),
    Offer("make a tag", ("run", "cluster"), ".tagging input", type_in),
    Offer("save", ("run",), "[popovertarget='save-words']", save),
    Offer("policy", ("run",), "[popovertarget='policy-words']", choose_policy),
    Offer("remark", ("run", "cluster", "image"), ".remark-of textarea", remark),
    Offer("remove", ("run",), "#remove-run", remove),
    Offer("rename", ("tags",), "#tag-tree .tag-name", rename),
    Offer("merge", ("tags",), "#tag-tree .pick", merge, least=2),
    Offer("move", ("tags",), "#tag-tree .pick", move),
    Offer("colour", ("tags",), "#tag-tree .more", colour),
    Offer("remark on a tag", ("tags",), "#tag-tree .more", remark_on_tag),
    Offer("delete", ("tags",), "#tag-tree .more", delete),
    Offer("new tag", ("tags",), "#new-tag", new_tag),
    Offer("give a tag", ("images",), "button.choose", of_chosen("tag")),
    Offer("take a tag away", ("tag",), "button.choose", of_chosen("untag")),
    Offer("move to a tag", ("tag",), "button.choose", of_chosen("move")),
    Offer("leave out", ("cluster",), "button.choose", of_chosen("leave-out")),
    Offer("remark on images", ("images",), "button.choose", of_chosen("remark")),
    Offer("cluster them", ("images",), "button.choose", of_chosen("cluster"), goes=True),
    Offer("give it", ("image",), ".giving input", type_in),
    Offer("take it away", ("image",), ".away", click),
]


class Desk:
    """Two people at one project, and what is known of what they did."""

    def __init__(self, folder, people):
        self.project = Project(folder, worker="none")
        self.people = people
        self.counts = Counter()
        self.tried = Counter()
        self.nb_undone = 0
        self.images = sorted(self.project.images()["image_id"].to_pylist())
        self._random = random.Random(SEED)
        self._names = 0

    def places(self):
        """Where to go, by kind of page; an empty list where there is none."""
        project = self.project.snapshot()
        keys = [row["key"] for row in project.runs()]
        tags = project.tags()
        properties = sorted({tag["property"] for tag in tags})
        runs = [key for key in keys if "/" not in key]
        nodes = [f"clusters/{key}/0" for key in keys] + [
            f"clusters/{key}" for key in keys if "/" in key
        ]
        return {
            "home": [""],
            "history": ["history"],
            "images": ["images"],
            "image": [f"images/{self.images[number]}" for number in range(3)],
            "run": [f"runs/{key}" for key in runs],
            "cluster": nodes,
            "tags": [f"tags?property={name}" for name in properties],
            "tag": [f"tags/{tag['tag_id']}" for tag in tags if tag["image_ids"]],
        }

    def step(self, number):
        """One act, or one of each person at once."""
        pick = self._random
        both = pick.random() < TOGETHER
        acting = pick.sample(self.people, 2 if both else 1)
        places = self.places()
        # What was tried least comes first, so that all come.
        offers = sorted(pick.sample(OFFERS, len(OFFERS)), key=lambda one: self.tried[one.kind])
        for offer in offers:
            there = [place for kind in offer.places for place in places[kind]]
            if not there:
                continue
            place = pick.choice(there)
            controls = [self._offered(person, place, offer) for person in acting]
            if min(len(found) for found in controls) >= offer.least:
                break
            self.tried[offer.kind] += 0.5
        self.tried[offer.kind] += 1
        before = self.project.history()
        sends = []
        seed, at = pick.random(), pick.random()
        for person, found in zip(acting, controls, strict=True):
            person.listen()
            text = f"{person.name} {number}"
            control = found[int(at * len(found))]
            sends.append(offer.prepare(person, control, random.Random(seed), text))
        # What is seen of a test that fails.
        print(number, [person.name for person in acting], place, offer.kind)
        for send in sends:
            send()
        heard = [person.heard(offer.goes) for person in acting]
        print([one["text"] for _, told in heard for one in told])
        self._check(offer.kind, acting, heard, before)
        self.counts[offer.kind] += len(acting)

    def _offered(self, person, place, offer):
        person.at(place)
        return person.page.locator(offer.control).locator("visible=true").all()

    def _check(self, kind, acting, heard, before):
        """That each was told truly, and that the history has what was done, once, and no more."""
        known = {act["id"] for act in before}
        after = self.project.history()
        new = {act["id"]: act["author"] for act in after if act["id"] not in known}
        ids = []
        for person, (sent, told) in zip(acting, heard, strict=True):
            what = f"{kind} by {person.name}: {sent} {told}"
            ends = [person.ended(one["act"]) if one["status"] == 202 else None for one in sent]
            all_done = bool(ends) and all(end and end["state"] == "done" for end in ends)
            wrong = [one["text"] for one in told if one["wrong"]]
            assert bool(wrong) != all_done, what
            assert all(len(text.splitlines()) == 1 for text in wrong), what
            self.counts["refused"] += len(wrong)
            for one, end in zip(sent, ends, strict=True):
                if end and end["state"] == "done":
                    mine = [act for act in end["undo"] if act not in known]
                    assert all(new[act] == person.name for act in mine), what
                    result = end.get("result")
                    done = Acknowledged(person.name, one["name"], one["body"], result, mine)
                    person.done.append(done)
                    ids += mine
                    self.counts["done"] += 1
        assert len(ids) == len(set(ids))
        assert set(ids) == new.keys(), (kind, heard)
        assert {act["id"] for act in after} == known | new.keys()

    def acknowledged(self):
        """All that was acknowledged, in the order of the history."""
        places = {act["id"]: place for place, act in enumerate(self.project.history())}
        return sorted(
            (act for person in self.people for act in person.done if act.ids),
            key=lambda act: min(places[one] for one in act.ids),
        )


class Copy:
    """The same project as it was before, in which the same acts are done from Python."""

    def __init__(self, folder, original):
        self.folder = folder
        self._original = original
        self._ids: dict[str, str] = {}
        """Of tags: the copy's own, by the original's."""

    def do(self, act):
        body = self._translated({k: v for k, v in act.body.items() if k != "seen"})
        name = act.name
        if name in ("undo", "redo"):
            name, body = act.result["done"], {"act": act.result["act"]}
        address = ACT_ADDRESSES[name]
        project = Project(self.folder, author=act.author, worker="none")
        address.do(project, address.read(body))
        self._learn()

    def _learn(self):
        """Which tags are the same, by the events that made them."""
        logs = [read_log(Project(folder).store) for folder in (self._original, self.folder)]
        for theirs, ours in zip(*logs, strict=False):
            assert theirs.event.kind == ours.event.kind
            made = {(tag.name, tag.node): tag.tag_id for tag in ours.event.tags}
            for tag in theirs.event.tags:
                self._ids[tag.tag_id] = made[tag.name, tag.node]

    def _translated(self, value):
        if isinstance(value, dict):
            return {name: self._translated(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self._translated(one) for one in value]
        if isinstance(value, str):
            head, colon, last = value.rpartition(":")
            return f"{head}{colon}{self._ids.get(last, last)}"
        return value


@pytest.fixture(scope="module")
def folder(chromium, tmp_path_factory):
    """A small project whose images have vectors, without any run."""
    project = tiny_project(tmp_path_factory.mktemp("two_browsers"), NB_IMAGES)
    bench = bench_of(project.folder)
    bench.make("images")
    bench.make("embeddings", "tiny")
    return project.folder


@pytest.fixture(scope="module")
def ui(folder):
    """It is open."""
    shutil.copytree(folder, folder.with_name("copy"))
    process, url = start(folder)
    yield Ui(folder, url)
    assert stop(process) == 0


def test_random_acts_of_two_browsers_are_done_once_or_not_at_all_and_undone_exactly(
    ui, browser, folder
):
    """A25, C19: what two people do on one project, each seeing it as it was a while ago."""
    began = time.monotonic()
    people = []
    for name in ("Ada", "Bo"):
        context = browser.new_context(base_url=ui.url, viewport={"width": 1280, "height": 900})
        context.set_default_timeout(60_000)
        context.add_init_script(WATCH)
        people.append(Person(name, context.new_page(), f"{ui.url}/panoptic/{folder.name}"))
        people[-1].introduce()
    desk = Desk(folder, people)
    beginning = state_of(desk.project)
    number = 0
    while sum(desk.counts[end] for end in ("done", "refused")) < NB_ACTS:
        desk.step(number)
        number += 1
    print(f"seed {SEED}: {dict(desk.counts)}; {time.monotonic() - began:.0f} s")
    store = desk.project.store
    check_nothing_is_twice(store)
    check_answers_are_whole(store)
    check_tags_are_the_log(store)
    end = state_of(desk.project)
    copy = Copy(folder.with_name("copy"), folder)
    for act in desk.acknowledged():
        copy.do(act)
    print(f"replayed; {time.monotonic() - began:.0f} s")
    assert state_of(Project(copy.folder, worker="none")) == end
    for act in reversed(desk.project.history()):
        if not act["undone"] and act["kind"] not in NOT_UNDONE:
            desk.project.undo(act["id"])
    print(f"undone; {time.monotonic() - began:.0f} s")
    assert state_of(desk.project) == beginning
    people[0].page.goto(people[0].corpus)
    expect(people[0].page.get_by_role("button", name="Cluster automatically")).to_be_visible()
