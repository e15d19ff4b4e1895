"""The API of a project below :data:`API`: reading, acts with their events, pictures, downloads.

Belongs here: HTTP, that is addresses, bodies, statuses and headers. Does not belong here: what is
told (``serve.api_reads``), what can be done (``serve.api_acts``), and who is let in
(``serve.guard``), which stands before it.

Nothing here waits for the disk on the event loop: the store is read in threads, some at a time, so
that pages come while a comparison is computed.

Long because each kind of answer (reading, act, stream, picture, download) has its statuses here.
"""

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar, get_origin
from urllib.parse import quote

import anyio
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from panoptic_assets.project import Project
from panoptic_assets.serve.api_acts import (
    ACT_ADDRESSES,
    SMALL,
    ActAddress,
    PlainAct,
    as_asked,
    field_of,
)
from panoptic_assets.serve.api_reads import READS, ReadAddress
from panoptic_assets.serve.asking import headers_of, language_of
from panoptic_assets.serve.downloads import DOWNLOADS, Download
from panoptic_assets.serve.json_documents import read_document, write_document
from panoptic_assets.serve.ongoing import ACT_ID, Ongoing, OngoingAct, error_document
from panoptic_assets.serve.openapi import openapi_document
from panoptic_assets.serve.previews import (
    PICTURES,
    SECONDS,
    PictureGoneError,
    Previews,
    preview_is_slow,
)
from panoptic_assets.serve.who import who
from panoptic_assets.spec.fields import Parameters
from panoptic_assets.spec.languages import Language
from panoptic_assets.spec.people import system_user
from resources.errors import InputError, UnavailableError

T = TypeVar("T")

API = "/panoptic/{corpus}/api"
"""Where the API of a project is; the corpus is the project's name in addresses."""

NEWEST = 100
"""Acts in the list of them."""
_READING = 8
"""Requests that read the store at the same time."""
_WRITING_FILES = 2
"""Downloads that are made at the same time."""
_READING_LARGE_BODIES = 2
"""Bodies of more than a megabyte that are taken in at the same time: one of 45 MB takes 100."""
_SECONDS_FOR_BODY = 120.0
"""In which all of a body must come, once it is being read."""
_PIECE = 2**18
"""Bytes of a download that are sent at once."""
_ASK_AGAIN = "5"
"""Seconds after which something may be possible that is not now."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_FOR_EVER = "private, max-age=31536000, immutable"

_STATUSES = {
    "changed-meanwhile": 409,
    "no-image-of-id": 404,
    "no-ongoing-act": 404,
    "no-such-address": 404,
    "no-such-page": 404,
    "no-tag-of-id": 404,
    "request-malformed": 400,
    "request-not-json": 415,
    "request-too-large": 413,
    "request-too-slow": 408,
    "wrong-http-method": 405,
    "worker-ended": 503,
}
_MISSING = frozenset({"no-such-clustering", "no-such-node", "no-such-property", "no-such-sweep"})
"""What an address that is read may name and is not there. Of an act it is a field that is wrong."""


class ProjectApi:
    """The API of one project, as an ASGI application.

    Args:
        folder: The project's.

    Raises:
        InputError: There is no project there, or its store cannot be opened.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        project = Project(folder)
        self._corpus = project.layout.corpus
        self._ongoing = Ongoing()
        self._reading = anyio.CapacityLimiter(_READING)
        self._writing_files = anyio.CapacityLimiter(_WRITING_FILES)
        self._reading_large_bodies = anyio.CapacityLimiter(_READING_LARGE_BODIES)
        self._previews = Previews(
            project.store, project.context.source, folder=project.layout.previews
        )
        self._described: bytes | None = None
        self.routes = self._routes()
        self._router = Router(self.routes, redirect_slashes=False, default=_nothing_there)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever is refused, with an error as JSON."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        try:
            if scope["path_params"]["corpus"] != self._corpus:
                raise _no_such_address(scope)
            await self._router(scope, receive, guarded)
        except ClientDisconnect:
            return
        except Exception as error:
            if started:  # what was begun cannot be taken back: the connection ends
                raise
            await _refusal(error, scope)(scope, receive, guarded)

    def close(self) -> None:
        """Stop the acts that go on, and begin nothing more: the server ends."""
        self._ongoing.close()
        self._previews.close()

    def _routes(self) -> list[Route]:
        """A route for each of the tables' addresses, and those of acts."""

        def route(
            path: str, endpoint: Callable[[Request], Awaitable[Response]], method: str = "GET"
        ) -> Route:
            for name in ("key", "node"):  # these have slashes
                path = path.replace(f"{{{name}}}", f"{{{name}:path}}")
            return Route(f"/{path}", endpoint, methods=[method])

        return [
            *(
                route(f"acts/{act.name}", self._doing(act), "POST")
                for act in ACT_ADDRESSES.values()
            ),
            *(
                route(f"check/{act.name}", self._checking(act), "POST")
                for act in ACT_ADDRESSES.values()
                if act.check is not None
            ),
            route("acts", self._acts),
            route("acts/{act}", self._act),
            route("acts/{act}/events", self._events),
            route("acts/{act}/cancel", self._cancel, "POST"),
            route("openapi.json", self._openapi),
            *(route(read.path, self._telling(read)) for read in READS),
            *(route(download.path, self._sending(download)) for download in DOWNLOADS),
            *(route(picture.path, self._showing(picture.asked)) for picture in PICTURES),
        ]

    @property
    def _address(self) -> str:
        return API.format(corpus=self._corpus)

    def _open(self) -> Project:
        return Project(self._folder, worker="all")

    async def _read(self, read: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(read, limiter=self._reading)

    # What is read.

    def _telling(self, read: ReadAddress) -> Callable[[Request], Awaitable[Response]]:
        async def tell(request: Request) -> Response:
            asked = asked_by(request, read.asked)
            return _told(
                request,
                await self._read(
                    lambda: write_document(read.answer(self._open().snapshot(), asked))
                ),
            )

        return tell

    async def _openapi(self, request: Request) -> Response:
        def described() -> bytes:
            return write_document(openapi_document(self._address, READS, ACT_ADDRESSES.values()))

        if self._described is None:
            self._described = await self._read(described)
        return _told(request, self._described)

    def _showing(self, kind: type[Parameters]) -> Callable[[Request], Awaitable[Response]]:
        async def show(request: Request) -> Response:
            asked: Any = asked_by(request, kind)
            side = getattr(asked, "size", 0)
            if side:
                # Others may wait for the same one.
                making = asyncio.wrap_future(self._previews.preview(asked.image_id, side))
                try:
                    picture = await asyncio.wait_for(asyncio.shield(making), SECONDS)
                except TimeoutError as error:
                    raise preview_is_slow() from error
            else:
                picture = await self._read(lambda: self._previews.thumbnail(asked.image_id))
            headers = {"Cache-Control": _FOR_EVER, "ETag": f'"{asked.image_id}-{side}"'}
            return Response(picture, media_type="image/webp", headers=headers)

        return show

    def _sending(self, download: Download) -> Callable[[Request], Awaitable[Response]]:
        async def send(request: Request) -> Response:
            asked = asked_by(request, download.asked)
            name, file = await anyio.to_thread.run_sync(
                lambda: download.made(self._open().snapshot(), asked), limiter=self._writing_files
            )
            headers = {
                "Cache-Control": "no-store",
                "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}",
                "Content-Length": str(os.fstat(file.fileno()).st_size),
            }
            return StreamingResponse(
                _pieces(file), media_type="application/octet-stream", headers=headers
            )

        return send

    # Acts.

    def _doing(self, address: ActAddress) -> Callable[[Request], Awaitable[Response]]:
        async def do(request: Request) -> Response:
            asked = await self._asked_act(request, address)
            author = who(request) or system_user()
            act = self._ongoing.start(
                address.name,
                author,
                lambda act: self._carried_out(address, asked, act),
                address.takes_long,
                language_of(request),
                request.headers.get(ACT_ID, ""),
            )
            await act.answered()
            if act.refusal is not None:
                self._ongoing.forget(act)
                raise act.refusal
            return self._summary(act, 202)

        return do

    def _checking(self, address: ActAddress) -> Callable[[Request], Awaitable[Response]]:
        async def check(request: Request) -> Response:
            asked = await self._asked_act(request, address)
            spoken = language_of(request)
            told = await self._read(lambda: self._checked(address, asked, spoken))
            headers = {"Cache-Control": "no-store", **headers_of(spoken)}
            return Response(told, media_type="application/json", headers=headers)

        return check

    def _checked(self, address: ActAddress, asked: PlainAct, spoken: Language) -> bytes:
        said: list[str] = []
        project = Project(self._folder, report=said.append, seen=asked.seen, worker="all")
        assert address.check is not None  # noqa: S101
        told = address.check(project.snapshot(), asked)
        notes = [spoken.note(note) for note in dict.fromkeys([*said, *told["notes"]])]
        return write_document({**told, "notes": notes})

    async def _asked_act(self, request: Request, address: ActAddress) -> PlainAct:
        large = address.longest > SMALL
        async with self._reading_large_bodies if large else nullcontext():
            body = await _body(request, address.longest)
            return await self._read(lambda: address.read(read_document(body)))

    def _carried_out(self, address: ActAddress, asked: PlainAct, act: OngoingAct) -> Any:
        project = Project(
            self._folder, reporter=act, author=act.author, seen=asked.seen, worker="all"
        )
        act.cancelled_by(project.cancel)
        before = self._acts_of(act.author)
        result = address.do(project, asked)
        act.undo = [done for done in self._acts_of(act.author) if done not in before]
        return _with_notes_in(act.language, result)

    def _acts_of(self, author: str) -> dict[str, None]:
        """Ids of what somebody has done, the oldest first; those that are undone are left out."""
        history = self._open().snapshot().history()
        return {act["id"]: None for act in history if act["author"] == author and not act["undone"]}

    async def _acts(self, request: Request) -> Response:
        newest = [self._summary_of(act) for act in self._ongoing.newest(NEWEST)]
        return _told(request, write_document({"rows": newest, "now": datetime.now(UTC)}))

    async def _act(self, request: Request) -> Response:
        return self._summary(self._ongoing.get(request.path_params["act"]))

    async def _cancel(self, request: Request) -> Response:
        act = self._ongoing.get(request.path_params["act"])
        read_document(await _body(request, _PIECE))
        await anyio.to_thread.run_sync(act.cancel)
        return self._summary(act, 202)

    async def _events(self, request: Request) -> Response:
        act = self._ongoing.get(request.path_params["act"])
        given = request.headers.get("last-event-id", "")
        after = int(given) if given.isdecimal() and len(given) < 16 else 0
        if act.has_ended and not act.told_after(after):
            return Response(status_code=204)  # by which a browser's EventSource asks no more
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        if request.method == "HEAD":
            return Response(headers=headers, media_type="text/event-stream")
        return StreamingResponse(act.events(after), media_type="text/event-stream", headers=headers)

    def _summary_of(self, act: OngoingAct) -> dict[str, Any]:
        return {**act.summary(), "events": f"{self._address}/acts/{act.id}/events"}

    def _summary(self, act: OngoingAct, status: int = 200) -> Response:
        said = write_document(self._summary_of(act))
        if act.result is not None:
            said = b'%s,"result":%s}' % (said[:-1], act.result)
        return Response(
            said, status, media_type="application/json", headers={"Cache-Control": "no-store"}
        )


def _with_notes_in(language: Language, result: Any) -> Any:
    """What an act answers, with its notes, which are kept in English, in a person's language."""
    if isinstance(result, list):
        return [_with_notes_in(language, part) for part in result]
    if is_dataclass(result):
        given = {part.name: getattr(result, part.name) for part in fields(result)}
        parts = {name: part for name, part in given.items() if is_dataclass(part)}
        result = given | {name: _with_notes_in(language, part) for name, part in parts.items()}
    if isinstance(result, dict) and isinstance(result.get("notes"), list | tuple):
        return {**result, "notes": [language.note(note) for note in result["notes"]]}
    return result


def asked_by(request: Request, kind: type[Parameters]) -> Any:
    """What an address and its query ask for.

    Raises:
        InputError: Something is missing, unknown or out of its limits.
    """
    given: dict[str, Any] = dict(request.path_params)
    del given["corpus"]
    for name in request.query_params:
        values = request.query_params.getlist(name)
        if name in given:
            values.insert(0, given[name])
        field = kind.model_fields.get(name)
        many = field is not None and get_origin(field.annotation) is list
        given[name] = values if many or len(values) > 1 else values[0]
    return as_asked(kind, given)


async def _body(request: Request, longest: int) -> bytes:
    """The body of a request.

    Raises:
        InputError: It is none of JSON, too long, or does not come.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise InputError(
            "What is posted must come as JSON, with the header Content-Type: application/json.",
            id="request-not-json",
        )
    parts, length = [], 0
    try:
        async with asyncio.timeout(_SECONDS_FOR_BODY):
            async for part in request.stream():
                parts.append(part)
                length += len(part)
                if length > longest:
                    raise InputError(
                        "The body of the request has more than {longest} bytes, which is the "
                        "limit here.",
                        id="request-too-large",
                        longest=longest,
                    )
    except TimeoutError as error:
        raise InputError(
            "The body of the request did not come within {seconds:.0f} seconds: send it again.",
            id="request-too-slow",
            seconds=_SECONDS_FOR_BODY,
        ) from error
    return b"".join(parts)


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    """The content of a file, which is closed at the end, also if nobody waits for it any more."""
    with file:
        while piece := await anyio.to_thread.run_sync(file.read, _PIECE):
            yield piece


def _told(request: Request, body: bytes) -> Response:
    """A document that may be another one the next time, or that it is the one that is known."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    known = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in known or f"W/{tag}" in known:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


async def _nothing_there(scope: Scope, receive: Receive, send: Send) -> None:
    raise _no_such_address(scope)


def _no_such_address(scope: Scope) -> InputError:
    return InputError(
        "There is nothing at {path!r}: openapi.json lists what there is.",
        id="no-such-address",
        path=scope["path"][:200],
    )


def _refusal(error: Exception, scope: Scope) -> Response:
    """The answer that says why there is no other."""
    headers: Mapping[str, str] = {}
    if isinstance(error, HTTPException):
        headers = error.headers or {}
        error = InputError(
            "{path!r} is not asked by {method}.",
            id="wrong-http-method",
            path=scope["path"][:200],
            method=scope["method"],
        )
    if not isinstance(error, InputError):
        logging.getLogger(__name__).error("%s failed.", scope["path"], exc_info=error)
        error = InputError(
            "The server failed, for a reason that is none of yours: its log has more.",
            id="server-failed",
        )
        status = 500
    else:
        status = status_of(error, scope["method"])
    if status == 503:
        headers = {"Retry-After": _ASK_AGAIN}
    spoken = language_of(HTTPConnection(scope))
    said: dict[str, Any] = {"error": error_document(error.message, str(error), spoken)}
    if field := field_of(error):
        said["field"] = field
    headers = {**headers, **headers_of(spoken)}
    return Response(write_document(said), status, headers, "application/json")


def status_of(error: InputError, method: str) -> int:
    """The status with which a refusal is answered.

    Args:
        error: The refusal.
        method: Of the request.
    """
    if isinstance(error, PictureGoneError):
        return 410
    if isinstance(error, UnavailableError):
        return 503
    if method != "POST" and error.id in _MISSING:
        return 404
    return _STATUSES.get(error.id, 422)
