"""The pages of a project, made when they are asked for, so that they are never stale.

Belongs here: HTTP, that is addresses, statuses and headers of pages, and of the files that they
load. Does not belong here: what the pages show (``serve.…_page``), and acts, which their scripts
ask for at the API (``serve.api``).
"""

import functools
import hashlib
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Receive, Scope, Send

from panoptic_assets.project import Project
from panoptic_assets.review.pages import TEMPLATES, environment
from panoptic_assets.serve.api import asked_by, status_of
from panoptic_assets.serve.asking import COOKIE, language_of
from panoptic_assets.serve.compare_page import COMPARE_PAGES
from panoptic_assets.serve.form_page import FORM_PAGES
from panoptic_assets.serve.history_page import HISTORY_PAGES
from panoptic_assets.serve.home_page import HOME_PAGES
from panoptic_assets.serve.image_page import IMAGE_PAGES
from panoptic_assets.serve.map_page import MAP_PAGES
from panoptic_assets.serve.page_address import PAGES, LiveAddresses, PageAddress
from panoptic_assets.serve.report_places import live_page
from panoptic_assets.serve.run_page import RUN_PAGES
from panoptic_assets.serve.tag_page import TAG_PAGES
from panoptic_assets.serve.who import who
from panoptic_assets.spec.languages import LANGUAGES, Language, language
from panoptic_assets.spec.people import system_user
from resources.errors import InputError
from resources.report_folder import LIVE

if TYPE_CHECKING:
    import jinja2

LIVE_PAGES: tuple[PageAddress, ...] = (
    *HOME_PAGES,
    *FORM_PAGES,
    *RUN_PAGES,
    *MAP_PAGES,
    *COMPARE_PAGES,
    *IMAGE_PAGES,
    *TAG_PAGES,
    *HISTORY_PAGES,
)
"""In the order in which addresses are compared with them."""

STATIC = "/panoptic/static"
"""Where the files are that pages load."""

_HERE = Path(__file__).parent
_FOLDERS = (_HERE / "static", TEMPLATES.parent / "static")
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
_FOR_EVER = "private, max-age=31536000, immutable"
_POLICY = (
    "default-src 'none'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self'; connect-src 'self'; font-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'self'"
)
_READING = 6
"""Pages that are made at the same time."""
_SECONDS_BETWEEN_STEPS = 0.02
"""Of what is loaded before it is asked for; each takes about as long."""


@functools.cache
def static_version() -> str:
    """A hash of all files that pages load, the catalogues among them: a part of their addresses."""
    found = hashlib.sha256()
    for folder in _FOLDERS:
        for file in sorted(folder.iterdir()):
            if file.suffix in _TYPES:
                found.update(file.name.encode() + file.read_bytes())
    for code in LANGUAGES:
        found.update(_texts(language(code)))
    return found.hexdigest()[:12]


def _texts(spoken: Language) -> bytes:
    """The texts of scripts in a language, as a module that they import."""
    return f"export default {json.dumps(spoken.texts(), ensure_ascii=True)};\n".encode("ascii")


def static_routes(headers: Mapping[str, str]) -> list[BaseRoute]:
    """The route to the files that pages load.

    A file's address holds the version of all of them, so that modules name each other without, and
    the language, since one of them has its texts.

    Args:
        headers: Of every answer.
    """
    common = {**headers, "Cache-Control": _FOR_EVER}

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        spoken = request.path_params["language"]
        if request.path_params["version"] != static_version() or spoken not in LANGUAGES:
            # A page that was opened before an upgrade: it must not keep the wrong file for ever.
            gone = "There is no such file here any more: load the page again."
            return PlainTextResponse(gone, 404, headers={**headers, "Cache-Control": "no-store"})
        if name == "texts.js":
            found: bytes | None = _texts(language(spoken))
        else:
            found = _file(name)
        if found is None:
            return PlainTextResponse("There is no such file.", 404, headers=headers)
        return Response(found, media_type=_TYPES[Path(name).suffix], headers=common)

    return [Route(f"{STATIC}/{{version}}/{{language}}/{{name}}", static, methods=["GET"])]


@functools.lru_cache(maxsize=64)
def _file(name: str) -> bytes | None:
    if Path(name).suffix not in _TYPES or "/" in name or "\\" in name:
        return None
    for folder in _FOLDERS:
        if (folder / name).is_file():
            return (folder / name).read_bytes()
    return None


class ProjectPages:
    """The pages of one project, as an ASGI application.

    Args:
        folder: The project's.
        headers: Of every answer.
        read_only: Whether nothing can be done there.
    """

    def __init__(self, folder: Path, headers: Mapping[str, str], read_only: bool = False):
        self._folder = folder
        self._headers = dict(headers)
        self._read_only = read_only
        self.corpus = Project(folder).layout.corpus
        self._reading = anyio.CapacityLimiter(_READING)
        self._nb_asked = 0
        """Requests that wait for their answer."""
        routes = [self._route(page) for page in LIVE_PAGES]
        routes.append(Route("/language/{code}", self._choose_language, methods=["GET"]))
        self._router = Router(routes, redirect_slashes=False, default=self._nothing_there)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever is refused, with a page that says why."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        self._nb_asked += 1
        try:
            await self._answered(scope, receive, send)
        finally:
            self._nb_asked -= 1

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["path_params"]["corpus"] != self.corpus:
                raise _no_such_page(scope)
            await self._router(scope, receive, send)
        except Exception as error:
            request = Request(scope)
            answer = await self._refused(request, error)
            await answer(scope, receive, send)

    def warm_up(self, ending: threading.Event) -> None:
        """Load what pages need before somebody asks for one: modules, catalogues, templates.

        All templates are compiled in each language, and the first page and one of a run are made
        for nobody. A page that somebody asks for goes before the next of these steps.

        Args:
            ending: Set when nothing more shall be begun.
        """
        for step in self._steps_to_warm():
            # Python runs one thread at a time: who asks meanwhile would wait for both.
            while not ending.wait(_SECONDS_BETWEEN_STEPS) and self._nb_asked:
                pass
            if ending.is_set():
                return
            # What ails the project is said to who asks for the page.
            with suppress(Exception):
                step()

    def _steps_to_warm(self) -> Iterator[Callable[[], object]]:
        for code in LANGUAGES:
            yield functools.partial(_texts, language(code))
            templates = _templates(language(code))
            for name in templates.list_templates(("html",)):
                yield functools.partial(templates.get_template, name)
        by_path = {page.path: page for page in LIVE_PAGES}
        for code in LANGUAGES:
            to = LiveAddresses(self.corpus, language(code), self._read_only)
            yield functools.partial(self._made_for_nobody, by_path[""], {}, to)
            yield functools.partial(self._made_of_a_run, by_path["runs/{key}"], to)

    def _made_of_a_run(self, page: PageAddress, to: LiveAddresses) -> None:
        runs = Project(self._folder).runs()
        newest = max(runs, key=lambda run: run["finished_at"], default=None)
        if newest is not None:
            self._made_for_nobody(page, {"key": newest["run_key"]}, to)

    def _made_for_nobody(
        self, page: PageAddress, asked: Mapping[str, str], to: LiveAddresses
    ) -> None:
        place = f"{to.base}/{page.path.format(**asked)}"
        request = Request({"type": "http", "path": place, "query_string": b"", "headers": []})
        self._made(page, request, page.asked.model_validate(asked), to)

    def routes_to_home(self) -> list[BaseRoute]:
        """The routes that lead to the first page."""

        async def to_home(_: Request) -> Response:
            return RedirectResponse(f"{PAGES.format(corpus=self.corpus)}/", 303, self._headers)

        async def to_page(request: Request) -> Response:
            query = f"?{request.url.query}" if request.url.query else ""
            page = f"{PAGES.format(corpus=self.corpus)}/{quote(request.path_params['page'])}"
            return RedirectResponse(page + query, 303, self._headers)

        return [
            Route("/panoptic", to_home),
            Route("/panoptic/", to_home),
            Route(PAGES.format(corpus=self.corpus), to_home),
            Route(f"{LIVE}/{{page:path}}", to_page),
        ]

    async def instead_of(self, place: str) -> str | None:
        """Where the live page is that shows what a page of a written report would.

        Args:
            place: Of the report's page, below the reports.

        Returns:
            Its address; None of what is no page.
        """
        found = await anyio.to_thread.run_sync(
            lambda: live_page(Project(self._folder).snapshot(), place), limiter=self._reading
        )
        return None if found is None else f"{PAGES.format(corpus=self.corpus)}/{found}"

    def _route(self, page: PageAddress) -> Route:
        path = page.path
        for name in ("key", "node"):  # these have slashes
            path = path.replace(f"{{{name}}}", f"{{{name}:path}}")
        return Route(f"/{path}", self._showing(page), methods=["GET"])

    def _showing(self, page: PageAddress) -> Callable[[Request], Awaitable[Response]]:
        async def show(request: Request) -> Response:
            asked = asked_by(request, page.asked)
            to = LiveAddresses(self.corpus, language_of(request), self._read_only)
            body = await anyio.to_thread.run_sync(
                lambda: self._made(page, request, asked, to), limiter=self._reading
            )
            return self._answer(request, to, body)

        return show

    def _made(self, page: PageAddress, request: Request, asked: Any, to: LiveAddresses) -> bytes:
        project = Project(self._folder, worker="all").snapshot()
        return self._written(page, request, to, page.shown(project, asked, to))

    def _written(
        self, page: PageAddress, request: Request, to: LiveAddresses, values: Mapping[str, object]
    ) -> bytes:
        static = f"{STATIC}/{static_version()}/{to.language.code}"
        template = _templates(to.language).get_template(page.template)
        text = template.render(
            **{"seen": {}, **values},
            to=to,
            static=static,
            modules=page.scripts,
            sheets=page.styles,
            languages=LANGUAGES,
            author=who(request),
            acts_as=who(request) or system_user(),
            place=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
        )
        # A name of a file may hold bytes that are no text.
        return text.encode("utf-8", "backslashreplace")

    def _answer(
        self,
        request: Request,
        to: LiveAddresses,
        body: bytes,
        status: int = 200,
    ) -> Response:
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {
            **self._headers,
            "Content-Security-Policy": _POLICY,
            "Content-Language": to.language.code,
            "Cache-Control": "private, no-cache",
            "Vary": "Accept-Language, Cookie",
            "ETag": tag,
        }
        if status == 200 and tag == request.headers.get("if-none-match"):
            return Response(status_code=304, headers=headers)
        return HTMLResponse(body, status, headers)

    async def _choose_language(self, request: Request) -> Response:
        """Keep the language of the switch, and show the page again on which it was used."""
        code = request.path_params["code"]
        back = request.query_params.get("to", "")
        base = PAGES.format(corpus=self.corpus)
        # Nothing but a page of this project: two slashes would be another site.
        place = back if back.startswith(f"{base}/") else f"{base}/"
        answer = RedirectResponse(place, 303, {**self._headers, "Cache-Control": "no-store"})
        if code in LANGUAGES:
            answer.set_cookie(COOKIE, code, max_age=365 * 24 * 3600, path="/", samesite="strict")
        return answer

    async def _nothing_there(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise _no_such_page(scope)

    async def _refused(self, request: Request, error: Exception) -> Response:
        to = LiveAddresses(self.corpus, language_of(request), self._read_only)
        if isinstance(error, HTTPException):
            return PlainTextResponse(
                "Pages can only be read.", error.status_code, {**self._headers, "Allow": "GET"}
            )
        if isinstance(error, InputError):
            status, said = status_of(error, request.method), error.message
        else:
            logging.getLogger(__name__).error("%s failed.", request.url.path, exc_info=error)
            failed = InputError(
                "This page cannot be made, for a reason that is none of yours: the log of the "
                "server has more.",
                id="page-failed",
            )
            status, said = 500, failed.message
        page = PageAddress("", "refused.html", type(None), lambda *_: {})  # type: ignore[arg-type]
        body = await anyio.to_thread.run_sync(
            lambda: self._written(page, request, to, {"said": said, "status": status})
        )
        return self._answer(request, to, body, status=status)


def _templates(spoken: Language) -> "jinja2.Environment":
    return environment(_HERE / "templates", TEMPLATES, language=spoken)


def _no_such_page(scope: Scope) -> InputError:
    return InputError(
        "There is no page at {path!r}: the first page leads to all that there are.",
        id="no-such-page",
        path=scope["path"][:200],
    )
