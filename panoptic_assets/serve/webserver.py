"""Dagster's web server, the reports and the manual, for browsers that are asked to do harm.

Belongs here: what is served at which address, and to whom. Does not belong here: the processes
(``cli.serve``) and what the reports show (``panoptic_assets.review``).

Dagster asks for no password, and its GraphQL carries out what any request asks, a plain GET
included. So a page of another site could start runs through the browser of whoever has this server
open: :class:`SameOrigin` refuses what a browser says comes from elsewhere. To a name without https
browsers do not say where a picture, a script or a link comes from, so nothing is done for a GET at
all, and what acts must come as JSON, which no page can send to another site without asking first.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from html import escape
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from dagster_webserver.webserver import DagsterWebserver
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from panoptic_assets.serve.manual import manual_routes
from panoptic_assets.spec.keys import parse_run_key
from resources.errors import InputError
from resources.report_folder import MOUNT

if TYPE_CHECKING:
    from panoptic_assets.orchestration.insides import Workspace

_CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
"""Not the system's: they differ between machines, and browsers are told not to guess."""

_POLICY = (
    "default-src 'none'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "script-src {scripts}; font-src 'self'; base-uri 'none'; form-action {forms}; "
    "frame-ancestors 'self'"
)
_MAP = re.compile(r"runs/[^/]+/map\.html")
"""Plotly compiles the functions that draw with WebGL from text, so maps must let it; their data
are numbers and names, never code, and no page may ask anything of any server."""
_SECURITY_HEADERS = {
    "Content-Security-Policy": _POLICY.format(scripts="'self'", forms="'none'"),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_MANUAL_HEADERS = {
    **_SECURITY_HEADERS,
    # Its pages have no script, and a form: the words to look for.
    "Content-Security-Policy": _POLICY.format(scripts="'none'", forms="'self'"),
}
# What is named by its content never changes under that name: see `resources.report_folder`.
_NAMED_BY_CONTENT = re.compile(
    r"static/[^/]+-[0-9a-f]{8}\.[^/]+|thumbnails/[0-9a-f]{2}/[^/]+\.webp"
)
_FOR_EVER = "private, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"

_AS_JSON = "with a JSON body and the header Content-Type: application/json"
_FOR_OWN_PAGES = {
    # A frame could have its buttons clicked, a picture or a script could tell what is here.
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
}
"""Headers of every answer: what browsers do not say when they ask, they can still be told."""


class PanopticWebserver(DagsterWebserver):
    """Dagster's web server, with the reports of a project at
    :data:`resources.report_folder.MOUNT`."""

    def __init__(self, context: "Workspace", reports: Path, allowed_hosts: Iterable[str]):
        self._reports = reports
        self._allowed_hosts = frozenset(allowed_hosts)
        super().__init__(context)

    def build_middleware(self) -> list[Middleware]:
        """Refuse strangers before anything else is done."""
        return [
            Middleware(SameOrigin, allowed_hosts=self._allowed_hosts),
            *super().build_middleware(),
        ]

    def build_routes(self) -> list[BaseRoute]:
        """The project's own first: Dagster's last route answers every path."""
        own = [*report_routes(self._reports), *manual_routes(_MANUAL_HEADERS)]
        return [*own, *super().build_routes()]

    async def graphql_http_endpoint(self, request: Request) -> Response:
        """Carry out what is posted; to a GET, show Dagster's page for trying queries, or refuse.

        Here, and not by the path, since whatever spelling of it gets here would be carried out.
        """
        # The page needs no parameter, and Dagster takes a query from nowhere else.
        if request.method != "POST" and request.query_params:
            return PlainTextResponse(
                f"GraphQL is asked by POST, {_AS_JSON}.", status_code=405, headers={"Allow": "POST"}
            )
        return await super().graphql_http_endpoint(request)

    async def download_notebook(self, request: Request) -> Response:
        """Refuse: Dagster shows any notebook of this machine as a page of its own, scripts too."""
        return PlainTextResponse("This project has no notebooks.", status_code=404)


def report_routes(folder: Path) -> list[BaseRoute]:
    """Routes to the reports in a folder, which need not be there yet."""

    async def to_root(_: object) -> Response:
        return RedirectResponse(f"{MOUNT}/", headers=_SECURITY_HEADERS)

    # A mount does not match its own path without the slash.
    return [Route(MOUNT, to_root), Mount(MOUNT, ReportFiles(folder), name="reports")]


class ReportFiles(StaticFiles):
    """The files of the reports, and nothing else: no listings, no hidden files, no way out."""

    def __init__(self, folder: Path):
        super().__init__(directory=folder, check_dir=False)
        self._folder = folder
        self.config_checked = True  # looks for the folder, which the first report makes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every answer has the security headers."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_SECURITY_HEADERS)
                if _MAP.fullmatch(self.get_path(scope)):
                    policy = _POLICY.format(scripts="'self' 'unsafe-eval'", forms="'none'")
                    headers["Content-Security-Policy"] = policy
                headers.setdefault("Cache-Control", _ASK_AGAIN)
            await send(message)

        await super().__call__(scope, receive, guarded)

    def get_path(self, scope: Scope) -> str:
        """The path as it was asked for: nothing is resolved, what would have to be is refused."""
        return str(scope["path"]).removeprefix(str(scope.get("root_path", ""))).removeprefix("/")

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file, the way to a folder's ``index.html``, or a page that says no."""
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse(
                "Reports can only be read.", status_code=405, headers={"Allow": "GET, HEAD"}
            )
        folder = path.rstrip("/")
        parts = folder.split("/") if folder else []
        # Dots in front: drafts of reports, and what leads upwards.
        if any(not part or part.startswith(".") or re.search(r"[\\\0]", part) for part in parts):
            return _missing(path)
        try:
            if (self._folder / folder / "index.html").is_file():
                # Relative links of the page need its own address.
                place = "".join(f"/{quote(part)}" for part in parts)
                return RedirectResponse(f"{MOUNT}{place}/index.html")
            if folder != path:
                return _missing(path)
            response = await super().get_response(path, scope)
        except (HTTPException, OSError):
            return _missing(path)
        if response.status_code == 200:
            suffix = Path(path).suffix.lower()
            response.headers["Content-Type"] = _CONTENT_TYPES.get(
                suffix, "application/octet-stream"
            )
        named_by_content = _NAMED_BY_CONTENT.fullmatch(path)
        response.headers["Cache-Control"] = _FOR_EVER if named_by_content else _ASK_AGAIN
        return response


def _missing(path: str) -> Response:
    """Page for an address without a report; says how to make one, if one can be made there."""
    kind, _, rest = path.partition("/")
    command = "panoptic-assets report KEY"
    if kind == "runs":
        with suppress(InputError):
            command = f"panoptic-assets report {parse_run_key(rest.split('/')[0])}"
    elif kind == "comparison":
        command = "panoptic-assets compare RUN RUN"
    return HTMLResponse(
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        "<title>No such report</title>"
        "<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;"
        "padding:0 1rem;color-scheme:light dark;overflow-wrap:anywhere}</style>"
        f"<h1>No such report</h1><p>There is nothing at <code>/{escape(path[:200])}</code>.</p>"
        f"<p>To write it: <code>{escape(command)}</code></p>"
        '<p><a href="/assets">To the assets</a> · <a href="/panoptic/manual/">Manual</a></p>'
        "</html>",
        status_code=404,
    )


class SameOrigin:
    """Lets through what comes from this server's own pages, or from no page at all.

    Refused are other names in ``Host``, as they come when a stranger's name is made to resolve to
    this machine (DNS rebinding), and whatever a browser says that another site's page asked for
    (``Origin``, ``Sec-Fetch-Site``), apart from a link that is followed. Addresses are let
    through: only names can be rebound. Tools that are no browsers send neither header.

    A POST must be JSON, its parameters in the address notwithstanding: forms and the like, which
    any page can send anywhere, are none. No answer can be framed or used by another site's page.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Iterable[str]):
        self.app = app
        self._allowed_hosts = {"localhost", *(host.lower() for host in allowed_hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it; WebSockets are requests too."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _FOR_OWN_PAGES.items():
                    headers.setdefault(name, value)
            await send(message)

        if scope["type"] in ("http", "websocket") and (refused := self._refuses(scope)):
            status, reason = refused
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": reason})
            else:
                await PlainTextResponse(reason, status_code=status)(scope, receive, guarded)
            return
        await self.app(scope, receive, guarded)

    def _refuses(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason of a refusal."""
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if not self._is_allowed(host):
            return 403, (
                "This server does not know the name that you reached it by. Use its address, or "
                "start it with --allowed-host NAME."
            )
        elsewhere = 403, "Refused: another site's page asked for this."
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
        # The whole type: `text/plain;application/json` needs no permission either.
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope.get("method") == "POST" and media_type != "application/json":
            return 415, f"Refused: what is posted must come {_AS_JSON}."
        return None

    def _is_allowed(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        try:
            ip_address(name)
        except ValueError:
            return name in self._allowed_hosts
        return True
