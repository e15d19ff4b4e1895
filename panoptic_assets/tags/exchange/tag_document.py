"""The JSON document of tags: all that is there, so that it can be brought back as it was.

Belongs here: what stands in the document, and reading it, also as older versions wrote it. Does not
belong here: other forms of a file of tags, and what an import does (``tags.exchange.formats``).

Version 2 names each tag by its id, with its own name and the id of the tag above it: two tags
beside each other may have one name, and a name any sign. Version 1 has paths in their place.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from panoptic_assets.spec.tag_log import Tag, paths
from panoptic_assets.tags.edits import EditError, parse_colour
from panoptic_assets.tags.exchange.formats import ExchangeError, Labelled, Said

_FORMAT = "panoptic-assets tags"


def document_head() -> dict[str, Any]:
    """How the document begins."""
    return {"format": _FORMAT, "version": 2}


def document(labelled: Labelled) -> Iterator[tuple[str, Iterable[Any]]]:
    """The parts of the document, by name: the whole tree, then the images.

    A tag's path is for whoever reads it; an image's ``event`` is the number in this log of the
    event that gave the tag. ``refused`` are the tags that a person took from the image, or refused
    for it.
    """
    tables = labelled.tables
    named = paths(tables.tags)
    yield "properties", tables.properties
    yield (
        "tags",
        (
            {
                "tag_id": tag.tag_id,
                "property": tag.property,
                "name": tag.name,
                "parent_id": tag.parent_id,
                "path": named[tag.tag_id],
                "colour": tag.colour,
                "is_remainder": tag.is_remainder,
                "node": tag.node,
                "record_id": tag.record_id,
            }
            for tag in tables.tags
        ),
    )
    yield "images", _images(labelled)


def _images(labelled: Labelled) -> Iterator[dict[str, Any]]:
    carried = dict(labelled)
    refused: dict[str, set[str]] = defaultdict(set)
    ids = {tag.tag_id for tag in labelled.tables.tags}
    for tag_id, image_id in labelled.tables.refused:
        if tag_id in ids:  # of other properties, they are not in the document
            refused[image_id].add(tag_id)
    for image_id in sorted(carried.keys() | refused.keys()):
        yield {
            "image_id": image_id,
            "paths": labelled.files.get(image_id, ()),
            "tags": [
                {"tag_id": tag.tag_id, "event": labelled.event(tag, image_id)}
                for tag in carried.get(image_id, ())
            ],
            "refused": sorted(refused.get(image_id, ())),
        }


class _OldTagEntry(BaseModel):
    tag_id: str
    property: str
    path: str
    colour: str | None = None
    is_remainder: bool = False
    node: str | None = None
    record_id: str | None = None


class _TagEntry(_OldTagEntry):
    path: str = ""
    name: str
    parent_id: str | None = None


class _Given(BaseModel):
    tag_id: str


class _Image(BaseModel):
    image_id: str
    paths: list[str] = []
    tags: list[_Given]
    refused: list[str] = []


class _Document(BaseModel):
    format: Literal["panoptic-assets tags"]
    version: int
    properties: list[str]
    images: list[_Image]


class _First(_Document):
    version: Literal[1]
    tags: list[_OldTagEntry]


class _Second(_Document):
    version: Literal[2]
    tags: list[_TagEntry]


class _Head(BaseModel):
    format: Literal["panoptic-assets tags"]
    version: int


def read_json(text: bytes) -> Said:
    """What an exported document says.

    Raises:
        ExchangeError: It is none.
    """
    try:
        version = _Head.model_validate_json(text).version
        if version > 2:
            raise ExchangeError(
                "It has version {version} of the document of tags, and this program knows 2: "
                "import it with a newer panoptic-assets.",
                id="json-of-tags-too-new",
                version=version,
            )
        content = (_First if version == 1 else _Second).model_validate_json(text)
    except (ValidationError, UnicodeDecodeError) as error:
        raise ExchangeError(
            "It is no JSON document of tags as `panoptic-assets export --format json` writes it: "
            "export it anew, or import CSV or Parquet.",
            id="no-json-of-tags",
        ) from error
    found = Said()
    for name in content.properties:
        found.add_property(name)
    known: dict[str, _OldTagEntry] = {}
    for entry in content.tags:
        details = entry.model_dump(include={"colour", "is_remainder", "node", "record_id"})
        if entry.colour is not None:
            try:
                details["colour"] = parse_colour(entry.colour)
            except EditError as error:
                raise ExchangeError.of(error) from error
        if isinstance(entry, _TagEntry):
            _add(entry, details, known, found)
        else:
            found.add_tag(entry.property, entry.path, **details)
        known[entry.tag_id] = entry
    for image in content.images:
        place = found.add_image(image.image_id, tuple(image.paths))
        for tag_id in [*(given.tag_id for given in image.tags), *image.refused]:
            if tag_id not in known:
                raise ExchangeError(
                    "The image {image_id!r} has a tag {tag_id!r}, which is not among the "
                    "document's tags: export it anew.",
                    id="tag-not-in-document",
                    image_id=image.image_id[:12],
                    tag_id=tag_id,
                )
        for given in image.tags:
            tag = known[given.tag_id]
            if isinstance(tag, _TagEntry):
                found.give_known(place, tag.property, tag.tag_id)
            else:
                found.give(place, tag.property, tag.path)
        for tag_id in image.refused if version == 2 else ():
            found.refuse_known(place, known[tag_id].property, tag_id)
    return found


def _add(
    entry: _TagEntry, details: dict[str, Any], known: dict[str, _OldTagEntry], found: Said
) -> None:
    if entry.tag_id in known:
        raise ExchangeError(
            "The tag {tag_id!r} stands in it twice: export it anew.",
            id="tag-twice-in-document",
            tag_id=entry.tag_id,
        )
    above = known.get(entry.parent_id or "")
    if entry.parent_id is not None and (above is None or above.property != entry.property):
        raise ExchangeError(
            "The tag {tag_id!r} lies below {parent_id!r}, which does not come before it among the "
            "tags of its property: export it anew.",
            id="tag-above-not-in-document",
            tag_id=entry.tag_id,
            parent_id=entry.parent_id,
        )
    tag = Tag(entry.tag_id, entry.property, entry.name, entry.parent_id, **details)
    found.add_known(tag)
