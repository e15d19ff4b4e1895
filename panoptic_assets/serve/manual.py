"""The manual at :data:`MOUNT`, for whoever has ``panoptic-assets ui`` open.

Belongs here: which address shows which page, in which language. Does not belong here: the pages
(``panoptic_assets.manual``), and who is let in (``serve.webserver``).
"""

from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

import panoptic_assets.review.pages
from panoptic_assets.manual.contents import FOLDER, INDEX, manual_page
from panoptic_assets.manual.rendering import STYLES, picture, results_to_html, to_html
from panoptic_assets.serve.asking import headers_of, language_of
from panoptic_assets.spec.languages import LANGUAGES
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
        spoken = language_of(request)
        return RedirectResponse(
            f"{MOUNT}/{spoken.code}/{INDEX}", headers={**common, **headers_of(spoken)}
        )

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        for folder in _STATIC:
            if name in STYLES and (folder / name).is_file():
                return FileResponse(folder / name, media_type="text/css", headers=common)
        return _missing(name, request)

    async def shown_picture(request: Request) -> Response:
        name = request.path_params["name"]
        found = picture(name)
        if found is None:
            return _missing(name, request)
        return FileResponse(found, media_type="image/webp", headers=common)

    async def page(request: Request) -> Response:
        language, name = request.path_params["language"], request.path_params.get("name", "")
        if language not in LANGUAGES:
            return _missing(name or language, request)
        if not name:
            return RedirectResponse(f"{MOUNT}/{language}/{INDEX}", headers=common)
        if name == "search":
            words = " ".join(request.query_params.get("q", "").split())
            return HTMLResponse(results_to_html(words, language, MOUNT), headers=common)
        try:
            found = manual_page(language, name.removesuffix(".md"))
        except InputError:
            return _missing(name, request)
        return HTMLResponse(to_html(found, language, MOUNT), headers=common)

    def _missing(name: str, request: Request) -> Response:
        spoken = language_of(request)
        found = results_to_html(name, spoken.code, MOUNT)
        return HTMLResponse(found, status_code=404, headers={**common, **headers_of(spoken)})

    return [
        Route(MOUNT, to_index),
        Route(f"{MOUNT}/", to_index),
        Route(f"{MOUNT}/static/{{name}}", static),
        Route(f"{MOUNT}/pictures/{{name}}", shown_picture),
        Route(f"{MOUNT}/{{language}}", page),
        Route(f"{MOUNT}/{{language}}/{{name:path}}", page),
    ]
