"""What a page of another site can do to whoever has the UI open: nothing.

To a name or an address without https, a browser does not say where a picture's GET comes from.
Browsers keep the cookie to this server's own pages; here the token is sent with whatever other
sites ask for as well, so that what refuses them is not that they do not have it.
"""

import json
import re
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from panoptic_assets.orchestration.instance import open_instance
from panoptic_assets.orchestration.partitions import RUNS
from resources.project_folder import ProjectSettings, create, dagster_home, find
from tests.browser.conftest import OPTIONS, PAGES_ALONE, start, stop
from tests.pictures import SAMPLE

NAMES = "MAP vases.example 127.0.0.1,MAP evil.test 127.0.0.1"
KEY = "key_that_the_mutation_adds"
MUTATION = (
    'mutation{addDynamicPartition(repositorySelector:{repositoryName:"__repository__",'
    'repositoryLocationName:"panoptic_assets.definitions"},partitionsDefName:"runs",'
    f'partitionKey:"{KEY}"){{__typename}}}}'
)
BODY = json.dumps({"query": MUTATION})
QUERY = f"graphql?query={quote(MUTATION)}"
REPORT = f"report_asset_materialization/clustering?partition={KEY}"


def script(text):
    return f"<script>const target = TARGET; {text}</script>"


def fetched(path, **options):
    return script(f"fetch(target + {json.dumps(path)}, {json.dumps(options)}).catch(() => 0)")


def form(path, kind="", method="post", **fields):
    inputs = "".join(
        f'<input name="{escape(name)}" value="{escape(value)}">' for name, value in fields.items()
    )
    enctype = f' enctype="{kind}"' if kind else ""
    return (
        f'<form action="TARGET{escape(path)}" method="{method}"{enctype}>{inputs}</form>'
        "<script>document.forms[0].submit()</script>"
    )


def like_json(path):
    """A form whose fields make a text that is JSON."""
    start, _, end = json.dumps({"query": MUTATION, "more": "="}).partition("=")
    return form(path, "text/plain", **{start: end})


def sandboxed(html):
    """A page whose origin is `null`."""
    return f'<iframe sandbox="allow-scripts allow-forms" srcdoc="{escape(html)}"></iframe>'


def no_cors(path, kind, body=BODY):
    return fetched(path, method="POST", mode="no-cors", headers={"Content-Type": kind}, body=body)


ATTACKS = {
    "picture": f'<img src="TARGET{QUERY}">',
    "picture without a referrer": f'<img referrerpolicy="no-referrer" src="TARGET{QUERY}">',
    "picture of an odd path": f'<img src="TARGET{QUERY.replace("g", "%67", 1)}">',
    "script": f'<script src="TARGET{QUERY}"></script>',
    "style": f'<link rel="stylesheet" href="TARGET{QUERY}">',
    "frame": f'<iframe src="TARGET{QUERY}"></iframe>',
    "video": f'<video src="TARGET{QUERY}" preload="auto"></video>',
    "link that is followed": script(f"location = target + {json.dumps(QUERY)}"),
    "form by GET": form("graphql", method="get", query=MUTATION),
    "form": form(QUERY, query=MUTATION),
    "form with files": form(QUERY, "multipart/form-data", query=MUTATION),
    "form that looks like JSON": like_json("graphql"),
    "form with both": like_json(QUERY),
    "form in a sandbox": sandboxed(form(QUERY, query=MUTATION)),
    "GET without CORS": fetched(QUERY, mode="no-cors"),
    "GET for HTML": fetched(QUERY, mode="no-cors", headers={"Accept": "text/html"}),
    "POST of text": no_cors("graphql", "text/plain"),
    "POST of text that names JSON": no_cors(QUERY, "text/plain; application/json"),
    "POST of a form": no_cors(QUERY, "application/x-www-form-urlencoded"),
    "POST of nothing": fetched(QUERY, method="POST", mode="no-cors"),
    "POST of JSON": fetched(
        "graphql", method="POST", headers={"Content-Type": "application/json"}, body=BODY
    ),
    "beacon": script(f"navigator.sendBeacon(target + {json.dumps(QUERY)}, {json.dumps(BODY)})"),
    "ping": f'<a ping="TARGET{QUERY}" href="#">x</a><script>document.links[0].click()</script>',
    "report": fetched(REPORT, method="POST", mode="no-cors"),
    "report by a form": form(REPORT),
}
FIRST_WORD_OF_A_SOCKET = f"""target => new Promise(answered => {{
  const socket = new WebSocket(target.replace("http", "ws") + "graphql", "graphql-ws");
  socket.onerror = () => answered("refused");
  socket.onmessage = event => answered(event.data);
  socket.onopen = () => {{
    socket.send(JSON.stringify({{type: "connection_init"}}));
    socket.send(JSON.stringify({{type: "start", id: 1, payload: {BODY}}}));
  }};
}})"""


def own_address():
    """An address of this machine that is not its loopback."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing: it only chooses a way
        address = probe.getsockname()[0]
        if not address.startswith("127."):
            return address
    return None


@dataclass
class Stranger:
    """Another site, and a server of the UI that is open to all of this machine's addresses."""

    browser: object
    instance: dg.DagsterInstance
    """The project's, past the server."""
    port: int
    token: str
    site: str
    pages: dict[str, bytes] = field(default_factory=dict)

    def visit(self, page, html, target):
        """Open a page of the other site that was written for an address of the UI."""
        written = html.replace("const target = TARGET", f"const target = {json.dumps(target)}")
        self.pages["/"] = (
            b"<!doctype html><title></title>" + written.replace("TARGET", target).encode()
        )
        page.goto(self.site)

    def is_added(self):
        """Whether the mutation was carried out; it is undone."""
        there = self.instance.has_dynamic_partition(RUNS.name, KEY)
        self.instance.delete_dynamic_partition(RUNS.name, KEY)
        return there

    def is_reported(self):
        return KEY in self.instance.get_materialized_partitions(dg.AssetKey("clustering"))


@pytest.fixture(scope="module")
def stranger(chromium, tmp_path_factory):
    from playwright.sync_api import sync_playwright

    folder = tmp_path_factory.mktemp("stranger") / "p"
    create(folder, ProjectSettings(images=str(SAMPLE)))
    process, url = start(folder, "--host", "0.0.0.0", "--allowed-host", "vases.example")
    way_in = re.compile(r"To get in: \S+/\?token=(\S+)")
    token = next(found[1] for line in process.stdout if (found := way_in.match(line)))
    pages = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(pages.get(self.path, b""))

        def log_message(self, *_):
            pass

    site = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    home = dagster_home(find(folder))
    with open_instance(home) as instance, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[*OPTIONS, *PAGES_ALONE, f"--host-resolver-rules={NAMES}"],
        )
        port = int(re.search(r":(\d+)$", url)[1])
        address = f"http://evil.test:{site.server_port}/"
        yield Stranger(browser, instance, port, token, address, pages)
        browser.close()
    site.shutdown()
    site.server_close()
    assert stop(process) == 0


@pytest.fixture(scope="module", params=["name", "address", "localhost"])
def target(request, stranger):
    """Where the browser reaches the UI."""
    host = {"name": "vases.example", "localhost": "localhost", "address": own_address()}
    if host[request.param] is None:
        pytest.skip("this machine has no address but its loopback's")
    return f"http://{host[request.param]}:{stranger.port}/"


@pytest.fixture
def outside(stranger):
    """A page of somebody who was not let in so far."""
    context = stranger.browser.new_context()
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def inside(stranger, outside, target):
    """A page of somebody who has opened the address with the token once."""
    outside.goto(f"{target}assets?token={stranger.token}")
    assert outside.url == f"{target}assets"
    return outside


@pytest.fixture
def page(stranger, inside):
    """One whose browser gives the token for whatever is asked of this server."""
    inside.context.set_extra_http_headers({"Authorization": f"Bearer {stranger.token}"})
    return inside


def test_a_page_of_another_site_changes_nothing(stranger, page, target):
    """Nothing is added or reported, by whatever name the server is reached."""
    done = []
    for event in ("requestfinished", "requestfailed"):
        page.context.on(event, lambda made: made.url.startswith(target) and done.append(made.url))
    # On a busy machine nothing is told of the request of a frame that has a process of its own and
    # is left at once; but the browser complains of the answer, which refuses to be framed.
    page.context.on("console", lambda said: target in said.text and done.append(said.text))
    statuses = set()
    page.context.on("response", lambda got: got.url.startswith(target) and statuses.add(got.status))
    succeeded = {}
    for name, html in ATTACKS.items():
        done.clear()
        tab = page.context.new_page()
        stranger.visit(tab, html, target)
        for _ in range(2400):
            if done:
                break
            tab.wait_for_timeout(50)
        tab.close()
        assert done, f"the request was not made: {name}"
        succeeded[name] = stranger.is_added() or stranger.is_reported()
    assert succeeded == dict.fromkeys(ATTACKS, False)
    assert 401 not in statuses, "what was refused had no token"


def test_a_page_of_another_site_gets_no_websocket(stranger, page, target):
    stranger.visit(page, "", target)
    assert page.evaluate(FIRST_WORD_OF_A_SOCKET, target) == "refused"
    assert not stranger.is_added()


@pytest.mark.parametrize("path", ["", "graphql", "panoptic/reports/runs/none/index.html"])
def test_a_page_of_another_site_frames_nothing(stranger, page, target, path):
    """Else it could lay its own buttons over Dagster's."""
    html = f'<iframe src="TARGET{path}"></iframe>'
    stranger.visit(page, html, target)
    page.wait_for_load_state("load")  # of its frames, too; a refused one may never be idle
    [frame] = page.main_frame.child_frames
    shown = "#__next, #graphiql, main#content"
    assert frame.locator(shown).count() == 0


def test_the_servers_own_page_does_what_it_asks(stranger, inside, target):
    """By each name, with the cookie; a link from elsewhere leads to it."""
    page = inside
    stranger.visit(page, f'<a href="{target}assets">x</a>', target)
    page.locator("a").click()
    page.get_by_text("View lineage").first.wait_for()
    assert page.url == f"{target}assets"
    assert json.loads(page.evaluate(FIRST_WORD_OF_A_SOCKET, target)) == {"type": "connection_ack"}
    answer = page.evaluate(
        """body => fetch("/graphql?op=Add", {method: "POST", body,
        headers: {"Content-Type": "application/json"}}).then(answer => answer.json())""",
        BODY,
    )
    assert answer == {"data": {"addDynamicPartition": {"__typename": "AddDynamicPartitionSuccess"}}}
    assert stranger.is_added()


def test_who_has_no_token_sees_where_to_paste_it(stranger, outside):
    """DESIGN 11: off loopback a token is asked for. It is in the address for a moment only."""
    target = f"http://vases.example:{stranger.port}/"
    stranger.visit(outside, f'<a href="{target}assets?token={stranger.token}x">x</a>', target)
    outside.locator("a").click()
    outside.get_by_text("The token is not right").wait_for()
    assert outside.evaluate(FIRST_WORD_OF_A_SOCKET, target) == "refused"
    outside.get_by_label("paste the token").fill(stranger.token)
    outside.get_by_role("button").click()
    outside.get_by_text("View lineage").first.wait_for()
    assert outside.url == f"{target}assets"
    assert outside.evaluate("document.cookie") == ""


def test_a_link_with_the_token_on_another_site_lets_in(stranger, outside):
    """As in a message that is read in the browser, which keeps a strict cookie to itself then."""
    target = f"http://vases.example:{stranger.port}/"
    stranger.visit(outside, f'<a href="{target}assets?token={stranger.token}">x</a>', target)
    outside.locator("a").click()
    outside.get_by_text("View lineage").first.wait_for()
    assert outside.url == f"{target}assets"


def test_dagsters_own_pages_ask_for_nothing_that_is_refused(stranger, inside, target):
    """Assets, a run, a job's Launchpad, the page for queries: Dagster's UI works as before."""
    run = create_run_for_test(stranger.instance, status=dg.DagsterRunStatus.SUCCESS)
    faults = []
    inside.on("console", lambda said: said.type == "error" and faults.append(said.text))
    inside.on("pageerror", lambda error: faults.append(str(error)))
    inside.on(
        "response", lambda got: got.status >= 400 and faults.append(f"{got.status} {got.url}")
    )
    place = "locations/panoptic_assets.definitions/jobs/verify_runs/playground"
    for path, shown in {
        "assets": "View lineage",
        "assets/clustering": "nested_clustering",
        f"runs/{run.run_id}": run.run_id[:8],
        place: "Launch run",
        "graphql": "Welcome to GraphiQL",
    }.items():
        inside.goto(f"{target}{path}")
        inside.get_by_text(shown).first.wait_for()
        inside.wait_for_load_state("networkidle")
    assert faults == []
