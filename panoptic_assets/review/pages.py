"""HTML pages: templates, and the files that all pages share.

Belongs here: turning plain values into pages in which every name is escaped. Does not belong here:
what the pages are about (``run_pages``, ``comparison_pages``).

A page asks nothing of any other host and holds no script of its own: scripts and data are files
beside it. So the server can forbid everything else (see ``panoptic_assets.serve.webserver``), and
the page works as well when it is opened from the disk.
"""

import functools
import importlib.resources
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup

from panoptic_assets.spec.languages import Language
from panoptic_assets.spec.markdown import code_apart
from resources.project_folder import write_file
from resources.report_folder import ReportFolder, page_of, thumbnail_path

if TYPE_CHECKING:
    import jinja2

_LIBRARIES = {"plotly": ("package_data", "plotly.min.js")}
"""Packages that carry a library for browsers, and where in them it lies."""
_ROOM = 160
"""Longest side of a thumbnail, in pixels."""
_STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True)
class Picture:
    """An image on a page, and the pixels that the page leaves room for."""

    image_id: str
    name: str
    """The path of its first file."""
    width: int
    height: int
    full_size: tuple[int, int] | None = None
    """Width and height of the image itself, for the viewer; None if the page does not say them."""

    @classmethod
    def fitted(cls, image_id: str, name: str, width: int, height: int) -> "Picture":
        """An image of a size in pixels, with room for its thumbnail."""
        scale = _ROOM / max(width, height, 1)
        room = [max(1, round(length * scale)) for length in (width, height)]
        return cls(image_id, name, room[0], room[1], (width, height))


@dataclass(frozen=True)
class FileAddresses:
    """Where a page of a written report leads: to files beside it, wherever they lie."""

    up: str
    """The way from a page to the root of the reports: ``../../``."""
    has_comparison: bool = False
    live: bool = False
    """Whether there is a server, which can act; here there is none."""

    @property
    def home(self) -> str:
        """The page that leads to all others."""
        return f"{self.up}index.html"

    @property
    def comparison(self) -> str:
        """The comparison of runs."""
        return f"{self.up}comparison/index.html"

    def thumbnail(self, image_id: str) -> str:
        """A picture of an image, of 160 pixels at most."""
        return self.up + thumbnail_path(image_id)

    def run(self, key: str) -> str:
        """The overview of the run that the page is of."""
        return "index.html"

    def map(self, key: str) -> str:
        """The map of that run."""
        return "map.html"

    def record(self, key: str) -> str:
        """What is recorded of that run."""
        return "record.html"

    def cluster(self, node: str, number: int = 0) -> str:
        """A page of the images of a cluster of that run; ``number`` is from 0."""
        return page_of(node, number)


@dataclass(frozen=True)
class PageWriter:
    """Writes the pages of one report into its folder."""

    reports: ReportFolder
    folder: Path
    """Where the pages go until the report is whole."""
    place: str
    """Where they will be, below the root of the reports, such as ``runs/greek``."""
    scripts: tuple[str, ...] = ("page.js",)
    styles: tuple[str, ...] = ("page.css",)
    """Files of ``review/static`` that every page of the report loads."""
    language: Language = field(default_factory=Language)
    """In which they speak."""

    @property
    def up(self) -> str:
        """The way from a page to the root of the reports: ``../../``."""
        return "../" * len(PurePosixPath(self.place).parts)

    def write(self, name: str, template: str, scripts: Iterable[str] = (), **values: Any) -> None:
        """Write one page.

        Args:
            name: Of the file, without folders.
            template: A file of ``review/templates``.
            scripts: Addresses, relative to the page, of scripts that only this page loads.
            values: What the template shows.
        """
        shared = self._shared
        text = (
            environment(language=self.language)
            .get_template(template)
            .render(
                up=self.up,
                styles=[shared[name] for name in self.styles],
                scripts=[shared[name] for name in self.scripts] + list(scripts),
                to=FileAddresses(self.up, self._has_comparison),
                written_at=datetime.now().astimezone(),
                **values,
            )
        )
        # A name of a file may hold bytes that are no text.
        write_file(self.folder / name, text.encode("utf-8", "backslashreplace"))

    @functools.cached_property
    def _shared(self) -> dict[str, str]:
        """Addresses of the files that every page loads: kept once for all pages of a report."""
        return {name: self.static(name) for name in (*self.styles, *self.scripts)}

    @functools.cached_property
    def _has_comparison(self) -> bool:
        return (self.reports.path("comparison") / "index.html").is_file()

    def static(self, name: str) -> str:
        """The address, relative to a page, of a file of ``review/static``."""
        return self.up + self.reports.add_static(name, (_STATIC / name).read_bytes())

    def library(self, name: str) -> str:
        """The address, relative to a page, of the JavaScript of a plotting library."""
        content = importlib.resources.files(name).joinpath(*_LIBRARIES[name]).read_bytes()
        return self.up + self.reports.add_static(f"{name}.min.js", content)


def shell(*words: str) -> str:
    """A command that a terminal takes as these words."""
    return shlex.join(words)


TEMPLATES = Path(__file__).parent / "templates"


@functools.cache
def environment(*folders: Path, language: Language = Language()) -> "jinja2.Environment":  # noqa: B008
    """What makes pages of templates: every value is escaped, and none may be missing.

    Args:
        folders: Where templates are looked for, one after the other; by default those of reports.
        language: In which the pages speak.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders or [TEMPLATES]),
        extensions=["jinja2.ext.i18n"],
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": language.number,
        "percent": language.percent,
        "size": language.size,
        "score": functools.partial(_score, language),
        "address": functools.partial(quote, safe="", errors="surrogateescape"),
        "moment": language.moment,
        "said": language.message,
        "noted": language.note,
        "phrase": language.phrase,
        "breakable": _breakable,
        "prose": _prose,
    }
    environment.globals["language"] = language
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        language.gettext,
        language.ngettext,
        newstyle=True,
        pgettext=language.pgettext,
        npgettext=language.npgettext,
    )
    return environment


def _score(language: Language, score: float, size: int) -> str:
    """A cluster's score; a single image is always coherent, so that is said."""
    text = language.number(float(score), 1, grouped=False)
    return language.gettext("{score} (one image)").format(score=text) if size == 1 else text


def _prose(text: str) -> Markup:
    """A sentence in which what is between backticks is code; the rest is shown as it is."""
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if is_code else part
        for part, is_code in code_apart(text)
    )


def _breakable(path: str) -> str:
    """A path that a narrow place breaks behind its folders (U+200B), not amid a name."""
    return path.replace("/", "/\u200b")
