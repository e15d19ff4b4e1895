"""FiftyOne's exports on the disk: which they are, and arrays that anybody may have written."""

import json

import numpy as np
import pytest

from resources.fiftyone_files import (
    ArrayError,
    SampleName,
    array_of,
    color_scheme,
    is_export,
    sample_name,
    samples_in,
)
from tests.fiftyone_exports import EMBEDDING, array, packed, sample, write_dataset

OURS = 64 * "a"


def test_a_dataset_is_known_by_its_folder_and_by_its_files(tmp_path):
    folder = write_dataset(tmp_path / "set", sample("/x/a.jpg"), sample("/x/b.jpg"))
    for place in (folder, folder / "samples.json", folder / "metadata.json"):
        assert is_export(place)
        assert [entry["filepath"] for entry in samples_in(place)] == ["/x/a.jpg", "/x/b.jpg"]
        assert color_scheme(place)["color_pool"] == ["#ff0000"]
    (tmp_path / "tags.json").write_text('{"format": "panoptic-assets tags"}')
    (tmp_path / "broken.json").write_text("{")
    for place in ("tags.json", "broken.json", "none.json", "."):
        assert not is_export(tmp_path / place)


def test_a_dataset_may_have_a_file_for_each_sample(tmp_path):
    folder = write_dataset(tmp_path / "set")
    (folder / "samples.json").unlink()
    (folder / "samples").mkdir()
    for number in (2, 1):
        file = folder / "samples" / f"{number:06d}-6b0de15feb4d8ed0f2fa0d7{number}.json"
        file.write_text(json.dumps(sample(f"/x/{number}.jpg")))
    assert is_export(folder)
    assert [entry["filepath"] for entry in samples_in(folder)] == ["/x/1.jpg", "/x/2.jpg"]


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ({"filepath": "/x/a.tif"}, SampleName("", "/x/a.tif")),
        ({"filepath": "a.tif", "image_id": OURS, "page": 1}, SampleName(OURS, "a.tif")),
        ({"filepath": "a.tif", "image_id": OURS, "page": 3}, SampleName(OURS, "a.tif#page=3")),
        ({"filepath": "a.tif", "image_id": OURS, "page": True}, SampleName(OURS, "a.tif")),
        ({"filepath": "a.tif", "image_id": "139", "page": 3}, SampleName("", "a.tif")),
        *(({"filepath": " "}, None), ({"filepath": 3}, None), ({}, None), ([], None), (None, None)),
    ],
)
def test_a_sample_names_an_image_by_its_path_and_by_an_id_of_ours(entry, name):
    assert sample_name(entry) == name


def test_an_array_is_read_as_fiftyone_wrote_it():
    found = array_of({"$binary": {"base64": EMBEDDING, "subType": "00"}})
    assert found.tolist() == [2, 3, 4, 5]
    assert found.dtype == np.float32
    assert array_of(array([1.5, 2], np.float64)).tolist() == [1.5, 2]
    assert array_of([1, 2.5]).tolist() == [1, 2.5]


def header(shape):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "value",
    [
        *(None, 3, "x", {}, [], ["a"], {"$binary": None}, {"$binary": {"base64": "!"}}),
        {"$binary": {"base64": "AAAA"}},
        *(packed(b""), packed(b"x"), packed(header("(99999999999999,)") + b"1234")),
        *(packed(header("(-1,)") + b"1234"), packed(header("(9" * 3000)), packed(2**23 * b"\0")),
        *(array([[1, 2]]), array(3.0), array(["a"], str), array([{}], object)),
        *(array([1], np.complex64), [10**400]),
    ],
    ids=range(21),
)
def test_what_is_no_vector_is_refused_and_never_unpickled_or_made_room_for(value):
    with pytest.raises(ArrayError):
        array_of(value)
