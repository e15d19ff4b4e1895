"""Documents of IIIF that are no longer what a library wrote."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest

from resources.iiif_folder import IiifFolder
from resources.iiif_manifest import (
    MAX_TEXT,
    ImageService,
    ManifestError,
    plain_text,
    read_image_information,
    read_presentation,
)
from resources.listing import Wanted
from tests.library import Library, canvas, manifest, manifest_2

SERVICE = ImageService("http://x/s", 3, 2)

VALUES: list[Any] = [
    *(None, 0, -1, 1.5, 1e400, float("nan"), True, 10**30, "", "x", "fr", "a" * 3000, "\ud800"),
    *("http://[", "<b", "<!--", "&#x110000;", "#page=2", "..", "/", "\u00b2", "level0", "1,1,1,1"),
    *("Canvas", "Manifest", "sc:Manifest", "Image", "Choice", [], {}, [[]], [None], {"a": {}}),
    *({"@value": {}}, {"@value": [["x"]]}, {"fr": [1, None, "z"]}, ["Canvas"]),
]


def documents() -> list[Any]:
    library = Library("http://x")
    three, two = library.image("a", 60, 40), library.image("b", 60, 40, version=2)
    part = {"type": "SpecificResource", "source": three, "selector": {"region": "1,2,3,4"}}
    pair = {"label": "a", "value": {"en": ["v"]}}
    return [
        manifest(
            {"en": ["x"]},
            canvas({"none": ["1"]}, three, metadata=[pair]),
            canvas("2", {"type": "Choice", "items": [three, two]}, part),
            id="http://x/1",
            navDate="2000-01-01",
            requiredStatement=pair,
        ),
        manifest_2([{"@value": "x", "@language": "fr"}], ("1", two), metadata=[pair], license="x"),
        {
            "@type": "sc:Collection",
            "manifests": [{"@id": "http://x/a", "label": "x"}],
            "first": "http://x/c",
        },
        {"type": "Collection", "items": [{"id": "http://x/a", "type": "Manifest"}], "next": "x"},
    ]


def places(part: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to all parts of a document."""
    inner = part.items() if isinstance(part, dict) else enumerate(part)
    for key, value in inner:
        yield (*way, key)
        if isinstance(value, dict | list):
            yield from places(value, (*way, key))


def mutated(rng: random.Random, document: Any) -> Any:
    for _ in range(rng.randint(1, 4)):
        ways = list(places(document))
        if not ways:
            break
        *way, key = rng.choice(ways)
        part = document
        for step in way:
            part = part[step]
        if rng.random() < 0.2 and isinstance(part, dict):
            del part[key]
        else:
            part[key] = copy.deepcopy(rng.choice(VALUES))
    return document


def test_documents_with_senseless_parts_break_nothing(monkeypatch):
    """Each is a manifest or a collection of some kind, or is said to be none."""
    rng = random.Random(7)
    shipped = documents()
    nb_read = 0
    for _ in range(600):
        document = mutated(rng, copy.deepcopy(rng.choice(shipped)))
        read_image_information(document, SERVICE)
        try:
            read = read_presentation(document, "http://x/manifest.json")
        except ManifestError as error:
            assert len(error.reason.splitlines()) == 1
            continue
        nb_read += 1
        folder = IiifFolder("http://x/manifest.json", {}, Wanted([], [], []), None)
        members = iter([read])
        nothing = read_presentation({"type": "Manifest"}, "http://x/none")
        monkeypatch.setattr(
            IiifFolder,
            "_read_document",
            lambda self, member, max_age, members=members, nothing=nothing: next(members, nothing),
        )
        for file in folder.listing().files:
            parts = file.path.split("/")
            assert len(parts) == 2 and all(parts) and not file.path.startswith(".")
            assert all(len(part.encode()) <= 255 for part in parts)
    assert nb_read > 300


def test_markup_without_end_takes_no_time_without_end():
    """Labels of 32 MB take seconds: Python's own reader of HTML would take minutes."""
    for text in ("<a ", '<a x="', "<!--", "<![CDATA[", "<script>", "</p", "<a x='\"", "&#", "&"):
        for _ in range(100):
            assert len(plain_text(f"<b>{text * 10_000}")) <= MAX_TEXT


def test_nesting_that_json_bears_and_texts_do_not_is_refused():
    label: Any = "x"
    for _ in range(5000):
        label = [{"@value": label}]
    with pytest.raises(ManifestError, match="nested too deeply"):
        read_presentation({"type": "Manifest", "label": label}, "http://x")
