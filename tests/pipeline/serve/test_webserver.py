"""What `panoptic-assets ui` serves, and to whom; that it starts and that nothing of it stays."""

import asyncio
import json
import re
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._core.test_utils import instance_for_test
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.asset_daemon import get_auto_materialize_paused, set_auto_materialize_paused
from starlette.applications import Starlette
from starlette.testclient import TestClient

from panoptic_assets.cli.main import main
from panoptic_assets.orchestration.instance import open_instance, ui_lock
from panoptic_assets.serve.guard import READ_ONLY
from panoptic_assets.serve.webserver import PanopticWebserver, report_routes
from resources.errors import text_of
from resources.project_folder import ProjectSettings, create, dagster_home, find
from resources.report_folder import MOUNT
from tests.browser.conftest import start, stop
from tests.pictures import SAMPLE


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


def ask(folder, path, method="GET", headers=()):
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
        "headers": [(b"host", b"127.0.0.1"), *headers],
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


def test_a_missing_report_is_told_of_in_the_language_of_who_asks(reports):
    _, headers, body = ask(reports, "/runs/none/index.html", headers=[(b"accept-language", b"fr")])
    assert '<html lang="fr">' in body
    assert headers["content-language"] == "fr"


def test_only_a_map_may_compile_functions_from_text(reports):
    """Plotly draws many points so; every other page has scripts from files alone."""
    assert "script-src 'self' 'unsafe-eval';" in ask(reports, "/runs/greek/map.html")[1][POLICY]
    for path in ("/runs/greek/index.html", "/runs/greek/cluster.map.html", "/x/map.html"):
        assert "script-src 'self';" in ask(reports, path)[1][POLICY]


POLICY = "content-security-policy"
NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.fixture(scope="module")
def dagster():
    """Dagster's instance, and a client of the whole server on it."""
    with (
        instance_for_test(set_dagster_home=False) as instance,
        WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context,
    ):
        server = PanopticWebserver(context, Path("none"), ["vases.example"])
        yield instance, TestClient(server.create_asgi_app())


def pause(paused):
    return f"mutation {{setAutoMaterializePaused(paused: {str(paused).lower()})}}"


@pytest.mark.parametrize("name", ["localhost:1", "vases.example", "192.168.1.7:3000"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    "path",
    [
        *("/graphql", "/graphql/", "//graphql", "/%67raphql", "/%2567raphql", "/GraphQL"),
        *("/x/../graphql", "/./graphql", "/graphql;x", "/graphql%00", "/graphql%2f", "/graphql%3f"),
        *("/panoptic/reports/../../graphql", "/panoptic/reports/%2e%2e/%2e%2e/graphql"),
    ],
)
@pytest.mark.parametrize("accept", ["text/html", "*/*"])
def test_an_address_alone_does_nothing_however_it_is_written(dagster, name, method, path, accept):
    """No picture, form or link holds a mutation that is carried out."""
    instance, client = dagster
    set_auto_materialize_paused(instance, True)
    client.request(
        method,
        path,
        params={"query": pause(False)},
        headers={"Host": name, "Accept": accept},
        follow_redirects=True,
    )
    assert get_auto_materialize_paused(instance)


def test_graphql_is_carried_out_when_it_is_posted_as_json(dagster):
    """Dagster's UI adds a parameter to the address for its own use."""
    instance, client = dagster
    headers = {"Host": "vases.example", "Origin": "http://vases.example"}
    for paused in (False, True):
        answer = client.post("/graphql?op=Pause", json={"query": pause(paused)}, headers=headers)
        assert answer.json() == {"data": {"setAutoMaterializePaused": paused}}
        assert get_auto_materialize_paused(instance) is paused


@pytest.fixture
def looked_at(dagster):
    """A client of a server on the same instance where nothing may be changed."""
    instance, _ = dagster
    with WorkspaceProcessContext(instance, EmptyWorkspaceTarget(), read_only=True) as context:
        yield TestClient(PanopticWebserver(context, Path("none"), []).create_asgi_app())


@pytest.mark.parametrize(
    "text",
    [
        pause(False),
        "mutation {setNuxSeen}",
        "query a {version} " + pause(False).replace("mutation", "mutation b"),
        "fragment f on Mutation {setAutoMaterializePaused(paused: false)} mutation {...f}",
    ],
)
def test_where_nothing_may_be_changed_no_mutation_is_carried_out(dagster, looked_at, text):
    """Not even those that Dagster lets everybody do; nor beside a query."""
    instance, _ = dagster
    set_auto_materialize_paused(instance, True)
    for operation in ("b", None):
        asked = {"query": text, "operationName": operation}
        answer = looked_at.post("/graphql", json=asked, headers={"Host": "localhost:1"})
        assert (answer.status_code, answer.text) == (403, text_of(READ_ONLY))
    assert get_auto_materialize_paused(instance)


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"query": 7}', b'{"query": "mutation {"}', b'"mutation"', b"{}", b"[" * 10**5],
)
def test_where_nothing_may_be_changed_dagster_says_what_is_no_graphql(dagster, looked_at, body):
    headers = {"Host": "localhost:1", "Content-Type": "application/json"}
    answers = [
        TestClient(client.app, raise_server_exceptions=False).post(
            "/graphql", content=body, headers=headers
        )
        for client in (dagster[1], looked_at)
    ]
    assert answers[0].status_code >= 400
    assert len({(answer.status_code, answer.text) for answer in answers}) == 1


def test_where_nothing_may_be_changed_a_query_of_that_word_is_answered(looked_at):
    asked = {"query": 'query mutation {__type(name: "Mutation") {name} # mutation {version}\n}'}
    answer = looked_at.post("/graphql", json=asked, headers={"Host": "localhost:1"})
    assert answer.json() == {"data": {"__type": {"name": "Mutation"}}}


def test_where_nothing_may_be_changed_dagsters_ui_knows_it(looked_at):
    """It offers no button for what would be refused."""
    asked = {"query": "{version permissions {value}}"}
    answer = looked_at.post("/graphql", json=asked, headers={"Host": "localhost:1"})
    assert {one["value"] for one in answer.json()["data"]["permissions"]} == {False}


def test_where_nothing_may_be_changed_a_websocket_carries_out_no_mutation(dagster, looked_at):
    instance, _ = dagster
    set_auto_materialize_paused(instance, True)
    place = "ws://localhost:1/graphql"
    with looked_at.websocket_connect(place, subprotocols=["graphql-ws"]) as socket:
        socket.send_json({"type": "start", "id": 1, "payload": {"query": pause(False)}})
        assert socket.receive_json()["type"] == "error"
    assert get_auto_materialize_paused(instance)


def test_a_query_in_an_address_is_refused_on_one_line(dagster):
    _, client = dagster
    headers = {"Host": "localhost:1", "Sec-Fetch-Site": "cross-site", **NAVIGATION}
    answer = client.get("/graphql", params={"query": "{version}"}, headers=headers)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.text.startswith("GraphQL is asked by POST, with a JSON body")
    assert "\n" not in answer.text


@pytest.mark.parametrize("path", ["/notebook", "/dagit/notebook"])
def test_no_file_of_this_machine_is_shown_as_a_notebook(dagster, tmp_path, path):
    """A link of another site could name one that somebody was made to download."""
    _, client = dagster
    asked = {"repoLocName": "panoptic_assets.definitions", "path": str(tmp_path / "evil.ipynb")}
    answer = client.get(path, params=asked, headers={"Host": "localhost:1"})
    assert (answer.status_code, answer.text) == (404, "This project has no notebooks.")


def test_dagsters_pages_are_served_its_page_for_queries_included(dagster):
    _, client = dagster
    for path, text in (("/graphql", "<title>GraphiQL</title>"), ("/assets", "__NEXT_DATA__")):
        answer = client.get(path, headers={"Host": "localhost:1", "Accept": "text/html"})
        assert answer.status_code == 200
        assert text in answer.text


@pytest.mark.parametrize("what", ["materialization", "observation", "check"])
def test_events_of_assets_are_reported_as_json_alone(dagster, what):
    """Dagster takes them from the address, too."""
    instance, client = dagster
    asked = {
        "url": f"/report_asset_{what}/{what}",
        "params": {"partition": "p", "check_name": "c", "passed": "true"},
        "headers": {"Host": "vases.example"},
    }

    def events():
        return instance.get_event_records(dg.EventRecordsFilter(KINDS[what]))

    assert client.post(**asked).status_code == 415
    client.get(**asked)
    assert not events()
    assert client.post(**asked, json={}).status_code == 200
    assert events()


KINDS = {
    "materialization": dg.DagsterEventType.ASSET_MATERIALIZATION,
    "observation": dg.DagsterEventType.ASSET_OBSERVATION,
    "check": dg.DagsterEventType.ASSET_CHECK_EVALUATION,
}


def get(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


def query(url, text, **headers):
    request = urllib.request.Request(
        f"{url}/graphql",
        json.dumps({"query": text}).encode(),
        {"Content-Type": "application/json", **headers},
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


def status(url, **headers):
    """The status of an answer, wherever it leads."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@linux
def test_who_lets_others_in_is_warned_and_a_killed_command_leaves_nothing(new_project):
    """DESIGN 11: off loopback a token is asked for. No other process tells it."""
    process, url = start(new_project, "--host", "0.0.0.0", stderr=subprocess.PIPE)
    assert url.startswith("http://localhost:")
    with process.stdout, process.stderr:
        assert "put a reverse proxy with https before" in process.stderr.readline()
        token = next(found[1] for line in process.stdout if (found := WAY_IN.match(line)))
        assert status(f"{url}/server_info") == status(f"{url}/graphql") == 401
        assert status(f"{url}/server_info", Authorization=f"Bearer {token}") == 200
        told = [Path(f"/proc/{process}") for process in processes_of(new_project)]
        for place in [path / name for path in told for name in ("cmdline", "environ")]:
            assert token.encode() not in place.read_bytes()
        process.kill()
        process.wait()
    wait_until(lambda: processes_of(new_project) == [])


WAY_IN = re.compile(r"To get in: http://localhost:\d+/panoptic/\S+/\?token=(\S+) ")


@linux
def test_a_project_that_is_only_looked_at_stays_as_it_is(new_project, monkeypatch):
    """Beside another `ui`, and without a daemon; what SQLite puts beside a file that may change
    meanwhile is no content."""
    with open_instance(dagster_home(find(new_project))) as instance:
        instance.add_dynamic_partitions("runs", ["greek"])

    def content():
        files = (path for path in new_project.rglob("*") if path.is_file())
        return {
            path: path.read_bytes() for path in files if not path.name.endswith(("-shm", "-wal"))
        }

    monkeypatch.setenv("PANOPTIC_TOKEN", OWN_TOKEN)
    with ui_lock(dagster_home(find(new_project))):
        before = content()
        process, url = start(new_project, "--read-only", stderr=subprocess.PIPE)
        _, way_in = (next(process.stdout) for _ in range(2))
        allowed = {"Authorization": f"Bearer {OWN_TOKEN}"}
        assert status(f"{url}/assets") == 401
        assert status(f"{url}/assets", **allowed) == 200
        keys = query(url, KEYS_OF_RUNS, **allowed)["assetNodeOrError"]["partitionKeys"]
        assert keys == ["greek"]
        assert stop(process) == 0
        assert "Stopping" in process.stderr.read()
        process.stderr.close()
    assert content() == before
    assert OWN_TOKEN not in way_in, "whoever gave it knows it, and this may be a log"


OWN_TOKEN = "0123456789abcdef"
KEYS_OF_RUNS = """{assetNodeOrError(assetKey: {path: ["clustering"]}) {
  ... on AssetNode {partitionKeys}
}}"""


@pytest.mark.parametrize("token", ["too-short", "x" * 15, "a b" * 10, "é" * 20, "a\nb" * 10])
def test_a_token_that_cannot_be_used_is_refused_and_not_shown(new_project, monkeypatch, token):
    monkeypatch.setenv("PANOPTIC_TOKEN", token)
    message = refused(new_project, "--port", 0)
    assert "PANOPTIC_TOKEN cannot be used: give 16 letters" in message
    assert token not in message


def test_a_folder_for_temporary_files_that_sockets_cannot_lie_in_is_said_at_once(
    new_project, monkeypatch, tmp_path
):
    """Dagster would wait a minute for its code server, and the worker die again and again."""
    folder = tmp_path / ("t" * 80)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    assert "set TMPDIR to one of at most 75 bytes" in refused(new_project, "--port", 0)


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
