"""The manual at :data:`MOUNT`, for whoever has ``panoptic-assets ui`` open.

Belongs here: which address shows which page, in which language. Does not belong here: the pages
(``panoptic_assets.manual``), and who is let in (``serve.webserver``).
"""

import re
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

import panoptic_assets.review.pages
from panoptic_assets.manual.contents import FOLDER, INDEX, LANGUAGES, manual_page
from panoptic_assets.manual.rendering import STYLES, picture, results_to_html, to_html
from resources.errors import InputError

MOUNT = "/panoptic/manual"
"""Where ``panoptic-assets ui`` serves the manual."""

_STATIC = (FOLDER / "static", Path(panoptic_assets.review.pages.__file__).parent / "static")


def manual_routes(headers: Mapping[str, str]) -> list[BaseRoute]:
    """Routes to the pages of the manual.

    Args:
        headers: Of every answer to a GET.
    """
    common = {**headers, "Cache-Control": "no-cache"}

    async def to_index(request: Request) -> Response:
        language = preferred(request.headers.get("accept-language", ""))
        return RedirectResponse(
            f"{MOUNT}/{language}/{INDEX}", headers={**common, "Vary": "Accept-Language"}
        )

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        for folder in _STATIC:
            if name in STYLES and (folder / name).is_file():
                return FileResponse(folder / name, media_type="text/css", headers=common)
        return _missing(name)

    async def shown_picture(request: Request) -> Response:
        name = request.path_params["name"]
        found = picture(name)
        if found is None:
            return _missing(name)
        return FileResponse(found, media_type="image/webp", headers=common)

    async def page(request: Request) -> Response:
        language, name = request.path_params["language"], request.path_params.get("name", "")
        if language not in LANGUAGES:
            return _missing(name or language)
        if not name:
            return RedirectResponse(f"{MOUNT}/{language}/{INDEX}", headers=common)
        if name == "search":
            words = " ".join(request.query_params.get("q", "").split())
            return HTMLResponse(results_to_html(words, language, MOUNT), headers=common)
        try:
            found = manual_page(language, name.removesuffix(".md"))
        except InputError:
            return _missing(name)
        return HTMLResponse(to_html(found, language, MOUNT), headers=common)

    def _missing(name: str) -> Response:
        found = results_to_html(name, "en", MOUNT)
        return HTMLResponse(found, status_code=404, headers=common)

    return [
        Route(MOUNT, to_index),
        Route(f"{MOUNT}/", to_index),
        Route(f"{MOUNT}/static/{{name}}", static),
        Route(f"{MOUNT}/pictures/{{name}}", shown_picture),
        Route(f"{MOUNT}/{{language}}", page),
        Route(f"{MOUNT}/{{language}}/{{name:path}}", page),
    ]


def preferred(accepted: str) -> str:
    """The language of the manual that a browser's ``Accept-Language`` asks for first.

    One that the manual does not have is passed over; without any, the first one is taken. See RFC
    9110, section 12.5.4.
    """
    weighed = []
    for part in accepted.split(","):
        tag, _, parameters = part.strip().lower().partition(";")
        weight = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", parameters) if parameters else None
        known = tag.partition("-")[0]
        if known in LANGUAGES:
            weighed.append((float(weight[1]) if weight else 1.0, known))
    best = max(weighed, default=(0.0, ""), key=lambda pair: pair[0])
    return best[1] if best[0] > 0 else next(iter(LANGUAGES))
