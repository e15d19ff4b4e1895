"""Whatever is asked of the pages: refused on a page of their own, and led nowhere else."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from panoptic_assets.serve.live_pages import LIVE_PAGES, ProjectPages, static_routes, static_version
from panoptic_assets.serve.page_address import PAGES
from resources.project_folder import find

HOSTILE = "<img src=x onerror=alert(1)>{{7*7}}%s%(n)s{n}{0}\"'"
UNUSABLE = ("\0", HOSTILE, "-1", "1e308", "9" * 40, "[" * 3000, '{"a":' * 3000, "null", "../../x")


@pytest.fixture(scope="module")
def asked(clustered_folder):
    """Asks for an address as it is, following nothing."""
    pages = ProjectPages(clustered_folder, {})
    routes = [*static_routes({}), *pages.routes_to_home(), Mount(PAGES, pages)]
    client = TestClient(
        Starlette(routes=routes), raise_server_exceptions=False, follow_redirects=False
    )
    at = PAGES.format(corpus=find(clustered_folder).corpus)

    def ask(path, below=True, **parameters):
        return client.get(f"{at}/{path}" if below else path, params=parameters or None)

    ask.at = at
    return ask


class Harm(HTMLParser):
    """Collects what would be done by a page: scripts in it, and what calls one."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, name, attributes):
        given = dict(attributes)
        if (name == "script" and "src" not in given) or given.get("src") == "x":
            self.found.append(name)
        self.found += [attribute for attribute in given if attribute.startswith("on")]


@pytest.mark.parametrize("page", LIVE_PAGES, ids=lambda page: page.path or "home")
def test_what_no_page_can_be_made_of_is_text_on_a_page_or_refused(asked, page):
    """Every parameter of the query, with what is none, too much of it, or means to do harm."""
    path = re.sub(r"\{\w+\}", "greek", page.path)
    for name in page.asked.model_fields:
        if f"{{{name}}}" in page.path:
            continue
        for value in UNUSABLE:
            if name == "q":
                continue  # a search needs its model: `test_image_page` has its heading
            answer = asked(path, **{name: value})
            assert answer.status_code < 500, (name, value)
            assert Harm(answer.text).found == [], (name, value)


@pytest.mark.parametrize("path", ["runs/", "clusters/", "records/", "images/", "tags/", ""])
def test_a_hostile_address_is_text_on_the_page_that_refuses_it(asked, path):
    for value in ("%3Cimg%20src=x%20onerror=alert(1)%3E", "%00", "%ff", "%5B", "a%3Fb%23c"):
        answer = asked(path + value)
        assert answer.status_code in (404, 422)
        assert Harm(answer.text).found == []


@pytest.mark.parametrize(
    "to",
    [
        "//evil.example/",
        "https://evil.example/",
        "/\\evil.example",
        "{at}.evil.example",
        "\t//evil.example",
        "javascript:alert(1)",
        "",
    ],
)
def test_the_switch_of_the_language_leads_to_no_other_place(asked, to):
    answer = asked("language/fr", to=to.format(at=asked.at))
    assert (answer.status_code, answer.headers["location"]) == (303, f"{asked.at}/")


def test_line_breaks_in_the_way_back_make_no_header(asked):
    answer = asked("language/fr", to=f"{asked.at}/\r\nSet-Cookie: panoptic-token=x")
    assert answer.headers["location"].startswith(f"{asked.at}/%0D%0A")
    assert [cookie.partition("=")[0] for cookie in answer.headers.get_list("set-cookie")] == [
        "panoptic-language"
    ]


@pytest.mark.parametrize("page", ["//evil.example", "%5C%5Cevil.example", "%2F%2Fevil.example"])
def test_an_address_of_any_project_leads_into_this_one(asked, page):
    answer = asked(f"/panoptic/-/{page}", below=False)
    assert answer.headers["location"].startswith(f"{asked.at}/")


@pytest.mark.parametrize("name", ["..%2Fpage_address.py", "..%2F..%2Fapi.js", "%00.js", "..", "."])
def test_no_file_but_those_of_pages_is_sent(asked, name):
    answer = asked(f"/panoptic/static/{static_version()}/en/{name}", below=False)
    assert answer.status_code == 404


def test_pages_are_kept_by_nobody_between_and_differ_by_language_and_person(asked):
    headers = asked("").headers
    assert headers["cache-control"] == "private, no-cache"
    assert {part.strip() for part in headers["vary"].split(",")} >= {"Accept-Language", "Cookie"}


_WARMED = """
import json, sys, threading
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient
from panoptic_assets.serve.live_pages import ProjectPages
from panoptic_assets.serve.page_address import PAGES

pages = ProjectPages(sys.argv[1], {})
client = TestClient(Starlette(routes=[Mount(PAGES, pages)]))
# What the client itself needs is loaded by this.
assert client.get(f"/panoptic/{pages.corpus}/nothing").status_code == 404
known = set(sys.modules)
ending = threading.Event()
ending.set()
pages.warm_up(ending)
assert set(sys.modules) == known
pages.warm_up(threading.Event())
warm = set(sys.modules)
for place in ("", "runs/greek"):
    for language in ("en", "fr"):
        headers = {"Accept-Language": language}
        answer = client.get(f"/panoptic/{pages.corpus}/{place}", headers=headers)
        assert answer.status_code == 200, answer.text
print(json.dumps([sorted(warm - known), sorted(set(sys.modules) - warm)]))
"""


def test_what_the_first_pages_need_is_loaded_before_somebody_asks(clustered_folder):
    """The modules of the pages; where the server ends already, nothing is loaded."""
    done = subprocess.run(
        [sys.executable, "-c", _WARMED, clustered_folder], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    before, when_asked = json.loads(done.stdout.splitlines()[-1])
    assert "panoptic_assets.review.run_pages" in before
    assert when_asked == []
