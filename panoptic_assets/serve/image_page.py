"""Images: those of a scope, the files in quarantine, and the page of one image.

Belongs here: what is told of images, and which scope an address asks for. Does not belong here:
HTTP (``serve.live_pages``), and pictures (``serve.previews``).
"""

import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

from pydantic import Field

from panoptic_assets.review.pages import Picture
from panoptic_assets.serve.api_reads import AskedImage, AskedScope, told_of_image
from panoptic_assets.serve.page_address import LiveAddresses, PageAddress
from panoptic_assets.spec.fields import Parameters
from panoptic_assets.spec.languages import N_
from resources.errors import InputError, Message
from resources.lance import quoted
from resources.page_paths import file_of, page_number, page_path

if TYPE_CHECKING:
    from panoptic_assets.project import Project
    from panoptic_assets.spec.resolution import Document

ON_A_PAGE = 200
"""Images, or files in quarantine."""
NB_NEIGHBOURS = 12
_FOLDERS = 60
"""Folders that are listed; the others are reached by those above them."""

_ORDERS = {
    "path": N_("by name"),
    "added": N_("newest first"),
    "size": N_("largest first"),
    "nearest": N_("most alike first"),
}
_MOST_SHOWN = 2_000
"""Characters of what was asked for, in a heading."""


class AskedImagesPage(Parameters):
    """A page of images; of the ways to say which, one is given, or none for all."""

    scope: str = Field(default="", max_length=60_000, description="JSON, as for the API.")
    vector_type: str = Field(default="", description="The vectors that a search compares.")
    folder: str = Field(default="", max_length=4096, description="Only what lies in it.")
    q: str = Field(default="", max_length=2000, description="What to look for, in words.")
    similar: str = Field(default="", max_length=4096, description="An image, by id or path.")
    tag: str = Field(default="", max_length=2000, description="A tag, by its path.")
    property: str = Field(default="Clustering", max_length=200, description="The tag's property.")
    order: Literal["", "path", "added", "size", "nearest"] = Field(
        default="", description="The order; empty: the usual one."
    )
    status: Literal["present", "quarantined"] = Field(
        default="present", description="Images, or files that cannot be read."
    )
    page: int = Field(default=1, ge=1, lt=2**31, description="Which page.")

    def wanted(self) -> "Document | None":
        """The scope that the address asks for; None for the corpus.

        Raises:
            InputError: The scope is no JSON.
        """
        if self.q.strip():
            return {"text": {"text": self.q.strip()}}
        if self.similar:
            return {"similar": {"image": self.similar}}
        if self.tag:
            return {"tag": {"path": self.tag, "property": self.property}}
        if self.folder:
            # Signs of patterns stand for themselves.
            escaped = re.sub(r"([*?[])", r"[\1]", self.folder.rstrip("/"))
            return {"files": {"pattern": f"{escaped}/*"}}
        return AskedScope(scope=self.scope).document

    def query(self, **changes: Any) -> str:
        """The address below ``images`` of the same images, with some of it changed."""
        fields = type(self).model_fields
        asked = {name: getattr(self, name) for name in fields} | {"page": 1} | changes
        said = {name: value for name, value in asked.items() if value != fields[name].default}
        return "?" + urlencode(said, errors="surrogatepass") if said else ""


def _images(project: "Project", asked: AskedImagesPage, to: LiveAddresses) -> dict[str, Any]:
    if asked.status == "quarantined":
        return _quarantined(project, asked)
    notes: list[str] = []
    nothing: Message | None = None
    rows: list[dict[str, Any]] = []
    scope: Document | None = None
    total = 0
    try:
        scope = asked.wanted()
        found = project.images_in(
            scope, asked.vector_type or None, asked.order or None, notes.append
        )
        total = len(found)
        rows = found.slice(_first(asked.page, total), ON_A_PAGE).to_pylist()
    except InputError as error:
        nothing = error.message
    folders, nb_folders = _folders(project, asked.folder.rstrip("/"))
    kind = next(iter(scope)) if scope else "corpus"
    return {
        "asked": asked,
        "kind": kind,
        "about": _about(asked, scope),
        "tiles": [(_picture(row), row["similarity"], row["distance"]) for row in rows],
        "scope": scope or {"corpus": {}},
        "nothing": nothing,
        "notes": notes,
        "folders": folders,
        "nb_folders": nb_folders,
        "above": _above(asked.folder.rstrip("/")),
        "order": asked.order or ("nearest" if kind in ("text", "similar") else "path"),
        "orders": [
            (name, text)
            for name, text in _ORDERS.items()
            if name != "nearest" or kind in ("node", "text", "similar")
        ],
        "nb_quarantined": project.store.count("files", "status = 'quarantined'"),
        **_part(asked.page, total),
    }


def _first(page: int, total: int) -> int:
    return (min(page, _nb_pages(total)) - 1) * ON_A_PAGE


def _nb_pages(total: int) -> int:
    return max(1, math.ceil(total / ON_A_PAGE))


def _part(page: int, total: int) -> dict[str, int]:
    """Which part of a list its page shows; a page behind the last one is the last one."""
    first = _first(page, total)
    return {
        "total": total,
        "first": first,
        "last": min(total, first + ON_A_PAGE),
        "number": first // ON_A_PAGE + 1,
        "nb_pages": _nb_pages(total),
    }


def _picture(row: dict[str, Any]) -> Picture:
    return Picture.fitted(row["image_id"], row["path"], row["width"], row["height"])


def _about(asked: AskedImagesPage, scope: "Document | None") -> str:
    """What the images have in common, as it was asked for."""
    if scope is None:
        return ""
    if asked.folder:
        return asked.folder[:_MOST_SHOWN]
    fields = next(iter(scope.values()))
    names = ("text", "image", "path", "node", "pattern", "property", "projection", "file")
    values = fields if isinstance(fields, dict) else {}
    return next((str(values[name])[:_MOST_SHOWN] for name in names if values.get(name)), "")


def _folders(project: "Project", chosen: str) -> tuple[list[tuple[str, str, int]], int]:
    """The folders in a folder, each with its name and its images; and how many there are."""
    from panoptic_assets.corpus.table import present_files

    above = f"{chosen}/" if chosen else ""
    counts: Counter[str] = Counter()
    for paths in present_files(project.store).values():
        within = (path[len(above) :] for path in paths if path.startswith(above))
        counts.update({path.partition("/")[0] for path in within if "/" in path})
    listed = sorted(counts.items())[:_FOLDERS]
    return [(above + name, name, count) for name, count in listed], len(counts)


def _above(folder: str) -> list[tuple[str, str]]:
    """A folder and those that it lies in, from the top, each with its name."""
    parts = folder.split("/") if folder else []
    return [("/".join(parts[: n + 1]), part) for n, part in enumerate(parts)]


def _quarantined(project: "Project", asked: AskedImagesPage) -> dict[str, Any]:
    """The files that cannot be read, with the reasons."""
    columns = ["path", "reason", "size", "seen_at"]
    found = project.store.read("files", columns, "status = 'quarantined'").sort_by("path")
    part = _part(asked.page, len(found))
    rows = found.slice(part["first"], ON_A_PAGE).to_pylist()
    return {"asked": asked, "kind": "quarantined", "files": rows, **part}


def _image(project: "Project", asked: AskedImage, to: LiveAddresses) -> dict[str, Any]:
    from panoptic_assets.clustering.image_places import places_of_image
    from panoptic_assets.clustering.table import Clusterings

    known = told_of_image(project, asked)
    files = known["files"].to_pylist()
    clusterings = Clusterings(project.store)
    found = places_of_image(project.store, asked.image_id, clusterings)
    neighbours, why_none = _neighbours(project, asked.image_id)
    [taken] = project.store.read(
        "images", ["taken_at"], f"image_id = '{known['image_id']}'"
    ).to_pylist()
    name = next((file["path"] for file in files if file["status"] == "present"), None)
    return {
        "image": known,
        "name": name or (files[0]["path"] if files else known["image_id"][:12]),
        "is_present": name is not None,
        "taken_at": taken["taken_at"],
        "files": files,
        "pages": _pages(project, name),
        "properties": [(row["property"], _value(row)) for row in known["properties"]],
        "tags": known["tags"].to_pylist(),
        "remark": known["remark"],
        "about": f"image:{known['image_id']}",
        "places": found,
        "names": _names(project, clusterings, [place.run_key for place in found.places]),
        "neighbours": neighbours,
        "why_none": why_none,
        "seen": known["seen"],
    }


def _pages(project: "Project", path: str | None) -> dict[str, Any] | None:
    """Which page of its file an image is, and the images of the others; None of a file with one."""
    if path is None:
        return None
    file = file_of(path)
    where = f"path = {quoted(file)} OR starts_with(path, {quoted(page_path(file, 2)[:-1])})"
    columns = ["path", "image_id", "status", "nb_pages"]
    found = [
        (page_number(row["path"]), row)
        for row in project.store.read("files", columns, where).to_pylist()
        if file_of(row["path"]) == file and row["status"] == "present"
    ]
    nb_pages = next((row["nb_pages"] for _, row in found if row["path"] == path), None)
    if not nb_pages or nb_pages == 1:
        return None
    return {
        "number": page_number(path),
        "nb_pages": nb_pages,
        "images": [(page, row["image_id"]) for page, row in sorted(found, key=lambda one: one[0])],
    }


def _value(row: dict[str, Any]) -> Any:
    """The value of a property, whatever its type."""
    for name in ("text", "number", "date", "tags"):
        if row.get(name) is not None:
            return row[name]
    return None


def _names(project: "Project", clusterings: Any, run_keys: list[str]) -> dict[str, str]:
    """What the clusters of some runs are called beside their numbers, by node."""
    from panoptic_assets.labels.table import names_of_clusters, read_labels

    names: dict[str, str] = {}
    for key in run_keys:
        names |= names_of_clusters(clusterings, key, read_labels(project.store, clusterings, key))
    return names


def _neighbours(
    project: "Project", image_id: str
) -> tuple[list[tuple[Picture, float]], Message | None]:
    """The images most similar to one, with their cosines; or why there are none.

    Out of the graph of neighbours where that is of now: 20,000 x 512 vectors take .4 CPU seconds
    to be read and compared.
    """
    from panoptic_assets.features.table import nearest_in_graph

    known = nearest_in_graph(project.store, project.layout.settings.vector_type, image_id)
    if known is not None:
        pictures = _pictures(project, [one for one, _ in known])
        present = [(pictures[one], cosine) for one, cosine in known if one in pictures]
        return present[:NB_NEIGHBOURS], None
    asked = {"similar": {"image": image_id, "nb_images": NB_NEIGHBOURS + 1}}
    try:
        rows = project.images_in(asked, report=lambda _: None).to_pylist()
    except InputError as error:
        return [], error.message
    others = [row for row in rows if row["image_id"] != image_id][:NB_NEIGHBOURS]
    return [(_picture(row), row["similarity"]) for row in others], None


def _pictures(project: "Project", image_ids: list[str]) -> dict[str, Picture]:
    """Some images by id; those that are not present are left out."""
    from resources.lance import one_of

    where = one_of("image_id", image_ids)
    columns = ["image_id", "width", "height"]
    sizes = {
        row["image_id"]: row for row in project.store.read("images", columns, where).to_pylist()
    }
    files = project.store.read("files", ["path", "image_id", "status"], where).to_pylist()
    paths: dict[str, str] = {}
    for file in sorted(files, key=lambda file: file["path"]):
        if file["status"] == "present":
            paths.setdefault(file["image_id"], file["path"])
    return {one: _picture({**sizes[one], "path": path}) for one, path in paths.items()}


IMAGE_PAGES = (
    PageAddress("images", "images.html", AskedImagesPage, _images, ("images.js",)),
    PageAddress("images/{image_id}", "image.html", AskedImage, _image),
)
"""In the order in which addresses are compared with them."""
