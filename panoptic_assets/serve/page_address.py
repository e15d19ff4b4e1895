"""What a live page is: its address, what may be asked there, and what its template shows.

Belongs here: the row of the tables of pages, and where pages lead. Does not belong here: HTTP
(``serve.live_pages``), and what each page shows (``serve.…_page``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from panoptic_assets.spec.fields import Parameters
from panoptic_assets.spec.languages import Language

if TYPE_CHECKING:
    from panoptic_assets.project import Project

PAGES = "/panoptic/{corpus}"
"""Where the pages of a project are; the corpus is the project's name in addresses."""


@dataclass(frozen=True)
class LiveAddresses:
    """Where the pages of one project are, for templates; :class:`review.pages.FileAddresses` has
    the same names of what a written report has as well."""

    corpus: str
    """The project's name in addresses."""
    language: Language
    read_only: bool = False
    """Whether nothing can be done there."""
    live: bool = True
    has_comparison: bool = True

    @property
    def base(self) -> str:
        """What all addresses of the project begin with."""
        return PAGES.format(corpus=self.corpus)

    @property
    def api(self) -> str:
        """Where the API is."""
        return f"{self.base}/api"

    @property
    def home(self) -> str:
        """The page that leads to all others."""
        return f"{self.base}/"

    @property
    def home_name(self) -> str:
        """What that is called."""
        return self.corpus

    @property
    def comparison(self) -> str:
        """The comparison of runs."""
        return f"{self.base}/compare"

    def thumbnail(self, image_id: str) -> str:
        """A picture of an image, of 160 pixels at most."""
        return f"{self.api}/thumbnails/{image_id}.webp"

    def preview(self, image_id: str, side: int = 1024) -> str:
        """A picture of an image, of so many pixels at most; of 512, 1024 or 2048."""
        return f"{self.api}/previews/{image_id}.webp?size={side}"

    def run(self, key: str) -> str:
        """The overview of a run."""
        return f"{self.base}/runs/{quote(key)}"

    def map(self, key: str) -> str:
        """The map of a run."""
        return f"{self.base}/map?run={quote(key)}"

    def record(self, key: str) -> str:
        """What is recorded of a run."""
        return f"{self.base}/records/{quote(key)}"

    def cluster(self, node: str, number: int = 0) -> str:
        """A page of the images of a cluster; ``number`` is from 0."""
        return f"{self.base}/clusters/{quote(node)}" + (f"?page={number + 1}" if number else "")

    def image(self, image_id: str) -> str:
        """The page of an image."""
        return f"{self.base}/images/{quote(image_id)}"

    def tags(self, property_name: str = "") -> str:
        """The tags of a property."""
        chosen = f"?property={quote(property_name, safe='')}" if property_name else ""
        return f"{self.base}/tags{chosen}"

    def tag(self, tag_id: str) -> str:
        """The images of a tag."""
        return f"{self.base}/tags/{quote(tag_id, safe='')}"

    def page(self, name: str) -> str:
        """One of the project's pages by its address, such as ``new`` or ``history``."""
        return f"{self.base}/{name}"


@dataclass(frozen=True)
class PageAddress:
    """A page that is made when it is asked for."""

    path: str
    """Below ``/panoptic/<corpus>/``; names in braces are fields of ``asked``."""
    template: str
    """A file of ``serve/templates`` or ``review/templates``."""
    asked: type[Parameters]
    """What may be asked, by the address and its query."""
    shown: Callable[["Project", Any, LiveAddresses], dict[str, Any]]
    """What the template shows; ``seen`` of it goes back with acts. Raises InputError where there
    is no such page."""
    scripts: tuple[str, ...] = ()
    """Modules of ``serve/static`` that only this page loads."""
    styles: tuple[str, ...] = ()
    """Style sheets of ``serve/static`` that only this page loads."""
