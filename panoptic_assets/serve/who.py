"""Who acts, by the name that a person gave once in the browser; it is kept in a cookie.

Belongs here: the name, its cookie and its address. Does not belong here: who is let in
(``serve.guard``): the name is what somebody says, and proves nothing.
"""

import unicodedata
from collections.abc import Mapping
from urllib.parse import quote, unquote

from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from panoptic_assets.serve.asking import headers_of, language_of
from panoptic_assets.serve.json_documents import read_document
from panoptic_assets.serve.ongoing import error_document
from resources.errors import InputError

WHO = "/panoptic/who"
"""Where the name is read (GET) and set (POST), as JSON: ``{"name": "Ada"}``; null: none."""

_COOKIE = "panoptic-who"
_MOST_CHARACTERS = 80
_MOST_BYTES = 4096
"""Of a body that sets a name: 80 characters, each escaped, are 960."""
_SECONDS_KEPT = 365 * 24 * 3600
_JOINERS = str.maketrans("", "", "\u200c\u200d")
"""Parts of names in Persian and in Indian scripts, though Unicode counts them with what turns the
direction of writing around."""


def who(request: HTTPConnection) -> str | None:
    """The name that the person at a browser gave; None without one, or without one that holds."""
    given = request.cookies.get(_COOKIE)
    if not given:
        return None
    try:
        return checked_name(unquote(given, errors="strict"))
    except (InputError, UnicodeDecodeError):  # a cookie of somebody's own making
        return None


def checked_name(given: object) -> str:
    """A person's name as it is kept: in NFC, without spaces around it.

    Raises:
        InputError: It is no text, empty, too long, or holds what is not printable.
    """
    name = unicodedata.normalize("NFC", given).strip() if isinstance(given, str) else ""
    if not 0 < len(name) <= _MOST_CHARACTERS or not name.translate(_JOINERS).isprintable():
        raise InputError(
            "This is no name that can be kept: give one of 1 to {most_characters} characters, "
            "without line breaks, control characters and characters that turn the direction of "
            "writing.",
            id="who-unusable",
            most_characters=_MOST_CHARACTERS,
        )
    return name


def who_routes(headers: Mapping[str, str]) -> list[Route]:
    """The route to the name.

    Args:
        headers: Of every answer.
    """
    common = {**headers, "Cache-Control": "no-store"}

    async def name(request: Request) -> Response:
        if request.method != "POST":
            return JSONResponse({"name": who(request)}, headers=common)
        try:
            given = await _given(request)
            kept = None if given is None else checked_name(given)
        except InputError as error:
            spoken = language_of(request)
            said = {"error": error_document(error.message, str(error), spoken)}
            refused = {**common, **headers_of(spoken)}
            return JSONResponse(said, status_code=400, headers=refused)
        answer = JSONResponse({"name": kept}, headers=common)
        if kept is None:
            answer.delete_cookie(_COOKIE, path="/", httponly=True, samesite="strict")
        else:
            answer.set_cookie(
                _COOKIE,
                quote(kept, safe=""),
                max_age=_SECONDS_KEPT,
                path="/",
                httponly=True,
                samesite="strict",
            )
        return answer

    return [Route(WHO, name, methods=["GET", "POST"])]


async def _given(request: Request) -> object:
    """The name in a body, whatever it is.

    Raises:
        InputError: The body holds none.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            break
    else:
        given = read_document(body)
        if given.keys() == {"name"}:
            return given["name"]
    raise InputError(
        "A name is set by a JSON object with one field, such as {example}; null takes it away.",
        id="who-body-unusable",
        example='{"name": "Ada"}',
    )
