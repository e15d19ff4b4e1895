"""Seals: a hash of every field of a document, so that a change is not only seen but named.

Belongs here: sealing plain JSON data, and finding what differs from its seal. Does not belong here:
which documents are sealed, and where seals are kept
(``clustering.table``).

Nothing but the standard library: an audit bundle carries this module to whoever checks it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any


def fields(document: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a document by its dotted name, such as ``config.method.kmeans.nb_clusters``.

    Entries of lists are named by their number; an empty list or mapping is a field itself. A dot or
    backslash in a name is written with a backslash before it.
    """
    if isinstance(document, Mapping) and document:
        entries = [(_escaped(key), value) for key, value in document.items()]
    elif isinstance(document, list) and document:
        entries = [(str(number), value) for number, value in enumerate(document)]
    else:
        yield name, document
        return
    for key, value in entries:
        yield from fields(value, f"{name}.{key}" if name else key)


def seal(document: Any) -> dict[str, Any]:
    """The seal of a document: ``fields``, a SHA-256 for each name, and ``root``, one over all."""
    hashes = {name: _hash(name, value) for name, value in fields(document)}
    return {"root": root(hashes), "fields": hashes}


def root(hashes: Mapping[str, str]) -> str:
    """SHA-256 of the lines ``name<tab>hash``, sorted, each with a line feed, in UTF-8."""
    lines = "".join(f"{name}\t{value}\n" for name, value in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def changed(document: Any, sealed: Mapping[str, Any]) -> list[str]:
    """Sorted names of the fields that are not what was sealed: other values, added and removed.

    The name ``seal`` is that of the seal itself, if its root is not that of its fields.
    """
    hashes = sealed.get("fields")
    if not isinstance(hashes, Mapping) or not hashes:
        return ["seal"]
    now = {name: _hash(name, value) for name, value in fields(document)}
    found = sorted(name for name in now.keys() | hashes.keys() if now.get(name) != hashes.get(name))
    broken = root({name: str(value) for name, value in hashes.items()}) != sealed.get("root")
    return ["seal", *found] if broken else found


def _hash(name: str, value: Any) -> str:
    text = json.dumps([name, value], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _escaped(key: str) -> str:
    return key.replace("\\", "\\\\").replace(".", "\\.")
