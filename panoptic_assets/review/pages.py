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
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup

from panoptic_assets.spec.markdown import code_apart, number_text, score_text
from resources.project_folder import write_file
from resources.report_folder import ReportFolder, thumbnail_path

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
    remark: str = ""

    @classmethod
    def fitted(
        cls, image_id: str, name: str, width: int, height: int, remark: str = ""
    ) -> "Picture":
        """An image of a size in pixels, with room for its thumbnail."""
        scale = _ROOM / max(width, height, 1)
        room = [max(1, round(length * scale)) for length in (width, height)]
        return cls(image_id, name, room[0], room[1], remark)


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
            environment()
            .get_template(template)
            .render(
                up=self.up,
                styles=[shared[name] for name in self.styles],
                scripts=[shared[name] for name in self.scripts] + list(scripts),
                thumbnail=lambda image_id: self.up + thumbnail_path(image_id),
                **values,
            )
        )
        # A name of a file may hold bytes that are no text.
        write_file(self.folder / name, text.encode("utf-8", "backslashreplace"))

    @functools.cached_property
    def _shared(self) -> dict[str, str]:
        """Addresses of the files that every page loads: kept once for all pages of a report."""
        return {name: self.static(name) for name in (*self.styles, *self.scripts)}

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


@functools.cache
def environment(templates: Path = Path(__file__).parent / "templates") -> "jinja2.Environment":
    """What makes pages of a folder's templates: every value is escaped, and none may be missing."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number_text,
        "score": score_text,
        "address": quote,
        "moment": moment,
        "breakable": _breakable,
        "prose": _prose,
    }
    return environment


def _prose(text: str) -> Markup:
    """A sentence in which what is between backticks is code; the rest is shown as it is."""
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if is_code else part
        for part, is_code in code_apart(text)
    )


def _breakable(path: str) -> str:
    """A path that a narrow place breaks behind its folders (U+200B), not amid a name."""
    return path.replace("/", "/\u200b")


def moment(time: datetime) -> str:
    """A moment as people write it, in their own time zone."""
    return f"{time.astimezone():%Y-%m-%d %H:%M}"
