"""JSON that strangers send and pages read: bounded, whole, and of plain data.

Belongs here: the bytes of one document, in both directions. Does not belong here: what stands in it
(``serve.api_acts``, ``serve.api_reads``), and where it comes from (``serve.api``).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from pathlib import PurePath
from typing import Any

import numpy as np
import pyarrow as pa

from panoptic_assets.spec.fields import Parameters
from resources.errors import InputError, Message, message

DEEPEST = 32
"""Levels of a document; a configuration has 8 at most, where it is read."""
_MOST_STRUCTURE = 2**20
"""Bytes of a document that are outside its texts."""
_MOST_QUOTES = 2_000_000
"""In a document; escaped ones too: a file of tags in JSON, as a text, has 14 for each image."""


def read_document(data: bytes) -> dict[str, Any]:
    """Read one JSON object.

    Refused is what other readers would take for something else: numbers that are none, a name that
    stands in an object twice, halves of characters, and what is nested without need.

    Args:
        data: In UTF-8; empty counts as ``{}``.

    Raises:
        InputError: It is no such object.
    """
    if not data.strip():
        return {}
    if len(data) > _MOST_STRUCTURE:
        _check_structure(data)
    try:
        found = json.loads(
            data.decode("utf-8"),
            parse_constant=_no_number,
            parse_float=_finite,
            object_pairs_hook=_without_twins,
        )
    except UnicodeDecodeError as error:
        raise _malformed(message("it is not UTF-8", id="body-not-utf8")) from error
    except RecursionError as error:
        raise _too_deep() from error
    except _RefusedError as fault:
        raise _malformed(fault.reason) from fault
    except ValueError as error:  # Python also reads no integer of more than 4,300 digits
        raise _malformed(message("{fault}", id="body-no-json", fault=error)) from error
    if not isinstance(found, dict):
        raise _malformed(message("it is no object {{…}}", id="body-no-object"))
    _check_parts(found)
    return found


def _check_structure(data: bytes) -> None:
    """Refuse a large document that is more than a few long texts.

    Read, 50 MB of ``[],[],…`` would be 17 million lists and more than a gigabyte.
    """
    nb_quotes = data.count(b'"')
    outside = 0
    if nb_quotes <= _MOST_QUOTES:
        parts = data.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        outside = sum(map(len, parts[::2]))
    if nb_quotes > _MOST_QUOTES or outside > _MOST_STRUCTURE:
        raise _malformed(message("it has too many parts", id="body-of-many-parts"))


class _RefusedError(ValueError):
    """Something in a document that is refused."""

    def __init__(self, reason: Message):
        super().__init__()
        self.reason = reason


def _malformed(reason: Message) -> InputError:
    return InputError(
        "The body of the request cannot be read: {reason}. Send one JSON object.",
        id="request-malformed",
        reason=reason,
    )


def _too_deep() -> InputError:
    reason = message("it is nested more than {deepest} deep", id="body-too-deep", deepest=DEEPEST)
    return _malformed(reason)


def _no_number(text: str) -> float:
    raise _RefusedError(message("{text} is no number of JSON", id="body-no-number", text=text))


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _RefusedError(
            message("{text} is too large a number", id="body-number-large", text=text[:40])
        )
    return number


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _RefusedError(
                message("it has {name!r} twice", id="body-name-twice", name=name[:40])
            )
        found[name] = value
    return found


def _check_parts(document: dict[str, Any]) -> None:
    level: list[Any] = [document]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for part in level:
            if isinstance(part, dict):
                below += [*part, *part.values()]
            elif isinstance(part, list):
                below += part
            elif isinstance(part, str) and not part.isascii():
                _check_text(part)
        if not below:
            return
        level = below
    raise _too_deep()


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _malformed(
            message("it holds halves of characters", id="body-half-characters")
        ) from error


def write_document(content: Any) -> bytes:
    """JSON of what the Python API gives, in UTF-8; see :func:`plain`."""
    text = json.dumps(plain(content), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def plain(content: Any) -> Any:
    """What the Python API gives as plain data: Arrow tables as lists of dictionaries, dates as
    ISO 8601, numbers that are none as None."""
    if content is None or isinstance(content, str | bool | int):
        return content
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {str(name): plain(part) for name, part in content.items()}
    if isinstance(content, list | tuple):
        return [plain(part) for part in content]
    if isinstance(content, set | frozenset):
        return sorted(map(plain, content))
    if isinstance(content, datetime | date):
        return content.isoformat()
    if isinstance(content, pa.Table):
        return plain(content.to_pylist())
    if isinstance(content, np.generic | np.ndarray):
        return plain(content.tolist())
    if isinstance(content, PurePath):
        return str(content)
    if isinstance(content, Parameters):
        return plain(content.model_dump())
    if is_dataclass(content) and not isinstance(content, type):
        return {field.name: plain(getattr(content, field.name)) for field in fields(content)}
    raise TypeError(f"{type(content).__name__} has no form in JSON")
