"""JSON that strangers send: read whole or refused; and plain data of what the Python API gives."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pytest

from panoptic_assets.serve.json_documents import DEEPEST, plain, read_document, write_document
from resources.errors import InputError


def nested(levels):
    return b'{"a":' * levels + b"1" + b"}" * levels


def test_an_object_is_read_as_it_was_written():
    read = read_document('{"key": "été", "seen": {"greek": null}, "n": [1, 2.5, true]}'.encode())
    assert read == {"key": "été", "seen": {"greek": None}, "n": [1, 2.5, True]}


@pytest.mark.parametrize("nothing", [b"", b" \n"])
def test_nothing_counts_as_an_empty_object(nothing):
    assert read_document(nothing) == {}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[]", "no object"),
        (b'"text"', "no object"),
        (b"{", "Expecting property name"),
        (b"{}{}", "Extra data"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b'{"a": 1e999}', "1e999 is too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
        (b'{"a": 1, "a": 2}', "'a' twice"),
        (b'{"a": "\\ud800"}', "halves of characters"),
        (b'{"\\udfff": 1}', "halves of characters"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (nested(DEEPEST + 1), "nested more than"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested more than"),
        (b"[" * 1_000_000, "nested more than"),
        (b'{"a": [' + b"[]," * 400_000 + b"[]]}", "too many parts"),
        (b'{"a": [' + b'"",' * 1_100_000 + b'""]}', "too many parts"),
    ],
)
def test_what_other_readers_would_take_for_something_else_is_refused(body, reason):
    with pytest.raises(InputError, match=reason) as caught:
        read_document(body)
    assert caught.value.id == "request-malformed"
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_nested_as_deeply_as_may_be_is_read():
    assert read_document(nested(DEEPEST - 1))


def test_a_long_text_is_read_whatever_stands_in_it():
    text = '[],"{\\\n' * 300_000
    assert read_document(json.dumps({"content": text}).encode()) == {"content": text}


@dataclass
class Found:
    number: np.float32
    at: datetime


def test_all_that_the_python_api_gives_has_a_plain_form():
    given = {
        "table": pa.table({"a": [1, None]}),
        "found": Found(np.float32(0.5), datetime(2026, 11, 30, tzinfo=UTC)),
        "numbers": (float("nan"), float("inf"), np.int64(3)),
        "path": PurePosixPath("a/b"),
        "some": {"b", "a"},
        7: None,
    }
    assert plain(given) == {
        "table": [{"a": 1}, {"a": None}],
        "found": {"number": 0.5, "at": "2026-11-30T00:00:00+00:00"},
        "numbers": [None, None, 3],
        "path": "a/b",
        "some": ["a", "b"],
        "7": None,
    }


def test_what_is_written_is_utf8_whatever_stands_in_it():
    assert write_document({"name": "Époque \ud800"}) == '{"name":"Époque ?"}'.encode()


def test_what_has_no_plain_form_is_a_fault_of_the_program():
    with pytest.raises(TypeError, match="bytes has no form"):
        write_document({"thumbnail": b"RIFF"})
