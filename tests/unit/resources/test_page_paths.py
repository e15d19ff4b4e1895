"""How the pages of files are named."""

import hashlib

import pytest

from resources.page_paths import file_name, file_of, page_id, page_number, page_path

SHA = "ab" * 32


@pytest.mark.parametrize("file", ["a.tif", "été/b.TIF", "x#y.gif", "#page=.tif", "a b#page=0.tif"])
@pytest.mark.parametrize("page", [1, 2, 10_000])
def test_a_page_tells_its_file_and_its_number(file, page):
    path = page_path(file, page)
    assert (file_of(path), page_number(path)) == (file, page)


def test_the_first_page_has_the_name_and_the_hash_of_the_file():
    assert page_path("a.tif", 1) == "a.tif"
    assert page_id(SHA, 1) == SHA


def test_the_id_of_a_later_page_is_a_hash_of_that_of_the_file_and_its_number():
    assert page_id(SHA, 2) == hashlib.sha256(f"{SHA}#2".encode()).hexdigest()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("in/booklet.tif#page=2", "booklet-page-2.tif"),
        ("in/booklet.tif", "booklet.tif"),
        ("booklet#page=3", "booklet-page-3"),
        ("a.b/c.d.gif#page=12", "c.d-page-12.gif"),
    ],
)
def test_a_file_of_its_own_is_named_after_the_page(path, name):
    assert file_name(path) == name
