"""Large JSON documents: read entry by entry, whatever stands in them, in bounded memory."""

import io
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources import json_stream
from resources.json_stream import JsonError, fields_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class Drops(io.BytesIO):
    """A file that gives a few bytes at a time."""

    def read(self, size=-1):
        return super().read(3)


def whole(file):
    return {
        name: list(content) if isinstance(content, Iterator) else content
        for name, content in fields_of(file)
    }


@given(st.dictionaries(st.text(), VALUES, max_size=4), st.booleans(), st.sampled_from([None, 1]))
def test_a_document_is_read_as_the_json_module_reads_it(document, plain, indent):
    text = json.dumps(document, ensure_ascii=plain, indent=indent).encode("utf-8")
    assert whole(io.BytesIO(text)) == document
    assert whole(Drops(text)) == document


def test_entries_that_nobody_takes_are_passed_over():
    file = io.BytesIO(b'{"a": [1, [2], {}], "b": [], "c": 3} ')
    assert [name for name, _ in fields_of(file)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "text",
    [
        *(
            b"",
            b"[]",
            b"{",
            b'{"a"',
            b'{"a":}',
            b'{"a":1}x',
            b'{"a":[1,]}',
            b'{"a":1,}',
            b'{"a" 1}',
        ),
        *(b'{"a":"\\ud800"}', b'{"a":"' + b"x" * 9, b'{"a":nul', b"\xff{}", b'{"a":"\xe9"}'),
        b'{"a":' + 100_000 * b"[",
        b'{"a":' + 20_000 * b'{"a":',
        b'{"a":' + 10_000 * b"9" + b"}",
    ],
    ids=range(17),
)
def test_what_is_no_document_is_refused_in_one_line(text):
    with pytest.raises(JsonError) as caught:
        whole(io.BytesIO(text))
    assert len(str(caught.value).splitlines()) == 1


def test_an_entry_that_does_not_end_is_not_read_to_the_end_of_the_file(monkeypatch):
    monkeypatch.setattr(json_stream, "MAX_ENTRY", 2**21)
    file = io.BytesIO(b'{"samples": ["' + 2**24 * b"x")
    with pytest.raises(JsonError, match="does not end within 2,097,152 characters"):
        whole(file)
    assert file.tell() < 2**23


def test_more_entries_than_may_be_are_refused(monkeypatch):
    monkeypatch.setattr(json_stream, "MAX_ENTRIES", 5)
    with pytest.raises(JsonError, match="more than 5 entries"):
        whole(io.BytesIO(b'{"a": [1, 1, 1, 1, 1, 1]}'))
