"""Dagster's web server, the reports and the manual, for browsers that are asked to do harm.

Belongs here: what is served at which address. Does not belong here: to whom (``serve.guard``), the
processes (``cli.ui_process``) and what the reports show (``panoptic_assets.review``).
"""

import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager, suppress
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio
from dagster_webserver.webserver import DagsterWebserver
from graphql import ASTValidationRule, GraphQLError, OperationDefinitionNode, OperationType
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from panoptic_assets.serve.api import API, ProjectApi
from panoptic_assets.serve.asking import headers_of, language_of
from panoptic_assets.serve.guard import READ_ONLY, Guard
from panoptic_assets.serve.live_pages import ProjectPages, static_routes
from panoptic_assets.serve.manual import manual_routes
from panoptic_assets.serve.page_address import PAGES
from panoptic_assets.serve.who import who_routes
from panoptic_assets.spec.keys import parse_run_key
from panoptic_assets.spec.languages import Language
from resources.errors import InputError, text_of
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
_SECONDS_TO_SETTLE = 2.0
"""After the start, in which a browser that was opened by it asks for the first page."""
_SECONDS_TO_STOP = 5.0
"""In which a page that is made for nobody is there."""

LivePageOf = Callable[[str], Awaitable[str | None]]
"""Gives the address of a live page for the place of a report's page, or None."""


class PanopticWebserver(DagsterWebserver):
    """Dagster's web server, with the reports of a project at
    :data:`resources.report_folder.MOUNT`.

    Args:
        context: The workspace.
        reports: The folder of the reports.
        allowed_hosts: Names by which browsers may reach the server, beside ``localhost``.
        token: What is asked for at the door; None: nothing.
        folder: Of the project whose API is served; None: no API.
    """

    def __init__(
        self,
        context: "Workspace",
        reports: Path,
        allowed_hosts: Iterable[str],
        token: str | None = None,
        folder: Path | None = None,
    ):
        self._reports = reports
        self._api = None if folder is None else ProjectApi(folder)
        self._pages = (
            None if folder is None else ProjectPages(folder, _SECURITY_HEADERS, context.read_only)
        )
        self._allowed_hosts = frozenset(allowed_hosts)
        self._token = token
        self._read_only = context.read_only
        self._ending = threading.Event()
        self._warming: threading.Thread | None = None
        super().__init__(context)

    def build_middleware(self) -> list[Middleware]:
        """Refuse strangers before anything else is done."""
        guard = Middleware(
            Guard,
            allowed_hosts=self._allowed_hosts,
            token=self._token,
            read_only=self._read_only,
        )
        return [guard, *super().build_middleware()]

    def build_graphql_validation_rules(self) -> Collection[type[ASTValidationRule]]:
        """Dagster's; where nothing may be changed, no mutation passes them.

        That is for WebSockets: of what is posted, ``serve.guard`` lets no mutation through.
        Dagster's own permissions leave some open, such as ``setNuxSeen``.
        """
        rules = super().build_graphql_validation_rules()
        return [*rules, _NoMutations] if self._read_only else rules

    def build_routes(self) -> list[BaseRoute]:
        """The project's own first: Dagster's last route answers every path."""
        own = [
            *report_routes(self._reports, self._pages.instead_of if self._pages else None),
            *manual_routes(_MANUAL_HEADERS),
            *who_routes(_SECURITY_HEADERS),
        ]
        if self._api is not None and self._pages is not None:
            # A project is never called as one of the others is.
            own += [
                *static_routes(_SECURITY_HEADERS),
                *self._pages.routes_to_home(),
                Mount(API, self._api, name="api"),
                Mount(PAGES, self._pages, name="pages"),
            ]
        return [*own, *super().build_routes()]

    def create_asgi_app(self, **kwargs: Any) -> Starlette:
        """The application, at whose end the acts that it was asked for are stopped."""
        return super().create_asgi_app(lifespan=self._until_the_end, **kwargs)

    def warm_up(self) -> None:
        """Load what pages need, beside what is served: it takes a second of CPU, once.

        Not at once: who waits for the server to start asks then, and would wait longer.
        """
        if self._pages is not None:
            pages = self._pages

            def warm() -> None:
                if not self._ending.wait(_SECONDS_TO_SETTLE):
                    pages.warm_up(self._ending)

            self._warming = threading.Thread(target=warm, name="warm up", daemon=True)
            self._warming.start()

    def stop_acts(self) -> None:
        """Stop the acts that go on, since the server ends; who waits for one is told."""
        if self._api is not None:
            self._api.close()

    @asynccontextmanager
    async def _until_the_end(self, _: Starlette) -> AsyncIterator[None]:
        yield
        self._ending.set()
        if self._warming is not None:
            # A thread that the end of Python stops inside of a library may end with a crash.
            await anyio.to_thread.run_sync(self._warming.join, _SECONDS_TO_STOP)
        self.stop_acts()

    async def graphql_http_endpoint(self, request: Request) -> Response:
        """Carry out what is posted; to a GET, show Dagster's page for trying queries, or refuse.

        Here, and not by the path, since whatever spelling of it gets here would be carried out.
        """
        # The page needs no parameter, and Dagster takes a query from nowhere else.
        if request.method != "POST" and request.query_params:
            return PlainTextResponse(
                "GraphQL is asked by POST, with a JSON body and the header Content-Type: "
                "application/json.",
                status_code=405,
                headers={"Allow": "POST"},
            )
        return await super().graphql_http_endpoint(request)

    async def download_notebook(self, request: Request) -> Response:
        """Refuse: Dagster shows any notebook of this machine as a page of its own, scripts too."""
        return PlainTextResponse("This project has no notebooks.", status_code=404)


class _NoMutations(ASTValidationRule):
    """Refuses a document that holds a mutation, whichever of its operations is asked for."""

    def enter_operation_definition(self, node: OperationDefinitionNode, *_: object) -> None:
        """Called by GraphQL for each operation of a document."""
        if node.operation == OperationType.MUTATION:
            self.report_error(GraphQLError(text_of(READ_ONLY), node))


def report_routes(folder: Path, live: LivePageOf | None = None) -> list[BaseRoute]:
    """Routes to the reports in a folder, which need not be there yet.

    Args:
        folder: Theirs.
        live: Gives the address of the live page that shows what a page of a report would, which is
            not there; None where there is none.
    """

    async def to_root(_: object) -> Response:
        return RedirectResponse(f"{MOUNT}/", headers=_SECURITY_HEADERS)

    # A mount does not match its own path without the slash.
    return [Route(MOUNT, to_root), Mount(MOUNT, ReportFiles(folder, live), name="reports")]


class ReportFiles(StaticFiles):
    """The files of the reports, and nothing else: no listings, no hidden files, no way out.

    Args:
        folder: Theirs.
        live: As of :func:`report_routes`.
    """

    def __init__(self, folder: Path, live: LivePageOf | None = None):
        super().__init__(directory=folder, check_dir=False)
        self._folder = folder
        self._live = live
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
            return _missing(path, language_of(HTTPConnection(scope)))
        try:
            if (self._folder / folder / "index.html").is_file():
                # Relative links of the page need its own address.
                place = "".join(f"/{quote(part)}" for part in parts)
                return RedirectResponse(f"{MOUNT}{place}/index.html")
            if folder != path:
                return await self._instead(path, scope)
            response = await super().get_response(path, scope)
        except (HTTPException, OSError):
            return await self._instead(path, scope)
        if response.status_code == 200:
            suffix = Path(path).suffix.lower()
            response.headers["Content-Type"] = _CONTENT_TYPES.get(
                suffix, "application/octet-stream"
            )
        named_by_content = _NAMED_BY_CONTENT.fullmatch(path)
        response.headers["Cache-Control"] = _FOR_EVER if named_by_content else _ASK_AGAIN
        return response

    async def _instead(self, path: str, scope: Scope) -> Response:
        """The way to the live page that shows what is not there, or a page that says no."""
        found = None if self._live is None else await self._live(path)
        if found is None:
            return _missing(path, language_of(HTTPConnection(scope)))
        return RedirectResponse(found, 303)


def _missing(path: str, spoken: Language) -> Response:
    """Page for an address without a report; says how to make one, if one can be made there."""
    kind, _, rest = path.partition("/")
    command = "panoptic-assets report KEY"
    if kind == "runs":
        with suppress(InputError):
            command = f"panoptic-assets report {parse_run_key(rest.split('/')[0])}"
    elif kind == "comparison":
        command = "panoptic-assets compare RUN RUN"
    say = spoken.gettext
    title = escape(say("No such report"))
    nothing = escape(say("There is nothing at {address}.")).format(
        address=f"<code>/{escape(path[:200])}</code>"
    )
    to_write = escape(say("To write it: {command}")).format(
        command=f"<code>{escape(command)}</code>"
    )
    return HTMLResponse(
        f'<!doctype html><html lang="{spoken.code}"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title>"
        "<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;"
        "padding:0 1rem;color-scheme:light dark;overflow-wrap:anywhere}</style>"
        f"<h1>{title}</h1><p>{nothing}</p><p>{to_write}</p>"
        f'<p><a href="/assets">{escape(say("To the assets"))}</a> · '
        f'<a href="/panoptic/manual/">{escape(say("Manual"))}</a></p></html>',
        status_code=404,
        headers=headers_of(spoken),
    )
