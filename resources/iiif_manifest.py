"""What a IIIF manifest says: its canvases, their pictures, and what is told about them.

Belongs here: reading documents of the Presentation API 3 and 2, and the addresses at which an
image service (Image API 3, 2 and 1) gives a picture of a size. Does not belong here: asking for
them (``web``), and what becomes of them (``iiif_folder``).

A document may be anything. What is not as the APIs have it counts as not there; only a document
that is no manifest and no collection at all, or has more of something than can be taken, is a
:class:`ManifestError`.

Long because both versions of the API are read side by side, key by key.
"""

import html
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from resources.errors import noted

MAX_BYTES = 32 * 2**20
"""Of a document: a volume of 1,000 pages has 1 to 5 MB."""
MAX_CANVASES = 100_000
"""Of a source, with all its manifests."""
MAX_MANIFESTS = 10_000
MAX_DEPTH = 8
"""Collections inside one another."""
MAX_PAIRS = 200
"""Of metadata, of a manifest or a canvas."""
MAX_TEXT = 10_000
"""Characters of one value."""

_MAX_PARTS = 2_000_000
"""Lists and mappings of a document: Python takes 60 to 240 bytes for an empty one."""
_LANGUAGES = ("fr", "en", "none")
_SIZES = 100
_MARKUP = re.compile(r"</?[A-Za-z][^<>]*>|<!--")
_LEVEL = re.compile(r"level([0-2])")
_REGION = re.compile(r"[0-9]{1,9},[0-9]{1,9},([1-9][0-9]{0,8}),([1-9][0-9]{0,8})")

Json = Any


class ManifestError(Exception):
    """A document that cannot be taken; its text is a phrase for people."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class ImageService:
    """What gives a picture in any size."""

    address: str
    version: int
    """Of the Image API: 1, 2 or 3."""
    level: int
    """What it can do: 0 (only what it has ready), 1 or 2."""
    sizes: tuple[tuple[int, int], ...] = ()
    """Widths and heights that it has ready."""
    most: int = 0
    """The longest side that it gives; 0 where it does not tell."""

    def picture(self, size: int, width: int, height: int, region: str = "full") -> str | None:
        """The address of a picture whose longer side has at most ``size`` pixels.

        It is never larger than the original. None where what the manifest says does not suffice to
        tell: the service has only what is ready and lists nothing, or the proportions are unknown.

        Args:
            size: Pixels.
            width: Of the region; 0 where it is unknown.
            height: Of the region.
            region: In pixels of the original, ``x,y,w,h``, or ``full``.
        """
        found = self._size(size, width, height, region)
        if found is None:
            return None
        quality = "native" if self.version == 1 else "default"
        return f"{self.address}/{region}/{found}/0/{quality}.jpg"

    def _size(self, size: int, width: int, height: int, region: str) -> str | None:
        longest = max(width, height)
        bound = min(size, self.most) if self.most else size
        if self.level == 0:
            return self._ready(bound, longest) if region == "full" else None
        if not longest:
            return None
        if longest <= bound:
            return self._whole
        if self.level == 1:  # it need not know the form "!w,h"
            return f"{bound if width >= height else max(1, round(width * bound / height))},"
        return f"!{bound},{bound}"

    def _ready(self, bound: int, longest: int) -> str | None:
        """The smallest size that is large enough, else the largest there is."""
        by_side = sorted((max(each), each) for each in self.sizes)
        enough = [each for side, each in by_side if side >= min(bound, longest or bound)]
        if enough or by_side:
            width, height = enough[0] if enough else by_side[-1][1]
            return f"{width},{height}" if self.version == 3 else f"{width},"
        return self._whole if longest and longest <= bound else None

    @property
    def _whole(self) -> str:
        # "max" came with 2.1, and "full" went with 3.
        return "max" if self.version == 3 else "full"


@dataclass(frozen=True)
class PaintedPicture:
    """A picture that is painted on a canvas."""

    address: str
    """Of the picture itself, in whatever size it has; empty where none is given."""
    service: ImageService | None
    width: int
    """Pixels of the whole picture; 0 where it is not told."""
    height: int
    region: str = "full"
    """What of it is painted, as the Image API writes it."""


@dataclass(frozen=True)
class Canvas:
    """One page, side or view."""

    label: str
    pictures: tuple[PaintedPicture, ...]
    metadata: tuple[tuple[str, str], ...] = ()
    """Names and values, as text."""
    date: str = ""
    rights: str = ""
    statement: str = ""


@dataclass(frozen=True)
class IiifManifest:
    """A book, an object, a series of pictures."""

    address: str
    label: str
    canvases: tuple[Canvas, ...]
    metadata: tuple[tuple[str, str], ...] = ()
    date: str = ""
    rights: str = ""
    statement: str = ""


@dataclass(frozen=True)
class Member:
    """A manifest or collection that a collection names."""

    address: str
    label: str
    is_collection: bool
    document: Json = field(default=None, compare=False)
    """The document itself where it stands inside the collection."""


@dataclass(frozen=True)
class IiifCollection:
    """A list of manifests and other collections."""

    address: str
    label: str
    members: tuple[Member, ...]
    next: str
    """The address of what it goes on with; empty at its end."""


def parsed_json(data: bytes) -> Json:
    """The document in the bytes of an answer.

    Raises:
        ManifestError: It is no JSON, or nested or branched without measure.
    """
    if data.count(b"{") + data.count(b"[") > _MAX_PARTS:
        raise ManifestError(
            noted("it has more than {count:,} lists and mappings", count=_MAX_PARTS)
        )
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ManifestError(noted("it is nested too deeply")) from error
    except ValueError as error:  # also of bytes that are no text
        begin = data[:200].lstrip().lower()
        if begin.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
            raise ManifestError(noted("it is a page for people (HTML), not JSON")) from error
        raise ManifestError(noted("it is not JSON")) from error


def read_presentation(document: Json, address: str) -> IiifManifest | IiifCollection:
    """What a document of the Presentation API says, in version 3 or 2.

    Args:
        document: As JSON has it.
        address: Where it was found.

    Raises:
        ManifestError: It is neither a manifest nor a collection, or has too many canvases.
    """
    kind = _kind(document)
    try:
        if kind == "Manifest":
            return _manifest(document, address)
        if kind in ("Collection", "CollectionPage", "Layer"):
            return _collection(document, address)
    except RecursionError as error:  # JSON's reader goes a little deeper
        raise ManifestError(noted("it is nested too deeply")) from error
    shown = kind[:40] or "no type"
    raise ManifestError(
        noted("it is no manifest and no collection of IIIF, but {kind}", kind=shown)
    )


def read_image_information(document: Json, service: ImageService) -> tuple[ImageService, int, int]:
    """What a service says of itself (``info.json``): more than a manifest does, and its size.

    Args:
        document: As JSON has it.
        service: As the manifest has it.

    Returns:
        The service, and width and height of the picture; 0 where they are not told.
    """
    if not isinstance(document, dict):
        return service, 0, 0
    told = _service({**document, "id": service.address}) or service
    return told, _pixels(document.get("width")), _pixels(document.get("height"))


def chosen_text(value: Json) -> str:
    """A text of a document in one language: French, English, none, else the first that it has.

    Several values are joined by semicolons. Markup is taken away.
    """
    by_language: dict[str, list[str]] = {}
    for language, text in _texts(value):
        plain = plain_text(text)
        if plain:
            by_language.setdefault(language, []).append(plain)
    if not by_language:
        return ""
    wanted = next((each for each in _LANGUAGES if each in by_language), next(iter(by_language)))
    return "; ".join(dict.fromkeys(by_language[wanted]))[:MAX_TEXT]


def plain_text(text: str) -> str:
    """Text without markup and control characters, on one line."""
    text = text[:MAX_TEXT]
    if _MARKUP.search(text):
        text = _without_markup(text)
    if "&" in text:
        text = html.unescape(_LONG_REFERENCE.sub("", text))
    return unicodedata.normalize("NFC", " ".join(_UNPRINTABLE.sub(" ", text).split()))


# Control characters, halves of characters, and what turns the direction of the text around it.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


_SILENT = frozenset({"script", "style", "template", "title"})
_BREAKS = frozenset({"br", "p", "div", "li", "tr", "td", "h1", "h2", "h3", "h4", "ul", "ol"})
# No character can be taken in two ways, and no tag reaches beyond the next "<": the time grows with
# the length. Python's HTMLParser took 0.2 s for 10,000 characters of unfinished tags.
_TAG = re.compile(
    r"<!--.*?(?:-->|\Z)|<[!?][^<>]*>"
    r"""|<(/?)([A-Za-z][A-Za-z0-9]*)(?:[^<>"']|"[^"<]*"|'[^'<]*')*>"""
    r"|<(/?)([A-Za-z][A-Za-z0-9]*)[^<>]*>",
    re.DOTALL,
)
# Python refuses to read a number of thousands of digits.
_LONG_REFERENCE = re.compile(r"&#(?:[0-9]{9,}|[xX][0-9A-Fa-f]{9,});?")


def _without_markup(text: str) -> str:
    """What a reader of a page would see."""
    parts: list[str] = []
    nb_silent = at = 0
    for found in _TAG.finditer(text):
        if not nb_silent:
            parts.append(text[at : found.start()])
        at = found.end()
        tag = (found[2] or found[4] or "").lower()
        is_end = bool(found[1] or found[3])
        if tag in _SILENT:
            nb_silent = max(0, nb_silent - 1) if is_end else nb_silent + 1
        elif tag in _BREAKS:
            parts.append(" ")
    if not nb_silent:
        parts.append(text[at:])
    return "".join(parts)


def _texts(value: Json) -> Iterator[tuple[str, str]]:
    """Language and text of each value, whichever way they are written."""
    if isinstance(value, str):
        yield "none", value
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int | float):
        yield "none", str(value)
    elif isinstance(value, list):
        for part in value[:1000]:
            if not isinstance(part, list):
                yield from _texts(part)
    elif "@value" in value:  # version 2
        for _, text in _texts(value["@value"] if not isinstance(value["@value"], dict) else None):
            yield _language(value.get("@language")), text
    elif isinstance(value, dict):
        for language, parts in list(value.items())[:200]:
            for part in _many(parts)[:1000]:
                if isinstance(part, str | int | float) and not isinstance(part, bool):
                    yield _language(language), str(part)


def _language(value: Json) -> str:
    if not isinstance(value, str) or not value:
        return "none"
    return value.lower().partition("-")[0].removeprefix("@")


def _kind(document: Json) -> str:
    """The type without the name space of version 2."""
    if not isinstance(document, dict):
        return ""
    kind = document.get("type") or document.get("@type") or ""
    if isinstance(kind, list):
        kind = next(iter(kind), "")
    return kind.rpartition(":")[2] if isinstance(kind, str) else ""


def _id(document: Json) -> str:
    if isinstance(document, str):
        return document.strip()
    if not isinstance(document, dict):
        return ""
    found = document.get("id") or document.get("@id") or ""
    return found.strip() if isinstance(found, str) else ""


def _many(value: Json) -> list[Json]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _dicts(value: Json) -> Iterator[dict[str, Json]]:
    return (part for part in _many(value) if isinstance(part, dict))


def _pixels(value: Json) -> int:
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value[:10])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 < value < 10**7 else 0


def _manifest(document: dict[str, Json], address: str) -> IiifManifest:
    found = list(_canvases(document))
    if len(found) > MAX_CANVASES:
        raise ManifestError(
            noted(
                "it has {count:,} canvases; {most:,} can be taken",
                count=len(found),
                most=MAX_CANVASES,
            )
        )
    return IiifManifest(
        _id(document) or address,
        chosen_text(document.get("label")),
        tuple(map(_canvas, found)),
        *_about(document),
    )


def _about(
    document: dict[str, Json],
) -> tuple[tuple[tuple[str, str], ...], str, str, str]:
    """Metadata, date, rights and required statement of a manifest or a canvas."""
    pairs = []
    for pair in list(_dicts(document.get("metadata")))[:MAX_PAIRS]:
        name, value = chosen_text(pair.get("label")), chosen_text(pair.get("value"))
        if name and value:
            pairs.append((name, value))
    date = document.get("navDate")
    rights = document.get("rights") or document.get("license")  # version 2
    required = document.get("requiredStatement")
    statement = required.get("value") if isinstance(required, dict) else None
    return (
        tuple(pairs),
        date.strip()[:40] if isinstance(date, str) else "",
        chosen_text(rights),
        chosen_text(statement or document.get("attribution")),
    )


def _canvases(document: dict[str, Json]) -> Iterator[dict[str, Json]]:
    for part in _dicts(document.get("items")):
        if _kind(part) == "Canvas":
            yield part
    # Version 2. Further sequences are other orders of the same canvases.
    for sequence in _dicts(document.get("sequences")):
        if canvases := list(_dicts(sequence.get("canvases"))):
            yield from canvases
            return


def _canvas(document: dict[str, Json]) -> Canvas:
    pictures: list[PaintedPicture] = []
    for page in _dicts(document.get("items")):
        for annotation in _dicts(page.get("items")):
            if _paints(annotation):
                pictures += _pictures(annotation.get("body"))
    for annotation in _dicts(document.get("images")):
        pictures += _pictures(annotation.get("resource"))
    metadata, date, rights, statement = _about(document)
    label = chosen_text(document.get("label"))
    return Canvas(label, tuple(dict.fromkeys(pictures)), metadata, date, rights, statement)


def _paints(annotation: dict[str, Json]) -> bool:
    motivations = [each for each in _many(annotation.get("motivation")) if isinstance(each, str)]
    return not motivations or any(each.rpartition(":")[2] == "painting" for each in motivations)


def _pictures(body: Json, depth: int = 0) -> list[PaintedPicture]:
    """The pictures of a body, or of several; of a choice the first."""
    if depth > 4:
        return []
    if isinstance(body, list):
        return [picture for part in body for picture in _pictures(part, depth + 1)]
    if not isinstance(body, dict):
        return []
    kind = _kind(body)
    if kind in ("Choice", "Alternates"):
        first = body.get("default") or next(
            iter(_many(body.get("items") or body.get("item"))), None
        )
        return _pictures(first, depth + 1)
    if kind == "SpecificResource":
        inner = _pictures(body.get("source") or body.get("full"), depth + 1)
        region = _region(body.get("selector"))
        return [
            PaintedPicture(
                each.address, each.service, each.width, each.height, region or each.region
            )
            for each in inner
        ]
    service = next(filter(None, map(_service, _dicts(body.get("service")))), None)
    media = body.get("format")
    is_image = kind == "Image" or (isinstance(media, str) and media.startswith("image/"))
    if kind not in ("", "Image") or not (is_image or service):
        return []
    address = _id(body)
    if not address and not service:
        return []
    return [
        PaintedPicture(address, service, _pixels(body.get("width")), _pixels(body.get("height")))
    ]


def _region(selector: Json) -> str:
    found = selector.get("region") if isinstance(selector, dict) else None
    return found if isinstance(found, str) and _REGION.fullmatch(found) else ""


def region_size(region: str) -> tuple[int, int]:
    """Width and height of a region in pixels; 0 of ``full``."""
    found = _REGION.fullmatch(region)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _service(document: dict[str, Json]) -> ImageService | None:
    """The image service that a mapping describes; None of services of other kinds."""
    address = _id(document).removesuffix("/info.json").rstrip("/")
    kind = _kind(document)
    profiles = _many(document.get("profile"))
    profile = next((each for each in profiles if isinstance(each, str)), "")
    told = f"{document.get('@context') or ''} {profile} {document.get('protocol') or ''}"
    if kind in ("ImageService1", "ImageService2", "ImageService3"):
        version = int(kind[-1])
    elif "api/image/3" in told:
        version = 3
    elif "api/image/2" in told:
        version = 2
    elif "image-api" in told or "api/image" in told:
        version = 2 if "protocol" in document else 1
    else:
        return None
    if not address:
        return None
    found = _LEVEL.search(profile)
    limits = [document, *_dicts(profiles)]
    most = [_pixels(each.get(name)) for each in limits for name in ("maxWidth", "maxHeight")]
    sizes = tuple(
        (_pixels(each.get("width")), _pixels(each.get("height")))
        for each in list(_dicts(document.get("sizes")))[:_SIZES]
    )
    return ImageService(
        address,
        version,
        # One that does not tell what it can do most likely can do all.
        int(found[1]) if found else 2,
        tuple(size for size in sizes if all(size)),
        min(filter(None, most), default=0),
    )


def _collection(document: dict[str, Json], address: str) -> IiifCollection:
    members: list[Member] = []
    for name in ("items", "members", "manifests", "collections"):
        for part in _many(document.get(name)):
            kind = _kind(part) or ("Manifest" if name == "manifests" else "Collection")
            place = _id(part)
            if kind in ("Manifest", "Collection") and place:
                label = chosen_text(part.get("label")) if isinstance(part, dict) else ""
                held = part if isinstance(part, dict) and _is_whole(part) else None
                members.append(Member(place, label, kind == "Collection", held))
    following = _id(document.get("next"))
    if not following and not members:
        following = _id(document.get("first"))
    return IiifCollection(
        _id(document) or address,
        chosen_text(document.get("label")),
        tuple(members),
        following,
    )


def _is_whole(document: dict[str, Json]) -> bool:
    """Whether a member is the document itself, and no mere reference to it."""
    return any(
        isinstance(document.get(name), list) and document[name]
        for name in ("items", "sequences", "manifests", "collections", "members")
    )
