"""Who is let in: strangers, the token, what a server refuses that is only to be looked at."""

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from panoptic_assets.serve.guard import Guard
from panoptic_assets.serve.who import WHO, who, who_routes

TOKEN = "a token of 16 characters or more".replace(" ", "-")


def client_of(**options):
    """A client of a small server behind the guard; it follows no redirects."""

    async def hello(request):
        return PlainTextResponse(f"hello {who(request)}")

    async def chat(websocket):
        await websocket.accept()
        await websocket.close()

    methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]
    app = Starlette(
        routes=[
            *who_routes({}),
            WebSocketRoute("/graphql", chat),
            WebSocketRoute("/ws", chat),
            Route("/{path:path}", hello, methods=methods),
        ],
        middleware=[Middleware(Guard, allowed_hosts=["Vases.example"], **options)],
    )
    return TestClient(app, base_url="http://localhost:3000", follow_redirects=False)


@pytest.fixture
def guarded():
    return client_of()


@pytest.fixture
def locked():
    return client_of(token=TOKEN)


@pytest.fixture
def looked_at():
    return client_of(read_only=True)


def let_in(client, **headers):
    """Open the address with the token, as a browser does the first time."""
    return client.get("/", params={"token": TOKEN}, headers=headers)


def has_websocket(client, path="/ws", **headers):
    try:
        with client.websocket_connect(f"ws://localhost:3000{path}", headers=headers):
            return True
    except WebSocketDisconnect:
        return False


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
        ("POST", {"Host": "localhost:1", "Origin": "http://["}, 403),
        ("POST", {"Host": "localhost:1", "Origin": ""}, 403),
        ("POST", {"Host": "Vases.example", "Origin": "https://vases.EXAMPLE"}, 200),
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
    json_body = {"Content-Type": "application/json"} if method == "POST" else {}
    answer = guarded.request(method, "/", headers=headers | json_body)
    assert answer.status_code == status
    # What is answered to a page of another site all the same is of no use to it.
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"


@pytest.mark.parametrize("name", ["localhost:1", "vases.example", "192.168.1.7:3000", "[::1]:80"])
@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON ; charset=utf-8", 200),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("text/plain", 415),
        ("text/plain; application/json", 415),
        ("text/plain, application/json", 415),
        ("application/jsonp", 415),
        ("application/graphql", 415),
        ("", 415),
        (None, 415),
    ],
)
def test_what_is_posted_must_be_json(guarded, name, content_type, status):
    """Pages send JSON to another site only after a preflight, which nothing here answers."""
    headers = {"Host": name} | ({} if content_type is None else {"Content-Type": content_type})
    for own in ({}, {"Origin": f"http://{name}", "Sec-Fetch-Site": "same-origin"}):
        assert guarded.post("/?query=x", headers=headers | own).status_code == status
    asked = {"Host": name, "Origin": "http://evil.test", "Access-Control-Request-Method": "POST"}
    answer = guarded.options("/", headers=asked)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("name", ["localhost:1", "vases.example:3000", "192.168.1.7"])
@pytest.mark.parametrize(
    ("origin", "is_let_in"),
    [
        ("http://{}", True),
        (None, True),
        ("http://evil.test", False),
        ("http://{}.evil.test", False),
        ("http://{}0", False),
        ("null", False),
        ("file://", False),
    ],
)
def test_another_sites_page_gets_no_websocket(guarded, name, origin, is_let_in):
    """Browsers always say where one comes from; tools do not."""
    headers = {"Host": name} | ({} if origin is None else {"Origin": origin.format(name)})
    if is_let_in:
        with guarded.websocket_connect("/ws", headers=headers):
            return
    with pytest.raises(WebSocketDisconnect), guarded.websocket_connect("/ws", headers=headers):
        pass


# The token


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/graphql", "//graphql", "/_next/x.js", "/panoptic/who"])
def test_nothing_is_answered_without_the_token(locked, method, path):
    """DESIGN 11: off loopback a token is asked for."""
    answer = locked.request(method, path, json={})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "hello" not in answer.text
    assert len(answer.text.splitlines()) <= 1
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN}", 200),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        ("Bearer", 401),
        ("Bearer é".encode(), 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
    ],
)
def test_a_program_gives_the_token_in_a_header(locked, given, status):
    assert locked.post("/", headers={"Authorization": given}, json={}).status_code == status
    assert not locked.cookies


def test_a_browser_gives_it_once_and_gets_a_cookie(locked):
    answer = locked.get(f"/runs/a%20b?q=1&token={TOKEN}&q=%26")
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs/a%20b?q=1&q=%26")
    assert answer.headers["referrer-policy"] == "no-referrer"
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= {*cookie.split("; ")}
    assert "Secure" not in cookie, "this is http"
    assert TOKEN not in cookie
    assert locked.get("/").text.startswith("hello")
    assert locked.post("/graphql", json={}).status_code == 200
    assert has_websocket(locked)


def test_with_the_cookie_whatever_token_an_address_holds_is_taken_out(locked):
    let_in(locked)
    for query in ("token=", "token=old", f"token={TOKEN}", "token=a&token=b"):
        answer = locked.get(f"/x?a=1&{query}")
        assert (answer.status_code, answer.headers["location"]) == (303, "/x?a=1")


def test_the_cookie_is_for_https_alone_where_the_browser_came_by_it():
    """Browsers say where a request comes from only to https, and to their own machine."""
    for host, secure in {"vases.example": True, "localhost:3000": False, "[::1]:1": False}.items():
        client = client_of(token=TOKEN)
        answer = let_in(client, Host=host, **{"Sec-Fetch-Site": "none"})
        assert ("Secure" in answer.headers["set-cookie"]) is secure


def test_two_servers_on_one_machine_keep_their_cookies_apart(locked):
    """Cookies know no ports."""
    names = {
        let_in(locked, Host=host).headers["set-cookie"].partition("=")[0]
        for host in ("localhost:3000", "localhost:3001", "localhost", "vases.example")
    }
    assert names == {"panoptic-token-3000", "panoptic-token-3001", "panoptic-token"}


@pytest.mark.parametrize("cookies", ["{name}=x; {name}={value}", "a=b;{name}={value};c"])
def test_another_cookie_of_the_same_name_locks_nobody_out(locked, cookies):
    """Another server of this machine can set one, for one of its paths."""
    name, _, value = let_in(locked).headers["set-cookie"].partition(";")[0].partition("=")
    locked.cookies.clear()
    given = cookies.format(name=name, value=value)
    assert locked.get("/", headers={"Cookie": given}).status_code == 200


@pytest.mark.parametrize(
    "cookie", ["", "x", TOKEN, "é", f"{TOKEN}; panoptic-token=x", '"', "x" * 3000]
)
def test_a_cookie_of_somebodys_own_making_lets_nobody_in(locked, cookie):
    given = f"panoptic-token-3000={cookie}".encode()
    assert locked.get("/", headers={"Cookie": given}).status_code == 401
    assert not has_websocket(locked, Cookie=f"panoptic-token-3000={cookie!a}")


def test_the_cookie_of_one_token_is_none_of_another(locked):
    """A new token at each start ends what the one before let in."""
    let_in(locked)
    other = client_of(token=TOKEN.upper())
    other.cookies = locked.cookies
    assert other.get("/").status_code == 401


@pytest.mark.parametrize(
    "path", ["//evil.test", "///evil.test/x", "/\\evil.test", "/%5C%5Cevil.test", "/%2F/evil.test"]
)
def test_the_way_on_leads_to_no_other_host(locked, path):
    answer = locked.send(locked.build_request("GET", f"http://localhost:3000{path}?token={TOKEN}"))
    assert answer.status_code == 303
    assert re.match(r"/[^/\\]", answer.headers["location"])


def test_a_token_in_the_address_of_what_acts_does_nothing(locked):
    """What is posted with it would be in logs and histories."""
    assert locked.post("/", params={"token": TOKEN}, json={}).status_code == 401
    assert not locked.cookies


def test_another_sites_page_is_refused_before_it_is_asked_for_a_token(locked):
    let_in(locked)
    for headers in ({"Origin": "http://evil.test"}, {"Sec-Fetch-Site": "cross-site"}):
        assert locked.get("/", params={"token": TOKEN}, headers=headers).status_code == 403
        assert not has_websocket(locked, Origin="http://evil.test")
    assert let_in(locked, Host="evil.test").status_code == 403


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "X-Real-IP", "Referer"]
)
def test_what_a_proxy_adds_is_not_believed(locked, header):
    answer = locked.get("/", headers={header: "127.0.0.1"})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("language", "title"), [("en", "A token is asked for"), ("fr-FR", "Un jeton est demandé")]
)
def test_a_browser_is_shown_where_to_paste_the_token(locked, language, title):
    headers = {"Accept": "text/html", "Accept-Language": language}
    page = locked.get('/runs?q="><script>', headers=headers)
    assert page.status_code == 401
    assert f"<h1>{title}</h1>" in page.text
    assert "<script" not in page.text
    assert 'name="q" value="&quot;&gt;&lt;script&gt;"' in page.text
    assert "form-action 'self'" in page.headers["content-security-policy"]


def test_whoever_has_the_cookie_gets_in_by_a_link_of_another_site(locked):
    """Browsers keep a strict cookie to themselves then; the page asks again, once."""
    page = locked.get("/runs?a=1", headers={"Accept": "text/html"})
    [again] = re.findall(r'http-equiv="refresh" content="0; url=(\S*)"', page.text)
    query = parse_qs(urlsplit(again.replace("&amp;", "&")).query, keep_blank_values=True)
    assert query == {"a": ["1"], "token": [""]}
    second = locked.get("/runs", params=query, headers={"Accept": "text/html"})
    assert second.status_code == 401
    assert "refresh" not in second.text, "it would ask for ever"
    let_in(locked)
    assert locked.get("/runs", params=query).headers["location"] == "/runs?a=1"


def test_a_wrong_token_is_told_from_none(locked):
    html = {"Accept": "text/html"}
    assert "not right" in locked.get("/", params={"token": "wrong"}, headers=html).text
    assert "not right" not in locked.get("/", params={"token": ""}, headers=html).text


def test_without_a_token_none_is_taken_out_of_an_address(guarded):
    assert guarded.get("/", params={"token": "x"}).text == "hello None"


# Only to be looked at


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize(
    "path",
    [
        "/panoptic/corpus/api/cluster",
        "/report_asset_materialization/images",
        "/",
        "/graphql/",
        "/graphql/x",
        "//graphql",
        "/GraphQL",
        "/panoptic/who/",
    ],
)
def test_where_nothing_may_be_changed_acts_are_refused_on_one_line(looked_at, method, path):
    request = looked_at.build_request(method, f"http://localhost:3000{path}", json={})
    answer = looked_at.send(request)
    assert answer.status_code == 403
    assert answer.text == (
        "Refused: this server is read-only, everything can be looked at and nothing changed."
    )


def test_where_nothing_may_be_changed_everything_can_be_looked_at(looked_at):
    for method, path in (("GET", "/runs"), ("HEAD", "/runs"), ("POST", "/graphql"), ("GET", WHO)):
        assert looked_at.request(method, path, json={}).status_code == 200
    assert has_websocket(looked_at, "/graphql")


@pytest.mark.parametrize(
    ("options", "headers", "status", "name"),
    [
        ({"token": TOKEN}, {}, 401, "token-asked-for"),
        ({"read_only": True}, {}, 403, "server-read-only"),
        ({}, {"Host": "evil.test"}, 403, "server-name-unknown"),
        ({}, {"Origin": "http://evil.test"}, 403, "asked-by-another-site"),
        ({}, {"Content-Type": "text/plain"}, 415, "post-not-json"),
    ],
)
def test_a_page_that_asks_for_json_gets_a_refusal_in_its_parts(options, headers, status, name):
    """DESIGN 11: what is said can be said in another language."""
    given = {"Accept": "application/json", "Content-Type": "application/json", **headers}
    answer = client_of(**options).post("/x", headers=given)
    assert (answer.status_code, answer.json()["error"]["id"]) == (status, name)


@pytest.mark.parametrize(
    ("accepted", "said"),
    [("fr", "Refusé\u202f: ce serveur est en lecture seule"), ("de", "Refused: this server is")],
)
def test_a_refusal_is_said_in_the_language_of_who_asks(looked_at, accepted, said):
    answer = looked_at.post("/x", json={}, headers={"Accept-Language": accepted})
    assert answer.text.startswith(said)
    assert "Accept-Language" in answer.headers["vary"]


def test_the_switch_of_the_pages_counts_at_the_door(locked):
    headers = {"Accept": "text/html", "Cookie": "panoptic-language=fr"}
    answer = locked.get("/", headers=headers)
    assert "Un jeton est demandé" in answer.text
    assert answer.headers["content-language"] == "fr"


# Who acts


@pytest.mark.parametrize(
    "name", ["Ada", "  Léa  Ço ", "李 雷", "ع\u200cلی", 'O\'Brien; a=b, "c"', "x" * 80]
)
def test_a_name_is_kept_in_a_cookie(guarded, name):
    assert guarded.get(WHO).json() == {"name": None}
    answer = guarded.post(WHO, json={"name": name})
    assert answer.json() == {"name": name.strip()}
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= {*cookie.split("; ")}
    assert guarded.get(WHO).json() == {"name": name.strip()}
    assert guarded.get("/").text == f"hello {name.strip()}"
    guarded.post(WHO, json={"name": None})
    assert guarded.get(WHO).json() == {"name": None}


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "x" * 81,
        "a\nb",
        "a\x1b[31m",
        "a\u202eb",
        "a\u2066b",
        "a\u2028b",
        1,
        [],
        "\0",
    ],
)
def test_a_name_that_cannot_be_shown_is_refused(guarded, name):
    answer = guarded.post(
        WHO, content=json.dumps({"name": name}), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["id"] == "who-unusable"
    assert not guarded.cookies


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'"Ada"',
        b'{"name": "a", "x": 1}',
        b'{"name": "\\ud800"}',
        b"\xff",
        b"[" * 4000,
        b"x" * 9000,
    ],
)
def test_what_is_no_name_at_all_is_refused(guarded, body):
    answer = guarded.post(WHO, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["id"] in ("who-body-unusable", "request-malformed")
    assert not guarded.cookies


def test_what_is_no_name_is_refused_in_the_language_of_who_asks(guarded):
    answer = guarded.post(WHO, json={"name": ""}, headers={"Accept-Language": "fr"})
    assert answer.json()["error"]["text"].startswith("Ce nom ne peut pas être conservé")


@pytest.mark.parametrize("cookie", ["%", "%ff", "a%0Ab", "%E2%80%AEa", "x" * 81, ""])
def test_a_cookie_with_no_name_that_holds_counts_as_none(guarded, cookie):
    answer = guarded.get(WHO, headers={"Cookie": f"panoptic-who={cookie}"})
    assert answer.json() == {"name": "%" if cookie == "%" else None}
