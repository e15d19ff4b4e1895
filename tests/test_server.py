"""What `panoptic-assets ui` serves, and to whom; that it starts and that nothing of it stays."""

import asyncio
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from panoptic_assets.cli import main
from panoptic_assets.server import SameOrigin, report_routes
from resources.project import ProjectSettings, create
from resources.reports import MOUNT
from tests.browser.conftest import start, stop
from tests.conftest import SAMPLE


@pytest.fixture
def reports(tmp_path):
    """A folder with one report, and a secret beside it."""
    folder = tmp_path / "reports"
    for name, content in {
        "runs/greek/index.html": "<h1>é</h1>",
        "runs/greek/map.html": "<p>",
        "runs/greek/map.json": "{}",
        "runs/greek/data.bin": "?",
        "static/report-1a2b3c4d.css": "p{}",
        "static/report-1a2b3c4d.js": "1",
        "static/unnamed.js": "1",
        "static/logo-1a2b3c4d.svg": "<svg/>",
        "thumbnails/ab/ab12.webp": "?",
        "thumbnails/ab/ab12.png": "?",
        ".drafts/1234/index.html": "CONFIDENTIAL",
        "runs/.hidden": "CONFIDENTIAL",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    (tmp_path / "secret.html").write_text("CONFIDENTIAL")
    return folder


def ask(folder, path, method="GET"):
    """Ask for a path as it is after the server decoded it; clients resolve dots themselves."""
    said = []

    async def receive():
        await asyncio.Event().wait()  # a client that stays

    async def send(message):
        said.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": MOUNT + path,
        "raw_path": path.encode(errors="replace"),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")],
        "scheme": "http",
        "server": ("127.0.0.1", 80),
    }
    asyncio.run(Starlette(routes=report_routes(folder))(scope, receive, send))
    headers = {name.decode(): value.decode() for name, value in said[0]["headers"]}
    body = b"".join(message.get("body", b"") for message in said[1:])
    return said[0]["status"], headers, body.decode(errors="replace")


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/runs/greek/index.html", "text/html; charset=utf-8"),
        ("/runs/greek/map.json", "application/json"),
        ("/runs/greek/data.bin", "application/octet-stream"),
        ("/static/report-1a2b3c4d.css", "text/css; charset=utf-8"),
        ("/static/report-1a2b3c4d.js", "text/javascript; charset=utf-8"),
        ("/static/logo-1a2b3c4d.svg", "image/svg+xml"),
        ("/thumbnails/ab/ab12.webp", "image/webp"),
        ("/thumbnails/ab/ab12.png", "image/png"),
    ],
)
def test_a_file_of_a_report_comes_with_its_content_type(reports, path, content_type):
    status, headers, body = ask(reports, path)
    assert (status, headers["content-type"]) == (200, content_type)
    assert body == (reports / path.removeprefix("/")).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.html",
        "/runs/../../secret.html",
        "/runs/greek/../greek/index.html",
        "/%2e%2e/secret.html",
        "//secret.html",
        "/..\\secret.html",
        "/runs\\greek\\index.html",
        "/runs/greek/index.html\0.png",
        "/.drafts/1234/index.html",
        "/.drafts/1234",
        "/runs/.hidden",
        "/runs/greek/./index.html",
        "/runs/greek/index.html/",
        "/link.html",
        "/outside/secret.html",
        "/runs",
        "/runs/",
        "/static",
        "/thumbnails/ab/",
        "/",
        "/" + "a" * 300,
        "/runs/" + "a/" * 3000,
    ],
)
def test_nothing_but_reports_is_served_and_no_folder_is_listed(reports, path):
    (reports / "link.html").symlink_to(reports.parent / "secret.html")
    (reports / "outside").symlink_to(reports.parent)
    status, headers, body = ask(reports, path)
    assert status == 404
    assert "<h1>No such report</h1>" in body
    assert not any(found in body for found in ("CONFIDENTIAL", "é", "map.json", "ab12"))
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/runs/greek", "/runs/greek/"])
def test_a_reports_folder_leads_to_its_page(reports, path):
    """Its relative links hold only at the page's own address."""
    status, headers, _ = ask(reports, path)
    assert (status, headers["location"]) == (307, f"{MOUNT}/runs/greek/index.html")


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/runs/greek/index.html", "GET", 200),
        ("/runs/greek/index.html", "HEAD", 200),
        ("/runs/greek", "GET", 307),
        ("", "GET", 307),
        ("/runs/other/index.html", "GET", 404),
        ("/../secret.html", "GET", 404),
        ("/runs/greek/index.html", "POST", 405),
        ("/runs/greek/index.html", "DELETE", 405),
    ],
)
def test_every_answer_has_the_security_headers(reports, path, method, status):
    found, headers, _ = ask(reports, path, method)
    assert found == status
    assert "script-src 'self'" in headers["content-security-policy"]
    assert "'unsafe-inline'" not in headers["content-security-policy"].split("script-src")[1]
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/runs/greek/index.html", False),
        ("/runs/greek/map.json", False),
        ("/static/unnamed.js", False),
        ("/static/report-1a2b3c4d.css", True),
        ("/thumbnails/ab/ab12.webp", True),
        ("/thumbnails/ab/none.webp", False),
    ],
)
def test_browsers_keep_what_is_named_by_its_content_and_ask_again_for_the_rest(reports, path, kept):
    _, headers, _ = ask(reports, path)
    assert ("immutable" in headers["cache-control"]) is kept
    assert (headers["cache-control"] == "no-cache") is not kept


def test_a_report_is_found_as_soon_as_its_folder_appears(tmp_path):
    folder = tmp_path / "reports"
    client = TestClient(Starlette(routes=report_routes(folder)))
    assert client.get(f"{MOUNT}/runs/new/index.html").status_code == 404
    (folder / "runs" / "new").mkdir(parents=True)
    (folder / "runs" / "new" / "index.html").write_text("new")
    assert client.get(f"{MOUNT}/runs/new/index.html").text == "new"


def test_a_page_that_did_not_change_is_not_sent_again(reports):
    client = TestClient(Starlette(routes=report_routes(reports)))
    first = client.get(f"{MOUNT}/runs/greek/index.html")
    again = client.get(
        f"{MOUNT}/runs/greek/index.html", headers={"If-None-Match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/runs/greek-vases/index.html", "panoptic-assets report greek-vases<"),
        ("/runs/a b/index.html", "panoptic-assets report KEY<"),
        ("/runs/<script>alert(1)</script>/x", "&lt;script&gt;"),
        ("/runs/\u202eevil", "panoptic-assets report KEY<"),
        ("/comparison/index.html", "panoptic-assets compare RUN RUN<"),
    ],
)
def test_a_missing_report_says_how_to_make_it(reports, path, said):
    _, headers, body = ask(reports, path)
    assert said in body
    assert "<script" not in body
    assert headers["content-type"] == "text/html; charset=utf-8"


def test_only_a_map_may_compile_functions_from_text(reports):
    """Plotly draws many points so; every other page has scripts from files alone."""
    assert "script-src 'self' 'unsafe-eval';" in ask(reports, "/runs/greek/map.html")[1][POLICY]
    for path in ("/runs/greek/index.html", "/runs/greek/cluster.map.html", "/x/map.html"):
        assert "script-src 'self';" in ask(reports, path)[1][POLICY]


@pytest.fixture
def guarded():
    async def hello(_):
        return PlainTextResponse("hello")

    async def chat(websocket):
        await websocket.accept()
        await websocket.close()

    app = Starlette(
        routes=[
            Route("/", hello, methods=["GET", "POST"]),
            Route("/graphql", hello),
            WebSocketRoute("/ws", chat),
        ],
        middleware=[Middleware(SameOrigin, allowed_hosts=["Vases.example"])],
    )
    return TestClient(app)


POLICY = "content-security-policy"
NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {"Host": "127.0.0.1:3000"}, 200),
        ("GET", {"Host": "LOCALHOST:8080"}, 200),
        ("GET", {"Host": "[::1]:3000"}, 200),
        ("GET", {"Host": "192.168.1.7:3000"}, 200),
        ("GET", {"Host": "vases.example"}, 200),
        ("GET", {"Host": "evil.example"}, 403),
        ("GET", {"Host": "localhost.evil.example:3000"}, 403),
        ("GET", {"Host": "127.0.0.1.evil.example"}, 403),
        ("GET", {"Host": "[::1"}, 403),
        ("GET", {"Host": ""}, 403),
        ("POST", {"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        ("POST", {"Host": "localhost:1", "Origin": "http://localhost:2"}, 403),
        ("POST", {"Host": "localhost:1", "Origin": "https://evil.example"}, 403),
        ("POST", {"Host": "localhost:1", "Origin": "null"}, 403),
        ("GET", {"Host": "localhost:1", "Sec-Fetch-Site": "same-origin"}, 200),
        ("GET", {"Host": "localhost:1", "Sec-Fetch-Site": "none", **NAVIGATION}, 200),
        # An <img>, a script, a frame of another site; a link there that someone follows.
        ("GET", {"Host": "localhost:1", "Sec-Fetch-Site": "cross-site"}, 403),
        ("GET", {"Host": "localhost:1", "Sec-Fetch-Site": "same-site"}, 403),
        (
            "GET",
            {"Host": "localhost:1", "Sec-Fetch-Site": "cross-site", **NAVIGATION}
            | {"Sec-Fetch-Dest": "iframe"},
            403,
        ),
        ("GET", {"Host": "localhost:1", "Sec-Fetch-Site": "cross-site", **NAVIGATION}, 200),
        ("POST", {"Host": "localhost:1", "Sec-Fetch-Site": "cross-site", **NAVIGATION}, 403),
    ],
)
def test_only_this_servers_own_pages_and_tools_are_answered(guarded, method, headers, status):
    """Dagster's GraphQL does what any page asks that can reach it."""
    assert guarded.request(method, "/", headers=headers).status_code == status


def test_a_link_of_another_site_leads_to_a_page_but_to_no_query(guarded):
    """Dagster carries out what a GET of its GraphQL asks, mutations too."""
    followed = {"Host": "localhost:1", "Sec-Fetch-Site": "cross-site", **NAVIGATION}
    assert guarded.get("/", headers=followed).status_code == 200
    assert guarded.get("/graphql", headers=followed).status_code == 403
    assert guarded.get("/graphql", headers={"Host": "localhost:1"}).status_code == 200


def test_another_sites_page_gets_no_websocket(guarded):
    own = {"Host": "localhost:1", "Origin": "http://localhost:1"}
    with guarded.websocket_connect("/ws", headers=own):
        pass
    strange = {"Host": "localhost:1", "Origin": "https://evil.example"}
    with pytest.raises(WebSocketDisconnect), guarded.websocket_connect("/ws", headers=strange):
        pass


def get(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


def query(url, text):
    request = urllib.request.Request(
        f"{url}/graphql",
        json.dumps({"query": text}).encode(),
        {"Content-Type": "application/json"},
    )
    return json.loads(get(request))["data"]


def processes_of(folder):
    """Ids of the processes that work on a project, by their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            if f"PANOPTIC_PROJECT={folder}".encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


@pytest.fixture
def new_project(tmp_path):
    """A project that nothing was done with."""
    return create(tmp_path / "p", ProjectSettings(images=str(SAMPLE))).folder


def refused(folder, *arguments):
    """The one line with which the command refuses, before it starts anything."""
    answer = CliRunner().invoke(main, ["--project", str(folder), "ui", *map(str, arguments)])
    assert answer.exit_code == 2
    [line] = answer.stderr.splitlines()
    return line


def wait_until(true, seconds=120):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


linux = pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes in /proc")


@linux
def test_one_command_opens_everything_and_ctrl_c_ends_it(new_project):
    """Web server, reports, code location and daemon."""
    process, url = start(new_project)
    assert "dagster_webserver_version" in get(f"{url}/server_info")
    page = new_project / ".panoptic" / "reports" / "runs" / "greek" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("the report")
    assert get(f"{url}{MOUNT}/runs/greek/") == "the report"

    [entry] = query(url, "{workspaceOrError{... on Workspace{locationEntries{name loadStatus}}}}")[
        "workspaceOrError"
    ]["locationEntries"]
    assert entry == {"name": "panoptic_assets.definitions", "loadStatus": "LOADED"}

    def is_healthy():
        asked = "{instance{daemonHealth{allDaemonStatuses{daemonType healthy}}}}"
        statuses = query(url, asked)["instance"]["daemonHealth"]["allDaemonStatuses"]
        return all(status["healthy"] for status in statuses)

    wait_until(is_healthy)

    message = refused(new_project, "--port", 0)
    assert "Another `panoptic-assets ui`" in message

    assert len(processes_of(new_project)) >= 2
    assert stop(process) == 0
    assert processes_of(new_project) == []
    with pytest.raises(urllib.error.URLError):
        get(f"{url}/server_info")


@linux
def test_who_lets_others_in_is_warned_and_a_killed_command_leaves_nothing(new_project):
    process, url = start(new_project, "--host", "0.0.0.0", stderr=subprocess.PIPE)
    assert url.startswith("http://localhost:")
    with process.stdout, process.stderr:
        assert "Dagster has no password" in process.stderr.readline()
        process.kill()
        process.wait()
    wait_until(lambda: processes_of(new_project) == [])


def test_a_port_that_is_taken_is_said_before_anything_starts(new_project):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refused(new_project, "--port", port)
    assert message == (
        f"Error: Port {port} is taken on 127.0.0.1: stop what uses it, or choose another one, "
        f"such as --port {port + 1}."
    )


@pytest.mark.parametrize("host", ["no such host", "203.0.113.7", ""])
def test_a_host_that_is_not_this_machine_is_refused_on_one_line(new_project, host):
    message = refused(new_project, "--port", 0, "--host", host)
    assert f"{host!r} is no address of this machine" in message
