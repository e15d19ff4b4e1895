"""Who is let in by the web server, and what for: one middleware before whatever serves the pages.

Belongs here: strangers' names and pages, the token, and what a server that is only to be looked at
refuses. Does not belong here: what is served (``serve.webserver``), who says to have acted
(``serve.who``), and where a token comes from (``cli.serve``).

Dagster asks for no password, and its GraphQL carries out what any request asks, a plain GET
included. So a page of another site could start runs through the browser of whoever has this server
open: :class:`Guard` refuses what a browser says comes from elsewhere. To a name without https
browsers do not say where a picture, a script or a link comes from, so nothing is done for a GET at
all, and what acts must come as JSON, which no page can send to another site without asking first.

Nothing that a proxy adds is believed (``X-Forwarded-…``): whoever reaches the server can send it.

Long because what is let in is decided in one place, and seen whole there.
"""

import asyncio
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from ipaddress import ip_address
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import anyio
import graphql
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from panoptic_assets.serve.asking import headers_of, language_of
from panoptic_assets.serve.ongoing import error_document
from panoptic_assets.serve.who import WHO
from resources.errors import Message as Said
from resources.errors import message, text_of

READ_ONLY = message(
    "Refused: this server is read-only, everything can be looked at and nothing changed.",
    id="server-read-only",
)
"""What is answered to whoever would change something there."""

_PARAMETER = "token"
"""Of an address: the token; or nothing, of somebody who may have the cookie."""
_FOR_OWN_PAGES = {
    # A frame could have its buttons clicked, a picture or a script could tell what is here.
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
}
"""Headers of every answer: what browsers do not say when they ask, they can still be told."""
_OF_THE_DOOR = {
    "Cache-Control": "no-store",
    # The address of a page behind the door, or of the door itself, may hold the token.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_VARY = "Accept, Accept-Language, Cookie"
"""What an answer of the door depends on: whether it is a page, and its language."""
_GRAPHQL = "/graphql"
_LOOKED_AT_BY_POST = frozenset({_GRAPHQL, WHO})
"""What is posted to these changes nothing: queries, since mutations are refused by themselves, and
a name for the cookie. They are the paths as the router compares them, so no spelling evades it."""
_SECONDS_FOR_A_WRONG_TOKEN = 0.5
"""The answer to one waits, and nobody else's: there is no lock-out that a stranger could cause."""
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_UNKNOWN_NAME = message(
    "This server does not know the name that you reached it by. Use its address, or start it with "
    "--allowed-host NAME.",
    id="server-name-unknown",
)
_ELSEWHERE = message("Refused: another site's page asked for this.", id="asked-by-another-site")
_NO_JSON = message(
    "Refused: what is posted must come with a JSON body and the header Content-Type: "
    "application/json.",
    id="post-not-json",
)
_NO_TOKEN = message(
    "This server asks for a token: open the address with ?token=… that `panoptic-assets ui` "
    "printed, or send the header Authorization: Bearer TOKEN.",
    id="token-asked-for",
)
_SAID = {
    "en": (
        "A token is asked for",
        "Open the address with <code>?token=…</code> that <code>panoptic-assets ui</code> printed "
        "when it was started, or paste the token:",
        "Open",
        "The token is not right.",
    ),
    "fr": (
        "Un jeton est demandé",
        "Ouvrez l’adresse avec <code>?token=…</code> que <code>panoptic-assets ui</code> a "
        "affichée à son lancement, ou collez ici le jeton :",
        "Ouvrir",
        "Ce jeton n’est pas le bon.",
    ),
}
"""Title, what to do, the button, and what is said of a wrong one: of the page of those who are not
let in, in each language of the manual."""


class Guard:
    """Lets in who may come in, for what may be asked of this server.

    Let through is what comes from this server's own pages, or from no page at all. Refused are
    other names in ``Host``, as they come when a stranger's name is made to resolve to this machine
    (DNS rebinding), and whatever a browser says that another site's page asked for (``Origin``,
    ``Sec-Fetch-Site``), apart from a link that is followed. Addresses are let through: only names
    can be rebound. Tools that are no browsers send neither header.

    A POST must be JSON, its parameters in the address notwithstanding: forms and the like, which
    any page can send anywhere, are none. No answer can be framed or used by another site's page.

    Where there is a token, a browser gives it once in the address, gets a cookie and is sent on to
    the same address without it; a program sends it as ``Authorization: Bearer``. WebSockets are
    requests as well, and so is every file.

    Args:
        app: What answers.
        allowed_hosts: Names by which browsers may reach it, beside ``localhost``.
        token: What is asked for; None: nothing.
        read_only: Whether only what changes nothing is let through.
    """

    def __init__(
        self,
        app: ASGIApp,
        allowed_hosts: Iterable[str],
        token: str | None = None,
        read_only: bool = False,
    ):
        self.app = app
        self._allowed_hosts = {"localhost", *(host.lower() for host in allowed_hosts)}
        self._token = token
        self._read_only = read_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it; WebSockets are requests too."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _FOR_OWN_PAGES.items():
                    headers.setdefault(name, value)
            await send(message)

        if scope["type"] in ("http", "websocket"):
            answer = self._stranger(scope) or await self._at_the_door(scope) or self._asked(scope)
            if answer is None and self._read_only and _is_graphql(scope):
                body, receive = await _read(receive)
                if await anyio.to_thread.run_sync(_holds_mutation, body):
                    answer = _refusal(READ_ONLY, 403, scope)
            if answer is not None:
                if scope["type"] == "websocket":
                    # Without having been accepted, this is a refusal with HTTP 403.
                    await send({"type": "websocket.close", "code": 1008})
                else:
                    await answer(scope, receive, guarded)
                return
        await self.app(scope, receive, guarded)

    def _stranger(self, scope: Scope) -> Response | None:
        """The refusal of what another site's page asks for, or somebody by another name."""
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if not self._is_allowed(host):
            return _refusal(_UNKNOWN_NAME, 403, scope)
        elsewhere = _refusal(_ELSEWHERE, 403, scope)
        # The schemes differ where something before this server speaks https; `null` has none.
        origin = headers.get("origin")
        if origin is not None and origin.lower().partition("://")[2] != host:
            return elsewhere
        site = headers.get("sec-fetch-site", "none")
        followed_link = (
            scope.get("method") in ("GET", "HEAD")
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        )
        if site not in ("none", "same-origin") and not followed_link:
            return elsewhere
        return None

    def _is_allowed(self, host: str) -> bool:
        name = _name(host)
        return name in self._allowed_hosts or _address(name) is not None

    async def _at_the_door(self, scope: Scope) -> Response | None:
        """What is answered to somebody who has not shown the token, or shows it in the address."""
        if self._token is None:
            return None
        headers = Headers(scope=scope)
        asked = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        in_address = [value for name, value in asked if name == _PARAMETER]
        looks = scope.get("method") in ("GET", "HEAD")
        bearer = _bearer(headers)
        has_cookie = self._has_cookie(headers)
        if looks and in_address:
            rest = [(name, value) for name, value in asked if name != _PARAMETER]
            if any(self._is_token(given) for given in in_address):
                return self._let_in(scope, headers, rest)
            if has_cookie:
                return RedirectResponse(_same_place(scope, rest), 303, headers=_OF_THE_DOOR)
        if has_cookie or (bearer is not None and self._is_token(bearer)):
            return None
        wrong = bearer is not None or (looks and any(in_address))
        if wrong:
            await asyncio.sleep(_SECONDS_FOR_A_WRONG_TOKEN)
        common = {**_OF_THE_DOOR, "WWW-Authenticate": "Bearer", "Vary": _VARY}
        if not looks or "text/html" not in headers.get("accept", ""):
            return _refusal(_NO_TOKEN, 401, scope, common)
        spoken = language_of(HTTPConnection(scope))
        page = _door(spoken.code, wrong, asked)
        common |= {"Content-Security-Policy": _POLICY, "Content-Language": spoken.code}
        return HTMLResponse(page, status_code=401, headers=common)

    def _is_token(self, given: str) -> bool:
        """Whether this is the token; it takes as long for one that begins alike."""
        assert self._token is not None  # noqa: S101
        return secrets.compare_digest(given.encode(errors="backslashreplace"), self._token.encode())

    def _cookie(self) -> str:
        """What the cookie holds: whoever reads it there does not get the token itself."""
        assert self._token is not None  # noqa: S101
        return hmac.digest(self._token.encode(), b"panoptic cookie", hashlib.sha256).hex()

    def _has_cookie(self, headers: Headers) -> bool:
        """Whether one of the cookies is ours: another server's may have the same name."""
        name, value = _cookie_name(headers), self._cookie().encode()
        return any(
            secrets.compare_digest(found.encode(errors="backslashreplace"), value)
            for found in _cookies(headers, name)
        )

    def _let_in(self, scope: Scope, headers: Headers, rest: list[tuple[str, str]]) -> Response:
        """Give the cookie, and send on to where the token is not in the address any more."""
        answer = RedirectResponse(_same_place(scope, rest), 303, headers=_OF_THE_DOOR)
        # To what is neither https nor this machine, browsers do not send this header.
        over_https = "sec-fetch-site" in headers and not _is_here(_name(headers.get("host", "")))
        answer.set_cookie(
            _cookie_name(headers),
            self._cookie(),
            path="/",
            httponly=True,
            samesite="strict",
            secure=over_https,
        )
        return answer

    def _asked(self, scope: Scope) -> Response | None:
        """The refusal of what somebody who was let in asks for."""
        # The whole type: `text/plain;application/json` needs no permission either.
        headers = Headers(scope=scope)
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope.get("method") == "POST" and media_type != "application/json":
            return _refusal(_NO_JSON, 415, scope)
        looks = scope.get("method") in ("GET", "HEAD", "OPTIONS")
        if self._read_only and not looks and scope["path"] not in _LOOKED_AT_BY_POST:
            return _refusal(READ_ONLY, 403, scope)
        return None


def _is_graphql(scope: Scope) -> bool:
    return scope.get("method") == "POST" and scope["path"] == _GRAPHQL


async def _read(receive: Receive) -> tuple[bytes, Receive]:
    """The body of a request, and what gives it once more to who answers."""
    first: list[Message] = []
    while not first or first[-1].get("more_body"):
        first.append(await receive())
    body = b"".join(message.get("body", b"") for message in first)

    async def again() -> Message:
        return first.pop(0) if first else await receive()

    return body, again


def _holds_mutation(body: bytes) -> bool:
    """Whether a request to GraphQL holds a mutation, whichever of its operations is asked for.

    What is none of GraphQL holds none: Dagster says what is wrong with it. To a WebSocket
    ``serve.webserver`` says that mutations are refused.
    """
    try:
        query = json.loads(body)["query"]  # as Dagster reads it
        # The word has one spelling, and most queries, of which the UI asks for many, lack it.
        if "mutation" not in query:
            return False
        operations = graphql.parse(query).definitions
    except (ValueError, LookupError, TypeError, RecursionError, graphql.GraphQLError):
        return False
    return any(
        isinstance(operation, graphql.OperationDefinitionNode)
        and operation.operation == graphql.OperationType.MUTATION
        for operation in operations
    )


def _refusal(
    said: Said, status: int, scope: Scope, more: Mapping[str, str] | None = None
) -> Response:
    """An answer of one line, or with its parts as the API gives them to who asks for JSON.

    Args:
        said: Why.
        status: Of HTTP.
        scope: Of the request.
        more: Further headers of the answer.
    """
    asked = HTTPConnection(scope)
    spoken = language_of(asked)
    headers = {**headers_of(spoken), "Vary": _VARY, **(more or {})}
    if "application/json" in asked.headers.get("accept", ""):
        document = {"error": error_document(said, text_of(said), spoken)}
        return JSONResponse(document, status, headers)
    return PlainTextResponse(spoken.message(said), status, headers)


def _name(host: str) -> str:
    """The name or address in a header ``Host``; empty where it holds none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _address(name: str) -> object | None:
    try:
        return ip_address(name)
    except ValueError:
        return None


def _is_here(name: str) -> bool:
    """Whether browsers take a name for their own machine's, which needs no https."""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _bearer(headers: Headers) -> str | None:
    """The token that a program sends; None where something else authorizes, as a proxy's Basic."""
    kind, _, given = headers.get("authorization", "").partition(" ")
    return given.strip() if kind.lower() == "bearer" else None


def _cookie_name(headers: Headers) -> str:
    """Own to the port by which the browser came: to cookies, all ports of a machine are one."""
    try:
        port = urlsplit(f"//{headers.get('host', '')}").port
    except ValueError:
        port = None
    return "panoptic-token" if port is None else f"panoptic-token-{port}"


def _cookies(headers: Headers, name: str) -> Iterator[str]:
    """Each cookie of a name: there may be several, of other paths and older ones."""
    for header in headers.getlist("cookie"):
        for part in header.split(";"):
            found, _, value = part.strip().partition("=")
            if found == name:
                yield value


def _same_place(scope: Scope, query: list[tuple[str, str]]) -> str:
    """The address that was asked for, with another query; never one of another host."""
    # `//evil.example` and `/\evil.example` are other hosts to browsers.
    path = "/" + quote(scope["path"].lstrip("/\\"), safe="/:@!$&'()*+,;=~")
    return f"{path}?{urlencode(query)}" if query else path


def _door(language: str, wrong: bool, asked: list[tuple[str, str]]) -> str:
    """The page of those who are not let in.

    A browser keeps its cookie to itself when a link of another site, or of a message, led here. So
    the page asks once more by itself, now as a page of this server, and says so by an empty token.
    """
    title, what_to_do, button, not_right = _SAID[language]
    again = ""
    if not any(name == _PARAMETER for name, _ in asked):
        query = escape(urlencode([*asked, (_PARAMETER, "")]))
        again = f'<meta http-equiv="refresh" content="0; url=?{query}">'
    kept = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in asked
        if name != _PARAMETER
    )
    return (
        f'<!doctype html><html lang="{language}"><meta charset="utf-8">{again}'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title>"
        "<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;"
        "padding:0 1rem;color-scheme:light dark}input,button{font:inherit}</style>"
        f"<h1>{title}</h1>"
        + (f'<p role="alert">{not_right}</p>' if wrong else "")
        + f'<form><p><label for="token">{what_to_do}</label></p>{kept}'
        f'<p><input type="password" id="token" name="{_PARAMETER}" required autofocus '
        f'autocomplete="off"> <button>{button}</button></p></form></html>'
    )
